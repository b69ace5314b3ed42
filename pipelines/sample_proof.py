"""The first proof: samples as ffmpeg made them against the units that the index saw in the source."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import AccountError, ErrorCode, ToolError
from pipelines.media import Codec, TrackKind
from pipelines.mp4.sample_entry import read_sample_entry, told_codec
from pipelines.mpegts.nal import SET_LIMIT
from pipelines.payload_hash import UNKNOWN_HASH, joined_hash
from pipelines.segment_index import NO_TIME, TS_TIMESCALE, UNKNOWN_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipelines.loss import Loss
    from pipelines.media import Configuration
    from pipelines.packaged_slice import Expectation, PackagedRun, PackagedTrack, Samples
    from pipelines.parts import WrittenPayload
    from pipelines.playlist import Segment
    from pipelines.repair import Repair

#: Ticks of 90 kHz by which a sample's time may differ from the index: rounding to the sample rate.
TOLERANCE_TICKS = 2
#: Seconds by which sound may differ: ffmpeg sums rounded frame lengths up within a PES packet.
#: Its times are rebuilt from whole frames at assembly.
AUDIO_TOLERANCE_SECONDS = 0.002


def as_left_out(
    expected: Expectation, optional: Sequence[np.ndarray], sizes: np.ndarray
) -> Expectation:
    """The expectation without what ffmpeg left out of all samples.

    ``optional`` are bytes of each expected size (int64[n]) that it leaves out for one reason or
    another, depending on its version: all of a kind, or none.
    """
    if len(sizes) != len(expected.sizes):
        return expected
    known = expected.sizes != UNKNOWN_SIZE
    kinds = [kind for kind in optional if kind[known].any()]
    for count in range(1, len(kinds) + 1):
        for chosen in itertools.combinations(kinds, count):
            left = np.where(known, expected.sizes - sum(chosen), UNKNOWN_SIZE)
            if np.array_equal(left[known], sizes[known]):
                return replace(expected, sizes=left)
    return expected


def compare(
    samples: Samples, timescale: int, expected: Expectation, kind: TrackKind, name: str
) -> None:
    """Refuse samples that are not exactly the units which the index saw in the source.

    Raises ``ToolError`` (``verification_failed``): counts and key flags must be equal,
    sizes too where they are known, presentation times within two ticks of 90 kHz (and the
    rounding to the track's rate), those of sound within ``AUDIO_TOLERANCE_SECONDS``.
    """
    code = ErrorCode.VERIFICATION_FAILED
    if len(samples) != len(expected.pts):
        message = f"{name}: {len(expected.pts)} units in the source, {len(samples)} samples out"
        raise ToolError(code, message)
    if not np.array_equal(samples.sync, expected.sync):
        at = int(np.flatnonzero(samples.sync != expected.sync)[0])
        raise ToolError(code, f"{name}: sample {at} has another key flag than in the source")
    compare_sizes(samples.sizes, expected.sizes, name)
    known = expected.pts != NO_TIME
    seconds = samples.pts[known] / timescale
    off = np.abs(seconds - expected.pts[known] / expected.timescale)
    allowed = TOLERANCE_TICKS / TS_TIMESCALE + 1 / timescale
    if kind is TrackKind.AUDIO:
        allowed += AUDIO_TOLERANCE_SECONDS
    if (off > allowed).any():
        at = int(np.argmax(off))
        message = f"{name}: a sample is shown {off[at] * 1000:.3f} ms away from its source time"
        raise ToolError(code, message)


def compare_sizes(sizes: np.ndarray, expected: np.ndarray, name: str) -> None:
    """Refuse samples that have not as many bytes as their units in the source.

    Raises ``ToolError`` (``verification_failed``); a unit of ``UNKNOWN_SIZE`` may have any.
    """
    if not len(expected):
        return
    off = np.flatnonzero((expected != UNKNOWN_SIZE) & (sizes != expected))
    if len(off):
        at = int(off[0])
        message = (
            f"{name}: sample {at} has {sizes[at]} bytes, its unit in the source {expected[at]}"
        )
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message)


def compare_hashes(hashes: np.ndarray, expected: np.ndarray, name: str) -> None:
    """Refuse samples whose bytes are not those of their units in the source.

    Raises ``ToolError`` (``verification_failed``); a unit of ``UNKNOWN_HASH`` may have any.
    """
    if not len(expected):
        return
    off = np.flatnonzero((expected != UNKNOWN_HASH) & (hashes != expected))
    if len(off):
        message = f"{name}: sample {int(off[0])} has other bytes than its unit in the source"
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message)


def compare_listed(
    listed: Iterable[Segment],
    runs: Iterable[PackagedRun],
    losses: Iterable[Loss],
    repairs: Iterable[Repair],
) -> None:
    """Refuse runs of a playlist's segments unless each that is ``listed`` is among them.

    The units of every segment are expected in a run, or the segment is told as lost, or as one that
    came before, as a whole; no run has another one. Raises ``AccountError``.
    """
    names = {segment.sequence: str(segment.location) for segment in listed}
    held = {sequence for run in runs for sequence in run.sequences}
    lost = {loss.sequence for loss in losses if loss.whole}
    repeated = {repair.sequence for repair in repairs if repair.whole}
    if lacking := sorted(names.keys() - held - lost - repeated):
        message = f"segment {lacking[0]} ({names[lacking[0]]}) is neither in a run nor told as lost"
        raise AccountError(message)
    if others := sorted(held - names.keys()):
        message = f"segment {others[0]} is in a run, and is not listed"
        raise AccountError(message)


def compare_payload(runs: Iterable[PackagedRun], payload: WrittenPayload) -> None:
    """Refuse a payload that is not its samples, group behind group, as they were hashed.

    The groups of all tracks must fill it without a hole, and their hashes joined must be the hash
    of the bytes that were uploaded and staged. Raises ``AccountError``.
    """
    groups = sorted(group for run in runs for track in run.tracks for group in _groups(track))
    at = 0
    for offset, size, _ in groups:
        if offset != at:
            message = f"samples lie at byte {offset} of the payload where byte {at} is due"
            raise AccountError(message)
        at += size
    if at != payload.size or joined_hash((each, n) for _, n, each in groups) != payload.hash:
        message = f"{payload.size} bytes of payload are not the {at} bytes of its samples"
        raise AccountError(message)


def _groups(track: PackagedTrack) -> Iterator[tuple[int, int, int]]:
    """Offset in the payload, bytes and hash of each group of a track's samples."""
    placement = track.placement
    counts = placement.counts.astype(np.int64)
    ends = np.append(0, np.cumsum(track.samples.sizes, dtype=np.int64))[np.cumsum(counts)]
    sizes = np.diff(ends, prepend=0)
    yield from zip(
        placement.offsets.tolist(), sizes.tolist(), placement.hashes.tolist(), strict=True
    )


def compare_configuration(entry: bytes, source: Configuration | None, name: str) -> None:
    """Refuse a sample entry that does not describe what the index saw in the source.

    Parameter sets are compared by content: avcC and hvcC number them by position, streams by id.
    ffmpeg need not have seen all of them, but none that is not there. Of an AudioSpecificConfig
    the end may be ffmpeg's own (the channels of the first frame). Raises ``ToolError``.
    """
    if source is None:
        return
    described = read_sample_entry(entry).configuration
    what = None
    if described is None or described.codec is not told_codec(source.codec):
        what = f"codec {described.codec if described else None}"
    else:
        units = {unit for _, unit in source.parameter_sets}
        for title, unit in described.parameter_sets:
            seen = any(same.startswith(title[:3]) for same, _ in source.parameter_sets)
            if seen and not _is_one_of(unit, units, source.codec):
                what = f"parameter set {title}"
    if what is not None:
        message = f"{name}: the sample entry has another {what} than the source"
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message)


def _is_one_of(unit: bytes, units: set[bytes], codec: Codec) -> bool:
    if codec is Codec.AAC:
        return any(unit.startswith(each) for each in units)
    return unit.rstrip(b"\0")[:SET_LIMIT] in {each.rstrip(b"\0") for each in units}
