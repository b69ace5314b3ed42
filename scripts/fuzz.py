"""Feeds mutated recordings to every reader of foreign bytes: each must read them, or refuse them.

An input is told by its kind and number: the same number always gives the same bytes, so that what
went wrong can be looked at again.
"""

from __future__ import annotations

import resource
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from itertools import count, takewhile
from random import Random
from typing import TYPE_CHECKING

from pipelines.errors import FinalizerError
from pipelines.location import Location
from pipelines.m3u8 import parse
from pipelines.mp4.boxes import Mp4Error
from pipelines.mp4.fragments import FragmentReader, read_header_section
from pipelines.mp4.media_segment import read_segment
from pipelines.mpegts.index import announced, continues_previous, index_segment
from pipelines.mpegts.mend import is_clean, mend
from pipelines.packed_audio import in_transport_stream, read_packed
from pipelines.webvtt import WebVttError
from pipelines.webvtt import parse as parse_webvtt
from scripts.fault_kit import BY_NAME
from scripts.ts_clocks import PACKET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from scripts.fault_base import Bases

#: Seconds that one input may take, on however slow a machine: a segment is read in milliseconds.
HANG_S = 20.0
#: Bytes by which the process may grow over all inputs, which are some 100 KB each.
GROWTH_LIMIT = 1 << 30
#: Findings after which it is enough.
MOST_FINDINGS = 10

_FOLDER = Location.parse("s3://recordings/fuzz/")
_MOST_MUTATIONS = 8


class BrokenPromiseError(Exception):
    """A reader gave what it says that it never gives."""


@dataclass(frozen=True)
class Target:
    """One reader, whole inputs for it, and what it may raise."""

    name: str
    whole: tuple[bytes, ...]
    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = ()


def numbers_for(seconds: float) -> Iterator[int]:
    """Numbers of inputs for so long."""
    deadline = time.monotonic() + seconds
    return takewhile(lambda _: time.monotonic() < deadline, count())


def fuzz(bases: Bases, numbers: Iterable[int]) -> tuple[Counter[str], list[str]]:
    """Give each reader its inputs of these numbers: how many that were, and what went wrong, in
    words; it ends early when that is enough."""
    targets = targets_of(bases)
    tried: Counter[str] = Counter()
    wrong: list[str] = []
    before = _peak_bytes()
    for number in numbers:
        if len(wrong) >= MOST_FINDINGS:
            break
        for target in targets:
            told = attempt(target, number)
            tried[target.name] += 1
            if told is not None:
                wrong.append(told)
    grown = _peak_bytes() - before
    if grown > GROWTH_LIMIT:
        wrong.append(f"the process grew by {grown >> 20} MiB")
    return tried, wrong


def attempt(target: Target, number: int) -> str | None:
    """Read one input; what went wrong, in words, or None."""
    random = Random(f"{target.name} {number}")
    data = mutated(random, random.choice(target.whole))
    began = time.monotonic()
    try:
        target.read(data)
    except target.refusals:
        pass
    except Exception:  # that is what is looked for
        return f"{target.name} {number}: {traceback.format_exc(limit=-3)}"
    taken = time.monotonic() - began
    return f"{target.name} {number}: took {taken:.0f} s" if taken > HANG_S else None


def mutated(random: Random, data: bytes) -> bytes:
    """The same bytes with a few things wrong."""
    changed = bytearray(data)
    for _ in range(random.randint(1, _MOST_MUTATIONS)):
        if changed:
            random.choice(_MUTATIONS)(random, changed)
    return bytes(changed)


def _flip(random: Random, data: bytearray) -> None:
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _flip_early(random: Random, data: bytearray) -> None:
    """Headers come first, of files as of packets."""
    data[random.randrange(min(len(data), 400))] = random.choice((0, 1, 0x7F, 0x80, 0xFF))


def _overwrite(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data))
    piece = random.randbytes(random.choice((1, 2, 4, 8, 300)))
    data[at : at + len(piece)] = piece


def _cut(random: Random, data: bytearray) -> None:
    del data[random.randrange(len(data)) :]


def _behead(random: Random, data: bytearray) -> None:
    del data[: random.randrange(len(data))]


def _insert(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data))
    data[at:at] = random.randbytes(random.randint(1, 400))


def _drop_packets(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data)) // PACKET * PACKET
    del data[at : at + PACKET * random.randint(1, 20)]


def _repeat_packets(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data)) // PACKET * PACKET
    data[at:at] = data[at : at + PACKET * random.randint(1, 20)]


def _swap_packets(random: Random, data: bytearray) -> None:
    first, second = (random.randrange(len(data)) // PACKET * PACKET for _ in range(2))
    one, other = data[first : first + PACKET], data[second : second + PACKET]
    data[first : first + PACKET], data[second : second + PACKET] = other, one


def _nonsense_header(random: Random, data: bytearray) -> None:
    """The header of a packet, or of what lies in it."""
    at = random.randrange(len(data)) // PACKET * PACKET + random.randrange(24)
    if at < len(data):
        data[at] = random.randrange(256)


def _repeat_line(random: Random, data: bytearray) -> None:
    lines = bytes(data[: 1 << 16]).split(b"\n")
    lines.insert(random.randrange(len(lines)), random.choice(lines))
    data[: 1 << 16] = b"\n".join(lines)


_MUTATIONS = (
    _flip, _flip_early, _overwrite, _cut, _behead, _insert, _drop_packets, _repeat_packets,
    _swap_packets, _nonsense_header, _repeat_line,
)  # fmt: skip


def targets_of(bases: Bases) -> list[Target]:
    """Every reader of foreign bytes, with whole inputs of all kinds that it reads."""
    specs: tuple[dict[str, object], ...] = (
        {}, {"b_frames": 2}, {"video": "hevc", "audio": "ac3"}, {"video": None, "audio": "mp3"},
        {"open_gop": True, "b_frames": 2, "split_by_time": True, "gop": 45},
    )  # fmt: skip
    streams = [segment.data for spec in specs for segment in bases.get(**spec).segments[:3]]
    fragments = bases.get(container="fmp4", b_frames=2)
    movie = read_header_section(fragments.init)
    media = [fragments.init + segment.data for segment in fragments.segments[:3]]
    kit = {name: BY_NAME[name].make(bases).files for name in _TEXTS}
    texts = [data for files in kit.values() for name, data in files.items() if ".m3u8" in name]
    packed = [data for name, data in kit["packed-sound"].items() if name.endswith(".aac")]
    captions = [data for name, data in kit["subtitles"].items() if name.endswith(".vtt")]
    return [
        Target("playlist", tuple(texts), _read_playlist, (FinalizerError,)),
        Target("mpegts", tuple(streams), _read_stream),
        Target("fmp4-segment", tuple(m[len(fragments.init) :] for m in media), _segment_of(movie)),
        Target("fmp4-header", (fragments.init,), read_header_section, (Mp4Error,)),
        Target("fragments", tuple(media), _read_fragments, (Mp4Error,)),
        Target("packed-audio", (*packed, *streams[-3:]), _read_packed),
        Target("webvtt", tuple(captions), parse_webvtt, (WebVttError,)),
    ]


#: Faults whose playlists and texts are mutated.
_TEXTS = (
    "gap-tag", "wall-clock-hole", "byte-ranges", "aes-explicit", "fmp4-other-map", "two-languages",
    "packed-sound", "subtitles",
)  # fmt: skip


def _read_playlist(data: bytes) -> object:
    return parse(data, _FOLDER.child("index.m3u8"), allowed=[_FOLDER])


def _read_stream(data: bytes) -> None:
    """Index and mend; what was mended must be clean when it is indexed again."""
    index = index_segment(data)
    known = announced(data) or {track.track: track.codec for track in index.tracks}
    continues_previous(data[: 100 * PACKET], known)
    for piece in mend(data, index, known).pieces:
        if not is_clean(index_segment(piece.data, known)):
            raise BrokenPromiseError("a mended piece is not clean")


def _segment_of(movie: object) -> Callable[[bytes], object]:
    return lambda data: read_segment(movie, data)  # type: ignore[arg-type]


def _read_fragments(data: bytes) -> None:
    reader = FragmentReader()
    for at in range(0, len(data), 1 << 15):
        for _ in reader.feed(data[at : at + (1 << 15)]):
            pass
    reader.close()


def _read_packed(data: bytes) -> None:
    packed = read_packed(data)
    if packed is not None:
        index_segment(in_transport_stream(packed, 0))


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
