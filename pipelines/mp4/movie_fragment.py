"""One movie fragment: what ``moof`` says of its samples, and where in the payload they lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntFlag
from typing import TYPE_CHECKING

import numpy as np

from pipelines.mp4.boxes import Fields, Mp4Error, require, walk
from pipelines.mp4.samples import SampleTable, concatenate, starts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.mp4.movie_header import MovieHeader

#: Most bytes of media in one fragment: more is refused, before it is held in memory.
MAX_PAYLOAD = 512 << 20
#: Most samples in one fragment, or in one segment (six hours of AAC): a run of default samples
#: takes no bytes.
MAX_SAMPLES = 1 << 20
#: Samples of no bytes that a fragment may have beyond one for each byte of its media.
SPARE_SAMPLES = 1024

_NON_SYNC = 0x00010000  # sample_is_non_sync_sample (8.8.3.1)


class _Tfhd(IntFlag):
    """Flags of ``tfhd`` (ISO/IEC 14496-12, 8.8.7)."""

    BASE_DATA_OFFSET = 0x000001
    DESCRIPTION = 0x000002
    DURATION = 0x000008
    SIZE = 0x000010
    FLAGS = 0x000020
    BASE_IS_MOOF = 0x020000


class _Trun(IntFlag):
    """Flags of ``trun`` (ISO/IEC 14496-12, 8.8.8)."""

    DATA_OFFSET = 0x001
    FIRST_FLAGS = 0x004
    DURATION = 0x100
    SIZE = 0x200
    FLAGS = 0x400
    COMPOSITION = 0x800


#: The columns of a run, in the order of the file.
_COLUMNS = (_Trun.DURATION, _Trun.SIZE, _Trun.FLAGS, _Trun.COMPOSITION)


@dataclass(frozen=True)
class Run:
    """Samples of one track that lie side by side (``trun``)."""

    first_sample: int  #: 0-based, within the track fragment
    count: int
    offset: int  #: byte in the fragment's payload
    size: int  #: bytes of its samples


@dataclass(frozen=True, eq=False)
class TrackFragment(SampleTable):
    """The samples that one ``traf`` adds to its track.

    ``base_decode_time`` is read as a *signed* 64-bit number, other than ISO/IEC 14496-12 (8.8.12)
    has it: with ``-copyts`` ffmpeg may count from below zero before a 33-bit wrap. Composition
    offsets are signed in both versions of ``trun``, as ffmpeg writes and reads them.
    """

    track_id: int
    base_decode_time: int | None  #: ticks of the track; None without ``tfdt``
    runs: tuple[Run, ...]


@dataclass(frozen=True, eq=False)
class Fragment:
    """A ``moof`` with the bodies of its ``mdat`` boxes, joined."""

    sequence: int  #: mfhd, not checked: foreign segments often start again at 1
    tracks: tuple[TrackFragment, ...]
    payload: memoryview


def read_movie_fragment(
    body: memoryview, position: int, movie: MovieHeader, budget: int = MAX_SAMPLES
) -> tuple[int, tuple[TrackFragment, ...]]:
    """Sequence number and tracks of the ``moof`` that starts at ``position`` of its file.

    The offsets of the runs are positions in the file: ``placed`` makes them relative. More than
    ``budget`` samples, or than ``MAX_SAMPLES``, are refused before they take memory.
    """
    mfhd = Fields(require(body, b"mfhd").body, "'mfhd'")
    mfhd.version()
    tracks: list[TrackFragment] = []
    end, budget = position, min(budget, MAX_SAMPLES)
    for box in walk(body):
        if box.name == b"traf":
            header = _read_tfhd(require(box.body, b"tfhd").body, movie, position, end)
            track, end = _read_track(box.body, header, budget)
            tracks.append(track)
            budget -= len(track)
    return mfhd.unsigned(4), tuple(tracks)


def placed(track: TrackFragment, bodies: Sequence[tuple[int, int]]) -> TrackFragment | None:
    """The track with offsets relative to the joined payload; None when a run lies outside of it.

    ``bodies`` are position in the file and size of each ``mdat`` body.
    """
    offsets = [_payload_offset(run, bodies) for run in track.runs]
    runs = tuple(
        replace(run, offset=offset)
        for run, offset in zip(track.runs, offsets, strict=True)
        if offset is not None
    )
    return replace(track, runs=runs) if len(runs) == len(offsets) else None


def whole_samples(track: TrackFragment, bodies: Sequence[tuple[int, int]]) -> int:
    """How many of its first samples lie completely inside of ``bodies``, as ``placed`` has them.

    Only before it is placed: its runs are positions in the file.
    """
    for run in track.runs:
        sizes = track.sizes[run.first_sample : run.first_sample + run.count].astype(np.int64)
        begins = run.offset + starts(sizes)
        inside = np.zeros(run.count, np.bool_)
        for position, size in bodies:
            inside |= (begins >= position) & (begins + sizes <= position + size)
        if not inside.all():
            return run.first_sample + int(np.argmin(inside))
    return len(track)


def part_of(track: TrackFragment, begin: int, end: int) -> TrackFragment:
    """Its samples from ``begin`` on and before ``end``, at the times that they have."""
    runs = []
    for run in track.runs:
        first = max(begin, run.first_sample)
        behind = min(end, run.first_sample + run.count)
        if first < behind:
            before = int(track.sizes[run.first_sample : first].sum(dtype=np.int64))
            size = int(track.sizes[first:behind].sum(dtype=np.int64))
            runs.append(Run(first - begin, behind - first, run.offset + before, size))
    time = track.base_decode_time
    return TrackFragment(
        track.durations[begin:end],
        track.composition[begin:end],
        track.sizes[begin:end],
        track.sync[begin:end],
        track.track_id,
        None if time is None else time + int(track.durations[:begin].sum()),
        tuple(runs),
    )


def _payload_offset(run: Run, bodies: Sequence[tuple[int, int]]) -> int | None:
    before = 0
    for position, size in bodies:
        if position <= run.offset and run.offset + run.size <= position + size:
            return before + run.offset - position
        before += size
    return None


@dataclass(frozen=True)
class _TrackDefaults:
    """What ``tfhd`` says, completed by ``trex``."""

    track_id: int
    base: int  #: position in the file from which data offsets count
    duration: int
    size: int
    flags: int


def _read_tfhd(body: memoryview, movie: MovieHeader, moof: int, end: int) -> _TrackDefaults:
    """``end`` is where the track fragment before ended: the base when nothing else is said."""
    fields = Fields(body, "'tfhd'")
    _, flags = fields.version()
    track_id = fields.unsigned(4)
    track = movie.track(track_id)
    if track is None:
        raise Mp4Error(f"a fragment has samples of track {track_id}, which is not in 'moov'")
    base = moof if flags & _Tfhd.BASE_IS_MOOF else end
    base = fields.unsigned(8) if flags & _Tfhd.BASE_DATA_OFFSET else base
    if flags & _Tfhd.DESCRIPTION and fields.unsigned(4) != 1:
        raise Mp4Error(f"track {track_id} uses a sample entry that 'moov' does not have")
    return _TrackDefaults(
        track_id,
        base,
        fields.unsigned(4) if flags & _Tfhd.DURATION else track.defaults.duration,
        fields.unsigned(4) if flags & _Tfhd.SIZE else track.defaults.size,
        fields.unsigned(4) if flags & _Tfhd.FLAGS else track.defaults.flags,
    )


def _read_track(
    body: memoryview, defaults: _TrackDefaults, budget: int
) -> tuple[TrackFragment, int]:
    """The samples of one ``traf``, and the position in the file after the last of them."""
    decode_time: int | None = None
    tables: list[SampleTable] = []
    runs: list[Run] = []
    end, first = defaults.base, 0
    for box in walk(body):
        if box.name == b"tfdt":
            decode_time = _read_tfdt(box.body)
        elif box.name == b"trun":
            offset, table = _read_trun(box.body, defaults, end, budget - first)
            runs.append(Run(first, len(table), offset, table.byte_count))
            tables.append(table)
            end, first = offset + runs[-1].size, first + len(table)
    joined = concatenate(tables)
    columns = (joined.durations, joined.composition, joined.sizes, joined.sync)
    filled = tuple(run for run in runs if run.count)
    return TrackFragment(*columns, defaults.track_id, decode_time, filled), end


def _read_tfdt(body: memoryview) -> int:
    fields = Fields(body, "'tfdt'")
    return fields.signed(8) if fields.version()[0] == 1 else fields.unsigned(4)


def _read_trun(
    body: memoryview, defaults: _TrackDefaults, end: int, budget: int
) -> tuple[int, SampleTable]:
    """Position in the file and samples of one run."""
    fields = Fields(body, "'trun'")
    _, flags = fields.version()
    count = fields.unsigned(4)
    offset = defaults.base + fields.signed(4) if flags & _Trun.DATA_OFFSET else end
    first_flags = fields.unsigned(4) if flags & _Trun.FIRST_FLAGS else None
    columns = [column for column in _COLUMNS if flags & column]
    if count > budget:
        raise Mp4Error(f"a fragment or segment claims more than {MAX_SAMPLES} samples")
    rows = fields.table(count * len(columns), ">u4").reshape(count, len(columns))
    table = _sample_table(dict(zip(columns, rows.T, strict=True)), count, defaults, first_flags)
    if table.byte_count > MAX_PAYLOAD:
        raise Mp4Error(f"a run of track {defaults.track_id} claims {table.byte_count} bytes")
    return offset, table


def _sample_table(
    columns: dict[_Trun, np.ndarray], count: int, defaults: _TrackDefaults, first_flags: int | None
) -> SampleTable:
    def column(flag: _Trun, default: int) -> np.ndarray:
        return columns[flag] if flag in columns else np.broadcast_to(np.uint32(default), count)

    sync = column(_Trun.FLAGS, defaults.flags) & _NON_SYNC == 0
    if first_flags is not None and count and _Trun.FLAGS not in columns:
        sync[0] = first_flags & _NON_SYNC == 0
    return SampleTable(
        column(_Trun.DURATION, defaults.duration).astype(np.int64),
        column(_Trun.COMPOSITION, 0).astype(np.uint32).view(np.int32),
        column(_Trun.SIZE, defaults.size).astype(np.uint32),
        sync,
    )
