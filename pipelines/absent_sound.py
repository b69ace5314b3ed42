"""Sound in a playlist of its own of which the recording holds nothing at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipelines.playlist import AudioRendition


def why_absent(sound: AudioRendition, lost: Collection[tuple[int, str]]) -> str | None:
    """Why there is nothing of a sound; None when there is some, or it is muxed into the pictures.

    ``lost`` are the segments (media sequence and location) of which nothing could be packaged.
    """
    if sound.location is None:
        return None
    if sound.playlist is None:
        return f"the playlist {sound.location} is not there, or is none"
    segments = sound.playlist.segments
    if not segments:
        return f"the playlist {sound.location} lists no segment"
    if all((each.sequence, str(each.location)) in lost for each in segments):
        return f"all {len(segments)} segments of {sound.location} are lost"
    return None
