"""The fragments of one media segment of a recording, as far as its bytes can be made sense of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import TrackKind
from pipelines.mp4.boxes import BoxHeader, Mp4Error, printable, read_header
from pipelines.mp4.fragments import MAX_BODIES, MAX_TABLES
from pipelines.mp4.framing import well_framed
from pipelines.mp4.movie_fragment import (
    MAX_PAYLOAD,
    MAX_SAMPLES,
    SPARE_SAMPLES,
    Fragment,
    TrackFragment,
    part_of,
    placed,
    read_movie_fragment,
    whole_samples,
)
from pipelines.mp4.movie_header import read_movie_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.mp4.movie_header import MovieHeader

#: How a ``moof`` begins behind its size: with its ``mfhd``, which has 16 bytes.
_MOOF = b"moof\x00\x00\x00\x10mfhd"
#: How often a ``moof`` is looked for behind damage, in one segment: bytes that were made to be
#: searched without end are given up.
MAX_SEARCHES = 256


@dataclass(frozen=True, eq=False)
class MediaSegment:
    """What could be read of a segment; ``damage`` says in words what first went wrong, if anything.

    Pictures that cannot be decoded, because one before them is lost, are left out too.
    """

    fragments: tuple[Fragment, ...]
    damage: str | None
    left_out: int  #: samples, as far as they can be counted
    ends_broken: bool  #: the last pictures are lost: those of the next segment may refer to them


def read_segment(movie: MovieHeader, data: bytes, position: int = 0) -> MediaSegment:
    """All whole samples of a segment, payloads as views of it; never an error.

    ``position`` is where it lies in its file, for explicit base data offsets.
    """
    reader = _SegmentReader(movie, data, position)
    reader.read()
    return MediaSegment(
        tuple(reader.fragments), reader.damage, reader.left_out, bool(reader.waiting)
    )


@dataclass(eq=False)
class _Open:
    """A ``moof`` and what came of its media data; offsets of its runs are positions in the file."""

    sequence: int
    tracks: tuple[TrackFragment, ...]
    extents: list[tuple[int, int]] = field(default_factory=list)
    bodies: list[memoryview] = field(default_factory=list)

    @property
    def samples(self) -> int:
        """Samples of all tracks."""
        return sum(len(track) for track in self.tracks)

    @property
    def size(self) -> int:
        """Bytes of media data."""
        return sum(len(body) for body in self.bodies)

    def whole(self) -> Fragment | None:
        """The fragment, if all its samples are there."""
        tracks = [placed(track, self.extents) for track in self.tracks]
        complete = tuple(track for track in tracks if track is not None)
        return self._fragment(complete) if len(complete) == len(tracks) else None

    def beginning(self) -> Fragment:
        """Of each track what is there up to the first sample that is not."""
        if self.samples > self.size + SPARE_SAMPLES:
            return self._fragment(())
        kept = [part_of(each, 0, whole_samples(each, self.extents)) for each in self.tracks]
        tracks = (placed(each, self.extents) for each in kept if len(each))
        return self._fragment(tuple(track for track in tracks if track is not None))

    def cut(self, end: int) -> None:
        """Its last media data ends at that position of the file, whatever its box says."""
        if self.extents and end < sum(self.extents[-1]):
            position, _ = self.extents[-1]
            size = max(0, end - position)
            self.extents[-1] = position, size
            self.bodies[-1] = self.bodies[-1][:size]

    def _fragment(self, tracks: tuple[TrackFragment, ...]) -> Fragment:
        payload = self.bodies[0] if len(self.bodies) == 1 else memoryview(b"".join(self.bodies))
        return Fragment(self.sequence, tracks, payload)


class _SegmentReader:
    """Walks the boxes of a segment; behind damage it goes on at the next ``moof``."""

    def __init__(self, movie: MovieHeader, data: bytes, position: int) -> None:
        self._movie = movie
        self._bytes = data
        self._data = memoryview(data)
        self._position = position
        self._at = 0
        self._open: _Open | None = None
        #: Whole, and not kept before the box behind it proves that its media data ends there.
        self._complete: _Open | None = None
        self._budget = MAX_SAMPLES
        self._searches = 0
        self._pictures = {t.track_id for t in movie.tracks if t.kind is TrackKind.VIDEO}
        self._length_sizes = {
            track.track_id: track.configuration.fact("nal_length_size") or 0
            for track in movie.tracks
            if track.configuration
        }
        self.fragments: list[Fragment] = []
        self.damage: str | None = None
        self.left_out = 0
        #: Tracks of pictures whose next can only be a key frame.
        self.waiting: set[int] = set()

    def read(self) -> None:
        """All of it."""
        while self._at < len(self._data):
            try:
                self._box()
            except Mp4Error as error:
                self._recover(str(error))
        self._keep_complete()
        self._end_open()

    def _box(self) -> None:
        header = read_header(self._data, self._at)
        if header is None:
            raise Mp4Error("it ends inside the header of a box")
        if not header.name.replace(b" ", b"").isalnum():
            raise Mp4Error(f"there is no box at byte {self._at}")
        end = self._at + header.size
        if header.name == b"mdat":
            self._media_data(header, end)
        elif end > len(self._data):
            raise Mp4Error(f"it ends inside its box {printable(header.name)!r}")
        elif header.name == b"moof":
            self._movie_fragment(header, end)
        elif header.name == b"moov":
            self._refuse_other_movie(self._data[self._at + header.header_size : end])
        else:
            self._keep_complete()
        self._at = end

    def _movie_fragment(self, header: BoxHeader, end: int) -> None:
        self._keep_complete()
        self._end_open()
        if header.size > MAX_TABLES:
            raise Mp4Error(f"its 'moof' of {header.size} bytes exceeds {MAX_TABLES}")
        body = self._data[self._at + header.header_size : end]
        found = read_movie_fragment(body, self._position + self._at, self._movie, self._budget)
        self._open = _Open(*found)
        self._budget -= self._open.samples

    def _media_data(self, header: BoxHeader, end: int) -> None:
        self._keep_complete()
        opened = self._open
        if opened is None:
            raise Mp4Error("media data without a fragment")
        begin = self._at + header.header_size
        body = self._data[begin:end]
        opened.bodies.append(body)
        opened.extents.append((self._position + begin, len(body)))
        if opened.size > MAX_PAYLOAD or len(opened.bodies) > MAX_BODIES:
            raise Mp4Error("a fragment has endless media data")
        if end > len(self._data):
            raise Mp4Error("it ends inside its media data")
        if opened.whole() is None:
            return  # the rest may be in a further box
        if opened.samples > opened.size + SPARE_SAMPLES:
            raise Mp4Error("a fragment claims more samples than its media data holds")
        self._complete, self._open = opened, None

    def _keep_complete(self) -> None:
        complete, self._complete = self._complete, None
        fragment = complete.whole() if complete else None
        if fragment is not None:
            self._keep(fragment)

    def _end_open(self) -> None:
        """Another fragment begins, or nothing more comes."""
        if self._open is not None:
            self._lose(self._open, "a fragment came without all of its media data")
            self._open = None

    def _recover(self, damage: str) -> None:
        """Go on at the next ``moof``, keeping what is whole of the fragment that ends here.

        That may lie in media data that was cut off: its box says how long it was to be.
        """
        self._searches += 1
        last, self._open, self._complete = self._open or self._complete, None, None
        inside = last.extents[-1][0] - self._position if last and last.extents else self._at + 5
        found = self._bytes.find(_MOOF, inside) if self._searches < MAX_SEARCHES else -1
        following = found - 4 if found >= 0 else len(self._data)
        if last is not None:
            last.cut(self._position + following)
        self._lose(last, damage)
        self._at = following

    def _lose(self, last: _Open | None, damage: str) -> None:
        """Something is lost here: keep what there is of the last fragment."""
        self.damage = self.damage or damage
        if last is not None:
            beginning = last.beginning()
            self.left_out += last.samples - sum(map(len, beginning.tracks))
            self._keep(beginning)
        self.waiting |= self._pictures

    def _refuse_other_movie(self, body: memoryview) -> None:
        """Refuse a header inside the segment that says anything else than its own."""
        own = [(track.track_id, track.sample_entry) for track in self._movie.tracks]
        found = read_movie_header(body).tracks
        if own != [(track.track_id, track.sample_entry) for track in found]:
            self._searches = MAX_SEARCHES
            raise Mp4Error("it holds the header of another movie")

    def _keep(self, fragment: Fragment) -> None:
        tracks = tuple(part for track in fragment.tracks for part in self._parts(track, fragment))
        if any(len(track) for track in tracks):
            self.fragments.append(replace(fragment, tracks=tracks))

    def _parts(self, track: TrackFragment, fragment: Fragment) -> Sequence[TrackFragment]:
        """The track without pictures that are damaged, or follow one that is lost."""
        if track.track_id not in self._pictures:
            return (track,)
        length_size = self._length_sizes.get(track.track_id)
        framed = np.ones(len(track), np.bool_)
        if length_size:
            framed = well_framed(track, fragment.payload, length_size)
        if framed.all() and track.track_id not in self.waiting:
            return (track,)
        if not framed.all():
            self.damage = self.damage or "the NAL units of a picture do not fill it"
        kept = self._decodable(track, framed)
        self.left_out += int((~kept).sum())
        return [part_of(track, begin, end) for begin, end in _stretches(kept)]

    def _decodable(self, track: TrackFragment, framed: np.ndarray) -> np.ndarray:
        """Which pictures do not depend on a lost one, as far as key frames tell, bool[n]."""
        kept = np.zeros(len(track), np.bool_)
        waits = track.track_id in self.waiting
        for number, (whole, key) in enumerate(zip(framed, track.sync, strict=True)):
            waits = not whole or (waits and not key)
            kept[number] = not waits
        self.waiting -= {track.track_id}
        self.waiting |= {track.track_id} if waits else set()
        return kept


def _stretches(kept: np.ndarray) -> Iterator[tuple[int, int]]:
    """Begin and end of the stretches of neighbours that are kept."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], kept, [False])).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
