"""What is to be made of a recording: the source, every profile, and what browsers can play."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from pipelines.errors import PermanentError
from pipelines.media import Codec
from pipelines.packageable import require_packageable
from pipelines.profile import Encoder
from pipelines.segment_index import Container
from pipelines.transcoding.asked_encoding import asked_encoding
from pipelines.transcoding.browsers import odd_pictures, odd_sound
from pipelines.transcoding.frame_size import Size, displayed, exceeds
from pipelines.transcoding.ladder import DEFAULT_LADDER
from pipelines.transcoding.web import WEB, web_encoding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.plan_options import PlanOptions
    from pipelines.playlist import Recording, Variant
    from pipelines.session import FfmpegProfile, Session
    from pipelines.transcoding.encoding import VideoEncoding
    from pipelines.transcoding.kit import EncoderKit
    from pipelines.transcoding.source_media import SourceMedia, SourceVideo

#: Name of the rendition that is always made: a copy of the best variant.
SOURCE = "source"
#: How far a variant's size may lie from the profile's and still be meant, pixels per side.
SIZE_TOLERANCE = 2
#: How far a variant's bit rate may lie from the profile's, as a share of the profile's.
BITRATE_TOLERANCE = 0.2
#: How far a variant's frame rate may lie from the profile's: 29.97 is meant by 30.
RATE_TOLERANCE = 0.01

#: Codecs of pictures by how their names in CODECS begin (RFC 6381).
_NAMED_CODECS = {
    "avc1": Codec.H264,
    "avc3": Codec.H264,
    "hvc1": Codec.HEVC,
    "hev1": Codec.HEVC,
    "dvh1": Codec.HEVC,
    "dvhe": Codec.HEVC,
    "vp09": Codec.VP9,
    "av01": Codec.AV1,
}
#: The codec that an encoder makes.
_MADE_CODECS = {
    Encoder.H264: Codec.H264,
    Encoder.HEVC: Codec.HEVC,
    Encoder.VP9: Codec.VP9,
}


@dataclass(frozen=True)
class Copy:
    """A rendition made by copying the coded media of a variant, named as in the Recording."""

    name: str
    variant: str
    reason: str


@dataclass(frozen=True)
class Transcode:
    """A rendition whose pictures, sound or both are encoded anew from a variant.

    ``video`` None copies the pictures, if there are any. ``encodes_audio``: tracks that browsers
    do not play become AAC, the others are copied.
    """

    name: str
    variant: str
    reason: str
    video: VideoEncoding | None
    encodes_audio: bool


Rendition: TypeAlias = Copy | Transcode


@dataclass(frozen=True)
class NotMade:
    """A profile that was asked for and is not made, with the reason as a sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """All renditions of a recording; ``mp4`` names the one whose URL becomes ``mp4_url``."""

    renditions: tuple[Rendition, ...]
    not_made: tuple[NotMade, ...]
    mp4: str = SOURCE


def plan(
    session: Session,
    recording: Recording,
    media: SourceMedia,
    kit: EncoderKit,
    options: PlanOptions,
) -> Plan:
    """Decide what is made of the recording, each decision with its reason.

    ``media`` is that of the best variant, ``recording.source``. The source comes first, then
    ``web`` if browsers need it, then the profiles as they were asked for.

    Raises PermanentError: ``encoder_missing`` when the ffmpeg at hand cannot encode or filter what
    is wanted, and as ``require_packageable`` does for every variant that would be used.
    """
    best = recording.source
    source = Copy(SOURCE, best.name, _why_best(best, len(recording.variants)))
    planner = _Planner(recording, media, kit, options)
    decided = [planner.of_profile(profile) for profile in _profiles(session, options)]
    web = planner.web()
    renditions = [each for each in decided if not isinstance(each, NotMade)]
    not_made = tuple(each for each in decided if isinstance(each, NotMade))
    made = (source, *([web] if web else []), *renditions)
    for name in {rendition.variant: None for rendition in made}:
        require_packageable(recording.variant(name))
    return Plan(tuple(_naming_twins(made)), not_made, WEB if web else SOURCE)


def _profiles(session: Session, options: PlanOptions) -> Sequence[FfmpegProfile]:
    """What is asked for; an empty list asks for nothing, an absent one for the default ladder."""
    if options.default_ladder and "profiles" not in session.model_fields_set:
        return DEFAULT_LADDER
    return session.profiles


@dataclass(frozen=True)
class _Planner:
    """What is the same for all renditions of a recording."""

    recording: Recording
    media: SourceMedia
    kit: EncoderKit
    options: PlanOptions

    def of_profile(self, profile: FfmpegProfile) -> Rendition | NotMade:
        """A copy of the variant that is what the profile asks for, else a transcode."""
        match = _match(profile, tuple(self._candidates()))
        if match is not None:
            return Copy(profile.name, match[0].name, match[1])
        video = self.media.video
        if video is None:
            return NotMade(profile.name, "No variant matches, and the source has no pictures.")
        with _wanted_for(f"Profile {profile.name}"):
            encoding = asked_encoding(profile, video, self.kit, self.options)
            encodes_audio = self._encodes_audio()
        best = self.recording.source
        reason = _why_transcoded(profile, best.name, video, encoding) + self._kept_sound()
        return Transcode(profile.name, best.name, reason, encoding, encodes_audio)

    def web(self) -> Transcode | None:
        """What browsers can play, when they cannot play the source."""
        video, best = self.media.video, self.recording.source
        encoding, odd = None, []
        with _wanted_for(f"The rendition {WEB}, which browsers need,"):
            if video and (
                pictures := odd_pictures(video, plays_hevc=not self.options.web_for_hevc)
            ):
                odd.append(pictures)
                encoding = web_encoding(video, best.bandwidth, self.kit, self.options)
            encodes_audio = self._encodes_audio()
            if encodes_audio and (sound := odd_sound(self.media.audio)):
                odd.append(sound)
        if not odd:
            return None
        reason = _why_web(" or ".join(odd), encoding, encodes_audio) + self._kept_sound()
        return Transcode(WEB, best.name, reason, encoding, encodes_audio)

    def _encodes_audio(self) -> bool:
        """Whether sound becomes AAC: out of MPEG-TS alone; fragmented MP4 can only copy it."""
        if odd_sound(self.media.audio) is None or self.media.container is Container.FMP4:
            return False
        self.kit.require_encoder("aac", "AAC")
        return True

    def _kept_sound(self) -> str:
        """A further sentence for a rendition whose sound browsers do not play all the same."""
        odd = odd_sound(self.media.audio)
        if odd is None or self.media.container is not Container.FMP4:
            return ""
        return f" Its {odd} is copied, which browsers do not play: fragmented MP4 keeps its sound."

    def _candidates(self) -> Iterator[_Candidate]:
        """The variants; of the best one, the true size is known, and the codec."""
        video = self.media.video
        for variant in self.recording.variants:
            named = (_NAMED_CODECS.get(name.split(".")[0]) for name in variant.codecs)
            codecs = frozenset(codec for codec in named if codec)
            if variant is not self.recording.source or video is None:
                yield _Candidate(variant, codecs)
                continue
            size = displayed(video)
            sized = replace(variant, width=size.width, height=size.height)
            seen = frozenset({Codec(video.codec)})
            yield _Candidate(variant if variant.width else sized, seen)


@dataclass(frozen=True)
class _Candidate:
    """A variant that a profile may mean; ``codecs`` of its pictures, empty when nobody knows."""

    variant: Variant
    codecs: frozenset[Codec]


@contextlib.contextmanager
def _wanted_for(what: str) -> Iterator[None]:
    """Name in an error what asked for the encoder or filter that lacks."""
    try:
        yield
    except PermanentError as error:
        raise PermanentError(error.code, f"{what} cannot be made: {error.message}") from error


def _why_best(variant: Variant, count: int) -> str:
    if count == 1:
        return "The recording has this one variant."
    size = f" {variant.width}x{variant.height}" if variant.width else ""
    return f"The best of {count} variants:{size} at {variant.bandwidth} bit/s."


def _why_transcoded(
    profile: FfmpegProfile, variant: str, video: SourceVideo, encoding: VideoEncoding
) -> str:
    source = f"{variant} ({displayed(video)})"
    made = Size(encoding.width, encoding.height)
    box = Size(profile.width, profile.height)
    if exceeds(box, video):
        reason = (
            f"No variant matches; transcoded from {source} to {made}:"
            f" {box} is larger than the source, and nothing is scaled up."
        )
    else:
        reason = f"No variant matches; transcoded from {source} to {made}."
    if encoding.tone_map:
        reason += " Its HDR pictures become SDR."
    if profile.profile and not encoding.profile:
        reason += f" The H.264 profile {profile.profile} says nothing to {encoding.encoder}."
    return reason


def _why_web(odd: str, video: VideoEncoding | None, encodes_audio: bool) -> str:
    made = [f"pictures to H.264 at {video.width}x{video.height}"] if video else []
    made += ["sound to AAC"] if encodes_audio else []
    tone_mapped = " Its HDR pictures become SDR." if video and video.tone_map else ""
    return f"Browsers do not play {odd}; transcoded {', '.join(made)}.{tone_mapped}"


def _naming_twins(renditions: Sequence[Rendition]) -> Iterator[Rendition]:
    """Every rendition; those that come out the same as others say so, except the source."""
    alike: defaultdict[Rendition, list[str]] = defaultdict(list)
    for each in renditions:
        alike[_product(each)].append(each.name)
    for each in renditions:
        twins = [name for name in alike[_product(each)] if name != each.name]
        if twins and each.name != SOURCE:
            reason = f"{each.reason} Comes out the same as {' and '.join(twins)}."
            yield replace(each, reason=reason)
        else:
            yield each


def _product(rendition: Rendition) -> Rendition:
    """The rendition without what does not change its media."""
    return replace(rendition, name="", reason="")


def _match(profile: FfmpegProfile, candidates: Sequence[_Candidate]) -> tuple[Variant, str] | None:
    """The variant that is what the profile asks for, and why: by name, else by size and bit rate."""
    for candidate in candidates:
        if candidate.variant.name.lower() == profile.name.lower():
            return candidate.variant, "A variant of the recording has this name."
    alike = [candidate.variant for candidate in candidates if _fits(profile, candidate)]
    nearest = min(alike, key=lambda variant: _bitrate_distance(profile, variant), default=None)
    if nearest is None or _bitrate_distance(profile, nearest) > BITRATE_TOLERANCE:
        return None
    rate = nearest.average_bandwidth or nearest.bandwidth
    return nearest, (
        f"The variant {nearest.name} has this size and bit rate:"
        f" {nearest.width}x{nearest.height} at {rate} bit/s."
    )


def _fits(profile: FfmpegProfile, candidate: _Candidate) -> bool:
    """Whether the variant has the size, is known to have the codec, and no other frame rate."""
    return (
        _same_size(profile, candidate.variant)
        and _MADE_CODECS[profile.encoder or Encoder.H264] in candidate.codecs
        and not _another_rate(profile, candidate.variant)
    )


def _same_size(profile: FfmpegProfile, variant: Variant) -> bool:
    if variant.width is None or variant.height is None:
        return False
    sides = ((profile.width, variant.width), (profile.height, variant.height))
    return all(abs(_even(asked) - _even(found)) <= SIZE_TOLERANCE for asked, found in sides)


def _even(pixels: int) -> int:
    return pixels - pixels % 2


def _another_rate(profile: FfmpegProfile, variant: Variant) -> bool:
    if not profile.fps or not variant.frame_rate:
        return False
    asked = profile.fps / (profile.fps_den or 1)
    return abs(variant.frame_rate - asked) > asked * RATE_TOLERANCE


def _bitrate_distance(profile: FfmpegProfile, variant: Variant) -> float:
    """How far the variant's nearer bit rate lies from the profile's, as a share of the profile's."""
    rates = (variant.bandwidth, variant.average_bandwidth or variant.bandwidth)
    return min(abs(rate - profile.bitrate) for rate in rates) / profile.bitrate
