"""Where everything comes to lie in the finished object: header, payloads, padding, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.object_store import MIN_PART_BYTES, UploadedPart
from pipelines.parts import first_part_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Number of the part that begins with the header.
HEADER_PART = 1
#: Staged payloads of neighbours are joined until a part has this many bytes.
JOINED_PART_BYTES = 16 << 20
#: An object without uploaded parts, up to this payload, is written in a single request.
SINGLE_WRITE_BYTES = 64 << 20


@dataclass(frozen=True)
class SlicePayload:
    """How one slice's payload is kept: its first bytes staged, the rest in uploaded parts."""

    number: int
    staged_bytes: int
    parts: tuple[UploadedPart, ...]

    @property
    def size(self) -> int:
        """Bytes of the whole payload."""
        return self.staged_bytes + sum(part.size for part in self.parts)


@dataclass(frozen=True)
class StagedPart:
    """A part made at assembly: the staged payloads of neighbouring slices, padded at its end.

    The one with number ``HEADER_PART`` begins with the header.
    """

    number: int
    slices: tuple[int, ...]
    size: int  #: staged bytes, without header and padding
    padding: int


@dataclass(frozen=True)
class ObjectLayout:
    """The parts in byte order, and where each slice's payload starts in the ``mdat`` payload."""

    parts: tuple[StagedPart | UploadedPart, ...]
    offsets: dict[int, int]
    payload_size: int

    @property
    def single(self) -> bool:
        """Whether the object is small and nothing of it is uploaded yet: one PUT writes it."""
        staged = all(isinstance(part, StagedPart) for part in self.parts)
        return staged and self.payload_size <= SINGLE_WRITE_BYTES


def lay_out(payloads: Sequence[SlicePayload]) -> ObjectLayout:
    """Lay the payloads of all slices out, in order, behind the header.

    S3 wants every part but the last to have 5 MiB: staged payloads are joined with their
    neighbours, and padded inside ``mdat`` (bytes that no sample refers to) only if still short.
    """
    parts: list[StagedPart | UploadedPart] = []
    offsets: dict[int, int] = {}
    at = 0
    for section in _sections(payloads):
        staged = [payload for payload in section if payload.staged_bytes]
        for payload in staged:
            offsets[payload.number] = at
            at += payload.staged_bytes
        if staged or not parts:
            last = section[-1] is payloads[-1] and not section[-1].parts
            part = _staged_part(staged, header=not parts, last=last)
            parts.append(part)
            at += part.padding
        for payload in section:
            offsets.setdefault(payload.number, at)
        parts += section[-1].parts
        at += sum(part.size for part in section[-1].parts)
    return ObjectLayout(tuple(parts), offsets, at)


def _staged_part(staged: Sequence[SlicePayload], *, header: bool, last: bool) -> StagedPart:
    size = sum(payload.staged_bytes for payload in staged)
    return StagedPart(
        number=HEADER_PART if header else first_part_number(staged[0].number),
        slices=tuple(payload.number for payload in staged),
        size=size,
        padding=0 if last else max(0, MIN_PART_BYTES - size),
    )


def _sections(payloads: Sequence[SlicePayload]) -> Iterator[list[SlicePayload]]:
    """Neighbours whose staged bytes share a part; uploaded parts end a section."""
    section: list[SlicePayload] = []
    for position, payload in enumerate(payloads):
        section.append(payload)
        full = sum(each.staged_bytes for each in section) >= JOINED_PART_BYTES
        if payload.parts or (full and _leaves_enough(payloads[position + 1 :])):
            yield section
            section = []
    if section:
        yield section


def _leaves_enough(following: Sequence[SlicePayload]) -> bool:
    """Whether the staged payloads that follow, up to the next uploaded one, fill a part alone."""
    size = 0
    for payload in following:
        size += payload.staged_bytes
        if payload.parts or size >= MIN_PART_BYTES:
            break
    return size == 0 or size >= MIN_PART_BYTES
