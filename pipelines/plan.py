"""What is to be made of a recording: the source, every profile, and what browsers can play."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from pipelines.errors import ErrorCode, PermanentError
from pipelines.profile import Encoder
from pipelines.transcoding.asked_encoding import asked_encoding
from pipelines.transcoding.browsers import odd_pictures, odd_sound
from pipelines.transcoding.frame_size import Size, displayed, exceeds
from pipelines.transcoding.ladder import DEFAULT_LADDER
from pipelines.transcoding.web import WEB, web_encoding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipelines.playlist import Recording, Variant
    from pipelines.session import FfmpegProfile, Session
    from pipelines.transcoding.encoding import VideoEncoding
    from pipelines.transcoding.kit import EncoderKit, Hardware
    from pipelines.transcoding.source_media import SourceMedia, SourceVideo

#: Name of the rendition that is always made: a copy of the best variant.
SOURCE = "source"
#: How far a variant's size may lie from the profile's and still be meant, pixels per side.
SIZE_TOLERANCE = 2
#: How far a variant's bit rate may lie from the profile's, as a share of the profile's.
BITRATE_TOLERANCE = 0.2
#: How far a variant's frame rate may lie from the profile's: 29.97 is meant by 30.
RATE_TOLERANCE = 0.01

#: The encoder's codec by how the names in CODECS begin (RFC 6381).
_CODECS = {
    "avc1": Encoder.H264,
    "avc3": Encoder.H264,
    "hvc1": Encoder.HEVC,
    "hev1": Encoder.HEVC,
    "vp09": Encoder.VP9,
}


@dataclass(frozen=True)
class PlanOptions:
    """What the settings say about plans.

    ``preset`` is the speed of software encoders in x264's words; ``hardware`` the encoders to
    prefer; ``default_ladder``: sessions without ``profiles`` get Livepeer's; ``web_for_hevc``:
    browsers are taken not to play HEVC.
    """

    preset: str
    hardware: Hardware | None = None
    default_ladder: bool = False
    web_for_hevc: bool = False


@dataclass(frozen=True)
class Copy:
    """A rendition made by copying the coded media of a variant, named as in the Recording."""

    name: str
    variant: str
    reason: str

    @property
    def object_name(self) -> str:
        """Name of its MP4 below the revision's folder."""
        return f"{self.name}.mp4"


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

    @property
    def object_name(self) -> str:
        """Name of its MP4 below the revision's folder."""
        return f"{self.name}.mp4"


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


def require_packageable(variant: Variant) -> None:
    """Refuse a variant that cannot be packaged, by what its playlist says.

    Raises PermanentError: ``playlist_missing`` (it lists no segment), ``segment_missing``
    (EXT-X-GAP), ``encryption_unsupported``, ``rendition_unsupported`` (its audio lies in playlists
    of its own).
    """
    where = variant.location
    if any(rendition.location for rendition in variant.audio):
        raise PermanentError(
            ErrorCode.RENDITION_UNSUPPORTED,
            f"The audio of {where} lies in playlists of its own; only muxed audio is packaged.",
        )
    if not variant.segments:
        raise PermanentError(ErrorCode.PLAYLIST_MISSING, f"{where} lists no segment.")
    for segment in variant.segments:
        if segment.gap:
            raise PermanentError(
                ErrorCode.SEGMENT_MISSING,
                f"{where} marks segment {segment.sequence} ({segment.location}) as missing"
                " (EXT-X-GAP), and nothing is skipped.",
            )
        if segment.encryption:
            raise PermanentError(
                ErrorCode.ENCRYPTION_UNSUPPORTED,
                f"{where} is encrypted ({segment.encryption.method}), which is not packaged.",
            )


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
        match = _match(profile, self._variants())
        if match is not None:
            return Copy(profile.name, match[0].name, match[1])
        video = self.media.video
        if video is None:
            return NotMade(profile.name, "No variant matches, and the source has no pictures.")
        with _wanted_for(f"Profile {profile.name}"):
            encoding = asked_encoding(profile, video, self.kit, self.options)
            encodes_audio = self._encodes_audio()
        best = self.recording.source
        reason = _why_transcoded(profile, best.name, video, encoding)
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
            if sound := odd_sound(self.media.audio):
                odd.append(sound)
            encodes_audio = self._encodes_audio()
        if not odd:
            return None
        reason = _why_web(" or ".join(odd), encoding, encodes_audio)
        return Transcode(WEB, best.name, reason, encoding, encodes_audio)

    def _encodes_audio(self) -> bool:
        if odd_sound(self.media.audio) is None:
            return False
        self.kit.require_encoder("aac", "AAC")
        return True

    def _variants(self) -> Iterator[Variant]:
        """The variants; the best one with its true size where the playlist names none."""
        for variant in self.recording.variants:
            if variant is self.recording.source and self.media.video and not variant.width:
                size = displayed(self.media.video)
                yield replace(variant, width=size.width, height=size.height)
            else:
                yield variant


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


def _match(profile: FfmpegProfile, variants: Iterable[Variant]) -> tuple[Variant, str] | None:
    """The variant that is what the profile asks for, and why: by name, else by size and bit rate."""
    variants = tuple(variants)
    for variant in variants:
        if variant.name.lower() == profile.name.lower():
            return variant, "A variant of the recording has this name."
    alike = [variant for variant in variants if _fits(profile, variant)]
    nearest = min(alike, key=lambda variant: _bitrate_distance(profile, variant), default=None)
    if nearest is None or _bitrate_distance(profile, nearest) > BITRATE_TOLERANCE:
        return None
    rate = nearest.average_bandwidth or nearest.bandwidth
    return nearest, (
        f"The variant {nearest.name} has this size and bit rate:"
        f" {nearest.width}x{nearest.height} at {rate} bit/s."
    )


def _fits(profile: FfmpegProfile, variant: Variant) -> bool:
    """Whether the variant has the size, and nothing that its playlist says speaks against it."""
    return (
        _same_size(profile, variant)
        and not _another_codec(profile, variant)
        and not _another_rate(profile, variant)
    )


def _same_size(profile: FfmpegProfile, variant: Variant) -> bool:
    if variant.width is None or variant.height is None:
        return False
    sides = ((profile.width, variant.width), (profile.height, variant.height))
    return all(abs(_even(asked) - _even(found)) <= SIZE_TOLERANCE for asked, found in sides)


def _even(pixels: int) -> int:
    return pixels - pixels % 2


def _another_codec(profile: FfmpegProfile, variant: Variant) -> bool:
    found = {_CODECS.get(name.split(".")[0]) for name in variant.codecs} - {None}
    return profile.encoder is not None and bool(found) and profile.encoder not in found


def _another_rate(profile: FfmpegProfile, variant: Variant) -> bool:
    if not profile.fps or not variant.frame_rate:
        return False
    asked = profile.fps / (profile.fps_den or 1)
    return abs(variant.frame_rate - asked) > asked * RATE_TOLERANCE


def _bitrate_distance(profile: FfmpegProfile, variant: Variant) -> float:
    """How far the variant's nearer bit rate lies from the profile's, as a share of the profile's."""
    rates = (variant.bandwidth, variant.average_bandwidth or variant.bandwidth)
    return min(abs(rate - profile.bitrate) for rate in rates) / profile.bitrate
