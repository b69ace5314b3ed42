"""What a store's answers mean: what is not there, what stands in the way, and what is an outage."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from pipelines.errors import ErrorCode, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.location import Location

_MISSING = frozenset({"NoSuchKey", "NotFound", "404", "NoSuchBucket"})
_REFUSED = frozenset(
    {"AccessDenied", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
)
_EXISTS = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"})
_BAD_PARTS = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall"})


class ObjectMissing(Exception):
    """Raised when the object (or its bucket) is not there; ``location`` names it."""

    def __init__(self, location: Location) -> None:
        super().__init__(f"{location} does not exist")
        self.location = location


class ObjectExists(Exception):
    """Raised when an object was to be created, and there is one already."""


class UploadMissing(Exception):
    """Raised when the store no longer knows a multipart upload (expired, aborted or completed)."""


class PartsRefused(Exception):
    """Raised when the store refuses the list of parts on completion; ``code`` is the store's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def code_of(error: ClientError) -> str:
    """The store's own word for what went wrong, such as ``NoSuchKey``; "" when it gave none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _translated(error: ClientError, location: Location) -> Exception:
    code = code_of(error)
    if code in _MISSING:
        return ObjectMissing(location)
    if code == "NoSuchUpload":
        return UploadMissing(f"the upload of {location} is gone")
    if code in _EXISTS:
        return ObjectExists(f"{location} exists")
    if code in _BAD_PARTS:
        return PartsRefused(code)
    if code in _REFUSED:
        message = f"the store refused access to {location} ({code}): check credentials and policy"
        return TransientError(message, ErrorCode.STORE_REFUSED)
    return TransientError(f"the store failed on {location} ({code or 'no code'})")


@contextlib.contextmanager
def errors_about(location: Location) -> Iterator[None]:
    """Turn what boto3 raises inside into our errors, which name the object and never a secret."""
    try:
        yield
    except ClientError as error:
        raise _translated(error, location) from error
    except (BotoCoreError, HTTPClientError, OSError) as error:
        message = f"the store of {location} did not answer ({type(error).__name__})"
        raise TransientError(message) from error
