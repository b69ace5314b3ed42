"""Mutated media: hypothesis strategies that put a few things wrong into whole playlists, streams and boxes."""

from collections.abc import Callable, Iterator, Sequence

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from scripts.ts_clocks import PACKET

#: A stretch of an input that has a meaning of its own: a packet, a box, a line.
Piece = tuple[int, int]
Mutation = Callable[[DrawFn, bytearray, bytes], None]

_MOST_MUTATIONS = 8
#: Boxes that hold boxes (ISO/IEC 14496-12, table 1).
_HOLDERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"mvex", b"moof", b"traf"})
#: What sizes, counts and offsets must not be believed to be.
_HOSTILE = [0, 1, 7, 8, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 64) - 1]


@st.composite
def mutated(draw: DrawFn, whole: Sequence[bytes]) -> bytes:
    """One of the inputs with a few things wrong."""
    data = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(1, _MOST_MUTATIONS))):
        if data:
            draw(st.sampled_from(_MUTATIONS))(draw, data, draw(st.sampled_from(whole)))
    return bytes(data)


def first_examples(strategy: SearchStrategy[bytes], count: int) -> list[bytes]:
    """So many examples of a strategy, the same ones every time; the plainest, which hypothesis
    begins with, is not among them."""
    found: list[bytes] = []

    @settings(max_examples=count + 1, derandomize=True, database=None, phases=[Phase.generate])
    @given(strategy)
    def collect(one: bytes) -> None:
        found.append(one)

    collect()
    return found[1:]


def pieces(data: bytes | bytearray) -> list[Piece]:
    """Where the packets, boxes or lines of an input begin and end."""
    if data[:1] == b"G":
        return [(at, min(at + PACKET, len(data))) for at in range(0, len(data), PACKET)]
    boxes = list(_boxes(data, 0, len(data)))
    if boxes:
        return boxes
    ends = [at + 1 for at, byte in enumerate(data[: 1 << 16]) if byte == 0x0A]
    return list(zip([0, *ends], [*ends, len(data)], strict=True))


def _boxes(data: bytes | bytearray, begin: int, end: int) -> Iterator[Piece]:
    """The boxes between two offsets, and those within them."""
    while begin + 8 <= end:
        size = int.from_bytes(data[begin : begin + 4], "big")
        name = bytes(data[begin + 4 : begin + 8])
        if size < 8 or begin + size > end or not name.isalnum():
            return
        yield begin, begin + size
        if name in _HOLDERS:
            yield from _boxes(data, begin + 8, begin + size)
        begin += size


def _offset(draw: DrawFn, data: bytes | bytearray) -> int:
    return draw(st.integers(0, len(data) - 1))


def _stretch(draw: DrawFn, data: bytes | bytearray) -> slice:
    """Some of the pieces that follow each other."""
    found = pieces(data)
    first = draw(st.integers(0, len(found) - 1))
    last = min(first + draw(st.integers(0, 20)), len(found) - 1)
    return slice(found[first][0], max(found[first][1], found[last][1]))


def _flip(draw: DrawFn, data: bytearray, _: bytes) -> None:
    data[_offset(draw, data)] ^= 1 << draw(st.integers(0, 7))


def _overwrite(draw: DrawFn, data: bytearray, _: bytes) -> None:
    at = _offset(draw, data)
    noise = draw(st.binary(min_size=1, max_size=32))
    data[at : at + len(noise)] = noise


def _insert(draw: DrawFn, data: bytearray, _: bytes) -> None:
    at = _offset(draw, data)
    data[at:at] = draw(st.binary(min_size=1, max_size=400))


def _cut(draw: DrawFn, data: bytearray, _: bytes) -> None:
    del data[_offset(draw, data) :]


def _behead(draw: DrawFn, data: bytearray, _: bytes) -> None:
    del data[: _offset(draw, data)]


def _splice(draw: DrawFn, data: bytearray, other: bytes) -> None:
    """It goes on as another input does."""
    del data[_offset(draw, data) :]
    data += other[_offset(draw, other) :]


def _hostile_header(draw: DrawFn, data: bytearray, _: bytes) -> None:
    """A number that cannot be true where a packet, box or line tells of itself."""
    begin, end = draw(st.sampled_from(pieces(data)))
    width = draw(st.sampled_from([1, 2, 4, 8]))
    at = begin + draw(st.integers(0, min(end - begin, 40)))
    number = draw(st.sampled_from(_HOSTILE)) & ((1 << 8 * width) - 1)
    data[at : at + width] = number.to_bytes(width, "big")


def _hostile_number(draw: DrawFn, data: bytearray, _: bytes) -> None:
    """Another number for one that stands in a text."""
    begin, end = draw(st.sampled_from(pieces(data)))
    digits = [at for at in range(begin, min(end, begin + 200)) if 0x30 <= data[at] <= 0x39]
    if digits:
        at = draw(st.sampled_from(digits))
        number = draw(st.sampled_from([b"-1", b"1e999", b"nan", b"9" * 30, b"", b"0", b".", b"\0"]))
        data[at : at + 1] = number


def _drop(draw: DrawFn, data: bytearray, _: bytes) -> None:
    del data[_stretch(draw, data)]


def _repeat(draw: DrawFn, data: bytearray, _: bytes) -> None:
    stretch = _stretch(draw, data)
    data[stretch.start : stretch.start] = data[stretch]


def _swap(draw: DrawFn, data: bytearray, _: bytes) -> None:
    first, second = sorted((_stretch(draw, data) for _ in range(2)), key=lambda each: each.start)
    if first.stop <= second.start:
        one, between, other = data[first], data[first.stop : second.start], data[second]
        data[first.start : second.stop] = other + between + one


def _foreign(draw: DrawFn, data: bytearray, other: bytes) -> None:
    """Pieces of another input stand before one of its own."""
    begin, _ = draw(st.sampled_from(pieces(data)))
    data[begin:begin] = other[_stretch(draw, other)]


_MUTATIONS: list[Mutation] = [
    _flip, _overwrite, _insert, _cut, _behead, _splice, _hostile_header, _hostile_number, _drop,
    _repeat, _swap, _foreign,
]  # fmt: skip
