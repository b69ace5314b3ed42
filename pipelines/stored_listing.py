"""The stored form of segments that playlists have listed: zlib-compressed JSON of short rows.

Locations keep their queries, without which some can not be read: the form is for private places.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.location import Location, allowed
from pipelines.playlist import ByteRange, Encryption, InitSection, Segment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The format that is written, and the only one that is read.
FORMAT = 1
#: Bytes of JSON that are believed: 500,000 segments with signed URLs.
MAX_BYTES = 1 << 30

_DISCONTINUITY, _GAP = 1, 2


class UnreadableListing(Exception):
    """Raised for what is no listing in our format, or names places that are not permitted."""


def encode(listed: Mapping[str, Sequence[Segment]]) -> bytes:
    """The segments of playlists, by the location of each playlist."""
    tables = _Tables()
    rows = {name: [tables.row(each) for each in segments] for name, segments in listed.items()}
    data = {"v": FORMAT, "names": [*tables.names], "inits": tables.inits, "keys": tables.keys}
    text = json.dumps({**data, "playlists": rows}, separators=(",", ":"))
    return zlib.compress(text.encode())


def decode(data: bytes, permitted: Sequence[Location]) -> dict[str, list[Segment]]:
    """The inverse of ``encode``; all that is named must lie below one of ``permitted``.

    Segments come back as those that slid out of their window.

    Raises ``UnreadableListing``.
    """
    try:
        stream = zlib.decompressobj()
        stored = json.loads(stream.decompress(data, MAX_BYTES))
        if not stream.eof:
            raise UnreadableListing("a listing that is cut off, or longer than any")
        if stored["v"] != FORMAT:
            raise UnreadableListing(f"a listing of format {stored['v']!r}")
        reader = _Reader(stored["names"], tuple(permitted))
        reader.read_tables(stored)
        return {name: [*map(reader.segment, rows)] for name, rows in stored["playlists"].items()}
    except (zlib.error, ValueError, KeyError, TypeError, IndexError) as error:
        raise UnreadableListing(f"no listing: {error}") from error


@dataclass
class _Tables:
    """What rows refer to by number: folders, initialization sections and keys."""

    names: dict[tuple[str, str, str], int] = field(default_factory=dict)
    inits: list[Any] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list)
    _init_numbers: dict[InitSection, int] = field(default_factory=dict)
    _key_numbers: dict[Encryption, int] = field(default_factory=dict)

    def row(self, segment: Segment) -> list[Any]:
        clock = segment.program_date_time
        return [
            segment.sequence,
            *self._place(segment.location),
            segment.duration,
            _numbers(segment.byte_range),
            self._init(segment.init_section),
            self._key(segment.encryption),
            _DISCONTINUITY * segment.discontinuity | _GAP * segment.gap,
            segment.discontinuity_sequence,
            clock.isoformat() if clock else None,
            segment.elapsed,
        ]

    def _place(self, location: Location) -> list[Any]:
        folder, _, name = location.path.rpartition("/")
        key = location.scheme, location.authority, folder
        return [self.names.setdefault(key, len(self.names)), name, location.query]

    def _init(self, init: InitSection | None) -> int | None:
        if init is None:
            return None
        if init not in self._init_numbers:
            self._init_numbers[init] = len(self.inits)
            key = self._key(init.encryption)
            self.inits.append([*self._place(init.location), _numbers(init.byte_range), key])
        return self._init_numbers[init]

    def _key(self, key: Encryption | None) -> int | None:
        if key is None:
            return None
        if key not in self._key_numbers:
            self._key_numbers[key] = len(self.keys)
            iv = key.iv.hex() if key.iv is not None else None
            self.keys.append([key.method, *self._place(key.location), iv])
        return self._key_numbers[key]


def _numbers(byte_range: ByteRange | None) -> list[int] | None:
    return [byte_range.offset, byte_range.length] if byte_range else None


@dataclass
class _Reader:
    """Reads rows back; every location is checked as those of a playlist are."""

    names: Sequence[Sequence[str]]
    permitted: tuple[Location, ...]
    keys: list[Encryption] = field(default_factory=list)
    inits: list[InitSection] = field(default_factory=list)

    def read_tables(self, stored: Mapping[str, Any]) -> None:
        for method, name, file, query, iv in stored["keys"]:
            vector = bytes.fromhex(iv) if iv is not None else None
            self.keys.append(Encryption(method, self._location(name, file, query), vector))
        for name, file, query, byte_range, key in stored["inits"]:
            place = self._location(name, file, query)
            self.inits.append(InitSection(place, _range(byte_range), self._key(key)))

    def segment(self, row: Sequence[Any]) -> Segment:
        sequence, name, file, query, duration, byte_range, init, key, *others = row
        flags, tags, clock, elapsed = others
        return Segment(
            sequence=sequence,
            location=self._location(name, file, query),
            duration=duration,
            byte_range=_range(byte_range),
            init_section=None if init is None else self.inits[init],
            encryption=self._key(key),
            discontinuity=bool(flags & _DISCONTINUITY),
            discontinuity_sequence=tags,
            gap=bool(flags & _GAP),
            program_date_time=datetime.fromisoformat(clock) if clock else None,
            elapsed=elapsed,
            slid=True,
        )

    def _location(self, name: int, file: str, query: str) -> Location:
        scheme, authority, folder = self.names[name]
        location = Location(scheme, authority, f"{folder}/{file}", query)
        if not allowed(location, self.permitted):
            raise UnreadableListing(f"{location} is not permitted any more")
        return location

    def _key(self, key: int | None) -> Encryption | None:
        return None if key is None else self.keys[key]


def _range(numbers: Sequence[int] | None) -> ByteRange | None:
    return ByteRange(*numbers) if numbers else None
