"""What every run of a rendition is like, and the one layout of tracks that is to serve them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

from pipelines.media import Codec, TrackKind
from pipelines.mp4.sample_entry import configuration_fingerprint, read_sample_entry
from pipelines.packaged_slice import TrackMade
from pipelines.picture_format import PLAIN, PictureFormat, entry_format
from pipelines.rendition_layout import OddRun, RenditionLayout, TrackLayout
from pipelines.sequence_header import frame_rate
from pipelines.sound_run import TRACK_NUMBERS
from pipelines.transcoding.encoding import VideoEncoding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pipelines.packaged_slice import PackagedRun, PackagedTrack

#: Seconds of a run that may lack sound: a hole so short is filled where the movie is put together.
TOLERATED_SILENCE = Fraction(1, 2)
#: Ticks per second from which on times of pictures are exact enough to be rounded to, a 20th of a
#: millisecond: MPEG-TS has 90,000, fragmented MP4 of the same encoder some other number.
FINE = 10_000
#: In the place of a fingerprint: pictures that a transcode has made, which are alike in all slices.
_ENCODED = "encoded"


@dataclass(frozen=True)
class MainPictures:
    """The pictures of most of a rendition's media, as they lie in the file."""

    codec: Codec
    profile: int | None  #: profile_idc or its like; None where the sample entry does not tell
    width: int  #: pixels as stored
    height: int
    rate: Fraction  #: frames/s, on average where the sample entry does not tell
    bitrate: int  #: bit/s on average
    format: PictureFormat = PLAIN


#: How pictures are encoded that must become like those.
EncodingOf: TypeAlias = Callable[[MainPictures], VideoEncoding]


@dataclass(frozen=True)
class Likeness:
    """What samples must have in common to lie in one track of a movie."""

    fingerprint: str  #: of the sample entry, see ``configuration_fingerprint``
    timescale: int  #: ``FINE`` for pictures whose times fit any other fine one
    matrix: bytes

    @classmethod
    def of(cls, track: PackagedTrack) -> Likeness:
        """The likeness of a packaged track."""
        encoded = track.made is TrackMade.ENCODED and track.kind is TrackKind.VIDEO
        fingerprint = _ENCODED if encoded else configuration_fingerprint(track.sample_entry)
        # Encoders write the ticks into their parameter sets.
        fine = track.kind is TrackKind.VIDEO and not encoded and track.timescale >= FINE
        return cls(fingerprint, FINE if fine else track.timescale, track.matrix)


@dataclass(frozen=True)
class _Stretch:
    """A track of one run, without its samples."""

    number: int  #: PID or track_ID
    name: str
    likeness: Likeness
    first: TrackLayout  #: what the layout's track would be, were it like this one
    seconds: Fraction
    samples: int
    size: int  #: bytes
    words: str  #: what it is like, for people


@dataclass(frozen=True)
class _Run:
    slice_number: int
    sequence: int
    piece: int
    stretches: tuple[_Stretch, ...]

    @property
    def seconds(self) -> Fraction:
        """Seconds of its longest track."""
        return max((each.seconds for each in self.stretches), default=Fraction(0))

    @property
    def names(self) -> dict[int, str]:
        """Its tracks by PID or track_ID."""
        return {each.number: each.name for each in self.stretches}


class Census:
    """Takes note of every run of a rendition, in order; memory grows with runs, not with samples."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._last_sequences: dict[int, int | None] = {}  # by slice

    def note(self, slice_number: int, run: PackagedRun, names: Mapping[int, str]) -> None:
        """Take note of a run whose tracks (PID or track_ID) go on as the named ones of the movie."""
        stretches = tuple(
            _stretch(track, names[track.track]) for track in run.tracks if len(track.samples)
        )
        self._runs.append(_Run(slice_number, run.first_sequence, run.piece, stretches))

    def end_slice(self, number: int, last_sequence: int | None) -> None:
        """Say that a slice has no more runs, and the media sequence of its last segment."""
        self._last_sequences[number] = last_sequence

    def layout(self, encoding_of: EncodingOf) -> RenditionLayout | None:
        """The layout to which odd runs must be conformed; None when every run fits as it is.

        Each track is what most of its media is like, the first of equals. Runs without a track of
        sound that others have are odd too, runs without pictures are not: the last one is held.
        ``encoding_of`` is asked only when pictures must be encoded, and may raise as it likes.
        """
        mains = self._mains()
        odd = [
            (run, replace(found, until=self._until(run, following)))
            for run, following in zip(self._runs, [*self._runs, None][1:], strict=True)
            if (found := _odd_run(run, mains))
        ]
        if not odd:
            return None
        encoded = {name for _, each in odd for name in each.odd}
        tracks = tuple(
            self._track(name, main, encoding_of, encoded=name in encoded)
            for name, main in mains.items()
        )
        slices: dict[int, tuple[OddRun, ...]] = {}
        for run, each in odd:
            slices[run.slice_number] = (*slices.get(run.slice_number, ()), each)
        return RenditionLayout(tracks, slices)

    def reasons(self) -> tuple[str, ...]:
        """For people, what differs from the layout, each with the first segment where it does."""
        mains = self._mains()
        found: dict[str, int] = {}
        for run in self._runs:
            for words in _differences(run, mains):
                found.setdefault(words, run.sequence)
        return tuple(f"{words} (first at segment {at})" for words, at in found.items())

    def _until(self, run: _Run, following: _Run | None) -> tuple[int, int] | None:
        """The segment, and the piece of it, behind a run; None when its slice has not told."""
        if following is not None and following.slice_number == run.slice_number:
            return following.sequence, following.piece
        last = self._last_sequences.get(run.slice_number)
        return None if last is None else (last + 1, 0)

    def _mains(self) -> dict[str, _Stretch]:
        """Of every track, in the order of the movie's, the first stretch of the main likeness."""
        seconds: dict[str, dict[Likeness, Fraction]] = {}
        firsts: dict[tuple[str, Likeness], _Stretch] = {}
        for each in self._stretches():
            by_likeness = seconds.setdefault(each.name, {})
            before = by_likeness.get(each.likeness, Fraction(0))
            by_likeness[each.likeness] = before + each.seconds
            firsts.setdefault((each.name, each.likeness), each)
        ordered = sorted(
            seconds.items(), key=lambda item: (item[0] != "video", len(item[0]), item[0])
        )
        return {
            name: firsts[name, max(counted, key=lambda likeness: counted[likeness])]
            for name, counted in ordered
        }

    def _stretches(self) -> Iterator[_Stretch]:
        for run in self._runs:
            yield from run.stretches

    def _track(
        self, name: str, main: _Stretch, encoding_of: EncodingOf, *, encoded: bool
    ) -> TrackLayout:
        if not encoded or main.first.kind is not TrackKind.VIDEO:
            return main.first
        alike = [
            each
            for each in self._stretches()
            if each.name == name and each.likeness == main.likeness
        ]
        return replace(main.first, video=encoding_of(_main_pictures(main, alike)))


def _stretch(track: PackagedTrack, name: str) -> _Stretch:
    layout = TrackLayout(
        name,
        track.codec,
        track.timescale,
        track.sample_entry,
        track.language,
        track.width,
        track.height,
        matrix=track.matrix,
    )
    samples = track.samples
    span = int(samples.dts[-1] - samples.dts[0]) + samples.last_duration
    return _Stretch(
        track.track,
        name,
        Likeness.of(track),
        layout,
        Fraction(span, track.timescale),
        len(samples),
        int(samples.sizes.sum(dtype="int64")),
        _words(track),
    )


def _odd_run(run: _Run, mains: Mapping[str, _Stretch]) -> OddRun | None:
    """What of a run must be conformed; None when nothing must."""
    odd = {
        each.name: each.words
        for each in run.stretches
        if each.likeness != mains[each.name].likeness
    }
    absent = _absent(run, mains)
    if not odd and not absent:
        return None
    return OddRun(run.sequence, run.piece, run.names, tuple(odd), absent, odd)


def _absent(run: _Run, mains: Mapping[str, _Stretch]) -> tuple[str, ...]:
    """The tracks of sound that a run lacks for longer than is tolerated.

    Sound in playlists of its own is cut elsewhere than pictures: what a run lacks of it another
    one may hold, and only the finished track tells where there is none.
    """
    if run.seconds <= TOLERATED_SILENCE:
        return ()
    present = set(run.names.values())
    return tuple(
        name
        for name, main in mains.items()
        if main.first.kind is TrackKind.AUDIO
        and name not in present
        and main.number < TRACK_NUMBERS
    )


def _differences(run: _Run, mains: Mapping[str, _Stretch]) -> Iterator[str]:
    for each in run.stretches:
        main = mains[each.name]
        if each.likeness != main.likeness:
            yield f"{each.name} is {_apart(each, main)}"
    for name in _absent(run, mains):
        yield f"{name} is absent"


def _apart(other: _Stretch, main: _Stretch) -> str:
    """For people, what sets a stretch apart from the main one."""
    if other.words != main.words:
        return f"{other.words} instead of {main.words}"
    if other.likeness.matrix != main.likeness.matrix:
        return f"{other.words} that players turn otherwise"
    if other.likeness.fingerprint == main.likeness.fingerprint:
        ticks = f"{other.first.timescale} ticks per second"
        return f"{other.words} at {ticks} instead of {main.first.timescale}"
    if main.first.kind is TrackKind.VIDEO:
        return f"{other.words} with other parameter sets than the rest"
    return f"{other.words} with another decoder configuration than the rest"


def _main_pictures(main: _Stretch, alike: Iterable[_Stretch]) -> MainPictures:
    facts = _facts(main.first.sample_entry)
    counted = [(each.samples, each.size, each.seconds) for each in alike]
    seconds = sum((length for *_, length in counted), Fraction(0)) or Fraction(1)
    return MainPictures(
        main.first.codec,
        facts.get("profile"),
        facts["width"],
        facts["height"],
        frame_rate(facts) or Fraction(sum(samples for samples, *_ in counted)) / seconds,
        round(8 * sum(size for _, size, _ in counted) / seconds),
        entry_format(main.first.sample_entry),
    )


def _facts(entry: bytes) -> dict[str, int]:
    configuration = read_sample_entry(entry).configuration
    return dict(configuration.facts) if configuration else {}


def _words(track: PackagedTrack) -> str:
    """What a track is like, in a few words."""
    facts = _facts(track.sample_entry)
    if track.kind is TrackKind.VIDEO:
        return f"{track.codec} {facts.get('width', 0)}x{facts.get('height', 0)}"
    channels = facts.get("channels")
    told = [f"{facts['sample_rate']} Hz"] if "sample_rate" in facts else []
    told += [f"{channels} channel{'' if channels == 1 else 's'}"] if channels else []
    return " ".join((track.codec, *told))
