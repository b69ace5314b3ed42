"""Where an object lies: s3:// and http(s):// locations, resolved and compared without surprises."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes, urlsplit

from pipelines.errors import ErrorCode, PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipelines.session import Session

#: Longest object key that S3 takes, bytes of UTF-8.
LONGEST_KEY = 1024
#: Longest URL that is read, characters.
LONGEST_URL = 8192

_SCHEMES = ("s3", "http", "https")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\\\u2028\u2029\ud800-\udfff]")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: A relative reference that needs no care: the usual name of a segment.
_PLAIN_REFERENCE = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
#: A session's own words in a template: no separator, no leading dot, nothing to be decoded.
_TEMPLATE_VALUE = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,254}")
#: What may stand unescaped in a path (RFC 3986 section 3.3), and the escapes already there.
_PATH_SAFE = "/%!$&'()*+,;=:@-._~"
_QUERY_SAFE = _PATH_SAFE + "?"


def redact(uri: str) -> str:
    """The URI as it may be shown: without query, fragment, user and control characters."""
    shown = _UNSAFE.sub("?", re.split(r"[?#]", uri, maxsplit=1)[0])
    scheme = _SCHEME.match(shown)
    if scheme and not shown.startswith(f"{scheme[0]}//"):
        return f"{scheme[0]}…"
    shown = re.sub(r"//[^/]*@", "//…@", shown)
    return shown if len(shown) <= 200 else f"{shown[:200]}…"


def _refuse(uri: str, why: str) -> PermanentError:
    return PermanentError(ErrorCode.URI_REFUSED, f"{redact(uri)!r} is refused: {why}.")


@dataclass(frozen=True, slots=True)
class Location:
    """The place of one object, or of a folder when it ends in a slash.

    ``authority`` is the bucket, or host and port; ``path`` begins with a slash, is free of dot
    segments and is percent-encoded; ``query`` (http only) may be a signature and is never shown.
    """

    scheme: str
    authority: str
    path: str
    query: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Location:
        """Read an absolute ``s3://bucket/key`` or ``http(s)://host/path?query``.

        Raises PermanentError (``uri_refused``) for everything else: other schemes, user names,
        fragments, control characters, backslashes, encoded separators, an empty bucket or host.
        """
        scheme, authority, path, query = _split(url)
        if scheme not in _SCHEMES:
            raise _refuse(url, "only s3://, http:// and https:// locations are read")
        if authority is None:
            raise _refuse(url, "it names no bucket or host")
        if scheme == "s3" and query:
            raise _refuse(url, "an s3 location has no query")
        checked = _bucket(url, authority) if scheme == "s3" else _host(url, scheme, authority)
        return cls(scheme, checked, _path(url, path), quote(query, safe=_QUERY_SAFE))._bounded()

    def child(self, name: str) -> Location:
        """The object called ``name`` (plain text, may hold slashes) below this folder."""
        folder = self.path if self.path.endswith("/") else f"{self.path}/"
        path = _path(name, folder + quote(name, safe="/!$&'()*+,;=:@-._~"))
        child = replace(self, path=path, query="")
        if not child.is_within(self):
            raise _refuse(name, f"it leaves {self}")
        return child._bounded()

    def with_key(self, key: str) -> Location:
        """The S3 object of the same bucket with exactly that key, as a store listed it."""
        self._require_s3()
        return replace(self, path="/" + quote(key, safe="/!$&'()*+,;=:@-._~"), query="")

    def resolve(self, reference: str) -> Location:
        """The location that a reference inside this document means (RFC 3986 section 5.2).

        A query has no meaning for S3 and is dropped there. Raises PermanentError (``uri_refused``).
        """
        folder = self.path[: self.path.rindex("/") + 1]
        if len(reference) < LONGEST_KEY // 2 and _PLAIN_REFERENCE.fullmatch(reference):
            return Location(self.scheme, self.authority, folder + reference)._bounded()
        scheme, authority, path, query = _split(reference)
        if scheme == "s3" or (not scheme and self.is_s3):
            reference, query = reference.partition("?")[0], ""
        if scheme:
            return Location.parse(reference)
        if authority is not None:
            return Location.parse(f"{self.scheme}:{reference}")
        if ":" in path.partition("/")[0]:
            raise _refuse(reference, "a relative path does not begin with a name with a colon")
        if not path:
            return replace(self, query=quote(query, safe=_QUERY_SAFE) or self.query)
        path = _path(reference, path if path.startswith("/") else folder + path)
        return replace(self, path=path, query=quote(query, safe=_QUERY_SAFE))._bounded()

    @property
    def folder(self) -> Location:
        """The folder that holds this object."""
        return replace(self, path=self.path[: self.path.rindex("/") + 1], query="")

    @property
    def is_s3(self) -> bool:
        """Whether an S3 client reads it; else HTTP does."""
        return self.scheme == "s3"

    @property
    def bucket(self) -> str:
        """Name of the S3 bucket."""
        self._require_s3()
        return self.authority

    @property
    def key(self) -> str:
        """Key of the S3 object, decoded; empty for the bucket itself."""
        self._require_s3()
        return unquote_to_bytes(self.path[1:]).decode()

    @property
    def url(self) -> str:
        """The whole URL with its query: for fetching, never for showing."""
        return f"{self}?{self.query}" if self.query else str(self)

    def is_within(self, prefix: Location) -> bool:
        """Whether this is ``prefix`` or lies below it; ``rec10`` does not lie below ``rec1``."""
        if (self.scheme, self.authority) != (prefix.scheme, prefix.authority):
            return False
        if prefix.path.endswith("/") and self.path.startswith(prefix.path):
            return True
        above = _segments(prefix.path.removesuffix("/"))
        return _segments(self.path)[: len(above)] == above

    def overlaps(self, other: Location) -> bool:
        """Whether the two are equal or one lies below the other."""
        return self.is_within(other) or other.is_within(self)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    def _require_s3(self) -> None:
        if not self.is_s3:
            raise _refuse(str(self), "it is not an s3 location")

    def _bounded(self) -> Location:
        if len(self.path) + len(self.query) > LONGEST_URL:
            raise _refuse(str(self), f"it is longer than {LONGEST_URL} characters")
        # A key of this many characters could still be short enough once decoded.
        if (
            self.scheme == "s3"
            and len(self.path) > LONGEST_KEY
            and len(self.key.encode()) > LONGEST_KEY
        ):
            raise _refuse(str(self), f"its key is longer than {LONGEST_KEY} bytes")
        return self


def allowed(location: Location, prefixes: Iterable[Location]) -> bool:
    """Whether the location lies below one of the prefixes."""
    return any(location.is_within(prefix) for prefix in prefixes)


def source_location(template: str, session: Session, prefixes: Sequence[Location] = ()) -> Location:
    """Where the playlist of the session's recording lies.

    ``template`` is the settings' SOURCE_URL with ``{id}``, ``{playback_id}`` and ``{parent_id}``.
    The session's own ``source_url`` goes first, if it lies below one of ``prefixes``. Raises
    PermanentError: ``playlist_missing`` when the session lacks a value, else ``uri_refused``.
    """
    if session.source_url is not None:
        location = Location.parse(session.source_url)
        if not allowed(location, prefixes):
            raise _refuse(session.source_url, "it lies outside the permitted source prefixes")
        return location
    values = {
        "id": session.id,
        "playback_id": session.playback_id,
        "parent_id": session.parent_id,
    }
    return Location.parse(
        re.sub(r"\{(\w+)\}", lambda match: _template_value(match[1], values), template)
    )


def _template_value(name: str, values: dict[str, str | None]) -> str:
    value = values.get(name)
    if not value:
        raise PermanentError(
            ErrorCode.PLAYLIST_MISSING,
            f"The session has no {name}, which the location of its recording is made of; "
            "send that field, or sourceUrl.",
        )
    if not _TEMPLATE_VALUE.fullmatch(value):
        raise _refuse(
            value, f"as {name} it would be part of a location, and it is not a plain name"
        )
    return value


def _split(uri: str) -> tuple[str, str | None, str, str]:
    """Scheme, authority (None when there is none), path and query of a URI or reference."""
    if _UNSAFE.search(uri):
        raise _refuse(uri, "it holds a control character or a backslash")
    if "#" in uri:
        raise _refuse(uri, "it has a fragment")
    scheme = _SCHEME.match(uri)
    rest = uri[scheme.end() :] if scheme else uri
    rest, _, query = rest.partition("?")
    authority = None
    if rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
    return scheme[1].lower() if scheme else "", authority, rest, query


def _bucket(url: str, authority: str) -> str:
    if not _BUCKET.fullmatch(authority):
        raise _refuse(url, "it names no valid bucket")
    return authority


def _host(url: str, scheme: str, authority: str) -> str:
    """Host in lower case, with its port unless that is the scheme's own."""
    if "@" in authority:
        raise _refuse(url, "it carries a user name or password")
    try:
        parts = urlsplit(f"{scheme}://{authority}")
        port = parts.port
    except ValueError:
        raise _refuse(url, "its host or port is not valid") from None
    host = authority.removesuffix(f":{port}") if port is not None else authority.removesuffix(":")
    if not _HOST.fullmatch(host):
        raise _refuse(url, "it names no valid host")
    own_port = port is None or port == _DEFAULT_PORTS[scheme]
    return host.lower() if own_port else f"{host.lower()}:{port}"


def _path(uri: str, path: str) -> str:
    """The path percent-encoded and without dot segments (RFC 3986 section 5.2.4)."""
    encoded = quote(_STRAY_PERCENT.sub("%25", path or "/"), safe=_PATH_SAFE)
    kept: list[str] = []
    segments = encoded.split("/")[1:]
    for position, segment in enumerate(segments):
        name = _decoded(uri, segment)
        if name not in (".", ".."):
            kept.append(segment)
            continue
        if name == ".." and kept:
            kept.pop()
        if position == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def _decoded(uri: str, segment: str) -> str:
    """The name that a path segment stands for; refused when it hides a separator."""
    try:
        name = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise _refuse(uri, "its percent-encoding is not UTF-8") from None
    if "/" in name or _UNSAFE.search(name):
        raise _refuse(uri, "it holds an encoded slash, backslash or control character")
    return name


def _segments(path: str) -> list[bytes]:
    return [unquote_to_bytes(segment) for segment in path.split("/")]
