"""Batches: which renditions of a slice one ffmpeg makes together, so that its memory has a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.transcoding.transcode import RenditionOutput

#: Renditions that one ffmpeg makes: every encoder has its threads' buffers and its look-ahead.
MAX_RENDITIONS = 8
#: Pixels of one picture in all of them, since encoders hold some dozens of pictures: two of
#: 3840 × 2160, which is a ladder down from 4K. x264 takes about 30 bytes for each.
MAX_PIXELS = 2 * 3840 * 2160


def batches(outputs: Sequence[RenditionOutput]) -> Iterator[tuple[RenditionOutput, ...]]:
    """The outputs in their order, in as few batches as these bounds leave.

    One that is beyond them by itself is alone. Every batch reads and decodes the slice anew.
    """
    batch: list[RenditionOutput] = []
    pixels = 0
    for out in outputs:
        more = out.video.width * out.video.height if out.video else 0
        if batch and (len(batch) == MAX_RENDITIONS or pixels + more > MAX_PIXELS):
            yield tuple(batch)
            batch, pixels = [], 0
        batch.append(out)
        pixels += more
    if batch:
        yield tuple(batch)
