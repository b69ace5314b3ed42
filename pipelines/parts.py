"""Cutting a slice's payload into parts of a multipart upload while it is being made."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipelines.errors import ErrorCode, PermanentError
from pipelines.object_store import MIN_PART_BYTES, UploadedPart
from pipelines.payload_hash import joined_hash, payload_hash

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

#: Part numbers 1–99 are the header's; slice n owns the PARTS_PER_SLICE from here on.
FIRST_SLICE_PART = 100
PARTS_PER_SLICE = 8
#: The smallest size that a part is given by choice.
PREFERRED_PART_BYTES = 8 << 20
#: A slice that would need larger parts than this is refused.
MAX_PART_BYTES = 256 << 20
#: A slice whose payload stays below this is staged whole and joined with its neighbours.
STAGED_SLICE_BYTES = 2 * MIN_PART_BYTES
#: Uploads of one slice that run at once while the next part fills. Each holds a whole part in
#: memory; a process works on several slices, and so uploads several parts, anyway.
UPLOADS = 1


class PartUpload(Protocol):
    """Where full parts go: opens the multipart upload on the first, then uploads each.

    Called from several threads at once.
    """

    def upload_part(self, number: int, body: bytes) -> UploadedPart:
        """Upload one part and return what the store confirmed."""
        ...


def first_part_number(slice_number: int) -> int:
    """The lowest upload part number that slice ``slice_number`` owns."""
    return FIRST_SLICE_PART + PARTS_PER_SLICE * slice_number


def part_bytes(source_bytes: int) -> int:
    """The part size for a slice whose segments hold ``source_bytes``, so that 8 parts suffice.

    The payload is never larger than the segments that it comes from; seven full parts and a last
    one of up to one and a bit then hold it. Raises ``bitrate_too_high`` above 256 MiB.
    """
    size = max(PREFERRED_PART_BYTES, -(-source_bytes // (PARTS_PER_SLICE - 1)))
    if size > MAX_PART_BYTES:
        message = f"one slice holds {source_bytes} bytes, more than its eight parts can"
        raise PermanentError(ErrorCode.BITRATE_TOO_HIGH, message)
    return size


def estimated_part_bytes(payload_bytes: int) -> int:
    """The part size for a slice whose payload is encoded to about ``payload_bytes``.

    Other than ``part_bytes`` it refuses nothing: a payload that turns out too large is refused when
    it is.
    """
    return min(
        MAX_PART_BYTES, max(PREFERRED_PART_BYTES, -(-payload_bytes // (PARTS_PER_SLICE - 1)))
    )


@dataclass(frozen=True, eq=False)
class WrittenPayload:
    """A finished payload: ``staged`` are its first bytes, the rest lies in ``parts``, in order."""

    size: int
    staged: bytes
    parts: tuple[UploadedPart, ...]
    hash: int  #: CRC-64/NVME of all of it, taken from the bytes that were staged and uploaded


class _Pieces:
    """Neighbouring pieces of a payload, copied once, when they are taken together.

    Taken as ``bytes``: botocore copies every other kind of body once more before it signs it.
    """

    def __init__(self) -> None:
        self.views: list[memoryview] = []
        self.size = 0

    def add(self, view: memoryview) -> None:
        """Put a piece behind the others."""
        self.views.append(view)
        self.size += len(view)

    def follow(self, others: _Pieces) -> None:
        """Put other pieces before these, and leave none there."""
        self.size += others.size
        self.views[:0], others.views, others.size = others.views, [], 0

    def take(self) -> bytes:
        """All of them joined; none are left."""
        joined = b"".join(self.views)
        self.views, self.size = [], 0
        return joined


class PartWriter:
    """Takes a slice's payload in order and uploads it in parts while more is written.

    S3 wants every part but an object's last to hold 5 MiB, and a slice does not know whether it
    is the last: so a full part is held back until 5 MiB follow it. The first ``stage_bytes`` are
    kept aside (slice 0: they follow the header in part 1); a payload below
    ``STAGED_SLICE_BYTES`` is kept aside whole.
    """

    def __init__(
        self, upload: PartUpload, *, first_number: int, part_bytes: int, stage_bytes: int
    ) -> None:
        self._upload = upload
        self._number = first_number
        self._last_number = first_number + PARTS_PER_SLICE - 1
        self._part_bytes = part_bytes
        self._stage_bytes = stage_bytes
        self._staged = bytearray()
        self._full = _Pieces()
        self._filling = _Pieces()
        self._pending: deque[Future[UploadedPart]] = deque()
        self._parts: list[UploadedPart] = []
        self.size = 0
        self._uploaded_hash = 0  # of all bodies that were sent, one behind the other

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(UPLOADS, thread_name_prefix="upload-part")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def write(self, data: memoryview) -> int:
        """Append ``data``, which is not copied yet and must stay as it is; its offset in the
        payload. Raises what an upload raised."""
        offset, at = self.size, 0
        self.size += len(data)
        missing = self._stage_bytes - len(self._staged)
        if missing > 0:
            self._staged += data[:missing]
            at = min(missing, len(data))
        while at < len(data):
            take = min(len(data) - at, self._part_bytes - self._filling.size)
            self._filling.add(data[at : at + take])
            at += take
            self._release_full()
        return offset

    def finish(self) -> WrittenPayload:
        """Upload or keep aside what is left, wait for every upload, and say where all lies."""
        full, rest = self._full, self._filling
        if self.size < STAGED_SLICE_BYTES:
            staged = b"".join((self._staged, *full.views, *rest.views))
            return WrittenPayload(self.size, staged, (), payload_hash(staged))
        if full.size and rest.size >= MIN_PART_BYTES:
            self._send(full)
        else:
            rest.follow(full)
        if rest.size:
            self._send(rest)
        while self._pending:
            self._parts.append(self._pending.popleft().result())
        staged = bytes(self._staged)
        uploaded = self._uploaded_hash, self.size - len(staged)
        whole = joined_hash([(payload_hash(staged), len(staged)), uploaded])
        return WrittenPayload(self.size, staged, tuple(self._parts), whole)

    def _release_full(self) -> None:
        """Send the part held back once enough follows it, and begin a new one when full."""
        if self._full.size and self._filling.size >= MIN_PART_BYTES:
            self._send(self._full)
        if self._filling.size == self._part_bytes:
            self._full, self._filling = self._filling, _Pieces()

    def _send(self, pieces: _Pieces) -> None:
        if self._number > self._last_number:
            message = "a slice's payload needs more than its eight parts"
            raise PermanentError(ErrorCode.BITRATE_TOO_HIGH, message)
        while len(self._pending) >= UPLOADS:
            self._parts.append(self._pending.popleft().result())
        body = pieces.take()
        self._uploaded_hash = payload_hash(body, self._uploaded_hash)
        self._pending.append(self._pool.submit(self._upload.upload_part, self._number, body))
        self._number += 1
