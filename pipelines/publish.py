"""Publishing what was proven: VOD playlists, subtitles, report, multivariant playlist, in order."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pipelines.absent_sound import why_absent
from pipelines.object_store import ObjectKind, ObjectStore
from pipelines.vod_audio import AudioGroups
from pipelines.vod_playlist import (
    MediaType,
    VodMedia,
    VodVariant,
    marked,
    media_playlist,
    multivariant_playlist,
    period_marks,
    subtitle_playlist,
)
from pipelines.vod_segments import IMMUTABLE, SegmentPlacer, lacking
from pipelines.webvtt import write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipelines.location import Location
    from pipelines.playlist import Segment, SubtitleRendition, Variant
    from pipelines.subtitles import VodText
    from pipelines.vod_playlist import PeriodMark
    from pipelines.webvtt import Cue

_PLAYLIST = "application/vnd.apple.mpegurl"
#: The one object that is overwritten; viewers may keep it for a minute.
MULTIVARIANT = ObjectKind(_PLAYLIST, "public, max-age=60")
MEDIA = ObjectKind(_PLAYLIST, IMMUTABLE)
REPORT = ObjectKind("application/json", IMMUTABLE)
TEXT = ObjectKind("text/vtt", IMMUTABLE)

#: What may stand of a language (RFC 5646) in the name of an object.
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,3}")
_SUBTITLES = "subtitles"


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

    def subtitles_url(self, revision: int, file: str) -> str:
        """The public URL of a file of subtitles (``subtitle_files``)."""
        return f"{self.public}r{revision}/{file}"

    @property
    def recording_url(self) -> str:
        """The public URL of the multivariant playlist."""
        return f"{self.public}index.m3u8"


def subtitle_files(mp4: str, subtitles: Sequence[SubtitleRendition]) -> list[str]:
    """Names of the files of subtitles beside the MP4 of a rendition, as players look for them:
    its own, the language, and a number from the second of a language on."""
    files: list[str] = []
    for each in subtitles:
        known = each.language is not None and _LANGUAGE.fullmatch(each.language)
        stem = f"{mp4}.{each.language.lower() if known and each.language else 'und'}"
        same = sum(file == f"{stem}.vtt" or file.startswith(f"{stem}.") for file in files)
        files.append(f"{stem}.{same + 1}.vtt" if same else f"{stem}.vtt")
    return files


@dataclass(frozen=True)
class PublishedRendition:
    """A proven rendition with the variant that it was copied from.

    ``lost`` are the segments (media sequence and location) of which nothing could be packaged, or
    whose source is gone by now,
    ``repeated`` those that are an earlier one once more, ``starts`` the media sequences at which
    players begin anew.
    """

    name: str
    variant: Variant
    size: int  #: bytes of its MP4
    duration: float  #: seconds
    width: int  #: pixels as shown; 0 without pictures
    height: int
    codecs: tuple[str, ...]  #: RFC 6381; () when not all are known
    lost: frozenset[tuple[int, str]] = frozenset()
    repeated: frozenset[tuple[int, str]] = frozenset()
    starts: frozenset[int] = frozenset()

    @property
    def playable(self) -> Variant:
        """The variant without sound of which there is nothing to play."""
        there = [each for each in self.variant.audio if why_absent(each, self.lost) is None]
        return replace(self.variant, audio=tuple(there))

    @property
    def vod_segments(self) -> tuple[Segment, ...]:
        """The segments of its VOD playlist: gaps and periods are marked as they were found."""
        return marked(self.found(self.variant.segments), self.marks)

    @property
    def marks(self) -> tuple[PeriodMark, ...]:
        """Where players begin anew, and its playlist does not say so."""
        return period_marks(self.found(self.variant.segments), self.starts)

    def found(self, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        """The segments of one of its playlists as they were found: what is lost is a gap, and what
        came once more is not listed again."""
        once = [
            each for each in segments if (each.sequence, str(each.location)) not in self.repeated
        ]
        return lacking(once, self.lost)


@dataclass(frozen=True)
class PublishedSubtitles:
    """Subtitles in media time, and from discontinuity to discontinuity for players of the VOD.

    ``mp4`` is the rendition beside whose MP4 the ``file`` lies.
    """

    rendition: SubtitleRendition
    mp4: str
    file: str
    cues: tuple[Cue, ...]
    texts: tuple[VodText, ...]


class Publisher:
    """Writes the references to bytes that are in place already; the commit comes after it."""

    def __init__(self, store: ObjectStore, names: OutputNames, placer: SegmentPlacer) -> None:
        self._store = store
        self._names = names
        self._placer = placer

    def publish(
        self,
        revision: int,
        renditions: Sequence[PublishedRendition],
        subtitles: Sequence[PublishedSubtitles],
        report: Mapping[str, Any],
        checkpoint: Callable[[], None],
    ) -> None:
        """Write subtitles, media playlists, the report, then ``index.m3u8``.

        All may be written again. The report carries the text of ``index.m3u8``, the one object
        that is overwritten, so that it can be made again from what was published.
        """
        folder = self._names.folder.child(f"r{revision}/")
        for number, each in enumerate(subtitles):
            checkpoint()
            self._write_subtitles(each, folder, number)
        groups = AudioGroups.of([(each.name, each.playable) for each in renditions])
        for rendition in renditions:
            for place, segments in groups.playlists_of(rendition.name):
                listed = marked(rendition.found(segments), rendition.marks)
                self._write_playlist(listed, folder.child(place), checkpoint)
            own = folder.child(f"{rendition.name}/")
            self._write_playlist(rendition.vod_segments, own, checkpoint)
        playlist = _multivariant(f"r{revision}/", renditions, groups, subtitles)
        whole = {**report, "multivariantPlaylist": playlist}
        text = json.dumps(whole, ensure_ascii=False, indent=1)
        self._store.write(folder.child("recording.json"), text.encode(), REPORT)
        checkpoint()
        index = self._names.folder.child("index.m3u8")
        self._store.write(index, playlist.encode(), MULTIVARIANT)

    def _write_playlist(
        self, segments: Sequence[Segment], folder: Location, checkpoint: Callable[[], None]
    ) -> None:
        checkpoint()
        placed = self._placer.place(segments, folder, checkpoint)
        text = media_playlist(placed.segments, placed.uris.__getitem__)
        self._store.write(folder.child("index.m3u8"), text.encode(), MEDIA)

    def _write_subtitles(
        self, subtitles: PublishedSubtitles, revision: Location, number: int
    ) -> None:
        """Write the file beside the MP4, and the VOD playlist with its texts."""
        self._store.write(revision.child(subtitles.file), write(subtitles.cues).encode(), TEXT)
        folder = revision.child(_subtitle_folder(subtitles, number))
        for position, each in enumerate(subtitles.texts):
            self._store.write(folder.child(f"{position}.vtt"), each.text.encode(), TEXT)
        listed = subtitle_playlist(
            [(each.seconds, each.discontinuity_sequence) for each in subtitles.texts]
        )
        self._store.write(folder.child("index.m3u8"), listed.encode(), MEDIA)


def _multivariant(
    revision: str,
    renditions: Sequence[PublishedRendition],
    groups: AudioGroups,
    subtitles: Sequence[PublishedSubtitles],
) -> str:
    texts = [
        VodMedia(
            kind=MediaType.SUBTITLES,
            group=_SUBTITLES,
            name=each.rendition.name,
            language=each.rendition.language,
            default=each.rendition.default,
            uri=f"{revision}{_subtitle_folder(each, number)}index.m3u8",
            forced=each.rendition.forced,
        )
        for number, each in enumerate(subtitles)
    ]
    variants = [
        VodVariant(
            name=each.name,
            uri=f"{revision}{each.name}/index.m3u8",
            size=each.size,
            duration=each.duration,
            bandwidth=each.variant.bandwidth,
            width=each.variant.width or each.width or None,
            height=each.variant.height or each.height or None,
            frame_rate=each.variant.frame_rate,
            codecs=each.variant.codecs or each.codecs,
            audio=groups.group_of(each.name),
            subtitles=_SUBTITLES if subtitles else None,
        )
        for each in renditions
    ]
    return multivariant_playlist(variants, [*groups.lines(revision), *texts])


def _subtitle_folder(subtitles: PublishedSubtitles, number: int) -> str:
    return f"{subtitles.mp4}/{_SUBTITLES}-{number}/"
