"""The audio groups of a VOD: sound that lies in playlists of its own, and which variants play it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.vod_playlist import MediaType, VodMedia

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipelines.location import Location
    from pipelines.playlist import AudioRendition, Segment, Variant


@dataclass(frozen=True)
class AudioGroups:
    """The groups by the renditions that use them; a playlist of sound is published once.

    It lies in a folder of the first rendition that uses it, and is removed with that.
    """

    variants: Mapping[str, Variant]  #: by rendition
    groups: Mapping[tuple[AudioRendition, ...], str]
    folders: Mapping[Location, str]  #: by playlist; ending in a slash

    @classmethod
    def of(cls, renditions: Sequence[tuple[str, Variant]]) -> AudioGroups:
        """The groups of published renditions (name and variant), in their order."""
        groups: dict[tuple[AudioRendition, ...], str] = {}
        folders: dict[Location, str] = {}
        for name, variant in renditions:
            if variant.sound:
                groups.setdefault(variant.audio, f"audio-{len(groups)}")
            for number, each in enumerate(variant.sound):
                if each.playlist is not None:
                    folders.setdefault(each.playlist.location, f"{name}/audio-{number}/")
        return cls(dict(renditions), groups, folders)

    def group_of(self, rendition: str) -> str | None:
        """The GROUP-ID of a rendition's sound; None where all of it is muxed in."""
        return self.groups.get(self.variants[rendition].audio)

    def playlists_of(self, rendition: str) -> Iterator[tuple[str, tuple[Segment, ...]]]:
        """Folder and segments of every playlist of sound that lies with a rendition."""
        for each in self.variants[rendition].sound:
            if each.playlist is not None:
                folder = self.folders[each.playlist.location]
                if folder.startswith(f"{rendition}/"):
                    yield folder, each.playlist.segments

    def lines(self, revision: str) -> Iterator[VodMedia]:
        """The EXT-X-MEDIA lines; ``revision`` begins every URI."""
        for members, group in self.groups.items():
            defaults = [each for each in members if each.default][:1]
            for each in members:
                folder = self.folders.get(each.location) if each.location else None
                yield VodMedia(
                    kind=MediaType.AUDIO,
                    group=group,
                    name=each.name,
                    language=each.language,
                    default=each in defaults,
                    uri=None if folder is None else f"{revision}{folder}index.m3u8",
                )
