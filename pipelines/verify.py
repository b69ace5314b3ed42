"""The proof that a rendition lost nothing: the object read back against the source's own index."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from threading import Event, Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipelines.entry_points import EntryPoints
from pipelines.errors import ErrorCode, ToolError
from pipelines.media import Codec, TrackKind
from pipelines.mp4.movie_reader import ParsedTrack, read_tracks, top_level_boxes
from pipelines.mp4.sample_entry import configuration_fingerprint, read_sample_entry
from pipelines.payload_hash import payload_hash
from pipelines.playback import play
from pipelines.sample_proof import compare_sizes
from pipelines.segment_index import NO_TIME, TS_TIMESCALE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pipelines.assemble import AssembledObject
    from pipelines.expected_track import ExpectedTrack
    from pipelines.object_store import ObjectHead, ObjectStore
    from pipelines.payload_groups import PayloadGroups

#: Places besides the seams at which payload is read back in a sampled verification, of all tracks.
SAMPLED_PLACES = 64
#: Bytes of the header that are read back at once.
HEADER_PIECE = 16 << 20
#: Bytes of neighbouring groups of samples that are read back as one range.
RANGE_BYTES = 4 << 20
#: Samples whose places are compared at once.
PLACES_AT_ONCE = 1 << 18
#: Ranges that are read back at once.
READERS = 8
#: Ticks of 90 kHz by which a presentation time may differ from the source's.
TOLERANCE_TICKS = 2
#: Holes of the first track that are played, and of each other one.
PLAYED_HOLES, OTHER_HOLES = 64, 8
#: Seams that are played in a sampled verification: of more, as many, spread evenly. What is wrong at
#: one alone, the hashes show; decoding, whose time would grow with the recording's length, shows
#: what is wrong at all of them.
PLAYED_SEAMS = 3
#: Seconds by which sound that is rebuilt frame by frame may differ from the source's clock.
STEADY_SECONDS = 0.002


class Thoroughness(StrEnum):
    """How much of the payload is read back: samples of it, or every byte."""

    SAMPLED = "sampled"
    FULL = "full"


@dataclass(frozen=True)
class TrackProof:
    """What was proven of one track.

    ``copied``, ``encoded`` and ``inserted`` samples are all that the object has; ``copied``,
    ``encoded``, ``dropped`` and ``repeated`` units are all that the source has, ``expected``.
    """

    name: str
    codec: str
    language: str  #: ISO 639-2/T
    expected: int  #: units in the source's index
    copied: int  #: of which as many are samples as they are
    encoded: int  #: samples that were encoded anew
    inserted: int  #: frames of silence that stand for nothing in the source
    dropped: int  #: units that nothing before them lets a decoder read
    repeated: int  #: units that came twice, and are kept once
    seconds: float


@dataclass(frozen=True)
class Undecoded:
    """Pictures (or sounds) of the source, bit by bit, of which a decoder does not show all."""

    track: str
    at: float  #: media seconds at which the stretch begins that was played
    units: int  #: of that stretch that do not come out
    said: str  #: the decoder's first complaint


@dataclass(frozen=True)
class Proof:
    """What was compared and found equal; there is none for an object that differs anywhere."""

    tracks: tuple[TrackProof, ...]
    duration: float  #: seconds, the longest track as presented
    start_skew: float  #: seconds by which sound starts after the picture (negative: before)
    end_skew: float
    seams: int
    ranges: int
    bytes_read: int
    undecoded: tuple[Undecoded, ...]
    checksum: str | None


class _Group(NamedTuple):
    """Neighbouring samples of a track, with the hash that was taken when they were packaged."""

    offset: int  #: in the payload; of silence, which precedes it: negative
    size: int
    hash: int

    @property
    def end(self) -> int:
        """Where the byte behind them lies."""
        return self.offset + self.size


@dataclass(frozen=True)
class _Tracks:
    """What the tables and the pictures of all tracks have shown."""

    proofs: tuple[TrackProof, ...]
    undecoded: tuple[Undecoded, ...]
    presented: Mapping[str, tuple[float, float]]  #: from when to when each is seen or heard, s


def _spread(places: Sequence[int], most: int) -> list[int]:
    """Places, or as many of them as allowed, spread evenly."""
    if len(places) <= most:
        return list(places)
    return [places[round(at)] for at in np.linspace(0, len(places) - 1, most)]


def _differs(what: str) -> ToolError:
    return ToolError(ErrorCode.VERIFICATION_FAILED, what)


class Verification:
    """Reads one assembled object back and compares; raises ``ToolError`` at the first difference.

    Needs nothing that packaging decided: counts, key flags and times come from the index of the
    source's bytes, hashes were taken before upload, the checksum is the store's own.
    """

    def __init__(
        self,
        store: ObjectStore,
        made: AssembledObject,
        ffmpeg: str,
        thoroughness: Thoroughness,
        checkpoint: Callable[[], None],
    ) -> None:
        self._store = store
        self._made = made
        self._ffmpeg = ffmpeg
        self._thoroughness = thoroughness
        self._checkpoint = checkpoint
        self._counting = Lock()
        self._refused = Event()
        self._bytes_read = 0

    def prove(self) -> Proof:
        """Compare everything; the proof, or ``verification_failed``."""
        head = self._store.head(self._made.location)
        self._check_object(head)
        self._check_header()
        with ThreadPoolExecutor(1, thread_name_prefix="verify") as beside:
            payload = beside.submit(self._check_payload)
            try:
                tracks = self._check_tracks()
            except BaseException:
                if self._thoroughness is Thoroughness.FULL:
                    self._refused.set()  # else all of it would still be read
                raise
            finally:  # bytes that differ say more than what follows from them
                ranges = payload.result()
        return Proof(
            tracks=tracks.proofs,
            duration=max(end for _, end in tracks.presented.values()),
            start_skew=_skew(tracks.presented, 0),
            end_skew=_skew(tracks.presented, 1),
            seams=max(0, len(self._made.tables.seams) - 1),
            ranges=ranges,
            bytes_read=self._bytes_read,
            undecoded=tracks.undecoded,
            checksum=head.checksum_crc32,
        )

    def _read(self, start: int, length: int) -> bytes:
        data = self._store.read(self._made.location, start=start, length=length)
        if len(data) != length:
            raise _differs(f"{self._made.location} ends before byte {start + length}")
        with self._counting:
            self._bytes_read += length
        return data

    def _check_header(self) -> None:
        """Read all that precedes the payload back, and compare: of days it has 100 MB and more."""
        header = memoryview(self._made.header)
        for begin in range(0, len(header), HEADER_PIECE):
            piece = header[begin : begin + HEADER_PIECE]
            if self._read(begin, len(piece)) != piece:
                message = f"the header of {self._made.location} is not the one that was written"
                raise _differs(message)

    def _check_object(self, head: ObjectHead) -> None:
        made = self._made
        size = len(made.header) + made.layout.payload_size
        if head.size != size:
            raise _differs(f"{made.location} has {head.size} bytes instead of {size}")
        told, ours = head.checksum_crc32, made.checksum
        # Some stores leave out the number of parts that AWS appends.
        if told and ours and told.partition("-")[0] != ours.partition("-")[0]:
            raise _differs(f"the checksum of {made.location} is not that of its parts")

    def _parsed(self) -> tuple[int, Iterator[tuple[str, ParsedTrack]]]:
        """The movie's timescale and its tracks by name, of a header that was read back."""
        header = self._made.header
        boxes = {box.name: box for box in top_level_boxes(header)}
        moov, mdat = boxes.get("moov"), boxes.get("mdat")
        if moov is None or mdat is None or moov.offset > mdat.offset:
            raise _differs(f"{self._made.location} does not begin with its moov")
        movie, tracks = read_tracks(memoryview(header)[moov.offset : moov.end])
        names = self._made.tables.ordered_names()
        if len(names) != len(movie.tracks):
            raise _differs(f"{self._made.location} has {len(movie.tracks)} tracks")
        # No zip: it would hold on to a track until it has read the next.
        return movie.timescale, ((name, next(tracks)) for name in names)

    def _check_tracks(self) -> _Tracks:
        """Compare the tables of each track with the source's index, and play the track."""
        scale, tracks = self._parsed()
        proofs: list[TrackProof] = []
        undecoded: list[Undecoded] = []
        presented: dict[str, tuple[float, float]] = {}
        for name, track in tracks:  # one at a time: a track of a day takes 200 MB
            proofs.append(self._check_track(name, track, scale))
            undecoded += self._play(name, track, scale, first=not presented)
            presented[name] = _presented(track, scale)
            del track
        return _Tracks(tuple(proofs), tuple(undecoded), presented)

    def _check_track(self, name: str, track: ParsedTrack, movie_timescale: int) -> TrackProof:
        expected = self._made.tables.expected[name]
        check_samples(name, track, movie_timescale, expected)
        check_configuration(name, track, expected)
        header = len(self._made.header)
        check_places(name, track, self._made.tables.groups[name], header)
        check_silence(name, track, expected, header - len(self._made.tables.silence), header)
        start, end = _presented(track, movie_timescale)
        first = self._made.tables.tracks[name].first
        source = expected.copied + expected.encoded + expected.dropped + expected.repeated
        return TrackProof(
            name=name,
            codec=first.codec,  # the entry of MP2 is that of MP3
            language=first.language,
            expected=source,
            copied=expected.copied,
            encoded=expected.encoded,
            inserted=expected.silent,
            dropped=expected.dropped,
            repeated=expected.repeated,
            seconds=round(end - start, 6),
        )

    def _check_payload(self) -> int:
        """Read groups of samples back and compare their hashes with those taken at packaging; how
        many ranges that were."""
        ranges = list(_neighbours(sorted(self._chosen_groups())))
        with ThreadPoolExecutor(READERS, thread_name_prefix="verify") as pool:
            for _ in pool.map(self._check_groups, ranges):
                pass
        return len(ranges)

    def _check_groups(self, groups: Sequence[_Group]) -> None:
        """Read groups of samples back that lie one behind the other."""
        if self._refused.is_set():
            return
        self._checkpoint()
        first = groups[0].offset
        header = len(self._made.header)
        data = memoryview(self._read(header + first, groups[-1].end - first))
        for group in groups:
            if payload_hash(data[group.offset - first : group.end - first]) != group.hash:
                raise _differs(
                    f"bytes {header + group.offset}–{header + group.end - 1} of "
                    f"{self._made.location} are not those that were packaged"
                )

    def _confirm(self, name: str, track: ParsedTrack, samples: np.ndarray) -> None:
        """Read the groups back in which samples of a track lie."""
        offsets = np.sort(track.offsets[samples] - len(self._made.header))
        found = 0
        for groups in self._made.tables.groups[name]:
            first = np.searchsorted(offsets, groups.offsets)
            counts = np.searchsorted(offsets, groups.offsets + groups.sizes) - first
            for at in np.flatnonzero(counts).tolist():
                self._check_groups([_group(groups, at)])
            found += int(counts.sum())
        if found != len(samples):
            raise _differs(f"{name}: {len(samples) - found} samples lie where none were packaged")

    def _chosen_groups(self) -> Iterator[_Group]:
        tracks = self._made.tables.groups.values()
        for groups in tracks:
            yield from _chosen(groups, SAMPLED_PLACES // len(tracks), self._thoroughness)

    def _play(
        self, name: str, track: ParsedTrack, movie_timescale: int, *, first: bool
    ) -> Iterator[Undecoded]:
        """Play a track around places where it was put together: of the first track its start, its
        end, seams and holes, of others a few holes; of all, what was encoded."""
        tables = self._made.tables
        expected = tables.expected[name]
        edges = (*tables.tracks[name].edges, *expected.changes)
        places = _spread(sorted(set(edges)), PLAYED_HOLES if first else OTHER_HOLES)
        if first:
            seams = [seam.get(name, 0) for seam in tables.seams[1:]]
            if self._thoroughness is Thoroughness.SAMPLED:
                seams = _spread(seams, PLAYED_SEAMS)
            places = [0, *seams, *places, len(track) - 1]
        shift = _media_start(track, movie_timescale)
        confirm = partial(self._confirm, name, track)
        played = play(
            track, places, expected.own, self._read, confirm, self._ffmpeg, self._checkpoint
        )
        for each in played:
            at = (int(track.pts[each.first]) + shift) / track.header.timescale
            yield Undecoded(name, max(0.0, at), each.units, each.said)


def check_samples(
    name: str, track: ParsedTrack, movie_timescale: int, expected: ExpectedTrack
) -> None:
    """Compare a track that was read back with the source's index: counts, key flags, sizes, times.

    Raises ``ToolError`` (``verification_failed``).
    """
    if len(track) != len(expected):
        raise _differs(f"{name}: {len(expected)} samples are expected, the object has {len(track)}")
    shift, scale = _media_start(track, movie_timescale), track.header.timescale
    check_entries(name, track, expected)
    for first, units in expected.units():
        own = slice(first, first + len(units))
        compare_sizes(track.sizes[own], units.sizes, name)
        pts = units.pts
        off = np.where(pts == NO_TIME, 0, np.abs(track.pts[own] + shift - pts)) / scale
        if float(off.max()) > _tolerance(track):
            at = int(np.argmax(off))
            raise _differs(
                f"{name}: sample {first + at} is shown {float(off[at]) * 1000:.3f} ms from its "
                "source time"
            )


def check_entries(name: str, track: ParsedTrack, expected: ExpectedTrack) -> None:
    """Compare the key frames that a track lists with those of the source's index.

    Raises ``ToolError`` (``verification_failed``).
    """
    entries = EntryPoints(track.header.timescale)
    due = np.zeros(len(expected), np.bool_)
    for first, units in expected.units():
        own = slice(first, first + len(units))
        due[own] = units.sync
        entries.append(track.pts[own], units.sync)
    if track.header.codec is Codec.H264:
        due[entries.left_out()] = False
    if not np.array_equal(track.sync, due):
        at = int(np.flatnonzero(track.sync != due)[0])
        raise _differs(f"{name}: sample {at} has another key flag than the source")


def check_places(
    name: str, track: ParsedTrack, runs: Sequence[PayloadGroups], header_bytes: int
) -> None:
    """Check that every sample lies inside a group that was hashed when it was packaged; silence lies
    before them, in the header.

    Raises ``ToolError`` (``verification_failed``).
    """
    begins = np.concatenate([groups.offsets for groups in runs])
    ends = begins + np.concatenate([groups.sizes for groups in runs])
    order = np.argsort(begins, kind="stable")
    begins, ends = begins[order], ends[order]
    for first in range(0, len(track), PLACES_AT_ONCE):
        piece = slice(first, first + PLACES_AT_ONCE)
        offsets = track.offsets[piece] - header_bytes
        group = np.searchsorted(begins, offsets, "right") - 1
        inside = (group >= 0) & (offsets + track.sizes[piece] <= ends[group])
        outside = np.flatnonzero((offsets >= 0) & ~inside)
        if len(outside):
            message = f"{name}: sample {first + int(outside[0])} lies where none was packaged"
            raise _differs(message)


def check_configuration(name: str, track: ParsedTrack, expected: ExpectedTrack) -> None:
    """Check that a track's one sample entry tells all that the entry of each of its runs does, and
    no parameter set besides; those were compared with the source's own.

    Raises ``ToolError`` (``verification_failed``).
    """
    entry = track.header.sample_entry
    if track.header.codec in (Codec.H264, Codec.HEVC):
        same = _parameter_sets([entry]) == _parameter_sets(expected.entries)
    else:
        same = configuration_fingerprint(entry) in map(configuration_fingerprint, expected.entries)
    if expected.entries and not same:
        raise _differs(f"{name}: its sample entry tells a decoder something else than its runs")


def _parameter_sets(entries: Iterable[bytes]) -> set[bytes]:
    found = (read_sample_entry(entry).configuration for entry in entries)
    return {unit for each in found if each for _, unit in each.parameter_sets}


def check_silence(
    name: str, track: ParsedTrack, expected: ExpectedTrack, begin: int, end: int
) -> None:
    """Check that silence, whose bytes lie from ``begin`` to ``end``, sounds where it was put in and
    nowhere else, and that it was put in where the source's index has nothing.

    Raises ``ToolError`` (``verification_failed``).
    """
    silent = (track.offsets >= begin) & (track.offsets < end)
    if not np.array_equal(silent, expected.inserted):
        raise _differs(f"{name}: silence lies elsewhere than where it was put in")
    if not silent.any():
        return
    inner = track.durations[:-1][silent[1:] & silent[:-1]]
    frame = float(np.append(inner, np.median(track.durations)).min())
    told = {  # the last frame of a source, or of silence, may be told shorter
        first + len(units) - 1: units.last_duration for first, units in expected.units()
    }
    beside = np.flatnonzero(silent[1:] | silent[:-1])
    pts = expected.pts
    begins, ends = pts[beside], pts[beside + 1]
    known = (begins != NO_TIME) & (ends != NO_TIME)
    lasts = np.array([min(frame, told.get(each, frame)) for each in beside.tolist()])
    early = (lasts - (ends - begins)) / track.header.timescale > STEADY_SECONDS
    if (early & known).any():
        raise _differs(f"{name}: silence was put in where the source has sound")


def _tolerance(track: ParsedTrack) -> float:
    ticks = TOLERANCE_TICKS / TS_TIMESCALE + 2 / track.header.timescale
    return ticks + (STEADY_SECONDS if track.header.kind is TrackKind.AUDIO else 0.0)


def _media_start(track: ParsedTrack, movie_timescale: int) -> int:
    """Track ticks that the edit list adds to sample times: pause before, media time skipped."""
    header = track.header
    pause = sum(edit.duration for edit in header.edits if edit.media_time < 0)
    skipped = next((edit.media_time for edit in header.edits if edit.media_time >= 0), 0)
    return round(pause * header.timescale / movie_timescale) - skipped


def _presented(track: ParsedTrack, movie_timescale: int) -> tuple[float, float]:
    """From when to when the track is seen or heard, seconds."""
    scale, shift = track.header.timescale, _media_start(track, movie_timescale)
    end = int((track.pts + track.durations).max()) + shift
    return max(0, int(track.pts.min()) + shift) / scale, end / scale


def _skew(presented: Mapping[str, tuple[float, float]], edge: int) -> float:
    if "video" not in presented or "audio" not in presented:
        return 0.0
    return round(presented["audio"][edge] - presented["video"][edge], 6)


def _chosen(runs: list[PayloadGroups], places: int, thoroughness: Thoroughness) -> Iterator[_Group]:
    """The groups to read back: the first of each run, the very last, and so many spread evenly; or
    all.

    The store has confirmed the bytes themselves, and ``check_places`` that each sample lies in a
    group: what is left to be shown is that the groups of each run lie where they are taken to.
    """
    total = sum(len(run.offsets) for run in runs)
    spread = {round(place) for place in np.linspace(0, max(0, total - 1), max(2, places))}
    before = 0
    for run in runs:
        for position in range(len(run.offsets)):
            sampled = position == 0 or before + position in spread
            if sampled or thoroughness is Thoroughness.FULL:
                yield _group(run, position)
        before += len(run.offsets)


def _group(groups: PayloadGroups, at: int) -> _Group:
    return _Group(int(groups.offsets[at]), int(groups.sizes[at]), int(groups.hashes[at]))


def _neighbours(groups: Iterable[_Group]) -> Iterator[list[_Group]]:
    """Groups, in order, that are read together since they lie one behind the other."""
    together: list[_Group] = []
    for group in groups:
        if together and (
            group.offset != together[-1].end or group.end - together[0].offset > RANGE_BYTES
        ):
            yield together
            together = []
        together.append(group)
    if together:
        yield together
