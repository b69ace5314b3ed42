"""Reading a progressive movie back, where its boxes and samples lie, to prove what was written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pipelines.mp4.boxes import Fields, Mp4Error, find, printable, read_header, require, walk
from pipelines.mp4.movie_header import MovieHeader, TrackHeader, read_movie_header
from pipelines.mp4.samples import narrowed, starts

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Most samples of one track (eight days of AAC): equal sizes take no bytes, so nothing else bounds.
MAX_SAMPLES = 1 << 25


@dataclass(frozen=True)
class TopLevelBox:
    """Where a top-level box of an object lies; it may reach beyond the bytes looked at."""

    name: str
    offset: int
    header_size: int
    size: int

    @property
    def end(self) -> int:
        """The byte after the box."""
        return self.offset + self.size


def top_level_boxes(prefix: bytes) -> tuple[TopLevelBox, ...]:
    """The top-level boxes whose headers lie in the first bytes of an object, in file order.

    A faststart movie is ``ftyp``, ``moov``, ``mdat``: its first kilobyte says where ``moov`` ends.
    """
    view = memoryview(prefix)
    found: list[TopLevelBox] = []
    offset = 0
    while (header := read_header(view, offset)) is not None:
        found.append(TopLevelBox(printable(header.name), offset, header.header_size, header.size))
        offset += header.size
    return tuple(found)


#: Samples of which it is remembered when the first is decoded.
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class ParsedTrack:
    """All samples of one track in decode order; times in ticks of the track's timescale."""

    header: TrackHeader
    durations: np.ndarray  #: int32, or int64 where one is too long for that
    pts: np.ndarray  #: int64, before the edit list is applied
    sync: np.ndarray  #: bool
    sizes: np.ndarray  #: uint32, of either byte order
    offsets: np.ndarray  #: int64, first byte of each sample in the object

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def dts(self) -> np.ndarray:
        """Decode times of all samples, int64, from 0."""
        return starts(self.durations)

    def decode_times(self, samples: np.ndarray) -> np.ndarray:
        """Decode times of some neighbours (ascending numbers), int64: all take 40 MB a day."""
        block = int(samples[0]) // _BLOCK
        begin = block * _BLOCK
        times = starts(self.durations[begin : int(samples[-1]) + 1])
        times += self._block_starts[block]
        wanted: np.ndarray = times[samples - begin]
        return wanted

    @cached_property
    def _block_starts(self) -> np.ndarray:
        """When each ``_BLOCK`` samples begin, int64."""
        begins = np.arange(0, len(self), _BLOCK)
        return starts(np.add.reduceat(self.durations, begins, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class ParsedMovie:
    """A ``moov`` with all its tables expanded."""

    header: MovieHeader
    tracks: tuple[ParsedTrack, ...]


def read_movie(moov: bytes) -> ParsedMovie:
    """Read a whole ``moov`` box of a progressive movie; raises as ``read_tracks`` does."""
    header, tracks = read_tracks(moov)
    return ParsedMovie(header, tuple(tracks))


def read_tracks(moov: bytes | memoryview) -> tuple[MovieHeader, Iterator[ParsedTrack]]:
    """Read a whole ``moov`` box of a progressive movie, its tracks one after the other.

    Raises ``Mp4Error`` when it is damaged, when tables contradict each other, or for what one
    ``moov`` of ours never has: more than one sample entry, more than ``MAX_SAMPLES`` samples.
    """
    boxes = [*walk(memoryview(moov))]
    if [box.name for box in boxes] != [b"moov"]:
        raise Mp4Error("these bytes are not one whole 'moov' box")
    body = boxes[0].body
    header = read_movie_header(body)
    traks = (box.body for box in walk(body) if box.name == b"trak")
    tables = (require(trak, b"mdia", b"minf", b"stbl").body for trak in traks)
    return header, map(_track, header.tracks, tables)


def _track(header: TrackHeader, stbl: memoryview) -> ParsedTrack:
    sizes = _sizes(stbl)
    durations = _durations(stbl, len(sizes))
    pts = starts(durations)
    pts += _composition(stbl, len(sizes))
    return ParsedTrack(
        header=header,
        durations=durations,
        pts=pts,
        sync=_sync(stbl, len(sizes)),
        sizes=sizes,
        offsets=_offsets(stbl, sizes),
    )


def _opened(stbl: memoryview, name: bytes) -> Fields:
    fields = Fields(require(stbl, name).body, f"{name.decode()!r}")
    fields.version()
    return fields


def _sizes(stbl: memoryview) -> np.ndarray:
    fields = _opened(stbl, b"stsz")
    size, count = fields.unsigned(4), fields.unsigned(4)
    if count > MAX_SAMPLES:
        raise Mp4Error(f"a track of {count} samples exceeds {MAX_SAMPLES}")
    return np.full(count, size, np.uint32) if size else fields.table(count, ">u4")


def _durations(stbl: memoryview, count: int) -> np.ndarray:
    fields = _opened(stbl, b"stts")
    rows = fields.table(fields.unsigned(4), [("count", ">u4"), ("value", ">u4")])
    return _expanded(rows, count, "'stts'")


def _composition(stbl: memoryview, count: int) -> np.ndarray:
    if find(stbl, b"ctts") is None:
        return np.zeros(count, np.int32)
    fields = _opened(stbl, b"ctts")
    rows = fields.table(fields.unsigned(4), [("count", ">u4"), ("value", ">i4")])
    return _expanded(rows, count, "'ctts'")


def _expanded(rows: np.ndarray, count: int, what: str) -> np.ndarray:
    counted = int(rows["count"].sum(dtype=np.int64))
    if counted != count:
        raise Mp4Error(f"{what} counts {counted} samples where there are {count}")
    values: np.ndarray = narrowed(rows["value"].astype(np.int64))
    return values.repeat(rows["count"].astype(np.int64))


def _sync(stbl: memoryview, count: int) -> np.ndarray:
    if find(stbl, b"stss") is None:
        return np.ones(count, np.bool_)
    fields = _opened(stbl, b"stss")
    numbers = fields.table(fields.unsigned(4), ">u4").astype(np.int64)
    if len(numbers) and not 1 <= numbers.min() <= numbers.max() <= count:
        raise Mp4Error("'stss' names a sample that does not exist")
    sync = np.zeros(count, np.bool_)
    sync[numbers - 1] = True
    return sync


def _offsets(stbl: memoryview, sizes: np.ndarray) -> np.ndarray:
    """Where each sample lies: its chunk's offset and the sizes before it in that chunk."""
    chunks = _chunk_offsets(stbl)
    samples = _chunk_samples(stbl, len(chunks), len(sizes))
    before = starts(sizes)
    filled = samples > 0
    chunks, samples = chunks[filled], samples[filled]
    shifts = chunks - before[starts(samples)]
    before += shifts.repeat(samples)
    return before


def _chunk_offsets(stbl: memoryview) -> np.ndarray:
    narrow = find(stbl, b"stco") is not None
    fields = _opened(stbl, b"stco" if narrow else b"co64")
    offsets = fields.table(fields.unsigned(4), ">u4" if narrow else ">i8").astype(np.int64)
    if len(offsets) and offsets.min() < 0:
        raise Mp4Error("'co64' places samples beyond 2^63 bytes")
    return offsets


def _chunk_samples(stbl: memoryview, chunks: int, count: int) -> np.ndarray:
    """Samples of each chunk (``stsc``, ISO/IEC 14496-12, 8.7.4)."""
    fields = _opened(stbl, b"stsc")
    row = [("first", ">u4"), ("samples", ">u4"), ("entry", ">u4")]
    rows = fields.table(fields.unsigned(4), row)
    if (rows["entry"] != 1).any():
        raise Mp4Error("'stsc' uses a sample entry that 'stsd' does not have")
    firsts = np.append(rows["first"].astype(np.int64), chunks + 1)
    lengths = firsts[1:] - firsts[:-1]
    if firsts[0] != 1 or (lengths < 0).any():
        raise Mp4Error(f"'stsc' does not describe the {chunks} chunks that there are")
    samples: np.ndarray = rows["samples"].astype(np.int64).repeat(lengths)
    if samples.sum() != count:
        raise Mp4Error(f"the chunks hold {samples.sum()} samples where there are {count}")
    return samples
