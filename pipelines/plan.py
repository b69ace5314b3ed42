"""What is to be made of a recording: the source itself, and every profile that a variant matches."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import ErrorCode, PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.playlist import Recording, Variant
    from pipelines.session import FfmpegProfile, Session

#: Name of the rendition that is always made: a copy of the best variant.
SOURCE = "source"
#: How far a variant's size may lie from the profile's and still be meant, pixels per side.
SIZE_TOLERANCE = 2
#: How far a variant's bit rate may lie from the profile's, as a share of the profile's.
BITRATE_TOLERANCE = 0.2


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
class NotMade:
    """A profile that was asked for and is not made, with the reason as a sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """All renditions of a recording; ``mp4`` names the one whose URL becomes ``mp4_url``."""

    renditions: tuple[Copy, ...]
    not_made: tuple[NotMade, ...]
    mp4: str = SOURCE

    def to_json(self) -> dict[str, Any]:
        """The plan in JSON's own types, for storing and for showing."""
        return {
            "renditions": [{"kind": "copy", **asdict(copy)} for copy in self.renditions],
            "notMade": [asdict(profile) for profile in self.not_made],
            "mp4": self.mp4,
        }


def plan(session: Session, recording: Recording) -> Plan:
    """Decide what is made of the recording, each decision with its reason.

    Raises PermanentError when a variant that would be copied cannot be: ``playlist_missing`` (it
    lists no segment), ``segment_missing`` (EXT-X-GAP), ``encryption_unsupported``,
    ``rendition_unsupported`` (its audio lies in playlists of its own).
    """
    best = recording.source
    copies = [Copy(SOURCE, best.name, _why_best(best, len(recording.variants)))]
    not_made: list[NotMade] = []
    for profile in session.profiles:
        match = _match(profile, recording.variants)
        if match is None:
            not_made.append(NotMade(profile.name, _why_not(profile)))
        else:
            copies.append(Copy(profile.name, match[0].name, match[1]))
    for name in {copy.variant: None for copy in copies}:
        _require_packageable(recording.variant(name))
    return Plan(tuple(copies), tuple(not_made))


def _why_best(variant: Variant, count: int) -> str:
    if count == 1:
        return "The recording has this one variant."
    size = f" {variant.width}x{variant.height}" if variant.width else ""
    return f"The best of {count} variants:{size} at {variant.bandwidth} bit/s."


def _why_not(profile: FfmpegProfile) -> str:
    return (
        f"The recording has no variant named {profile.name}, nor one of"
        f" {profile.width}x{profile.height} at about {profile.bitrate} bit/s that could be copied."
    )


def _match(profile: FfmpegProfile, variants: Iterable[Variant]) -> tuple[Variant, str] | None:
    """The variant that is what the profile asks for, and why: by name, else by size and bit rate."""
    variants = tuple(variants)
    for variant in variants:
        if variant.name.lower() == profile.name.lower():
            return variant, "A variant of the recording has this name."
    alike = [variant for variant in variants if _same_size(profile, variant)]
    nearest = min(alike, key=lambda variant: _bitrate_distance(profile, variant), default=None)
    if nearest is None or _bitrate_distance(profile, nearest) > BITRATE_TOLERANCE:
        return None
    rate = nearest.average_bandwidth or nearest.bandwidth
    return nearest, (
        f"The variant {nearest.name} has this size and bit rate:"
        f" {nearest.width}x{nearest.height} at {rate} bit/s."
    )


def _same_size(profile: FfmpegProfile, variant: Variant) -> bool:
    if variant.width is None or variant.height is None:
        return False
    sides = ((profile.width, variant.width), (profile.height, variant.height))
    return all(abs(_even(asked) - _even(found)) <= SIZE_TOLERANCE for asked, found in sides)


def _even(pixels: int) -> int:
    return pixels - pixels % 2


def _bitrate_distance(profile: FfmpegProfile, variant: Variant) -> float:
    """How far the variant's nearer bit rate lies from the profile's, as a share of the profile's."""
    rates = (variant.bandwidth, variant.average_bandwidth or variant.bandwidth)
    return min(abs(rate - profile.bitrate) for rate in rates) / profile.bitrate


def _require_packageable(variant: Variant) -> None:
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
