"""Where viewers of a VOD playlist find its segments: at their source, or as copies beside it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pipelines.encryption import NotDecrypted
from pipelines.object_store import ObjectKind
from pipelines.source import fetch_clear
from pipelines.store_errors import ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from pipelines.location import Location
    from pipelines.object_store import ObjectStore
    from pipelines.playlist import ByteRange, InitSection, Segment
    from pipelines.source import SourceReader

IMMUTABLE = "public, max-age=31536000, immutable"
#: Media types of segments by the suffix of their names; others are taken for MPEG-TS.
_MEDIA_TYPES = {
    "ts": "video/mp2t",
    "m4s": "video/iso.segment",
    "mp4": "video/mp4",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "mp3": "audio/mpeg",
    "ac3": "audio/ac3",
    "ec3": "audio/eac3",
}


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
class PlacedSegments:
    """The segments of one VOD media playlist, and where players find what lies at a location."""

    segments: tuple[Segment, ...]
    uris: Mapping[Location, str]


def lacking(segments: Sequence[Segment], lost: Collection[tuple[int, str]]) -> tuple[Segment, ...]:
    """The segments, those marked as gaps that are lost (media sequence and location)."""
    return tuple(
        replace(each, gap=each.gap or (each.sequence, str(each.location)) in lost)
        for each in segments
    )


@dataclass(frozen=True)
class SegmentPlacer:
    """Finds public URLs for the segments of a recording, or copies them to the output.

    Copies are in the clear: a key that viewers cannot fetch is of no use to them.
    """

    store: ObjectStore
    reader: SourceReader
    public: PublicSource | None
    same_store: bool  #: source and output are one, so that the store itself can copy

    def place(
        self, segments: Sequence[Segment], folder: Location, checkpoint: Callable[[], None]
    ) -> PlacedSegments:
        """The segments where they are, if all of them are public; else as copies in ``folder``.

        Gaps stay gaps, and segments that are not there any more become some. Raises
        ``TransientError`` for outages.
        """
        urls = self._public_urls(segments)
        if urls is not None:
            return PlacedSegments(tuple(segments), urls)
        copy = _Copy(self, folder, checkpoint)
        return PlacedSegments(tuple(copy.segment(each) for each in segments), copy.names)

    def _public_urls(self, segments: Sequence[Segment]) -> dict[Location, str] | None:
        """Public URLs of everything that the segments refer to; None unless all have one."""
        if self.public is None:
            return None
        urls = {each: self.public.url_of(each) for each in _referred_to(segments)}
        public = {each: url for each, url in urls.items() if url is not None}
        return public if len(public) == len(urls) else None


def _referred_to(segments: Sequence[Segment]) -> Iterator[Location]:
    for segment in segments:
        yield segment.location
        for each in (segment, segment.init_section):
            if each is not None and each.encryption is not None:
                yield each.encryption.location
        if segment.init_section is not None:
            yield segment.init_section.location


@dataclass
class _Copy:
    """Copies of one playlist's objects: of an object of byte ranges those that are listed, each as
    an object of its own; nothing else of it is meant for viewers."""

    placer: SegmentPlacer
    folder: Location
    checkpoint: Callable[[], None]
    names: dict[Location, str] = field(default_factory=dict)  #: by where the copies lie
    #: By what was copied; None: it is not there.
    copies: dict[tuple[Location, ByteRange | None], Location | None] = field(default_factory=dict)
    clear_inits: dict[InitSection, InitSection | None] = field(default_factory=dict)

    def segment(self, segment: Segment) -> Segment:
        """The segment as it lies in the folder; a gap where nothing can be copied."""
        init = self._init(segment.init_section)
        unreadable = segment.gap or (segment.init_section is not None and init is None)
        place = None if unreadable else self._place(segment)
        clear = replace(segment, encryption=None, init_section=init, byte_range=None)
        if place is None:
            return replace(clear, gap=True, location=self._name(segment.location))
        return replace(clear, location=place)

    def _place(self, segment: Segment) -> Location | None:
        if segment.encryption is None:
            return self._object(segment.location, segment.byte_range)
        self.checkpoint()
        fetched = fetch_clear(self.placer.reader, segment)
        return None if fetched.loss else self._write(segment.location, fetched.data)

    def _init(self, init: InitSection | None) -> InitSection | None:
        """The section as it lies in the folder; None when it cannot be read."""
        if init is None:
            return None
        if init.encryption is None:
            place = self._object(init.location, init.byte_range)
            return None if place is None else replace(init, location=place, byte_range=None)
        if init not in self.clear_inits:
            self.clear_inits[init] = self._decrypted(init)
        return self.clear_inits[init]

    def _decrypted(self, init: InitSection) -> InitSection | None:
        if init.encryption is None:
            return init
        reader = self.placer.reader
        try:
            data = reader.read(init.location, init.byte_range)
            clear = reader.keys.init_section(data, init.encryption)
        except (ObjectMissing, NotDecrypted):
            return None
        return replace(
            init, location=self._write(init.location, clear), byte_range=None, encryption=None
        )

    def _object(self, source: Location, byte_range: ByteRange | None) -> Location | None:
        """The copy of an object or a range of it, made once; None when there is no such object."""
        if (source, byte_range) not in self.copies:
            self.checkpoint()
            target = self._name(source)
            try:
                self._copy(source, byte_range, target)
            except ObjectMissing:
                self.copies[source, byte_range] = None
            else:
                self.copies[source, byte_range] = target
        return self.copies[source, byte_range]

    def _copy(self, source: Location, byte_range: ByteRange | None, target: Location) -> None:
        placer = self.placer
        if placer.same_store and source.is_s3 and byte_range is None:
            placer.store.copy(source, target, _kind(target))
        else:
            placer.store.write(target, placer.reader.read(source, byte_range), _kind(target))

    def _write(self, source: Location, data: bytes) -> Location:
        target = self._name(source)
        self.placer.store.write(target, data, _kind(target))
        return target

    def _name(self, source: Location) -> Location:
        """A name for the copy of what lies at a location: a number, and its suffix if it is known."""
        suffix = source.path.rpartition(".")[2].lower()
        name = f"{len(self.names)}.{suffix if suffix in _MEDIA_TYPES else 'ts'}"
        target = self.folder.child(name)
        self.names[target] = name
        return target


def _kind(target: Location) -> ObjectKind:
    return ObjectKind(_MEDIA_TYPES[target.path.rpartition(".")[2]], IMMUTABLE)
