"""The index of one MPEG-TS segment, the independent expectation of what packaging must keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import Codec, TrackKind
from pipelines.mpegts.ac3 import Ac3
from pipelines.mpegts.adts import Adts
from pipelines.mpegts.clock import count_frames, first_stamp, frame_ticks, near, stamps
from pipelines.mpegts.frames import FrameSyntax, index_frames
from pipelines.mpegts.h264 import index_h264
from pipelines.mpegts.hevc import index_hevc
from pipelines.mpegts.mpeg2_video import index_mpeg2_video
from pipelines.mpegts.mpeg_audio import MpegAudio
from pipelines.mpegts.packets import (
    Offsets,
    Packets,
    packet_findings,
    read_packets,
    scrambled,
)
from pipelines.mpegts.pes import ElementaryStream, gather
from pipelines.mpegts.stretches import UNIT_START, is_ended
from pipelines.mpegts.tables import (
    Section,
    Stream,
    announced_streams,
    program_changes,
    program_sections,
    streams_of,
)
from pipelines.mpegts.units import UNIT_LIMIT, Units
from pipelines.segment_index import (
    TS_TIMESCALE,
    Container,
    Damage,
    Finding,
    SegmentIndex,
    TrackIndex,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

PICTURE_INDEXES: Mapping[Codec, Callable[[ElementaryStream], Units]] = {
    Codec.H264: index_h264,
    Codec.HEVC: index_hevc,
    Codec.MPEG2_VIDEO: index_mpeg2_video,
}
FRAME_SYNTAXES: Mapping[Codec, FrameSyntax] = {
    Codec.AAC: Adts(),
    Codec.MP3: MpegAudio(),
    Codec.MP2: MpegAudio(),
    Codec.AC3: Ac3(),
    Codec.EAC3: Ac3(),
}


@dataclass(frozen=True, eq=False)
class _Media:
    """What one media PID holds, with times as they stand in the PES headers."""

    pid: int
    units: Units
    dts: Offsets
    pts: Offsets
    first_stamp: tuple[int, int] | None
    first_end: int
    continues: bool
    headless: int
    owes: bool
    closed: bool
    ended: bool
    counters: tuple[int, int]


def index_segment(
    data: bytes | memoryview, known: Mapping[int, Codec] | None = None
) -> SegmentIndex:
    """Index every access unit that starts in a segment; damage becomes findings, never an error.

    ``known`` are PIDs and codecs of the segment before, for a segment without tables of its own.
    Memory stays within about three times the segment.
    """
    packets, findings = read_packets(data)
    sections = program_sections(packets)
    tabled = streams_of(sections)
    streams = tabled or _known_streams(known)
    if len(packets.rows) and not streams:
        finding = Finding(Damage.NOT_MEDIA, 0, "no program table announces a stream")
        return SegmentIndex(Container.MPEGTS, len(data), (), (), (), (*findings, finding), False)
    changes = _changed_types(streams)
    media = _media(packets, streams)
    reference = min((one.first_stamp for one in media if one.first_stamp), default=(0, 0))[1]
    tracks = tuple(_track(one, reference, changes.get(one.pid)) for one in media if len(one.units))
    for one in media:
        findings += packet_findings(packets, one.pid) + _limit_findings(one)
    findings += _program_findings(packets, sections)
    filled = {track.track for track in tracks}
    announced = dict.fromkeys(stream.pid for stream in streams if stream.codec)
    silent = tuple(pid for pid in announced if pid not in filled)
    ignored = tuple((stream.pid, stream.stream_type) for stream in streams if not stream.codec)
    return SegmentIndex(
        Container.MPEGTS, len(data), tracks, silent, ignored, findings, bool(tabled)
    )


def continues_previous(
    head: bytes | memoryview, known: Mapping[int, Codec] | None = None
) -> frozenset[int]:
    """The media PIDs whose payload goes on with a unit of the segment before.

    A continued unit shows in the first packet of its PID, which may come late: a PID without a
    packet in ``head`` is told by ``absent``. ``known`` names the PIDs when the tables come later.
    """
    packets, _ = read_packets(head)
    media = _media(packets, _streams(packets, known))
    return frozenset(one.pid for one in media if one.continues)


def absent(head: bytes | memoryview, pids: Collection[int]) -> frozenset[int]:
    """Those of ``pids`` that have no packet in the head of a segment."""
    packets, _ = read_packets(head)
    return frozenset(pids) - packets.present()


def mostly_scrambled(data: bytes | memoryview, pids: Collection[int]) -> frozenset[int]:
    """Those of ``pids`` most of whose packets in a segment are scrambled."""
    packets, _ = read_packets(data)
    counts = {pid: scrambled(packets, packets.of(pid)) for pid in pids}
    return frozenset(pid for pid, flags in counts.items() if 2 * flags.sum() > len(flags))


def announced(data: bytes | memoryview) -> dict[int, Codec]:
    """The media PIDs that the program tables in ``data`` announce; empty when it holds none."""
    packets, _ = read_packets(data)
    return {stream.pid: stream.codec for stream in _streams(packets, None) if stream.codec}


def _streams(packets: Packets, known: Mapping[int, Codec] | None) -> tuple[Stream, ...]:
    return announced_streams(packets) or _known_streams(known)


def _known_streams(known: Mapping[int, Codec] | None) -> tuple[Stream, ...]:
    return tuple(Stream(pid, 0, codec) for pid, codec in (known or {}).items())


def _program_findings(packets: Packets, sections: Sequence[Section]) -> tuple[Finding, ...]:
    changes = program_changes(sections)
    if not changes:
        return ()
    detail = f"{len(changes)} times the program tables withdraw streams"
    return (Finding(Damage.PROGRAM_CHANGED, int(packets.offsets[changes[0]]), detail),)


def _changed_types(streams: tuple[Stream, ...]) -> dict[int, str]:
    """PIDs that the tables announce twice, as different things."""
    first: dict[int, Stream] = {}
    changes = {}
    for stream in streams:
        before = first.setdefault(stream.pid, stream)
        if before != stream:
            changes[stream.pid] = (
                f"stream_type {before.stream_type:#x} became {stream.stream_type:#x}"
            )
    return changes


def _media(packets: Packets, streams: tuple[Stream, ...]) -> list[_Media]:
    """Every announced media PID that has packets, in the order of the tables."""
    present = packets.present()
    media: dict[int, _Media] = {}
    for stream in streams:
        if stream.codec and stream.pid in present and stream.pid not in media:
            media[stream.pid] = _index_stream(packets, stream.pid, stream.codec)
    return list(media.values())


def _index_stream(packets: Packets, pid: int, codec: Codec) -> _Media:
    stream = gather(packets, pid)
    if codec.kind is TrackKind.VIDEO:
        units = PICTURE_INDEXES[codec](stream)
    else:
        units = index_frames(stream, FRAME_SYNTAXES[codec], codec)
    dts, pts = stamps(stream, units)
    headless = int(np.searchsorted(units.starts, stream.headless))
    before = stream.data[: int(units.starts[0])] if len(units) else stream.data
    if codec.kind is TrackKind.VIDEO:
        before = before.strip(b"\0")  # zeros may stand between NAL units
    numbers = packets.of(pid)
    filled = packets.only(numbers[packets.rows[numbers, 3] & 0x10 != 0])
    ends = (filled.rows[[0, -1], 3] & 0x0F).tolist() if len(filled.rows) else [0, 0]
    return _Media(
        pid=pid,
        units=units,
        dts=dts,
        pts=pts,
        first_stamp=first_stamp(stream),
        first_end=_first_end(stream, units, headless),
        continues=stream.headless > 0 or bool(before),
        headless=headless,
        owes=stream.unfinished,
        closed=stream.closed,
        ended=not len(filled.rows) or _is_ended(filled, pid),
        counters=(ends[0], ends[1]),
    )


def _is_ended(filled: Packets, pid: int) -> bool:
    """Whether the last PES packet is complete; only its own packets are looked at."""
    begins = np.flatnonzero(filled.rows[:, 1] & UNIT_START)
    last = np.arange(begins[-1] if len(begins) else 0, len(filled.rows))
    return is_ended(filled.only(last), pid)


def _first_end(stream: ElementaryStream, units: Units, headless: int) -> int:
    """The byte in the segment by which the first unit under a PES header has ended."""
    behind = min(headless, max(len(units) - 1, 0)) + 1
    end = int(units.starts[behind]) if behind < len(units) else len(stream.data)
    return stream.segment_offset(end)


def _track(media: _Media, reference: int, change: str | None) -> TrackIndex:
    units = media.units
    dts = near(media.dts, reference)
    pts = near(media.pts, dts)
    duration = 0
    if units.codec.kind is TrackKind.AUDIO:
        dts = pts = count_frames(pts, units.samples, units.sample_rate)
        duration = int(frame_ticks(np.ones(1, np.int64), units.samples, units.sample_rate)[0])
    return TrackIndex(
        track=media.pid,
        codec=units.codec,
        timescale=TS_TIMESCALE,
        dts=dts,
        pts=pts,
        sizes=units.sizes,
        hashes=units.hashes,
        sync=units.sync,
        unit_duration=duration,
        configuration=units.configuration,
        starts_clean=units.starts_clean,
        continues_previous=media.continues,
        ends_unfinished=units.ends_unfinished,
        first_offset=media.first_end,
        carried=units.carried,
        optional=units.optional,
        padding=units.padding,
        second_fields=units.second_fields,
        configuration_change=change or units.configuration_change,
        headless=media.headless,
        unconfigured=units.unconfigured,
        owes=media.owes,
        closed=media.closed,
        ended=media.ended,
        counters=media.counters,
    )


def _limit_findings(media: _Media) -> tuple[Finding, ...]:
    if not media.units.limited:
        return ()
    detail = f"PID {media.pid:#x}: more than {UNIT_LIMIT} units, the rest is not indexed"
    return (Finding(Damage.NOT_MEDIA, 0, detail),)
