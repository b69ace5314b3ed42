"""What a store's answers mean: what is not there, what stands in the way, and what is an outage."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from pipelines.errors import ErrorCode, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipelines.location import Location

_MISSING = frozenset({"NoSuchKey", "NotFound", "404", "NoSuchBucket"})
_REFUSED = frozenset(
    {"AccessDenied", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
)
#: What stores say that ask for fewer calls: AWS (the codes of botocore's own throttling retries that
#: S3 gives), MinIO, R2; an answer to HEAD has no body, and so only its status for a code.
_THROTTLED = frozenset(
    {
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "ServiceUnavailable",
        "503",
        "429",
        "TooManyRequests",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
    }
)
#: What stores say that have no room: RFC 4918 11.5, MinIO, Ceph.
_FULL = frozenset(
    {
        "InsufficientStorage",
        "507",
        "XMinioStorageFull",
        "XMinioAdminBucketQuotaExceeded",
        "QuotaExceeded",
    }
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


class Throttled(TransientError):
    """Raised when the store asks for fewer calls; ``retry_after`` is how long to wait, s, if told."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message, ErrorCode.STORE_THROTTLED)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[type[Throttled], tuple[str, float | None]]:  # type: ignore[override]
        return type(self), (self.message, self.retry_after)


def code_of(error: ClientError) -> str:
    """The store's own word for what went wrong, such as ``NoSuchKey``; "" when it gave none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait (RFC 9110 10.2.3); None for none, and for a date."""
    told = headers.get("retry-after", "").strip()
    return float(told) if told.isascii() and told.isdigit() else None


def refusal(location: Location, code: str, headers: Mapping[str, str]) -> TransientError:
    """What a store's refusal is, which passes once somebody has acted or the load is lower."""
    if code in _THROTTLED:
        message = f"the store of {location} asks for fewer calls ({code})"
        return Throttled(message, retry_after(headers))
    if code in _FULL:
        message = f"the store has no room for {location} ({code}): make room or raise its quota"
        return TransientError(message, ErrorCode.STORE_FULL)
    if code in _REFUSED:
        message = f"the store refused access to {location} ({code}): check credentials and policy"
        return TransientError(message, ErrorCode.STORE_REFUSED)
    return TransientError(f"the store failed on {location} ({code or 'no code'})")


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
    answer = error.response.get("ResponseMetadata", {})
    status = str(answer.get("HTTPStatusCode", ""))
    known = code in _THROTTLED | _FULL | _REFUSED
    # A gateway before the store may answer in words of its own.
    told = status if not known and status in _THROTTLED | _FULL else code
    return refusal(location, told, answer.get("HTTPHeaders", {}))


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
