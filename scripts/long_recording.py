"""A recording of days out of one slice that was packaged for real, and a store that pretends to hold it.

Each slice has the tables of that one, moved on in time, and its payload: bytes are the same over and
over. Parts of slices are never sent; the store answers for them. What assembly writes is kept.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.layout import SlicePayload
from pipelines.object_store import (
    MIN_PART_BYTES,
    ListedPart,
    ObjectHead,
    ObjectStore,
    UploadedPart,
    composite_crc32,
)
from pipelines.packaged_slice import PackagedSlice, encode
from pipelines.part_scheme import VARYING_PARTS
from pipelines.parts import PartUpload, estimated_part_bytes
from pipelines.payload_hash import payload_hash
from pipelines.staging import SliceReceipt
from pipelines.store_errors import ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pipelines.location import Location
    from pipelines.object_store import ObjectKind
    from pipelines.packaged_slice import PackagedRun, PackagedTrack

_PAYLOAD, _SLICES = "payload", "slices.json"


class KeptPayload(PartUpload):
    """Takes the parts of the one slice that is packaged, and appends them to a file."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _PAYLOAD

    def upload_part(self, number: int, body: bytes) -> UploadedPart:
        """As ``PartUpload``."""
        with self._file.open("ab") as file:
            file.write(body)
        return UploadedPart(number, len(body), "", 0)


@dataclass(frozen=True)
class _Copies:
    """A slice out of ``count`` copies of the one, of which ``first`` lie before it."""

    number: int
    first: int
    count: int


def write_long(folder: Path, one: PackagedSlice, seconds: int, copies: Sequence[int]) -> None:
    """Write the results of slices into ``folder``, each of as many ``copies`` of ``one``.

    That lasts whole ``seconds``, and its payload is there already, as ``KeptPayload`` leaves it.
    """
    size = one.payload_bytes
    with (folder / _PAYLOAD).open("rb") as payload:
        staged = payload.read(MIN_PART_BYTES)
    receipts = []
    for number, count in enumerate(copies):
        made = _slice(one, _Copies(number, sum(copies[:number]), count), seconds)
        name = f"1/source/{number}-long"
        (folder / f"{number}.tables").write_bytes(encode(made))
        mine = staged if number == 0 else b""
        payload_of = SlicePayload(number, made.staged_bytes, made.parts)
        receipts.append(SliceReceipt(number, name, payload_of, payload_hash(mine)).to_json())
    told = {"copies": [*copies], "bytes": size, "receipts": receipts}
    (folder / _SLICES).write_text(json.dumps(told))


def _slice(one: PackagedSlice, copies: _Copies, seconds: int) -> PackagedSlice:
    (run,) = one.runs
    size = copies.count * one.payload_bytes
    staged = MIN_PART_BYTES if copies.number == 0 else 0
    moved = copies.first * one.source_segments
    last = moved + copies.count * one.source_segments - 1
    return replace(
        one,
        number=copies.number,
        runs=(_run(run, copies, seconds, one),),
        payload_bytes=size,
        staged_bytes=staged,
        parts=tuple(_parts(copies.number, size - staged)),
        source_bytes=copies.count * one.source_bytes,
        source_segments=copies.count * one.source_segments,
        listed_seconds=copies.count * one.listed_seconds,
        last_sequence=last,
    )


def _parts(number: int, size: int) -> Iterator[UploadedPart]:
    """The parts that a writer would have made of a payload."""
    step = estimated_part_bytes(size)
    ends = [*range(step, size - MIN_PART_BYTES, step), size]
    sizes = np.diff([0, *ends]).tolist()
    for each, part_bytes in zip(VARYING_PARTS.numbers(number), sizes, strict=False):
        yield UploadedPart(each, part_bytes, f'"{each:032x}"', each)


def _run(run: PackagedRun, copies: _Copies, seconds: int, one: PackagedSlice) -> PackagedRun:
    segments = one.source_segments
    base = run.first_sequence
    firsts = [(copies.first + each) * segments for each in range(copies.count)]
    starts = [(copies.first + each) * seconds for each in range(copies.count)]
    return replace(
        run,
        first_sequence=firsts[0],
        tracks=tuple(_track(track, starts, one.payload_bytes) for track in run.tracks),
        sequences=tuple(first + each - base for first in firsts for each in run.sequences),
        begins=tuple(
            (first + sequence - base, start + at)
            for first, start in zip(firsts, starts, strict=True)
            for sequence, at in run.begins
        ),
    )


def _track(track: PackagedTrack, starts: Sequence[int], payload_bytes: int) -> PackagedTrack:
    """The samples of the track over and over, from those seconds on."""
    samples, placement, expected = track.samples, track.placement, track.expected
    count = len(starts)

    def moved(times: np.ndarray, timescale: int) -> np.ndarray:
        return np.concatenate([times + start * timescale for start in starts])

    def again(values: np.ndarray) -> np.ndarray:
        return np.tile(values, count)

    return replace(
        track,
        samples=replace(
            samples,
            dts=moved(samples.dts, track.timescale),
            composition=again(samples.composition),
            sizes=again(samples.sizes),
            sync=again(samples.sync),
        ),
        placement=replace(
            placement,
            offsets=np.concatenate(
                [placement.offsets + each * payload_bytes for each in range(count)]
            ),
            counts=again(placement.counts),
            hashes=again(placement.hashes),
        ),
        expected=replace(
            expected,
            dts=moved(expected.dts, expected.timescale),
            pts=moved(expected.pts, expected.timescale),
            sync=again(expected.sync),
            sizes=again(expected.sizes),
            hashes=again(expected.hashes),
        ),
    )


class LongStore(ObjectStore):
    """What is staged of a long recording, and its object: the header that was written, then the
    payload of the one slice over and over."""

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / _SLICES).read_text())
        self.receipts = [SliceReceipt.from_json(text) for text in told["receipts"]]
        self.copies: list[int] = told["copies"]
        self._folder = folder
        self._bytes: int = told["bytes"]
        self._written = folder / "written"
        self._made: dict[int, int] = {}
        self._completed: tuple[UploadedPart, ...] = ()
        self._metadata: Mapping[str, str] = {}

    def create_upload(
        self, location: Location, kind: ObjectKind, metadata: Mapping[str, str]
    ) -> str:
        """As ``ObjectStore``."""
        self._metadata = dict(metadata)
        return "long"

    def upload_part(
        self, location: Location, upload_id: str, number: int, body: bytes | bytearray
    ) -> UploadedPart:
        """Keep a part that assembly makes."""
        (self._folder / f"part{number}").write_bytes(body)
        self._made[number] = len(body)
        return UploadedPart(number, len(body), f'"{number:032x}"', zlib.crc32(body))

    def list_parts(self, location: Location, upload_id: str) -> frozenset[ListedPart]:
        """The parts of all slices."""
        return frozenset(
            ListedPart(part.number, part.size, part.etag)
            for receipt in self.receipts
            for part in receipt.payload.parts
        )

    def open_uploads(self, location: Location) -> tuple[str, ...]:
        """As ``ObjectStore``."""
        return ("long",)

    def complete_upload(
        self, location: Location, upload_id: str, parts: Sequence[UploadedPart]
    ) -> str:
        """As ``ObjectStore``."""
        self._completed = tuple(parts)
        with self._written.open("wb") as file:
            for number in sorted(self._made):
                file.write((self._folder / f"part{number}").read_bytes())
        return "long"

    def head(self, location: Location) -> ObjectHead:
        """As ``ObjectStore``."""
        if not self._completed:
            raise ObjectMissing(location)
        size = sum(part.size for part in self._completed)
        return ObjectHead(size, "long", self._metadata, composite_crc32(self._completed))

    def read(
        self, location: Location, *, start: int | None = None, length: int | None = None
    ) -> bytes:
        """Staged tables and payload, or a range of the object."""
        name = location.key.rpartition("/")[2]
        number = name.partition("-")[0]
        if name.endswith(".tables"):
            return (self._folder / f"{number}.tables").read_bytes()
        if name.endswith(".payload"):
            return self._payload(0, MIN_PART_BYTES)
        return self._object(start or 0, length or 0)

    def _object(self, start: int, length: int) -> bytes:
        """The first 5 MiB of the payload are written behind the header, as assembly staged them."""
        written = self._written.stat().st_size
        with self._written.open("rb") as file:
            file.seek(start)
            begun = file.read(length)
        at = start + len(begun) - written + MIN_PART_BYTES
        return begun + self._payload(at, length - len(begun))

    def _payload(self, at: int, length: int) -> bytes:
        pieces = []
        with (self._folder / _PAYLOAD).open("rb") as file:
            while length > 0:
                inside = at % self._bytes
                file.seek(inside)
                pieces.append(file.read(min(length, self._bytes - inside)))
                at, length = at + len(pieces[-1]), length - len(pieces[-1])
        return b"".join(pieces)
