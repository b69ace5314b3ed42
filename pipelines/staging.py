"""The staging area of one session: slice results on their way to assembly, gone afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines import packaged_slice
from pipelines.layout import SlicePayload
from pipelines.object_store import ObjectKind, ObjectStore, UploadedPart
from pipelines.payload_hash import UNKNOWN_HASH, payload_hash
from pipelines.store_errors import ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.location import Location
    from pipelines.loss import Loss
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

    ``name`` is where the result lies in the session's staging folder, without a suffix;
    ``staged_hash`` is that of the bytes staged there, ``UNKNOWN_HASH`` when it was not written down.
    """

    number: int
    name: str
    payload: SlicePayload
    staged_hash: int = UNKNOWN_HASH

    def to_json(self) -> str:
        """The form in which the run's record keeps it."""
        parts = [[p.number, p.size, p.etag, p.crc32] for p in self.payload.parts]
        return json.dumps(
            {
                "n": self.number,
                "at": self.name,
                "s": self.payload.staged_bytes,
                "h": f"{self.staged_hash:016x}",
                "p": parts,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> SliceReceipt:
        """The inverse of ``to_json``."""
        data = json.loads(text)
        parts = tuple(UploadedPart(*part) for part in data["p"])
        payload = SlicePayload(data["n"], data["s"], parts)
        return cls(data["n"], data["at"], payload, int(data.get("h", "0"), 16))


class Staging:
    """Objects below ``{staging}/{session_id}/``, named ``{generation}/{rendition}/{slice}-{token}``,
    and what playlists have listed, named ``listing/{token}``.

    The lease token in the name keeps a worker whose lease was lost from touching what counts.
    """

    def __init__(self, store: ObjectStore, folder: Location) -> None:
        self._store = store
        self._folder = folder

    def write(
        self, generation: int, rendition: str, token: str, packaged: Packaged
    ) -> SliceReceipt:
        """Stage one packaged slice: first its bytes, then its tables."""
        tables = packaged.tables
        name = f"{generation}/{rendition}/{tables.number}-{token}"
        if packaged.staged:
            self._store.write(self._payload(name), packaged.staged, _PRIVATE)
        self._store.write(self._tables(name), packaged_slice.encode(tables), _PRIVATE)
        payload = SlicePayload(tables.number, tables.staged_bytes, tables.parts)
        return SliceReceipt(tables.number, name, payload, payload_hash(packaged.staged))

    def tables(self, receipt: SliceReceipt) -> PackagedSlice:
        """Read a slice's tables back; raises ``SliceLost``, also when they are another one's."""
        try:
            tables = packaged_slice.decode(self._store.read(self._tables(receipt.name)))
        except (ObjectMissing, packaged_slice.UnknownFormat) as error:
            raise SliceLost(receipt.number) from error
        if SlicePayload(tables.number, tables.staged_bytes, tables.parts) != receipt.payload:
            raise SliceLost(receipt.number)
        return tables

    def losses(self, receipt: SliceReceipt) -> tuple[Loss, ...]:
        """Read back what a slice lacks, without its tables; raises ``SliceLost``."""
        try:
            return packaged_slice.decode_losses(self._store.read(self._tables(receipt.name)))
        except (ObjectMissing, packaged_slice.UnknownFormat) as error:
            raise SliceLost(receipt.number) from error

    def payload(self, receipt: SliceReceipt) -> bytes:
        """Read a slice's staged bytes back; raises ``SliceLost``."""
        if not receipt.payload.staged_bytes:
            return b""
        try:
            data = self._store.read(self._payload(receipt.name))
        except ObjectMissing as error:
            raise SliceLost(receipt.number) from error
        whole = len(data) == receipt.payload.staged_bytes
        if not whole or receipt.staged_hash not in (UNKNOWN_HASH, payload_hash(data)):
            raise SliceLost(receipt.number)
        return data

    def write_listing(self, name: str, listed: bytes) -> None:
        """Stage what playlists have listed (``pipelines.stored_listing``) under a name of its own."""
        self._store.write(self._listing(name), listed, _PRIVATE)

    def listing(self, name: str) -> bytes:
        """Read back what was staged under ``name``; raises ``ObjectMissing``."""
        return self._store.read(self._listing(name))

    def remove_listings(self, names: Iterable[str]) -> None:
        """Remove what was staged under these names."""
        self._store.delete([self._listing(name) for name in names])

    def remove(self) -> None:
        """Remove everything that is staged of the session."""
        self._store.delete(self._store.list(self._folder))

    def _tables(self, name: str) -> Location:
        return self._folder.child(f"{name}.tables")

    def _payload(self, name: str) -> Location:
        return self._folder.child(f"{name}.payload")

    def _listing(self, name: str) -> Location:
        return self._folder.child(f"listing/{name}")
