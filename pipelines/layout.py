"""Where everything comes to lie in the finished object: header, payloads, padding, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError
from pipelines.mp4.boxes import SHORT_HEADER
from pipelines.object_store import MIN_PART_BYTES, UploadedPart
from pipelines.part_scheme import FIRST_SLICE_PART, VARYING_PARTS, PartScheme

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Number of the part that begins with the header, and the last that its bytes may need.
HEADER_PART = 1
LAST_HEADER_PART = FIRST_SLICE_PART - 1
#: Header and staged payloads of neighbours are joined to parts of this size where parts may differ.
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
    """A part made at assembly: bytes of the header, staged payloads of slices, padding.

    ``header`` says from which byte of the header to which, ``slices`` the same of each slice.
    """

    number: int
    header: tuple[int, int]
    slices: tuple[tuple[int, int, int], ...]  #: slice number, first byte, behind the last
    padding: int = 0

    @property
    def size(self) -> int:
        """Bytes of the whole part."""
        spans = ((0, *self.header), *self.slices)
        return sum(end - begin for _, begin, end in spans) + self.padding


@dataclass(frozen=True)
class Section:
    """Neighbouring slices whose payload is staged, and the parts uploaded of the last of them.

    ``padding`` are bytes behind what is staged to which no sample refers.
    """

    staged: tuple[SlicePayload, ...]
    padding: int
    uploaded: tuple[UploadedPart, ...]

    @property
    def staged_bytes(self) -> int:
        """All that is staged, without the padding."""
        return sum(each.staged_bytes for each in self.staged)


@dataclass(frozen=True)
class ObjectLayout:
    """Where each slice's payload starts in the ``mdat`` payload, and what makes up that payload."""

    sections: tuple[Section, ...]
    offsets: dict[int, int]
    payload_size: int
    scheme: PartScheme

    @property
    def single(self) -> bool:
        """Whether the object is small and nothing of it is uploaded yet: one PUT writes it."""
        staged = not any(section.uploaded for section in self.sections)
        return staged and self.payload_size <= SINGLE_WRITE_BYTES

    def filling(self, header_bytes: int) -> int:
        """By how much the header is to grow so that equal parts hold it and what is staged behind
        it: nothing, or a ``free`` box."""
        first = self.sections[0]
        if not first.uploaded:
            return 0
        missing = self.scheme.padding(header_bytes + first.staged_bytes)
        short = 0 < missing < SHORT_HEADER
        return missing + (self.scheme.part_bytes or 0) if short else missing

    def parts(self, header_bytes: int) -> tuple[StagedPart | UploadedPart, ...]:
        """All parts in byte order; raises ``recording_too_long`` when the header needs too many."""
        found: list[StagedPart | UploadedPart] = []
        for position, section in enumerate(self.sections):
            found += self._made(section, 0 if position else header_bytes)
            found += section.uploaded
        return tuple(found)

    def _made(self, section: Section, header_bytes: int) -> Iterator[StagedPart]:
        """The parts of a section that are made at assembly; the header is in front of the first."""
        number = 0
        size = header_bytes + section.staged_bytes + section.padding
        for begin, end in self._cuts(size):
            header = min(begin, header_bytes), min(end, header_bytes)
            slices = tuple(_spans(section.staged, begin - header_bytes, end - header_bytes))
            owned = HEADER_PART
            if header[0] == header[1] and slices and (slices[0][0] or not header_bytes):
                owned = self.scheme.numbers(slices[0][0])[0]
            number = max(number + 1, owned)
            if owned == HEADER_PART and number > LAST_HEADER_PART:
                message = f"a header of {header_bytes} bytes needs more than {number - 1} parts"
                raise PermanentError(ErrorCode.RECORDING_TOO_LONG, message)
            held = sum(until - since for _, since, until in slices) + header[1] - header[0]
            yield StagedPart(number, header, slices, end - begin - held)

    def _cuts(self, size: int) -> Iterator[tuple[int, int]]:
        """From where to where the parts of so many bytes reach; a last one that is too short for a
        part that may differ goes with the one before it."""
        step = self.scheme.part_bytes or JOINED_PART_BYTES
        ends = [*range(step, size, step), size] if size else []
        if not self.scheme.part_bytes and len(ends) > 1 and size - ends[-2] < MIN_PART_BYTES:
            del ends[-2]
        return pairwise((0, *ends))


def lay_out(payloads: Sequence[SlicePayload], scheme: PartScheme = VARYING_PARTS) -> ObjectLayout:
    """Lay the payloads of all slices out, in order, behind the header.

    S3 wants every part but the last to have 5 MiB, some stores want all to be equal: staged payloads
    are joined with their neighbours, and padded inside ``mdat`` (bytes that no sample refers to)
    only if still short of that.
    """
    sections: list[Section] = []
    offsets: dict[int, int] = {}
    at = 0
    for slices in _sections(payloads):
        staged = tuple(payload for payload in slices if payload.staged_bytes)
        for payload in staged:
            offsets[payload.number] = at
            at += payload.staged_bytes
        uploaded = slices[-1].parts
        size = sum(payload.staged_bytes for payload in staged)
        padding = _padding(size, scheme, first=not sections) if uploaded else 0
        at += padding
        for payload in slices:
            offsets.setdefault(payload.number, at)
        at += sum(part.size for part in uploaded)
        sections.append(Section(staged, padding, uploaded))
    return ObjectLayout(tuple(sections), offsets, at, scheme)


def _padding(size: int, scheme: PartScheme, *, first: bool) -> int:
    """Bytes that are put behind what is staged of a section that uploaded parts follow."""
    if scheme.part_bytes:
        return 0 if first else scheme.padding(size)
    return max(0, MIN_PART_BYTES - size) if size or first else 0


def _sections(payloads: Sequence[SlicePayload]) -> Iterator[list[SlicePayload]]:
    """Neighbours whose staged bytes lie together; uploaded parts end a section."""
    section: list[SlicePayload] = []
    for payload in payloads:
        section.append(payload)
        if payload.parts:
            yield section
            section = []
    if section:
        yield section


def _spans(staged: Sequence[SlicePayload], begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Which bytes of which slices lie between two places of what is staged one behind the other."""
    at = 0
    for payload in staged:
        since, until = max(begin, at), min(end, at + payload.staged_bytes)
        if since < until:
            yield payload.number, since - at, until - at
        at += payload.staged_bytes
