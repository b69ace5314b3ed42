"""What can go wrong, sorted by who must act, each with a stable code.

FinalizerError
├── TransientError     nobody acts: an outage passes, the work is tried again later
├── PermanentError     the recording's owner acts: this source or request cannot be finalized
├── ToolError          the operator acts: ffmpeg (or our reading of it) failed; counts as an attempt
└── InterruptedWork    nobody acts: the lease was lost, or the worker is asked to stop
"""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """Stable machine words for failures; the table in docs/errors.md explains each."""

    PLAYLIST_MISSING = "playlist_missing"
    PLAYLIST_INVALID = "playlist_invalid"
    SEGMENT_MISSING = "segment_missing"
    SEGMENT_DAMAGED = "segment_damaged"
    URI_REFUSED = "uri_refused"
    ENCRYPTION_UNSUPPORTED = "encryption_unsupported"
    CODEC_UNSUPPORTED = "codec_unsupported"
    RENDITION_UNSUPPORTED = "rendition_unsupported"
    PROFILE_INVALID = "profile_invalid"
    ENCODER_MISSING = "encoder_missing"
    STORE_UNAVAILABLE = "store_unavailable"
    STORE_REFUSED = "store_refused"
    STORE_FULL = "store_full"
    STORE_THROTTLED = "store_throttled"
    FFMPEG_FAILED = "ffmpeg_failed"
    VERIFICATION_FAILED = "verification_failed"
    SLICE_POISON = "slice_poison"
    RECORDING_TOO_LONG = "recording_too_long"
    BITRATE_TOO_HIGH = "bitrate_too_high"
    CONFIGURATION_CHANGED = "configuration_changed"
    OUTPUT_OVERLAPS_SOURCE = "output_overlaps_source"
    GAP_REFUSED = "gap_refused"
    INTERRUPTED = "interrupted"
    INTERNAL_ERROR = "internal_error"


def known_code(text: str) -> ErrorCode:
    """The code that was written down; a newer version's code that we do not know is a bug's."""
    return ErrorCode(text) if text in list(ErrorCode) else ErrorCode.INTERNAL_ERROR


class FinalizerError(Exception):
    """A failure with a stable ``code`` and a sentence that is safe to show to a customer.

    ``message`` names the object concerned (never with a query string) and what to do about it.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def __reduce__(self) -> tuple[type[FinalizerError], tuple[ErrorCode, str]]:
        return type(self), (self.code, self.message)


class TransientError(FinalizerError):
    """An outage: the same call may succeed later. Never counts as an attempt of a slice."""

    def __init__(self, message: str, code: ErrorCode = ErrorCode.STORE_UNAVAILABLE) -> None:
        super().__init__(code, message)

    def __reduce__(self) -> tuple[type[FinalizerError], tuple[str, ErrorCode]]:  # type: ignore[override]
        return type(self), (self.message, self.code)


class PermanentError(FinalizerError):
    """This recording, as it is, cannot be finalized; trying again changes nothing."""


class ToolError(FinalizerError):
    """ffmpeg failed, or wrote what we cannot accept; counts as an attempt of the slice."""


class AccountError(ToolError):
    """What we packaged is not what we have written down of it: no segment is at fault."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.VERIFICATION_FAILED, message)

    def __reduce__(self) -> tuple[type[FinalizerError], tuple[str]]:  # type: ignore[override]
        return type(self), (self.message,)


class InterruptedWork(FinalizerError):
    """The lease was lost or the worker stops; someone else goes on, nothing failed.

    Nobody need take the work up again for ``pause_ms`` milliseconds.
    """

    def __init__(self, message: str, pause_ms: int = 0) -> None:
        super().__init__(ErrorCode.INTERRUPTED, message)
        self.pause_ms = pause_ms

    def __reduce__(self) -> tuple[type[FinalizerError], tuple[str, int]]:  # type: ignore[override]
        return type(self), (self.message, self.pause_ms)
