"""Which variants can be packaged, by what their playlists say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError

if TYPE_CHECKING:
    from pipelines.playlist import Variant


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
