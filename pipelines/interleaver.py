"""Sound that did not come out of ffmpeg, laid between its pictures in a rendition's payload."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.mp4.samples import starts
from pipelines.packaged_slice import Placement

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pipelines.cutter import PayloadWriter
    from pipelines.packaged_slice import PackagedTrack


@dataclass(frozen=True, eq=False)
class LaidIn:
    """Sound of one run that does not come out of the run's own segments: of playlists of its own,
    encoded, or silent.

    The times of ``tracks`` are on the run's clock (MPEG-TS: in any round of it), their placement
    tells where in ``payload`` their samples lie.
    """

    tracks: tuple[PackagedTrack, ...] = ()
    payload: bytes = b""

    def without(self, numbers: Collection[int]) -> LaidIn:
        """The same without some of its tracks."""
        return replace(self, tracks=tuple(t for t in self.tracks if t.track not in numbers))

    def together(self, other: LaidIn) -> LaidIn:
        """The tracks of both, those of ``other`` last."""
        moved = (
            replace(
                t, placement=replace(t.placement, offsets=t.placement.offsets + len(self.payload))
            )
            for t in other.tracks
        )
        return LaidIn((*self.tracks, *moved), self.payload + other.payload)


@dataclass(frozen=True, eq=False)
class SoundPiece:
    """Frames of one track that lie side by side."""

    track: int
    begin: float  #: seconds of the source's clock at which they begin
    frames: int
    data: memoryview
    hash: int  #: CRC-64/NVME of the bytes, taken when they were packaged


@dataclass
class _Placed:
    offsets: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)


class Interleaver:
    """Writes pieces of sound, which another thread may still add to, up to a time asked for.

    Those of tracks that are ``left_out`` are not written.
    """

    def __init__(
        self,
        writer: PayloadWriter,
        pieces: Sequence[SoundPiece],
        left_out: Collection[int] = (),
    ) -> None:
        self._writer = writer
        self._left_out = left_out
        self._pieces = pieces
        self._written = 0
        self._placed: dict[int, _Placed] = {}

    def write_until(self, seconds: float) -> None:
        """Write every piece that begins before that time of the source's clock."""
        while self._written < len(self._pieces):
            piece = self._pieces[self._written]
            if piece.begin >= seconds:
                return
            self._written += 1
            if piece.track in self._left_out:
                continue
            placed = self._placed.setdefault(piece.track, _Placed())
            placed.offsets.append(self._writer.write(piece.data))
            placed.counts.append(piece.frames)
            placed.hashes.append(piece.hash)

    def placement(self, track: int) -> Placement:
        """Where the frames of a track lie in the payload."""
        placed = self._placed.get(track, _Placed())
        return Placement(
            np.array(placed.offsets, np.int64),
            np.array(placed.counts, np.uint32),
            np.array(placed.hashes, np.uint64),
        )


def pieces_of(tracks: Sequence[PackagedTrack], payload: bytes) -> list[SoundPiece]:
    """The sound of packaged tracks, a piece for each group of frames, in the order of time."""
    view = memoryview(payload)
    pieces = [piece for track in tracks for piece in _pieces(track, view)]
    return sorted(pieces, key=lambda piece: piece.begin)


def _pieces(track: PackagedTrack, payload: memoryview) -> Iterator[SoundPiece]:
    counts = track.placement.counts.astype(np.int64)
    firsts = starts(counts)
    sizes = np.add.reduceat(track.samples.sizes, firsts, dtype=np.int64) if len(counts) else counts
    begins = track.samples.dts[firsts] / track.timescale
    groups = (each.tolist() for each in (track.placement.offsets, sizes, track.placement.hashes))
    for begin, count, offset, size, value in zip(
        begins.tolist(), counts.tolist(), *groups, strict=True
    ):
        yield SoundPiece(track.track, begin, count, payload[offset : offset + size], value)
