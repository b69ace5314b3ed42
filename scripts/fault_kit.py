"""The faults that recordings have, each put into a flash-and-beep recording of sixteen seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from scripts.fault_bytes import (
    PRIVATE,
    SCTE_35,
    TIMED_ID3,
    pes_packet,
    splice_section,
    tables,
    with_stamps,
    with_streams,
    without_bytes,
    without_parameter_sets,
    without_pid,
)
from scripts.fault_packaging import PACKAGINGS
from scripts.fault_recording import (
    DISCONTINUITY,
    Entry,
    FaultyRecording,
    entries_of,
    files_of,
    media_playlist,
)
from scripts.fault_truth import Kept, truth_of
from scripts.ts_clocks import CLOCK, WRAP, shift_clocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.fault_base import Base, Bases

VIDEO_PID, AUDIO_PID = 0x100, 0x101
END = 16.0
#: The segment that most faults are put into: it holds base time 6 to 8.
ODD, ODD_BEGIN, ODD_END = 3, 6.0, 8.0
#: The segment with which another clock begins, and its base time.
LATER, LATER_BEGIN = 4, 8.0
#: The segment with which another encoder takes over: the first one has made most of it.
OTHER, OTHER_BEGIN = 5, 10.0

COMPLETE, REPAIRED, PARTIAL = ("complete",), ("repaired",), ("partial",)
#: All media is there; whether anything had to be mended for that is not the kit's to say.
WHOLE = ("complete", "repaired")
ALL = (Kept(0, END),)
WITHOUT_ODD = (Kept(0, ODD_BEGIN), Kept(ODD_END, END))

HTML = (
    b"<!DOCTYPE html><html><head><title>503</title></head><body>Service Unavailable</body></html>"
)


@dataclass(frozen=True)
class Fault:
    """One fault: what it is, and how a recording with it is made."""

    name: str
    what: str
    make: Callable[[Bases], FaultyRecording]


def _listed(
    entries: Sequence[Entry],
    zero: float,
    kept: Sequence[Kept],
    verdicts: Sequence[str],
    silences: Sequence[tuple[float, float]] = (),
    playlist: bytes | None = None,
) -> FaultyRecording:
    """A recording with one media playlist; what is listed and not there is lost."""
    lost = [entry.name for entry in entries if entry.data is None]
    truth = truth_of(kept, zero, silences=silences, verdicts=verdicts, lost=lost)
    return FaultyRecording(files_of(entries, playlist or media_playlist(entries)), truth)


def _zero(base: Base, number: int = 0, *, video: bool = True, audio: bool = True) -> float:
    """Base time at which the first picture or sound of a segment begins."""
    segment = base.segments[number]
    kinds = [kind for kind, wanted in ((True, video), (False, audio)) if wanted]
    firsts = [segment.first(video=kind) for kind in kinds]
    return min(first for first in firsts if first is not None) - base.spec.start


def _with(entries: list[Entry], number: int, **changes: object) -> list[Entry]:
    """The entries with one changed."""
    changed = replace(entries[number], **changes)  # type: ignore[arg-type]
    return [*entries[:number], changed, *entries[number + 1 :]]


def _moved(entries: Sequence[Entry], seconds: float) -> list[Entry]:
    """MPEG-TS segments whose clocks are moved on."""
    ticks = round(seconds * CLOCK)
    return [
        replace(entry, data=shift_clocks(entry.data, ticks, {}) if entry.data else None)
        for entry in entries
    ]


# -- segments that are not there -----------------------------------------------------------------


def _missing(number: int) -> Callable[[Bases], FaultyRecording]:
    def make(bases: Bases) -> FaultyRecording:
        base = bases.get()
        begin = 2.0 * number
        kept = [each for each in (Kept(0, begin), Kept(begin + 2, END)) if each.begin < each.end]
        inside = 0 < number < len(base.segments) - 1
        return _listed(
            _with(entries_of(base), number, data=None),
            _zero(base, 1 if number == 0 else 0),
            kept,
            PARTIAL,
            [(begin, begin + 2)] if inside else [],
        )

    return make


def _replaced(data: bytes) -> Callable[[Bases], FaultyRecording]:
    def make(bases: Bases) -> FaultyRecording:
        base = bases.get()
        entries = _with(entries_of(base), ODD, data=data)
        return _listed(entries, base.zero, WITHOUT_ODD, PARTIAL, [(ODD_BEGIN, ODD_END)])

    return make


def _gap_tag(bases: Bases) -> FaultyRecording:
    base = bases.get()
    entries = _with(entries_of(base), ODD, data=None, tags=("#EXT-X-GAP",))
    return _listed(entries, base.zero, WITHOUT_ODD, PARTIAL, [(ODD_BEGIN, ODD_END)])


def _sequence_hole(bases: Bases) -> FaultyRecording:
    base = bases.get()
    entries = entries_of(base)
    del entries[ODD]
    return _listed(entries, base.zero, WITHOUT_ODD, PARTIAL, [(ODD_BEGIN, ODD_END)])


# -- segments that are damaged -------------------------------------------------------------------


def _truncated(bases: Bases) -> FaultyRecording:
    base = bases.get()
    segment = base.segments[ODD]
    cut = segment.offset_of(base.spec.start + 7.0) + 100
    entries = _with(entries_of(base), ODD, data=segment.data[:cut])
    kept = (Kept(0, 7), Kept(ODD_END, END))
    return _listed(entries, base.zero, kept, PARTIAL, [(7.2, ODD_END)])


def _lost_packets(bases: Bases) -> FaultyRecording:
    base = bases.get()
    segment = base.segments[ODD]
    begin, end = (segment.offset_of(base.spec.start + at) for at in (6.7, 6.9))
    data = without_bytes(segment.data, VIDEO_PID, begin, end)
    return _listed(_with(entries_of(base), ODD, data=data), base.zero, ALL, PARTIAL)


def _late_parameter_sets(bases: Bases) -> FaultyRecording:
    base = bases.get()
    data = without_parameter_sets(base.segments[0].data)
    kept = (Kept(0, 2, pictures=False), Kept(2, END))
    return _listed(_with(entries_of(base), 0, data=data), base.zero, kept, PARTIAL)


def _no_first_key(bases: Bases) -> FaultyRecording:
    base = bases.get()
    segment = base.segments[0]
    second = segment.offset_of(base.spec.start + 1 / 30)
    data = without_bytes(segment.data, VIDEO_PID, 0, second)
    return _listed(_with(entries_of(base), 0, data=data), base.zero, ALL, PARTIAL)


def _backward_dts(bases: Bases) -> FaultyRecording:
    def change(number: int, pts: int, dts: int) -> tuple[int, int]:
        return pts, dts - 9000 if number in (20, 21, 22) else dts

    base = bases.get(b_frames=2)
    data = with_stamps(base.segments[ODD].data, VIDEO_PID, change)
    return _listed(_with(entries_of(base), ODD, data=data), base.zero, ALL, REPAIRED)


def _no_timestamps(bases: Bases) -> FaultyRecording:
    def change(number: int, pts: int, dts: int) -> tuple[int, int] | None:
        return None if number in (20, 21, 22) else (pts, dts)

    base = bases.get(b_frames=2)
    data = with_stamps(base.segments[ODD].data, VIDEO_PID, change)
    return _listed(_with(entries_of(base), ODD, data=data), base.zero, ALL, WHOLE)


# -- media that comes twice ----------------------------------------------------------------------


def _twice(name: str | None) -> Callable[[Bases], FaultyRecording]:
    def make(bases: Bases) -> FaultyRecording:
        base = bases.get()
        entries = entries_of(base)
        again = replace(entries[ODD], name=name or entries[ODD].name)
        entries.insert(ODD + 1, again)
        return _listed(entries, base.zero, ALL, REPAIRED)

    return make


def _overlap(bases: Bases) -> FaultyRecording:
    base = bases.get()
    before, segment = base.segments[ODD], base.segments[ODD + 1]
    again = before.data[before.offset_of(base.spec.start + 7.5) :]
    data = tables(before.data) + again + segment.data
    return _listed(_with(entries_of(base), ODD + 1, data=data), base.zero, ALL, REPAIRED)


# -- clocks --------------------------------------------------------------------------------------


def _clock(
    seconds: float, *tags: str, gap: float = 0.0, verdicts: Sequence[str] = WHOLE
) -> Callable[[Bases], FaultyRecording]:
    """Another clock from the middle on, by so many seconds; ``gap``: how much of it is a gap."""

    def make(bases: Bases) -> FaultyRecording:
        base = bases.get()
        entries = entries_of(base)
        entries[LATER:] = _moved(entries[LATER:], seconds)
        kept = (Kept(0, LATER_BEGIN), Kept(LATER_BEGIN, END, gap))
        silences = [(LATER_BEGIN, LATER_BEGIN + gap)] if gap else []
        return _listed(_with(entries, LATER, tags=tags), base.zero, kept, verdicts, silences)

    return make


def _wrap(at: float) -> Callable[[Bases], FaultyRecording]:
    def make(bases: Bases) -> FaultyRecording:
        base = bases.get(b_frames=2)
        seconds = WRAP / CLOCK - base.spec.start - at
        return _listed(_moved(entries_of(base), seconds), base.zero, ALL, COMPLETE)

    return make


def _wall_clock_hole(bases: Bases) -> FaultyRecording:
    base = bases.get()
    entries = entries_of(base)
    entries[LATER:] = _moved(entries[LATER:], -LATER_BEGIN)
    dated = []
    for number, entry in enumerate(entries):
        later = number >= LATER
        date = f"#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:{2 * number + 30 * later:02}.000Z"
        dated.append(replace(entry, tags=((DISCONTINUITY,) if number == LATER else ()) + (date,)))
    return _listed(dated, base.zero, ALL, (*WHOLE, *PARTIAL))


# -- tracks that come and go ---------------------------------------------------------------------


def _without(
    pid: int, first: int, last: int, silences: Sequence[tuple[float, float]] = ()
) -> Callable[[Bases], FaultyRecording]:
    """Nothing of one PID, which the tables still announce, in segments ``first`` to ``last``."""

    def make(bases: Bases) -> FaultyRecording:
        base = bases.get()
        entries = entries_of(base)
        for number in range(first, last + 1):
            data = without_pid(base.segments[number].data, pid)
            entries = _with(entries, number, data=data)
        begin, end = 2.0 * first, 2.0 * last + 2
        pictures, sound = pid != VIDEO_PID, pid != AUDIO_PID
        kept = (Kept(0, begin), Kept(begin, end, pictures=pictures, sound=sound), Kept(end, END))
        zero = _zero(base, video=pictures or first > 0, audio=sound or first > 0)
        return _listed(entries, zero, kept, (*WHOLE, *PARTIAL), silences)

    return make


def _late_sound(bases: Bases) -> FaultyRecording:
    silent, base = bases.get(audio=None), bases.get()
    entries = [*entries_of(silent, "v")[:ODD], *entries_of(base)[ODD:]]
    entries = _with(entries, ODD, tags=(DISCONTINUITY,))
    kept = (Kept(0, ODD_BEGIN, sound=False), Kept(ODD_BEGIN, END))
    return _listed(entries, 0.0, kept, (*WHOLE, *PARTIAL), [(0, ODD_BEGIN)])


def _other_encoder(
    verdicts: Sequence[str] = REPAIRED, **options: object
) -> Callable[[Bases], FaultyRecording]:
    """Another encoder takes over, with a clock of its own."""

    def make(bases: Bases) -> FaultyRecording:
        base, other = bases.get(), bases.get(**options)
        later = _moved(entries_of(other, "o")[OTHER:], -OTHER_BEGIN)
        entries = [*entries_of(base)[:OTHER], *later]
        return _listed(_with(entries, OTHER, tags=(DISCONTINUITY,)), base.zero, ALL, verdicts)

    return make


def _other_streams(bases: Bases) -> FaultyRecording:
    base = bases.get()
    frame = b"TXXX\x00\x00\x00\x03\x00\x00\x03a\x00"
    id3 = b"ID3\x04\x00\x00\x00\x00\x00" + bytes([len(frame)]) + frame
    entries = []
    for segment, entry in zip(base.segments, entries_of(base), strict=True):
        ticks = round((base.spec.start + segment.begin) * CLOCK)
        streams = [
            (0x1F0, TIMED_ID3, pes_packet(0xBD, ticks, id3)),
            (0x1F1, SCTE_35, splice_section()),
            (0x1F2, PRIVATE, pes_packet(0xBD, ticks, b"nobody knows")),
        ]
        entries.append(replace(entry, data=with_streams(segment.data, streams)))
    return _listed(entries, base.zero, ALL, COMPLETE)


def _open_gops(bases: Bases) -> FaultyRecording:
    base = bases.get(b_frames=2, open_gop=True, split_by_time=True, gop=45)
    return _listed(entries_of(base), base.zero, ALL, COMPLETE)


# -- playlists -----------------------------------------------------------------------------------


def _written(change: Callable[[list[Entry]], bytes]) -> Callable[[Bases], FaultyRecording]:
    """A whole recording whose playlist is written in another way."""

    def make(bases: Bases) -> FaultyRecording:
        base = bases.get()
        entries = entries_of(base)
        return _listed(entries, base.zero, ALL, COMPLETE, playlist=change(entries))

    return make


def _crlf(entries: list[Entry]) -> bytes:
    return media_playlist(entries).replace(b"\n", b"\r\n")


def _bom(entries: list[Entry]) -> bytes:
    return b"\xef\xbb\xbf" + media_playlist(entries)


FAULTS = (
    Fault("missing-start", "the first listed segment is not there", _missing(0)),
    Fault("missing-middle", "a listed segment is not there", _missing(ODD)),
    Fault("missing-end", "the last listed segment is not there", _missing(7)),
    Fault("gap-tag", "EXT-X-GAP says that a segment is not there", _gap_tag),
    Fault("sequence-hole", "a segment was never listed", _sequence_hole),
    Fault("empty", "a segment has no bytes", _replaced(b"")),
    Fault("garbage", "a segment is random bytes", _replaced(Random(4).randbytes(20_000))),
    Fault("html", "a segment is a server's error page", _replaced(HTML)),
    Fault("truncated", "a segment is cut in its middle, inside a packet", _truncated),
    Fault("lost-packets", "packets of pictures are lost inside a segment", _lost_packets),
    Fault("late-parameter-sets", "SPS and PPS come with the second segment", _late_parameter_sets),
    Fault("no-first-key", "the first key frame is lost", _no_first_key),
    Fault("backward-dts", "decode times step back inside a segment", _backward_dts),
    Fault("no-timestamps", "pictures without time stamps", _no_timestamps),
    Fault("twice-one-uri", "a segment is listed twice", _twice(None)),
    Fault("twice-two-uris", "a segment comes twice under two names", _twice("again.ts")),
    Fault("overlap", "a segment begins with the last half second of the one before", _overlap),
    Fault("reset-tagged", "the clock begins anew at a discontinuity", _clock(-8, DISCONTINUITY)),
    Fault("reset-untagged", "the clock begins anew without a tag", _clock(-8)),
    Fault("jump-tagged", "the clock jumps 5 s at a discontinuity", _clock(5, DISCONTINUITY)),
    Fault(
        "jump-untagged",
        "the clock jumps 15 s without a tag",
        _clock(15, gap=15.0, verdicts=PARTIAL),
    ),
    Fault("jump-far", "the clock jumps 700 s without a tag", _clock(700)),
    Fault("wrap-between", "the 33-bit clock wraps between segments", _wrap(8.0)),
    Fault("wrap-inside", "the 33-bit clock wraps inside a segment", _wrap(9.0)),
    Fault("wall-clock-hole", "PROGRAM-DATE-TIME jumps 30 s at a discontinuity", _wall_clock_hole),
    Fault("audio-only-head", "the pictures begin late", _without(VIDEO_PID, 0, 1)),
    Fault("audio-only-tail", "the pictures end early", _without(VIDEO_PID, 6, 7)),
    Fault("video-only-head", "the sound begins late", _without(AUDIO_PID, 0, 1, [(0.0, 4.0)])),
    Fault("video-only-tail", "the sound ends early", _without(AUDIO_PID, 6, 7)),
    Fault("sound-vanishes", "no sound in the middle", _without(AUDIO_PID, 3, 4, [(6.0, 10.0)])),
    Fault("pictures-vanish", "no pictures in the middle", _without(VIDEO_PID, 3, 4)),
    Fault("late-sound", "an encoder without sound is followed by one with it", _late_sound),
    Fault("other-size", "another encoder, with larger pictures", _other_encoder(size="320x180")),
    Fault("other-codec", "another encoder, with HEVC", _other_encoder(video="hevc")),
    Fault("other-rate", "another encoder, with 44.1 kHz", _other_encoder(sample_rate=44_100)),
    Fault("other-channels", "another encoder, with one channel", _other_encoder(channels=1)),
    Fault("other-pids", "another encoder, with other PIDs", _other_encoder(WHOLE, first_pid=0x200)),
    Fault("other-streams", "timed ID3, SCTE-35 and an unknown PID", _other_streams),
    Fault("open-gops", "open GOPs, and segments that are cut away from keys", _open_gops),
    Fault("no-endlist", "the playlist never ends", _written(lambda e: media_playlist(e, ended=False))),
    Fault("crlf", "lines end with CR LF", _written(_crlf)),
    Fault("bom", "the playlist begins with a byte order mark", _written(_bom)),
    Fault("float-target", "the target duration is a fraction", _written(lambda e: media_playlist(e, target="2.000"))),
    *(Fault(name, what, make) for name, what, make in PACKAGINGS),
)  # fmt: skip
BY_NAME = {fault.name: fault for fault in FAULTS}
