"""The ``moov`` box without its tables: tracks, clocks, edit lists and defaults for fragments."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pipelines.media import Codec, Configuration, TrackKind
from pipelines.mp4.boxes import Fields, Mp4Error, find, printable, require, walk
from pipelines.mp4.sample_entry import ENCRYPTED, SampleEntry, read_sample_entry, without_bit_rate

_HANDLERS = {b"vide": TrackKind.VIDEO, b"soun": TrackKind.AUDIO}
_UNDETERMINED = "und"
#: A transformation matrix (ISO/IEC 14496-12, 6.2.2) that turns and moves nothing.
UNITY_MATRIX = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
#: Most tracks of one movie.
MAX_TRACKS = 256


@dataclass(frozen=True)
class Edit:
    """One entry of an edit list (``elst``, ISO/IEC 14496-12, 8.6.6); its rate is taken as 1."""

    duration: int  #: in ticks of the movie; 0 in a fragmented movie means "all there is"
    media_time: int  #: in ticks of the track; -1 is an empty edit: nothing is shown


@dataclass(frozen=True)
class SampleDefaults:
    """What ``trex`` says of samples of which a fragment says nothing."""

    duration: int = 0
    size: int = 0
    flags: int = 0


@dataclass(frozen=True)
class TrackHeader:
    """One track of a ``moov``; ``codec`` is None when it is none that we can carry."""

    track_id: int
    kind: TrackKind | None  #: None for anything but pictures and sound
    enabled: bool
    timescale: int
    duration: int  #: mdhd, in ticks of the track; 0 in a fragmented movie
    language: str  #: ISO 639-2/T, "und" when it is not known
    width: int  #: in pixels as shown (tkhd); 0 for sound
    height: int
    matrix: bytes  #: by which players turn the pictures (tkhd, 36 bytes)
    codec: Codec | None
    four_cc: str  #: name of the sample entry
    sample_entry: bytes  #: the one entry of stsd, without btrt
    configuration: Configuration | None
    encrypted: bool
    movie_timescale: int  #: ticks per second of the edits' durations
    edits: tuple[Edit, ...]
    defaults: SampleDefaults


@dataclass(frozen=True)
class MovieHeader:
    """The ``moov`` of a movie."""

    timescale: int
    duration: int  #: in ticks of the movie; 0 in a fragmented movie
    tracks: tuple[TrackHeader, ...]

    def track(self, track_id: int) -> TrackHeader | None:
        """The track of that number, or None."""
        return next((track for track in self.tracks if track.track_id == track_id), None)


def read_movie_header(body: memoryview) -> MovieHeader:
    """Read the body of a ``moov`` box; ``Mp4Error`` when it is damaged.

    A track with more than one sample entry is refused: which sample uses which is nothing that
    browsers, or we, can follow (DESIGN, section 5).
    """
    timescale, duration = _clock(require(body, b"mvhd").body, "'mvhd'")
    defaults = _sample_defaults(body)
    tracks = tuple(
        _track(box.body, timescale, defaults) for box in walk(body) if box.name == b"trak"
    )
    if len(tracks) > MAX_TRACKS:
        raise Mp4Error(f"the 'moov' has {len(tracks)} tracks, more than {MAX_TRACKS}")
    if len({track.track_id for track in tracks}) != len(tracks):
        raise Mp4Error("two tracks of the 'moov' have the same track_ID")
    return MovieHeader(timescale, duration, tracks)


def _clock(body: memoryview, what: str) -> tuple[int, int]:
    """Timescale and duration: ``mvhd`` and ``mdhd`` start alike."""
    fields = Fields(body, what)
    size = 8 if fields.version()[0] == 1 else 4
    fields.take(2 * size)
    timescale, duration = fields.unsigned(4), fields.unsigned(size)
    if timescale == 0:
        raise Mp4Error(f"{what} counts no ticks per second")
    return timescale, duration


def _sample_defaults(moov: memoryview) -> dict[int, SampleDefaults]:
    found: dict[int, SampleDefaults] = {}
    extends = find(moov, b"mvex")
    for box in walk(extends.body) if extends else ():
        if box.name == b"trex":
            fields = Fields(box.body, "'trex'")
            fields.version()
            track_id, _ = fields.unsigned(4), fields.take(4)
            found[track_id] = SampleDefaults(*(fields.unsigned(4) for _ in range(3)))
    return found


def _track(
    trak: memoryview, movie_timescale: int, defaults: dict[int, SampleDefaults]
) -> TrackHeader:
    track_id, enabled, matrix, width, height = _track_header(trak)
    mdia = require(trak, b"mdia").body
    mdhd = require(mdia, b"mdhd").body
    timescale, duration = _clock(mdhd, "'mdhd'")
    entry = _only_entry(require(mdia, b"minf", b"stbl", b"stsd").body, track_id)
    kind = _handler(require(mdia, b"hdlr").body)
    described = _described(entry, kind)
    return TrackHeader(
        track_id=track_id,
        kind=kind,
        enabled=enabled,
        timescale=timescale,
        duration=duration,
        language=_language(mdhd),
        width=width,
        height=height,
        matrix=matrix if kind is TrackKind.VIDEO else UNITY_MATRIX,
        codec=described.codec,
        four_cc=described.four_cc,
        sample_entry=without_bit_rate(entry) if kind else entry,
        configuration=described.configuration,
        encrypted=described.encrypted,
        movie_timescale=movie_timescale,
        edits=_edits(trak),
        defaults=defaults.get(track_id, SampleDefaults()),
    )


def _track_header(trak: memoryview) -> tuple[int, bool, bytes, int, int]:
    """Track_ID, whether the track is enabled, its matrix, width and height (8.3.2)."""
    fields = Fields(require(trak, b"tkhd").body, "'tkhd'")
    version, flags = fields.version()
    fields.take(16 if version == 1 else 8)
    track_id = fields.unsigned(4)
    fields.take((12 if version == 1 else 8) + 16)
    matrix = bytes(fields.take(len(UNITY_MATRIX)))
    width, height = fields.unsigned(4), fields.unsigned(4)
    return track_id, bool(flags & 1), matrix, width + 0x8000 >> 16, height + 0x8000 >> 16


def _only_entry(stsd: memoryview, track_id: int) -> bytes:
    fields = Fields(stsd, "'stsd'")
    fields.version()
    fields.take(4)  # the count: the boxes themselves tell
    entries = [*walk(fields.rest())]
    protected = [entry for entry in entries if entry.name in ENCRYPTED]
    if protected:  # some are encrypted from some sample on: that is no track in the clear
        return bytes(protected[0].extent)
    if len(entries) != 1:
        names = ", ".join(printable(entry.name) for entry in entries[:8])
        raise Mp4Error(
            f"track {track_id} has {len(entries)} sample entries ({names}) where one is supported"
        )
    return bytes(entries[0].extent)


def _handler(hdlr: memoryview) -> TrackKind | None:
    return _HANDLERS.get(bytes(Fields(hdlr, "'hdlr'").take(12)[8:]))


def _described(entry: bytes, kind: TrackKind | None) -> SampleEntry:
    if kind is None:
        return SampleEntry(printable(entry[4:8]), None, None, encrypted=False)
    described = read_sample_entry(entry)
    if described.codec is not None and described.codec.kind is not kind:
        raise Mp4Error(f"a track of {kind} has samples of {described.codec}")
    return described


def _language(mdhd: memoryview) -> str:
    """Three letters of five bits each (ISO/IEC 14496-12, 8.4.2); QuickTime's own codes: "und"."""
    fields = Fields(mdhd, "'mdhd'")
    fields.take(32 if mdhd[0] == 1 else 20)
    packed = fields.unsigned(2)
    letters = [(packed >> shift & 31) + 0x60 for shift in (10, 5, 0)]
    language = bytes(letters).decode("ascii")
    return language if language.isalpha() else _UNDETERMINED


def _edits(trak: memoryview) -> tuple[Edit, ...]:
    elst = find(trak, b"edts", b"elst")
    if elst is None:
        return ()
    fields = Fields(elst.body, "'elst'")
    version, _ = fields.version()
    size = 8 if version == 1 else 4
    row = [("duration", f">u{size}"), ("media_time", f">i{size}"), ("rate", ">i4")]
    table = fields.table(fields.unsigned(4), row)
    return tuple(Edit(int(duration), int(time)) for duration, time, _ in table)
