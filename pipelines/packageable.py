"""Which variants can be packaged, by what their playlists say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError

if TYPE_CHECKING:
    from pipelines.playlist import Variant


def require_packageable(variant: Variant) -> None:
    """Refuse a variant of which nothing can be packaged, by what its playlist says.

    Raises PermanentError: ``playlist_missing`` (it lists no segment). What is encrypted in another
    way than AES-128 is refused when the playlist is read.
    """
    if not variant.segments:
        raise PermanentError(ErrorCode.PLAYLIST_MISSING, f"{variant.location} lists no segment.")
