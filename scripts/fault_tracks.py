"""Faults of tracks: they come and go, other encoders take over, and streams that nobody asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scripts.fault_bytes import (
    AUDIO_PID,
    PRIVATE,
    SCTE_35,
    TIMED_ID3,
    VIDEO_PID,
    pes_packet,
    splice_section,
    with_streams,
    without_bytes,
    without_pid,
)
from scripts.fault_entries import (
    ALL,
    END,
    ODD,
    ODD_BEGIN,
    OTHER,
    OTHER_BEGIN,
    Fault,
    listed,
    moved,
    with_entry,
    zero_of,
)
from scripts.fault_recording import DISCONTINUITY, entries_of
from scripts.fault_truth import COMPLETE, PARTIAL, REPAIRED, DueGap, Kept
from scripts.ts_clocks import CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.fault_base import Bases, BaseSegment
    from scripts.fault_recording import Entry, FaultyRecording


#: The track of which another encoder's part is encoded anew, by what it does otherwise.
_CHANGES = {"size": "video", "video": "video", "sample_rate": "audio", "channels": "audio"}


def _without(pid: int, first: int, last: int) -> Callable[[Bases], FaultyRecording]:
    """Nothing of one PID, which the tables still announce, in segments ``first`` to ``last``."""

    def make(bases: Bases) -> FaultyRecording:
        base = bases.get()
        entries = entries_of(base)
        for number in range(first, last + 1):
            data = without_pid(base.segments[number].data, pid)
            entries = with_entry(entries, number, data=data)
        begin, end = 2.0 * first, 2.0 * last + 2
        pictures, sound = pid != VIDEO_PID, pid != AUDIO_PID
        kept = (Kept(0, begin), Kept(begin, end, pictures=pictures, sound=sound), Kept(end, END))
        zero = zero_of(base, video=pictures or first > 0, audio=sound or first > 0)
        done = "silence" if pictures else "held" if first > 0 else "reported"
        track = "audio" if pictures else "video"
        gap = DueGap(track, begin, end - begin, "track_absent", done)
        return listed(entries, zero, kept, PARTIAL, [gap])

    return make


def _late_sound(bases: Bases) -> FaultyRecording:
    silent, base = bases.get(audio=None), bases.get()
    entries = [*entries_of(silent, "v")[:ODD], *entries_of(base)[ODD:]]
    entries = with_entry(entries, ODD, tags=(DISCONTINUITY,))
    kept = (Kept(0, ODD_BEGIN, sound=False), Kept(ODD_BEGIN, END))
    gap = DueGap("audio", 0.0, ODD_BEGIN, "track_absent", "silence")
    return listed(entries, 0.0, kept, PARTIAL, [gap])


def _other_encoder(
    verdict: str = REPAIRED, **options: object
) -> Callable[[Bases], FaultyRecording]:
    """Another encoder takes over, with a clock of its own."""

    def make(bases: Bases) -> FaultyRecording:
        base, other = bases.get(), bases.get(**options)
        later = moved(entries_of(other, "o")[OTHER:], -OTHER_BEGIN)
        entries = [*entries_of(base)[:OTHER], *later]
        entries = with_entry(entries, OTHER, tags=(DISCONTINUITY,))
        reencoded = [_CHANGES[option] for option in options if option in _CHANGES]
        return listed(entries, base.zero, ALL, verdict, reencoded=reencoded)

    return make


def _other_profile(*first: int) -> Callable[[Bases], FaultyRecording]:
    """Another encoder takes over with each of these segments, with a clock of its own: in turns one
    with B-frames and one without, the latter first of all."""

    def make(bases: Bases) -> FaultyRecording:
        encoders = bases.get(), bases.get(b_frames=2)
        entries: list[Entry] = []
        for number, entry in enumerate(entries_of(encoders[0])):
            turn = sum(number >= each for each in first)
            segment = encoders[turn % 2].segments[number]
            data = _with_its_own_sound(segment) if number in first else segment.data
            tags = (DISCONTINUITY,) if number in first else ()
            entries += moved([replace(entry, data=data, tags=tags)], 100.0 * turn)
        return listed(entries, encoders[0].zero, ALL, REPAIRED, reencoded=["video"])

    return make


def _with_its_own_sound(segment: BaseSegment) -> bytes:
    """A segment without sound that begins before its pictures, which the one before it has too."""
    pictures = segment.first(video=True)
    assert pictures is not None
    sounds = [packet for packet in segment.packets if not packet.video]
    early = {packet.offset for packet in sounds if packet.begin < pictures}
    end = min(packet.offset for packet in sounds if packet.offset not in early)
    return without_bytes(segment.data, AUDIO_PID, 0, end)


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
    return listed(entries, base.zero)


def _open_gops(bases: Bases) -> FaultyRecording:
    base = bases.get(b_frames=2, open_gop=True, split_by_time=True, gop=45)
    return listed(entries_of(base), base.zero)


TRACKS = (
    Fault("audio-only-head", "the pictures begin late", _without(VIDEO_PID, 0, 1)),
    Fault("audio-only-tail", "the pictures end early", _without(VIDEO_PID, 6, 7)),
    Fault("video-only-head", "the sound begins late", _without(AUDIO_PID, 0, 1)),
    Fault("video-only-tail", "the sound ends early", _without(AUDIO_PID, 6, 7)),
    Fault("sound-vanishes", "no sound in the middle", _without(AUDIO_PID, 3, 4)),
    Fault("pictures-vanish", "no pictures in the middle", _without(VIDEO_PID, 3, 4)),
    Fault("late-sound", "an encoder without sound is followed by one with it", _late_sound),
    Fault("other-size", "another encoder, with larger pictures", _other_encoder(size="320x180")),
    Fault("other-codec", "another encoder, with HEVC", _other_encoder(video="hevc")),
    Fault("other-rate", "another encoder, with 44.1 kHz", _other_encoder(sample_rate=44_100)),
    Fault("other-channels", "another encoder, with one channel", _other_encoder(channels=1)),
    Fault("other-pids", "another encoder, with other PIDs", _other_encoder(COMPLETE, first_pid=0x200)),
    Fault("other-profile", "another encoder, with B-frames", _other_profile(OTHER)),
    Fault("many-reconnects", "eight connections, B-frames in every other", _other_profile(*range(1, 8))),
    Fault("other-streams", "timed ID3, SCTE-35 and an unknown PID", _other_streams),
    Fault("open-gops", "open GOPs, and segments that are cut away from keys", _open_gops),
)  # fmt: skip
