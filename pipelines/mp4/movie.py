"""Writing the header of one progressive, faststart movie: ``ftyp``, ``moov``, start of ``mdat``."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import TrackKind
from pipelines.mp4.boxes import LONG_HEADER, SHORT_HEADER, Mp4Error, box, container, full_box
from pipelines.mp4.movie_header import UNITY_MATRIX
from pipelines.mp4.sample_boxes import (
    chunk_offsets,
    chunk_offsets_size,
    composition_offsets,
    sample_sizes,
    sample_to_chunk,
    sync_samples,
    time_to_sample,
)
from pipelines.mp4.samples import starts

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.mp4.movie_header import Edit

_EPOCH = datetime(1904, 1, 1, tzinfo=UTC)
_FOREVER = 1 << 32  # from here on a time needs 64 bits
_HANDLERS = {
    TrackKind.VIDEO: (b"vide", b"VideoHandler\0", full_box(b"vmhd", 0, 1, bytes(8))),
    TrackKind.AUDIO: (b"soun", b"SoundHandler\0", full_box(b"smhd", 0, 0, bytes(4))),
}
_SAME_FILE = box(b"dinf", full_box(b"dref", 0, 0, b"\0\0\0\1", full_box(b"url ", 0, 1)))


@dataclass(frozen=True, eq=False)
class MovieTrack:
    """One track of a movie to be written; numpy arrays, times in ticks of ``timescale``."""

    kind: TrackKind
    timescale: int
    sample_entry: bytes  #: the one sample description
    language: str  #: ISO 639-2/T, "und" when it is not known
    enabled: bool
    width: int  #: in pixels as shown; 0 for sound
    height: int
    duration: int
    time_counts: np.ndarray  #: runs of sample durations: how many samples …
    time_deltas: np.ndarray  #: … and how long each lasts
    composition_counts: np.ndarray | None  #: runs of pts minus dts; None when all are 0
    composition_offsets: np.ndarray | None
    sync_samples: np.ndarray | None  #: 1-based numbers; None when every sample is one
    sizes: np.ndarray  #: bytes of every sample
    chunk_offsets: np.ndarray  #: where each run of samples starts, counted from the payload's start
    chunk_samples: np.ndarray  #: how many samples each of these runs has
    edits: tuple[Edit, ...]
    matrix: bytes = UNITY_MATRIX  #: by which players turn the pictures


@dataclass(frozen=True)
class Movie:
    """A whole movie; ``creation_time`` comes from the recording, so that bytes are repeatable."""

    tracks: tuple[MovieTrack, ...]
    timescale: int
    creation_time: datetime | None


def write_header(
    movie: Movie,
    payload_size: int,
    begin: bytes = b"",
    filling: Callable[[int], int] = lambda size: 0,
) -> bytes:
    """``ftyp``, ``moov``, the 16-byte header of a 64-bit ``mdat``, and the payload's ``begin``.

    ``filling`` tells by how many bytes so many are to grow: 0, or what a ``free`` box needs, which
    then stands before the ``mdat``. The bytes depend on nothing but the arguments. Raises ``Mp4Error`` when tables contradict each
    other, reach beyond the payload, or hold what MP4 cannot say.
    """
    _check(movie, payload_size)
    head = _file_type(movie)
    tables = [_tables(track) for track in movie.tracks]
    unplaced = sum(map(len, [head, *_moov(movie, tables)])) + LONG_HEADER
    width, free, shift = _placement(movie, unplaced, payload_size, len(begin), filling)
    tables = [
        [*boxes, *chunk_offsets(track.chunk_offsets.astype(np.int64) + shift, width)]
        for track, boxes in zip(movie.tracks, tables, strict=True)
    ]
    movie = replace(movie, tracks=tuple(map(_without_tables, movie.tracks)))
    filled = box(b"free", bytes(free - SHORT_HEADER)) if free else b""
    payload = struct.pack(">I4sQ", 1, b"mdat", LONG_HEADER + payload_size)
    return b"".join([head, *_moov(movie, tables), filled, payload, begin])


def _without_tables(track: MovieTrack) -> MovieTrack:
    """What is told of a track beside its tables: those of a day take 100 MB, once they are boxes."""
    none = np.zeros(0, np.int64)
    return replace(
        track,
        time_counts=none,
        time_deltas=none,
        composition_counts=None,
        composition_offsets=None,
        sync_samples=None,
        sizes=none,
        chunk_offsets=none,
        chunk_samples=none,
    )


def _placement(
    movie: Movie, unplaced: int, payload_size: int, begun: int, filling: Callable[[int], int]
) -> tuple[int, int, int]:
    """Bytes of one chunk offset, of the ``free`` box, and before the payload when both are so."""
    counts = [len(track.chunk_offsets) for track in movie.tracks]

    def placed(width: int) -> tuple[int, int, int]:
        size = unplaced + sum(chunk_offsets_size(count, width) for count in counts)
        free = filling(size + begun)
        return width, free, size + free

    narrow = placed(4)
    return narrow if narrow[2] + payload_size <= 1 << 32 else placed(8)


def _check(movie: Movie, payload_size: int) -> None:
    for track in movie.tracks:
        _check_track(track, payload_size)


def _check_track(track: MovieTrack, payload_size: int) -> None:
    """Refuse what would be written wrong without a word; the sizes of runs are seen to later."""
    numbers = (track.duration, *(edit.duration for edit in track.edits))
    if min(numbers) < 0 or any(edit.media_time < -1 for edit in track.edits):
        raise Mp4Error("a track or an edit lasts less than nothing, or starts before its media")
    sides = (track.width, track.height)
    if track.timescale < 1 or min(sides) < 0 or max(sides) >= 1 << 16:
        raise Mp4Error(f"a track of {track.kind} has an impossible timescale or size")
    if len(track.matrix) != len(UNITY_MATRIX):
        raise Mp4Error(f"the matrix of a track of {track.kind} has no 36 bytes")
    _check_counts(track)
    if len(track.sizes):
        _check_extents(track, payload_size)


def _check_counts(track: MovieTrack) -> None:
    count = len(track.sizes)
    counted = {int(track.time_counts.sum()), int(track.chunk_samples.sum())}
    if track.composition_counts is not None:
        counted.add(int(track.composition_counts.sum()))
    if counted != {count}:
        raise Mp4Error(f"the tables of a track of {track.kind} count {counted} for {count} samples")
    if len(track.chunk_offsets) != len(track.chunk_samples):
        raise Mp4Error("there are not as many chunk offsets as chunks")
    numbers = track.sync_samples
    if numbers is not None and len(numbers) and not 0 < numbers.min() <= numbers.max() <= count:
        raise Mp4Error("a sync sample does not exist")


def _check_extents(track: MovieTrack, payload_size: int) -> None:
    if track.chunk_samples.min() < 1:
        raise Mp4Error("a chunk without samples cannot be written")
    ends = track.chunk_offsets + np.add.reduceat(
        track.sizes, starts(track.chunk_samples), dtype=np.int64
    )
    if track.chunk_offsets.min() < 0 or ends.max() > payload_size:
        raise Mp4Error(f"samples lie outside of the payload of {payload_size} bytes")


def _file_type(movie: Movie) -> bytes:
    brands = [b"isom", b"iso2"]
    if any(track.sample_entry[4:8] == b"avc1" for track in movie.tracks):
        brands.append(b"avc1")
    if any(_negative_composition(track) for track in movie.tracks):
        brands.append(b"iso4")
    return box(b"ftyp", b"isom", struct.pack(">I", 512), *brands, b"mp41")


def _negative_composition(track: MovieTrack) -> bool:
    offsets = track.composition_offsets
    return offsets is not None and len(offsets) > 0 and bool(offsets.min() < 0)


def _tables(track: MovieTrack) -> list[bytes]:
    """The boxes of ``stbl`` but for the chunk offsets, which depend on the size of all others."""
    boxes = [full_box(b"stsd", 0, 0, b"\0\0\0\1", track.sample_entry)]
    boxes += time_to_sample(track.time_counts, track.time_deltas)
    if track.composition_counts is not None and track.composition_offsets is not None:
        boxes += composition_offsets(track.composition_counts, track.composition_offsets)
    if track.sync_samples is not None:
        boxes += sync_samples(track.sync_samples)
    boxes += sample_to_chunk(track.chunk_samples)
    boxes += sample_sizes(track.sizes)
    return boxes


def _moov(movie: Movie, tables: list[list[bytes]]) -> list[bytes]:
    created = _seconds(movie.creation_time)
    sounds = sum(track.kind is TrackKind.AUDIO for track in movie.tracks)
    pieces = [_movie_header(movie, created)]
    for number, track in enumerate(movie.tracks, 1):
        group = int(track.kind is TrackKind.AUDIO and sounds > 1)
        parts = [_track_header(movie, track, number, group, created), *_edit_list(track)]
        parts += _media(track, created, tables[number - 1])
        pieces += container(b"trak", parts)
    return container(b"moov", pieces)


def _movie_header(movie: Movie, created: int) -> bytes:
    duration = max((_shown(movie, track) for track in movie.tracks), default=0)
    version, times = _times(created, struct.pack(">I", movie.timescale), duration)
    rate_and_volume = struct.pack(">IH", 1 << 16, 1 << 8) + bytes(10)
    next_track = struct.pack(">I", len(movie.tracks) + 1)
    rest = (rate_and_volume, UNITY_MATRIX, bytes(24), next_track)
    return full_box(b"mvhd", version, 0, times, *rest)


def _track_header(movie: Movie, track: MovieTrack, number: int, group: int, created: int) -> bytes:
    version, times = _times(created, struct.pack(">II", number, 0), _shown(movie, track))
    volume = 1 << 8 if track.kind is TrackKind.AUDIO else 0
    placing = struct.pack(">8xHHHH", 0, group, volume, 0)
    size = struct.pack(">II", track.width << 16, track.height << 16)
    flags = 0b011 if track.enabled else 0b010  # enabled, in movie
    return full_box(b"tkhd", version, flags, times, placing, track.matrix, size)


def _shown(movie: Movie, track: MovieTrack) -> int:
    """How long the track is presented, in ticks of the movie."""
    if track.edits:
        return sum(edit.duration for edit in track.edits)
    return -(-track.duration * movie.timescale // track.timescale)


def _edit_list(track: MovieTrack) -> list[bytes]:
    if not track.edits:
        return []
    wide = any(
        edit.duration >= _FOREVER or edit.media_time >= _FOREVER >> 1 for edit in track.edits
    )
    row = ">QqI" if wide else ">IiI"
    rows = [struct.pack(row, edit.duration, edit.media_time, 1 << 16) for edit in track.edits]
    count = struct.pack(">I", len(rows))
    return [box(b"edts", full_box(b"elst", int(wide), 0, count, *rows))]


def _media(track: MovieTrack, created: int, tables: list[bytes]) -> list[bytes]:
    handler, name, media_header = _HANDLERS[track.kind]
    version, times = _times(created, struct.pack(">I", track.timescale), track.duration)
    language = struct.pack(">HH", _language(track.language), 0)
    parts = [
        full_box(b"mdhd", version, 0, times, language),
        full_box(b"hdlr", 0, 0, bytes(4), handler, bytes(12), name),
        *container(b"minf", [media_header, _SAME_FILE, *container(b"stbl", tables)]),
    ]
    return container(b"mdia", parts)


def _times(created: int, between: bytes, duration: int) -> tuple[int, bytes]:
    """Version 1 only when it must be, and creation, modification, ``between`` and duration."""
    wide = max(created, duration) >= _FOREVER
    row = ">Q" if wide else ">I"
    stamp = struct.pack(row, created)
    return int(wide), stamp + stamp + between + struct.pack(row, duration)


def _seconds(moment: datetime | None) -> int:
    """Whole seconds since 1904 (ISO/IEC 14496-12, 8.2.2), 0 when unknown."""
    if moment is None:
        return 0
    if moment.tzinfo is None or moment < _EPOCH:
        raise Mp4Error("the creation time needs a time zone and lies after 1904")
    return int((moment - _EPOCH).total_seconds())


def _language(code: str) -> int:
    letters = [ord(letter) - 0x60 for letter in code]
    if len(letters) != 3 or not all(1 <= letter <= 26 for letter in letters):
        raise Mp4Error(f"language {code!r} is no ISO 639-2 code")
    return letters[0] << 10 | letters[1] << 5 | letters[2]
