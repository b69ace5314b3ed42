"""The words for coded media that every stage shares: track kinds, codecs, codec configurations."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TrackKind(StrEnum):
    """What a track carries."""

    VIDEO = "video"
    AUDIO = "audio"


class Codec(StrEnum):
    """Codecs by the name that ffmpeg uses for them."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"
    VP9 = "vp9"
    MPEG2_VIDEO = "mpeg2video"
    AAC = "aac"
    MP3 = "mp3"
    MP2 = "mp2"
    AC3 = "ac3"
    EAC3 = "eac3"
    OPUS = "opus"
    FLAC = "flac"

    @property
    def kind(self) -> TrackKind:
        """Whether the codec is one for pictures or for sound."""
        video = (Codec.H264, Codec.HEVC, Codec.AV1, Codec.VP9, Codec.MPEG2_VIDEO)
        return TrackKind.VIDEO if self in video else TrackKind.AUDIO


@dataclass(frozen=True)
class Configuration:
    """What a decoder must know before the first sample: one MP4 sample description holds one.

    ``parameter_sets`` are the units that define it, keyed by a stable name: ``sps0``, ``pps0``,
    ``vps0`` (NAL bytes without start code, for H.264 and HEVC), ``asc`` (AudioSpecificConfig),
    ``dac3``-like facts for the others, or the codec box (``avcC``, ``hvcC``, ``av1C`` …) for fMP4.
    ``facts`` are readable properties (``width``, ``height``, ``profile``, ``sample_rate``,
    ``channels`` …) for messages and for planning.
    """

    codec: Codec
    parameter_sets: tuple[tuple[str, bytes], ...]
    facts: tuple[tuple[str, int], ...]

    def conflict_with(self, other: Configuration) -> str | None:
        """Say in words how ``other`` contradicts this one; None when one description serves both.

        A set that only one side has seen is no contradiction: encoders may spread them.
        """
        if self.codec != other.codec:
            return f"codec {self.codec} became {other.codec}"
        theirs = dict(other.facts)
        for name, value in self.facts:
            if name in theirs and theirs[name] != value:
                return f"{name} {value} became {theirs[name]}"
        sets = dict(other.parameter_sets)
        for name, unit in self.parameter_sets:
            if name in sets and sets[name] != unit:
                return f"parameter set {name} changed"
        return None

    def fact(self, name: str) -> int | None:
        """The value of a readable property, or None when it is not known."""
        return dict(self.facts).get(name)
