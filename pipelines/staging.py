"""The staging area of one generation: slice results on their way to assembly, gone afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines import packaged_slice
from pipelines.layout import SlicePayload
from pipelines.object_store import ObjectKind, ObjectMissing, ObjectStore, UploadedPart

if TYPE_CHECKING:
    from pipelines.location import Location
    from pipelines.package import Packaged
    from pipelines.packaged_slice import PackagedSlice

_PRIVATE = ObjectKind("application/octet-stream", "no-store")


class SliceLost(Exception):
    """Raised when a slice's staged result is missing or unreadable: it is packaged again."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the staged result of slice {number} is missing or unreadable")
        self.number = number


@dataclass(frozen=True)
class SliceReceipt:
    """What the queue's bookkeeping keeps of a packaged slice: enough to lay the object out.

    ``token`` is the lease token under which the result was written: the name of its objects.
    """

    number: int
    token: str
    payload: SlicePayload

    def to_json(self) -> str:
        """The form in which the run's record keeps it."""
        parts = [[p.number, p.size, p.etag, p.crc32] for p in self.payload.parts]
        return json.dumps(
            {"n": self.number, "t": self.token, "s": self.payload.staged_bytes, "p": parts},
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> SliceReceipt:
        """The inverse of ``to_json``."""
        data = json.loads(text)
        parts = tuple(UploadedPart(*part) for part in data["p"])
        return cls(data["n"], data["t"], SlicePayload(data["n"], data["s"], parts))


class Staging:
    """Objects below ``{staging}/{session_id}/{generation}/``; each name carries a lease token,
    so that a worker whose lease was lost cannot touch what counts."""

    def __init__(self, store: ObjectStore, folder: Location) -> None:
        self._store = store
        self._folder = folder

    def write(self, rendition: str, token: str, packaged: Packaged) -> SliceReceipt:
        """Stage one packaged slice: first its bytes, then its tables."""
        tables = packaged.tables
        if packaged.staged:
            where = self._location(rendition, tables.number, token, "payload")
            self._store.write(where, packaged.staged, _PRIVATE)
        where = self._location(rendition, tables.number, token, "tables")
        self._store.write(where, packaged_slice.encode(tables), _PRIVATE)
        payload = SlicePayload(tables.number, tables.staged_bytes, tables.parts)
        return SliceReceipt(tables.number, token, payload)

    def tables(self, rendition: str, receipt: SliceReceipt) -> PackagedSlice:
        """Read a slice's tables back; raises ``SliceLost``."""
        where = self._location(rendition, receipt.number, receipt.token, "tables")
        try:
            return packaged_slice.decode(self._store.read(where))
        except (ObjectMissing, packaged_slice.UnknownFormat) as error:
            raise SliceLost(receipt.number) from error

    def payload(self, rendition: str, receipt: SliceReceipt) -> bytes:
        """Read a slice's staged bytes back; raises ``SliceLost``."""
        if not receipt.payload.staged_bytes:
            return b""
        where = self._location(rendition, receipt.number, receipt.token, "payload")
        try:
            data = self._store.read(where)
        except ObjectMissing as error:
            raise SliceLost(receipt.number) from error
        if len(data) != receipt.payload.staged_bytes:
            raise SliceLost(receipt.number)
        return data

    def remove(self) -> None:
        """Remove everything that this generation staged."""
        self._store.delete(self._store.list(self._folder))

    def _location(self, rendition: str, number: int, token: str, what: str) -> Location:
        return self._folder.child(f"{rendition}/{number}-{token}.{what}")
