"""Publishing what was proven: VOD playlists, report, multivariant playlist, in that order."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.errors import ErrorCode, PermanentError
from pipelines.object_store import ObjectKind, ObjectStore
from pipelines.store_errors import ObjectMissing
from pipelines.vod_playlist import VodVariant, media_playlist, multivariant_playlist

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipelines.location import Location
    from pipelines.playlist import Variant
    from pipelines.source import SourceReader

_IMMUTABLE = "public, max-age=31536000, immutable"
_PLAYLIST = "application/vnd.apple.mpegurl"
#: The one object that is overwritten; viewers may keep it for a minute.
MULTIVARIANT = ObjectKind(_PLAYLIST, "public, max-age=60")
MEDIA = ObjectKind(_PLAYLIST, _IMMUTABLE)
REPORT = ObjectKind("application/json", _IMMUTABLE)
_SEGMENT_TYPES = {"ts": "video/mp2t", "m4s": "video/iso.segment", "mp4": "video/mp4"}


@dataclass(frozen=True)
class OutputNames:
    """Names of a session's published objects, as locations and as public URLs (DESIGN 8)."""

    folder: Location  #: ``{output}/{session_id}/``
    public: str = field(repr=False)  #: the same folder over HTTP, ending in a slash

    def mp4(self, revision: int, rendition: str) -> Location:
        """The MP4 of a rendition."""
        return self.folder.child(f"r{revision}/{rendition}.mp4")

    def mp4_url(self, revision: int, rendition: str) -> str:
        """Its public URL."""
        return f"{self.public}r{revision}/{rendition}.mp4"

    @property
    def recording_url(self) -> str:
        """The public URL of the multivariant playlist."""
        return f"{self.public}index.m3u8"


@dataclass(frozen=True)
class PublicSource:
    """Where source segments can be fetched over HTTP by viewers, if at all."""

    folder: Location
    url: str

    def url_of(self, location: Location) -> str | None:
        """The public URL of a source object; None when it lies elsewhere."""
        if not location.is_within(self.folder):
            return None
        return self.url.rstrip("/") + "/" + location.path.removeprefix(self.folder.path).lstrip("/")


@dataclass(frozen=True)
class PublishedRendition:
    """A proven rendition with the variant that it was copied from."""

    name: str
    variant: Variant
    size: int  #: bytes of its MP4
    duration: float  #: seconds
    width: int  #: pixels as shown; 0 without pictures
    height: int
    codecs: tuple[str, ...]  #: RFC 6381; () when not all are known


class Publisher:
    """Writes the references to bytes that are in place already; the commit comes after it."""

    def __init__(
        self,
        store: ObjectStore,
        reader: SourceReader,
        names: OutputNames,
        public_source: PublicSource | None,
        *,
        same_store: bool,
    ) -> None:
        self._store = store
        self._reader = reader
        self._names = names
        self._public_source = public_source
        self._same_store = same_store

    def publish(
        self,
        revision: int,
        renditions: Sequence[PublishedRendition],
        report: Mapping[str, Any],
        checkpoint: Callable[[], None],
    ) -> None:
        """Write media playlists, the report, then ``index.m3u8``; all may be written again.

        The report carries the text of ``index.m3u8``, the one object that is overwritten, so that
        it can be made again from what was published.
        """
        for rendition in renditions:
            checkpoint()
            self._write_media_playlist(revision, rendition, checkpoint)
        variants = [_vod_variant(revision, rendition) for rendition in renditions]
        playlist = multivariant_playlist(variants)
        whole = {**report, "multivariantPlaylist": playlist}
        text = json.dumps(whole, ensure_ascii=False, indent=1)
        where = self._names.folder.child(f"r{revision}/recording.json")
        self._store.write(where, text.encode(), REPORT)
        checkpoint()
        index = self._names.folder.child("index.m3u8")
        self._store.write(index, playlist.encode(), MULTIVARIANT)

    def _write_media_playlist(
        self, revision: int, rendition: PublishedRendition, checkpoint: Callable[[], None]
    ) -> None:
        folder = self._names.folder.child(f"r{revision}/{rendition.name}/")
        urls = self._public_urls(rendition.variant)
        if urls is None:
            urls = self._copied(rendition.variant, folder, checkpoint)
        playlist = media_playlist(rendition.variant.segments, urls.__getitem__)
        self._store.write(folder.child("index.m3u8"), playlist.encode(), MEDIA)

    def _public_urls(self, variant: Variant) -> dict[Location, str] | None:
        """Public URLs of everything that the playlist refers to; None unless all have one."""
        if self._public_source is None:
            return None
        urls = {each: self._public_source.url_of(each) for each in _objects(variant)}
        public = {each: url for each, url in urls.items() if url is not None}
        return public if len(public) == len(urls) else None

    def _copied(
        self, variant: Variant, folder: Location, checkpoint: Callable[[], None]
    ) -> dict[Location, str]:
        """Copy the variant's objects beside its media playlist; their names there."""
        names: dict[Location, str] = {}
        for number, source in enumerate(_objects(variant)):
            checkpoint()
            suffix = source.path.rpartition(".")[2].lower()
            suffix = suffix if suffix in _SEGMENT_TYPES else "ts"
            names[source] = f"{number}.{suffix}"
            kind = ObjectKind(_SEGMENT_TYPES[suffix], _IMMUTABLE)
            target = folder.child(names[source])
            try:
                self._copy(source, target, kind)
            except ObjectMissing:
                message = f"{source} is listed but missing"
                raise PermanentError(ErrorCode.SEGMENT_MISSING, message) from None
        return names

    def _copy(self, source: Location, target: Location, kind: ObjectKind) -> None:
        if self._same_store and source.is_s3:
            self._store.copy(source, target, kind)
        else:
            self._store.write(target, self._reader.read(source), kind)


def _objects(variant: Variant) -> list[Location]:
    """Every object that the variant's segments lie in, initialization sections included."""
    found: dict[Location, None] = {}
    for segment in variant.segments:
        if segment.init_section is not None:
            found[segment.init_section.location] = None
        found[segment.location] = None
    return list(found)


def _vod_variant(revision: int, rendition: PublishedRendition) -> VodVariant:
    variant = rendition.variant
    return VodVariant(
        name=rendition.name,
        uri=f"r{revision}/{rendition.name}/index.m3u8",
        size=rendition.size,
        duration=rendition.duration,
        bandwidth=variant.bandwidth,
        width=variant.width or rendition.width or None,
        height=variant.height or rendition.height or None,
        frame_rate=variant.frame_rate,
        codecs=variant.codecs or rendition.codecs,
    )
