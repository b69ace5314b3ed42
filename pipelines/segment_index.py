"""The index of one segment: what its bytes hold, read without ffmpeg, the expectation of the proof."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipelines.media import Codec, Configuration, TrackKind

#: Stands in time arrays where a unit carries no timestamp of its own.
NO_TIME = np.iinfo(np.int64).min
#: Stands in size arrays where the bytes of a unit cannot be told.
UNKNOWN_SIZE = -1
#: Ticks per second of MPEG-TS timestamps (ISO/IEC 13818-1, 2.4.3.7).
TS_TIMESCALE = 90_000
#: MPEG-TS timestamps count modulo this (33 bits: 26.5 hours).
TS_WRAP = 1 << 33
#: Most pieces, of one clock and configuration each, that a segment is cut into; and how often all
#: segments of one slice may be cut. A piece costs a process, and no encoder starts so often.
MAX_PIECES, MAX_CUTS = 32, 400


class Container(StrEnum):
    """How the segment's bytes are wrapped."""

    MPEGTS = "mpegts"
    FMP4 = "fmp4"


class Damage(StrEnum):
    """Kinds of damage that the index recognises."""

    EMPTY = "empty"
    NOT_MEDIA = "not_media"
    SYNC_LOST = "sync_lost"
    PACKETS_LOST = "packets_lost"
    TRUNCATED = "truncated"
    SCRAMBLED = "scrambled"
    MARKED = "marked"  #: packets that say of themselves that they are damaged
    REPEATED = "repeated"  #: packets that come twice
    PROGRAM_CHANGED = "program_changed"  #: the tables withdraw streams that they announced


@dataclass(frozen=True)
class Finding:
    """One thing wrong inside a segment; ``offset`` is the byte where it shows."""

    damage: Damage
    offset: int
    detail: str


@dataclass(frozen=True, eq=False)
class TrackIndex:
    """The access units of one elementary stream that *start* in the segment, in decode order.

    ``dts`` and ``pts`` are int64 in ticks of ``timescale``, unwrapped inside the segment (they go
    on above 2^33 or below 0 rather than jump); ``NO_TIME`` where neither the PES header nor
    counting audio frames from it gives one. An audio unit is one frame (several share a PES).
    ``sizes`` are bytes as MP4 holds a unit: NAL units behind four bytes of length each, audio
    frames without ADTS header. That of an audio frame is the one that its header declares; a
    picture's is what lies in this segment, ``carried`` says what the next adds to it.
    """

    track: int  #: PID in MPEG-TS, track_ID in fMP4
    codec: Codec
    timescale: int
    dts: np.ndarray
    pts: np.ndarray
    sizes: np.ndarray  #: int64 per unit, bytes; ``UNKNOWN_SIZE`` where that cannot be told
    sync: np.ndarray  #: bool per unit: H.264 IDR or recovery point, HEVC IRAP; True for audio
    unit_duration: int  #: ticks of one audio frame; 0 for video
    configuration: Configuration | None  #: None when no parameter sets were seen
    starts_clean: bool  #: first unit has its parameter sets and is a closed key frame (audio: True)
    continues_previous: bool  #: payload before the first unit ends a unit of the segment before
    ends_unfinished: bool  #: the last unit is known to go on in the next segment
    first_offset: int  #: byte in the segment by which the first complete unit has ended
    carried: int = 0  #: bytes that the last picture of the segment before gets from this one;
    #: ``UNKNOWN_SIZE`` where that cannot be told
    #: uint64 per unit, CRC-64/NVME of its bytes as MP4 holds them, as far as they lie in this
    #: segment; ``UNKNOWN_HASH`` where they cannot be told; None: nowhere
    hashes: np.ndarray | None = None
    optional: np.ndarray | None = None  #: bytes of ``sizes`` that a muxer may leave out: parameter
    #: sets of HEVC; None: none
    padding: np.ndarray | None = (
        None  #: bytes of ``sizes`` that are zeros behind NAL units, which a
    )
    #: muxer may leave out as well; None: none
    second_fields: np.ndarray | None = None  #: bool per unit: the second field of a picture whose
    #: first is the unit before; None: all units are whole pictures
    configuration_change: str | None = None  #: what changed inside the segment, in words
    headless: int = 0  #: first units that start before the track's first PES header: ffmpeg sees
    #: them only when it was fed the segment before
    unconfigured: int = 0  #: first units that come before the parameter sets of pictures
    owes: bool = False  #: the last PES packet declares more bytes than the segment has
    ended: bool = True  #: the last PES packet is known to be complete: it has all that it declares,
    #: or its last transport packet is stuffed
    counters: tuple[int, int] = (0, 0)  #: continuity counters of the first and the last packet that
    #: have payload
    closed: bool = False  #: ends in a PES packet without units: what the next segment begins with
    #: does not go on with the last unit, and is not read

    @property
    def kind(self) -> TrackKind:
        """Pictures or sound."""
        return self.codec.kind

    def __len__(self) -> int:
        return len(self.dts)


@dataclass(frozen=True, eq=False)
class SegmentIndex:
    """Every track of one segment, and what is wrong with it.

    ``tracks`` holds only tracks with at least one unit, in the order of the PMT (or of the
    ``moov``); ``silent`` are tracks announced without one; ``ignored`` other announced PIDs
    (timed ID3, SCTE-35, private data) by stream_type.
    """

    container: Container
    size: int
    tracks: tuple[TrackIndex, ...]
    silent: tuple[int, ...]
    ignored: tuple[tuple[int, int], ...]
    findings: tuple[Finding, ...]
    tabled: bool = True  #: its own program tables (or its ``moov``) announce the tracks

    def track(self, number: int) -> TrackIndex | None:
        """The track with that PID or track_ID, or None."""
        return next((track for track in self.tracks if track.track == number), None)
