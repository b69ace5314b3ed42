"""S3 as the pipelines use it: objects, multipart uploads, and errors sorted by who must act."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import zlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from pipelines.retry import ATTEMPTS, retrying
from pipelines.store_errors import ObjectMissing, UploadMissing, code_of, errors_about, refusal
from pipelines.store_pace import MOST_CALLS, StorePace

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from pipelines.location import Location

#: Bytes that every part but the last must have (S3 multipart upload limits).
MIN_PART_BYTES = 5 << 20
#: Objects that one DeleteObjects request may name.
DELETE_BATCH = 1000

_BEYOND_END = frozenset({"InvalidRange", "416"})

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class ObjectHead:
    """What HEAD says of an object; ``checksum_crc32`` is the composite for multipart uploads."""

    size: int
    etag: str
    metadata: Mapping[str, str]
    checksum_crc32: str | None


@dataclass(frozen=True)
class UploadedPart:
    """One part as the store confirmed it; ``crc32`` was computed before it was sent."""

    number: int
    size: int
    etag: str
    crc32: int


@dataclass(frozen=True)
class ListedPart:
    """One part as ListParts tells it."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True)
class ObjectKind:
    """The headers that a published object carries."""

    content_type: str
    cache_control: str


def encode_crc32(crc32: int) -> str:
    """A CRC-32 in the form of the ``x-amz-checksum-crc32`` header (base64, big endian)."""
    return base64.b64encode(crc32.to_bytes(4, "big")).decode("ascii")


def composite_crc32(parts: Sequence[UploadedPart]) -> str:
    """The checksum that S3 gives a multipart object: the CRC-32 of its parts' CRC-32s, ``-N``."""
    joined = b"".join(part.crc32.to_bytes(4, "big") for part in parts)
    return f"{encode_crc32(zlib.crc32(joined))}-{len(parts)}"


def connect(profile: str | None = None) -> Any:
    """A boto3 S3 client for a named credentials profile, configured for our use.

    botocore's own retries are off (tenacity's are the ones). Payloads carry a CRC-32 instead of a
    signed SHA-256, which halves the cost of an upload; over https that is botocore's default too.
    Path-style addresses are used with a custom endpoint, where bucket host names rarely resolve.
    """
    custom_endpoint = any(os.environ.get(n) for n in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=5,
        read_timeout=30,
        max_pool_connections=MOST_CALLS,
        tcp_keepalive=True,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={
            "payload_signing_enabled": False,
            "addressing_style": "path" if custom_endpoint else "auto",
        },
    )
    session = botocore.session.Session(profile=profile)
    session.register_component("data_loader", _service_descriptions())
    return boto3.session.Session(botocore_session=session).client("s3", config=config)


@functools.cache
def _service_descriptions() -> Any:
    """What botocore knows of S3, parsed once for all clients: that takes most of making one."""
    return botocore.session.Session().get_component("data_loader")


class ObjectStore:
    """Reads and writes objects of one S3 endpoint; every call retries short outages by itself.

    Raises ``ObjectMissing``/``UploadMissing`` for what is not there, ``TransientError`` for an
    outage or refusal that outlasts the retries; ``stop`` ends these early. At most as many calls
    are in flight as its ``pace`` allows. Safe to share between threads.
    """

    def __init__(
        self, client: Any, pace: StorePace | None = None, stop: threading.Event | None = None
    ) -> None:
        self._client = client
        self._pace = pace or StorePace()
        self._stop = stop

    def _call(self, location: Location, operation: str, **arguments: Any) -> dict[str, Any]:
        method = getattr(self._client, operation)

        def call() -> dict[str, Any]:
            answer: dict[str, Any] = method(**arguments)
            return answer

        return self._asked(location, call)

    def _asked(
        self, location: Location, call: Callable[[], _Answer], attempts: int = ATTEMPTS
    ) -> _Answer:
        def once() -> _Answer:
            with self._pace.turn(), errors_about(location):
                return call()

        return retrying(once, self._stop, attempts)

    # -- objects ---------------------------------------------------------------------------

    def read(self, location: Location, *, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of an object, or of a range of it; a body cut short is retried.

        An object that ends inside the range gives fewer bytes, one that ends before it none.
        """
        if length == 0:
            return b""  # there is no range of no bytes: a store might send all of them
        ranged = {}
        if start or length is not None:
            end = "" if length is None else start + length - 1
            ranged["Range"] = f"bytes={start}-{end}"

        def call() -> bytes:
            try:
                answer = self._client.get_object(Bucket=location.bucket, Key=location.key, **ranged)
            except ClientError as error:
                if code_of(error) in _BEYOND_END:
                    return b""
                raise
            body: bytes = answer["Body"].read()
            return body

        return self._asked(location, call)

    def head(self, location: Location) -> ObjectHead:
        """Size, ETag, user metadata and checksum of an object."""
        answer = self._call(
            location,
            "head_object",
            Bucket=location.bucket,
            Key=location.key,
            ChecksumMode="ENABLED",
        )
        return ObjectHead(
            answer["ContentLength"],
            answer["ETag"],
            answer.get("Metadata", {}),
            answer.get("ChecksumCRC32"),
        )

    def write(
        self,
        location: Location,
        body: bytes | bytearray,
        kind: ObjectKind,
        metadata: Mapping[str, str] | None = None,
    ) -> UploadedPart:
        """Write a whole object in one request; the store confirms its CRC-32. Part number 1."""
        return self._put(location, body, kind, metadata)

    def create(
        self,
        location: Location,
        body: bytes | bytearray,
        kind: ObjectKind,
        metadata: Mapping[str, str],
    ) -> UploadedPart:
        """Write as ``write`` does, but only where nothing is; else raises ``ObjectExists``.

        A store that does not know ``If-None-Match`` writes all the same.
        """
        return self._put(location, body, kind, metadata, IfNoneMatch="*")

    def _put(
        self,
        location: Location,
        body: bytes | bytearray,
        kind: ObjectKind,
        metadata: Mapping[str, str] | None,
        **condition: str,
    ) -> UploadedPart:
        crc32 = zlib.crc32(body)
        answer = self._call(
            location,
            "put_object",
            Bucket=location.bucket,
            Key=location.key,
            Body=body,
            ContentType=kind.content_type,
            CacheControl=kind.cache_control,
            Metadata=dict(metadata or {}),
            ChecksumCRC32=encode_crc32(crc32),
            **condition,
        )
        return UploadedPart(1, len(body), answer["ETag"], crc32)

    def copy(self, source: Location, target: Location, kind: ObjectKind) -> None:
        """Copy an object inside the store, without its bytes passing through us (CopyObject)."""
        self._call(
            source,
            "copy_object",
            Bucket=target.bucket,
            Key=target.key,
            CopySource={"Bucket": source.bucket, "Key": source.key},
            ContentType=kind.content_type,
            CacheControl=kind.cache_control,
            MetadataDirective="REPLACE",
        )

    def list(self, prefix: Location) -> list[Location]:
        """Every object whose key starts with ``prefix``'s key."""
        found: list[Location] = []
        arguments = {"Bucket": prefix.bucket, "Prefix": prefix.key}
        while True:
            answer = self._call(prefix, "list_objects_v2", **arguments)
            found += [prefix.with_key(item["Key"]) for item in answer.get("Contents", ())]
            if not answer.get("IsTruncated"):
                return found
            arguments["ContinuationToken"] = answer["NextContinuationToken"]

    def delete(self, locations: Sequence[Location]) -> None:
        """Delete objects of one bucket; those already gone are no error."""
        for first in range(0, len(locations), DELETE_BATCH):
            batch = locations[first : first + DELETE_BATCH]
            self._asked(batch[0], partial(self._delete_batch, batch))

    def _delete_batch(self, batch: Sequence[Location]) -> None:
        listed = {"Objects": [{"Key": item.key} for item in batch], "Quiet": True}
        answer = self._client.delete_objects(Bucket=batch[0].bucket, Delete=listed)
        for kept in answer.get("Errors", ()):
            raise refusal(batch[0].with_key(kept.get("Key", "")), kept.get("Code", ""), {})

    # -- multipart uploads -----------------------------------------------------------------

    def create_upload(
        self, location: Location, kind: ObjectKind, metadata: Mapping[str, str]
    ) -> str:
        """Open a multipart upload with CRC-32 part checksums; its id."""
        answer = self._call(
            location,
            "create_multipart_upload",
            Bucket=location.bucket,
            Key=location.key,
            ContentType=kind.content_type,
            CacheControl=kind.cache_control,
            Metadata=dict(metadata),
            ChecksumAlgorithm="CRC32",
        )
        return str(answer["UploadId"])

    def upload_part(
        self, location: Location, upload_id: str, number: int, body: bytes | bytearray
    ) -> UploadedPart:
        """Upload one part; the store refuses it when its bytes do not match our CRC-32."""
        crc32 = zlib.crc32(body)
        answer = self._call(
            location,
            "upload_part",
            Bucket=location.bucket,
            Key=location.key,
            UploadId=upload_id,
            PartNumber=number,
            Body=body,
            ChecksumCRC32=encode_crc32(crc32),
        )
        return UploadedPart(number, len(body), answer["ETag"], crc32)

    def list_parts(self, location: Location, upload_id: str) -> frozenset[ListedPart]:
        """The parts that the store holds for an upload.

        A number that was uploaded twice is listed once, as the last upload of it; SeaweedFS lists
        both, and takes the one whose ETag the completion names.
        """
        parts: set[ListedPart] = set()
        marker = 0
        while True:
            answer = self._call(
                location,
                "list_parts",
                Bucket=location.bucket,
                Key=location.key,
                UploadId=upload_id,
                PartNumberMarker=marker,
            )
            for item in answer.get("Parts", ()):
                parts.add(ListedPart(item["PartNumber"], item["Size"], item["ETag"]))
            if not answer.get("IsTruncated"):
                return frozenset(parts)
            marker = answer["NextPartNumberMarker"]

    def complete_upload(
        self, location: Location, upload_id: str, parts: Sequence[UploadedPart]
    ) -> str:
        """Make the object out of its parts (ascending numbers); its ETag.

        Raises ``PartsRefused`` when the store's parts are not these. Not made again here when the
        answer is lost: the caller asks HEAD whether it is done.
        """
        listed = [
            {
                "PartNumber": part.number,
                "ETag": part.etag,
                "ChecksumCRC32": encode_crc32(part.crc32),
            }
            for part in parts
        ]
        complete = partial(
            self._client.complete_multipart_upload,
            Bucket=location.bucket,
            Key=location.key,
            UploadId=upload_id,
            MultipartUpload={"Parts": listed},
        )
        return str(self._asked(location, complete, attempts=1)["ETag"])

    def abort_upload(self, location: Location, upload_id: str) -> None:
        """Abort an upload and free its parts; one that is gone already is no error."""
        with contextlib.suppress(UploadMissing, ObjectMissing):
            self._call(
                location,
                "abort_multipart_upload",
                Bucket=location.bucket,
                Key=location.key,
                UploadId=upload_id,
            )

    def open_uploads(self, location: Location) -> tuple[str, ...]:
        """Ids of the unfinished uploads of exactly this key (MinIO lists no other way)."""
        answer = self._call(
            location, "list_multipart_uploads", Bucket=location.bucket, Prefix=location.key
        )
        uploads = answer.get("Uploads", ())
        return tuple(item["UploadId"] for item in uploads if item["Key"] == location.key)
