"""What a request to an S3 server asks for: its operation by S3's name, its bucket and its key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.http_messages import Head

#: Operations upon an object by method, and by the first of these queries that is given.
_OF_OBJECTS = {
    ("PUT", "partNumber"): "UploadPart",
    ("POST", "uploads"): "CreateMultipartUpload",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("GET", "uploadId"): "ListParts",
    ("PUT", ""): "PutObject",
    ("GET", ""): "GetObject",
    ("HEAD", ""): "HeadObject",
    ("DELETE", ""): "DeleteObject",
}
_OF_BUCKETS = {
    ("POST", "delete"): "DeleteObjects",
    ("GET", "uploads"): "ListMultipartUploads",
    ("GET", "list-type"): "ListObjectsV2",
    ("HEAD", ""): "HeadBucket",
}
_COPY = "x-amz-copy-source"


@dataclass(frozen=True)
class S3Request:
    """A request with a path-style address; ``size`` is its ``Content-Length``, 0 when not told.

    ``body`` is there for what is posted (the parts of a completion, keys to delete), else "".
    """

    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    size: int
    copies: bool = False
    body: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, head: Head, body: bytes = b"") -> S3Request:
        """What the request with that head asks for."""
        method, target, *_ = head.line.split(" ")
        address = urlsplit(target)
        bucket, _, key = unquote(address.path).lstrip("/").partition("/")
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        copies = head.field(_COPY) is not None
        return cls(method, bucket, key, query, head.length or 0, copies, body)

    @property
    def operation(self) -> str:
        """S3's name for it, such as ``UploadPart``; "Other" for what we never ask."""
        if self.copies:
            return "UploadPartCopy" if "partNumber" in self.query else "CopyObject"
        known = _OF_OBJECTS if self.key else _OF_BUCKETS
        queries = [name for _, name in known if name and name in self.query]
        return known.get((self.method, queries[0] if queries else ""), "Other")
