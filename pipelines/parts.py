"""Cutting a slice's payload into parts of a multipart upload while it is being made."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipelines.errors import ErrorCode, PermanentError
from pipelines.object_store import MIN_PART_BYTES, UploadedPart
from pipelines.part_scheme import MAX_PART_BYTES, PARTS_PER_SLICE, VARYING_PARTS, PartScheme
from pipelines.payload_hash import joined_hash, payload_hash

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from pipelines.errors import FinalizerError

#: The smallest size that a part is given by choice.
PREFERRED_PART_BYTES = 8 << 20
#: A slice whose payload stays below this is staged whole and joined with its neighbours.
STAGED_SLICE_BYTES = 2 * MIN_PART_BYTES
#: Uploads of one slice that run at once while the next part fills. Each holds a whole part in
#: memory; a process works on several slices, and so uploads several parts, anyway.
UPLOADS = 1


class PartUpload(Protocol):
    """Where full parts go: opens the multipart upload on the first, then uploads each.

    Called from several threads at once.
    """

    def scheme(self, payload_bytes: int) -> PartScheme:
        """The parts of the upload, for a slice of about ``payload_bytes``; asked for before the
        first part is cut."""
        return VARYING_PARTS

    def upload_part(self, number: int, body: bytes) -> UploadedPart:
        """Upload one part and return what the store confirmed."""
        ...

    def outgrown(self) -> FinalizerError:
        """Why a slice whose payload needs more parts than it owns is not made this time."""
        message = "a slice's payload needs more than its eight parts"
        return PermanentError(ErrorCode.BITRATE_TOO_HIGH, message)


def refuse_too_large(source_bytes: int) -> None:
    """Refuse a slice whose segments hold more than its parts can, before any of it is read.

    The payload is never larger than the segments that it comes from; seven full parts and a last
    one of up to one and a bit then hold it. Raises ``bitrate_too_high``.
    """
    if source_bytes > (PARTS_PER_SLICE - 1) * MAX_PART_BYTES:
        message = f"one slice holds {source_bytes} bytes, more than its eight parts can"
        raise PermanentError(ErrorCode.BITRATE_TOO_HIGH, message)


def estimated_part_bytes(payload_bytes: int) -> int:
    """The size of parts that may differ, for a payload of about ``payload_bytes``, so that 8 suffice.

    It refuses nothing: a payload that turns out too large is refused when it is.
    """
    return min(
        MAX_PART_BYTES, max(PREFERRED_PART_BYTES, -(-payload_bytes // (PARTS_PER_SLICE - 1)))
    )


@dataclass(frozen=True, eq=False)
class WrittenPayload:
    """A finished payload: ``staged`` are its first bytes, the rest lies in ``parts``, in order; the
    last of them may end with bytes that are none of it."""

    size: int
    staged: bytes
    parts: tuple[UploadedPart, ...]
    hash: int  #: CRC-64/NVME of all of it, taken from the bytes that were staged and uploaded


class _Pieces:
    """Neighbouring pieces of a payload, copied once, when they are taken together.

    Taken as ``bytes``: botocore copies every other kind of body once more before it signs it.
    """

    def __init__(self) -> None:
        self._views: deque[memoryview] = deque()
        self.size = 0

    def add(self, view: memoryview) -> None:
        """Put a piece behind the others."""
        self._views.append(view)
        self.size += len(view)

    def take(self, size: int, padding: int = 0) -> bytes:
        """The first ``size`` bytes joined, and so many zeros behind them; they are here no more."""
        taken: list[memoryview | bytes] = []
        missing = size
        while missing:
            view = self._views.popleft()
            if len(view) > missing:
                self._views.appendleft(view[missing:])
                view = view[:missing]
            taken.append(view)
            missing -= len(view)
        self.size -= size
        return b"".join((*taken, bytes(padding)))


class PartWriter:
    """Takes the payload of slice ``number`` in order and uploads it in parts while more is written.

    S3 wants every part but an object's last to hold 5 MiB, and a slice does not know whether it
    is the last: so a full part is held back until 5 MiB follow it. Where all parts must be equal,
    the last one is filled up instead. The first 5 MiB of slice 0 are kept aside (they follow the
    header in part 1); a payload below ``STAGED_SLICE_BYTES``, or two equal parts, is kept aside
    whole. ``payload_bytes`` is about how large the payload will be.
    """

    def __init__(self, upload: PartUpload, *, number: int, payload_bytes: int) -> None:
        self._upload = upload
        self._number = number
        self._payload_bytes = payload_bytes
        self._stage_bytes = MIN_PART_BYTES if number == 0 else 0
        self._staged = bytearray()
        self._filling = _Pieces()
        self._scheme: PartScheme | None = None
        self._part_bytes = 0
        self._pending: deque[Future[UploadedPart]] = deque()
        self._parts: list[UploadedPart] = []
        self._sent = 0
        self.size = 0
        self._uploaded_hash = 0  # of all that was sent, one body behind the other

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
        offset = self.size
        self.size += len(data)
        missing = self._stage_bytes - len(self._staged)
        if missing > 0:
            self._staged += data[:missing]
            data = data[missing:]
        if len(data):
            self._filling.add(data)
        if self.size >= STAGED_SLICE_BYTES:
            self._send_full(self._known_scheme())
        return offset

    def finish(self) -> WrittenPayload:
        """Upload or keep aside what is left, wait for every upload, and say where all lies."""
        if self._is_small():
            staged = bytes(self._staged) + self._filling.take(self._filling.size)
            return WrittenPayload(self.size, staged, (), payload_hash(staged))
        scheme = self._known_scheme()
        self._send_full(scheme)
        if left := self._filling.size:
            self._send(scheme, left, scheme.padding(left))
        while self._pending:
            self._parts.append(self._pending.popleft().result())
        staged = bytes(self._staged)
        uploaded = self._uploaded_hash, self.size - len(staged)
        whole = joined_hash([(payload_hash(staged), len(staged)), uploaded])
        return WrittenPayload(self.size, staged, tuple(self._parts), whole)

    def _known_scheme(self) -> PartScheme:
        if self._scheme is None:
            self._scheme = self._upload.scheme(self._payload_bytes)
            usual = estimated_part_bytes(self._payload_bytes)
            self._part_bytes = self._scheme.part_bytes or usual
        return self._scheme

    def _is_small(self) -> bool:
        equal = self._scheme.part_bytes if self._scheme else None
        return self.size < max(STAGED_SLICE_BYTES, 2 * (equal or 0))

    def _send_full(self, scheme: PartScheme) -> None:
        """Send the parts that are full, of those that may differ once enough follows them."""
        held = 0 if scheme.part_bytes else MIN_PART_BYTES
        while not self._is_small() and self._filling.size >= self._part_bytes + held:
            self._send(scheme, self._part_bytes)

    def _send(self, scheme: PartScheme, size: int, padding: int = 0) -> None:
        numbers = scheme.numbers(self._number)
        if self._sent == len(numbers):
            raise self._upload.outgrown()
        while len(self._pending) >= UPLOADS:
            self._parts.append(self._pending.popleft().result())
        body = self._filling.take(size, padding)
        self._uploaded_hash = payload_hash(memoryview(body)[:size], self._uploaded_hash)
        number = numbers[self._sent]
        self._pending.append(self._pool.submit(self._upload.upload_part, number, body))
        self._sent += 1
