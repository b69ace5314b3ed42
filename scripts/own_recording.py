"""A recording in a folder of the user's: which files its playlists name, none of them elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import PermanentError
from pipelines.location import Location
from pipelines.m3u8 import parse, parse_media
from pipelines.playlist import MediaPlaylist, MultivariantPlaylist

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

#: Stands for the folder: the playlists are read just as the product reads them out of a bucket.
_FOLDER = Location.parse("s3://recording/here/")


class RecordingRefusedError(Exception):
    """The files cannot be taken for a recording; the message says which, and why."""


@dataclass(frozen=True)
class OwnRecording:
    """The files of a recording, by names relative to ``folder``; ``missing`` are not there."""

    folder: Path
    playlist: str
    files: tuple[str, ...]
    missing: tuple[str, ...]

    @classmethod
    def read(cls, playlist: Path) -> OwnRecording:
        """Find the files of a (multivariant or media) playlist.

        Raises RecordingRefusedError when it cannot be read, or when it names something that does
        not lie below its own folder, be it by a link.
        """
        folder = playlist.absolute().parent
        try:
            names = dict.fromkeys(_names(folder, _FOLDER.child(playlist.name)))
        except PermanentError as error:
            shown = error.message.replace(str(_FOLDER), f"{folder}/")
            raise RecordingRefusedError(shown) from None
        there = tuple(name for name in names if _is_there(folder, name))
        missing = tuple(name for name in names if name not in there)
        return cls(folder, playlist.name, there, missing)

    def path(self, name: str) -> Path:
        """Where one of the files lies."""
        return self.folder / name


def _names(folder: Path, location: Location) -> Iterator[str]:
    first = parse(_text(folder, location), location, allowed=[_FOLDER])
    yield _name(location)
    if isinstance(first, MediaPlaylist):
        yield from _segment_names(first)
        return
    for each in _media_playlists(first):
        yield _name(each)
        if _is_there(folder, _name(each)):
            yield from _segment_names(parse_media(_text(folder, each), each, allowed=[_FOLDER]))


def _media_playlists(multivariant: MultivariantPlaylist) -> Iterable[Location]:
    beside = (*multivariant.sound_locations, *multivariant.subtitle_locations)
    return dict.fromkeys((*multivariant.media_locations, *beside))


def _segment_names(playlist: MediaPlaylist) -> Iterator[str]:
    for segment in playlist.segments:
        if segment.init_section:
            yield _name(segment.init_section.location)
        if segment.encryption:
            yield _name(segment.encryption.location)
        yield _name(segment.location)


def _text(folder: Path, location: Location) -> bytes:
    path = folder / _name(location)
    _is_there(folder, _name(location))
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordingRefusedError(f"{path} cannot be read: {error.strerror}.") from None


def _is_there(folder: Path, name: str) -> bool:
    """Whether it is a file; raises RecordingRefusedError when it leads out of the folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise RecordingRefusedError(f"{path} is a link that leads out of its folder: refused.")
    return path.is_file()


def _name(location: Location) -> str:
    return location.key.removeprefix(_FOLDER.key)
