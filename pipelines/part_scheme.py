"""How the parts of one multipart upload are numbered, and whether all of them have one size."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError
from pipelines.object_store import MIN_PART_BYTES

if TYPE_CHECKING:
    from typing import Self

    from pipelines.slices import SliceLengths

#: Part numbers 1–99 are the header's, those from here on the slices', in order.
FIRST_SLICE_PART = 100
#: The last number that S3 has for a part.
LAST_PART = 10_000
#: How many numbers each slice owns where parts may differ in size.
PARTS_PER_SLICE = 8
#: A part that is larger than this is never made: it is held in memory.
MAX_PART_BYTES = 256 << 20
#: Equal parts have whole multiples of this.
_MEBIBYTE = 1 << 20
#: By how much the payload of a slice may be larger than that by which equal parts were chosen.
HEADROOM = 1.25


@dataclass(frozen=True)
class PartScheme:
    """The part numbers that each slice owns and, where all parts must be equal, their size.

    ``steps`` are pairs of the slice number from which on each slice owns so many numbers, the first
    0, and how many. ``part_bytes`` None: parts may differ in size.
    """

    steps: tuple[tuple[int, int], ...] = ((0, PARTS_PER_SLICE),)
    part_bytes: int | None = None

    def numbers(self, slice_number: int) -> range:
        """The part numbers that slice ``slice_number`` owns, in byte order."""
        first = FIRST_SLICE_PART
        for (begin, owned), (end, _) in pairwise((*self.steps, (slice_number, 0))):
            if begin <= slice_number:
                first += owned * (min(end, slice_number) - begin)
        owned = next(owned for begin, owned in reversed(self.steps) if begin <= slice_number)
        return range(first, first + owned)

    def holds(self, slice_number: int, payload_bytes: int) -> bool:
        """Whether so large a payload has room in the numbers of its slice."""
        numbers = self.numbers(slice_number)
        size = self.part_bytes or MAX_PART_BYTES
        return numbers[-1] <= LAST_PART and len(numbers) * size >= payload_bytes

    def padding(self, size: int) -> int:
        """Bytes to add to so many so that equal parts hold them; 0 where parts may differ."""
        return -size % self.part_bytes if self.part_bytes else 0

    def to_json(self) -> str:
        """The form in which the upload's record keeps it."""
        return json.dumps([self.part_bytes, self.steps], separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of ``to_json``."""
        part_bytes, steps = json.loads(text)
        return cls(tuple((begin, owned) for begin, owned in steps), part_bytes)


#: Parts of any size that S3 takes: what every store wants but those that want equal parts.
VARYING_PARTS = PartScheme()


def uniform_scheme(
    rate: float, lengths: SliceLengths, slices: int, at_least: int = MIN_PART_BYTES
) -> PartScheme:
    """The smallest equal parts, ``at_least`` so large, in which a recording has room.

    Its slices are of ``lengths``, there are so many, and their payload comes at about ``rate`` bytes
    a second. Small parts are filled up with little: half of one for each slice. Numbers that are
    left go to the slices, so that those have room for more. Raises ``PermanentError``
    (``bitrate_too_high``) when parts would be larger than 256 MiB.
    """
    steps = [(first, seconds) for first, seconds in lengths.steps if first < slices]
    counts = [end - begin for (begin, _), (end, _) in pairwise((*steps, (slices, 0.0)))]
    there_are = LAST_PART + 1 - FIRST_SLICE_PART
    for size in range(-(-at_least // _MEBIBYTE) * _MEBIBYTE, MAX_PART_BYTES + 1, _MEBIBYTE):
        owned = [math.ceil(HEADROOM * rate * seconds / size) + 1 for _, seconds in steps]
        wanted = sum(map(int.__mul__, counts, owned))
        if wanted <= there_are:
            more = there_are // wanted
            owning = zip(steps, owned, strict=True)
            return PartScheme(tuple((first, more * each) for (first, _), each in owning), size)
    message = f"{slices} slices of {rate * 8 / 1e6:.1f} Mbit/s need more than 10,000 equal parts"
    raise PermanentError(ErrorCode.BITRATE_TOO_HIGH, message)


def slices_within(seconds: float, lengths: SliceLengths) -> int:
    """How many slices so many seconds of media make, at most."""
    number, begin = 0, 0.0
    while begin < seconds:
        begin += lengths.of(number)
        number += 1
    return number
