"""Every reader of foreign bytes reads mutated ones, or refuses them: no crash, no hang, no flood.

`--fuzz-seconds` goes on for that long in all, with other inputs each time.
"""

import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

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
from scripts.fault_base import Bases
from scripts.fault_kit import BY_NAME
from scripts.ts_clocks import PACKET
from tests.conftest import CORPUS
from tests.mutations import mutated

pytestmark = pytest.mark.ffmpeg

#: Mutated inputs of each reader in a run of all tests.
INPUTS = 200
#: Processor seconds that one input may take: a segment is read in milliseconds.
HANG_S = 20.0
#: Bytes by which the address space may grow: inputs have some 100 KB.
GROWTH = 1 << 30
#: The largest files of the corpus that are mutated, bytes.
LARGEST = 150_000

_FOLDER = Location.parse("s3://recordings/fuzz/")
#: Faults whose playlists and texts are mutated.
_TEXTS = (
    "gap-tag", "wall-clock-hole", "byte-ranges", "aes-explicit", "fmp4-other-map", "two-languages",
    "packed-sound", "subtitles",
)  # fmt: skip
_STREAMS: tuple[dict[str, object], ...] = (
    {}, {"b_frames": 2}, {"video": "hevc", "audio": "ac3"}, {"video": None, "audio": "mp3"},
    {"open_gop": True, "b_frames": 2, "split_by_time": True, "gop": 45},
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """What reads foreign bytes, whole inputs for it, and what it may raise."""

    read: Callable[[bytes], object]
    whole: tuple[bytes, ...]
    refusals: tuple[type[Exception], ...] = ()


def _read_playlist(data: bytes) -> object:
    return parse(data, _FOLDER.child("index.m3u8"), allowed=[_FOLDER])


def _read_stream(data: bytes) -> None:
    """Index and mend; what was mended must be clean when it is indexed again."""
    index = index_segment(data)
    known = announced(data) or {track.track: track.codec for track in index.tracks}
    continues_previous(data[: 100 * PACKET], known)
    for piece in mend(data, index, known).pieces:
        assert is_clean(index_segment(piece.data, known))


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


@pytest.fixture(scope="module")
def bases(media_tools, tmp_path_factory) -> Bases:
    return Bases(media_tools, tmp_path_factory.mktemp("bases"))


def _of_corpus(suffix: str) -> list[bytes]:
    """The small files of this kind, where there is a corpus."""
    found: Iterator[Path] = CORPUS.rglob(f"*{suffix}")
    return [file.read_bytes() for file in sorted(found) if 0 < file.stat().st_size < LARGEST]


def _files(bases: Bases, faults: tuple[str, ...], suffix: str) -> list[bytes]:
    made = [BY_NAME[name].make(bases).files for name in faults]
    return [data for files in made for name, data in files.items() if suffix in name]


def _movie(bases: Bases) -> tuple[bytes, list[bytes]]:
    """Header section and segments of a fragmented recording."""
    base = bases.get(container="fmp4", b_frames=2)
    return base.init, [segment.data for segment in base.segments[:3]]


def _playlists(bases: Bases) -> Reader:
    whole = _files(bases, _TEXTS, ".m3u8") + _of_corpus(".m3u8")
    return Reader(_read_playlist, tuple(whole), (FinalizerError,))


def _streams(bases: Bases) -> Reader:
    whole = [segment.data for spec in _STREAMS for segment in bases.get(**spec).segments[:3]]
    return Reader(_read_stream, tuple(whole + _of_corpus(".ts")))


def _segments(bases: Bases) -> Reader:
    init, media = _movie(bases)
    return Reader(partial(read_segment, read_header_section(init)), tuple(media))


def _headers(bases: Bases) -> Reader:
    whole = (_movie(bases)[0], *_of_corpus("init.mp4"))
    return Reader(read_header_section, whole, (Mp4Error,))


def _fragments(bases: Bases) -> Reader:
    init, media = _movie(bases)
    whole = [init + data for data in media] + _of_corpus(".mp4")
    return Reader(_read_fragments, tuple(whole), (Mp4Error,))


def _packed(bases: Bases) -> Reader:
    sounds = bases.get(video=None, audio="mp3").segments[:3]
    whole = _files(bases, ("packed-sound",), ".aac") + _of_corpus(".aac")
    return Reader(_read_packed, (*whole, *(segment.data for segment in sounds)))


def _captions(bases: Bases) -> Reader:
    return Reader(parse_webvtt, tuple(_files(bases, ("subtitles",), ".vtt")), (WebVttError,))


READERS = (_playlists, _streams, _segments, _headers, _fragments, _packed, _captions)


class HangError(BaseException):
    """One input takes too long; no reader may swallow it."""


@contextmanager
def watched() -> Iterator[None]:
    """Stops what takes too long. The clock is that of the processor, which other tests do not slow
    down, and not the one of pytest's own limit."""

    def stop(*_: object) -> None:
        raise HangError(f"one input takes longer than {HANG_S:.0f} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.fixture
def bounded_memory() -> Iterator[None]:
    """Lets the process grow by no more than ``GROWTH``: whoever wants more gets a MemoryError."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + GROWTH, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def fuzz(reader: Reader, seconds: float = 0) -> int:
    """Give a reader mutated inputs, and raise what it should not; says how many inputs that were.

    Without seconds they are the same ones each time, with them other ones until that long is over.
    """
    tried = 0

    def read_or_refuse(data: bytes) -> None:
        nonlocal tried
        tried += 1
        try:
            with watched():
                reader.read(data)
        except reader.refusals:
            pass

    profile = settings(
        max_examples=INPUTS,
        derandomize=not seconds,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    deadline = time.monotonic() + seconds
    while not tried or time.monotonic() < deadline:
        profile(given(mutated(reader.whole))(read_or_refuse))()
    return tried


@pytest.mark.parametrize("made", READERS)
@pytest.mark.usefixtures("bounded_memory")
def test_mutated_recordings_are_read_or_refused(made, bases, pytestconfig):
    tried = fuzz(made(bases), pytestconfig.getoption("fuzz_seconds") / len(READERS))
    assert tried >= INPUTS


def _divide(data: bytes) -> float:
    return 1 / (data.count(b"a") - 4)


def _hang(_: bytes) -> None:
    while True:
        pass


def _flood(data: bytes) -> None:
    bytearray(4 * GROWTH + len(data))


def test_what_a_reader_should_not_raise_is_found():
    whole = (b"aaaa" + bytes(100),)
    with pytest.raises(ZeroDivisionError):
        fuzz(Reader(_divide, whole))
    assert fuzz(Reader(_divide, whole, (ZeroDivisionError,))) >= INPUTS


@pytest.mark.usefixtures("bounded_memory")
def test_a_flood_and_a_hang_are_found(monkeypatch):
    with pytest.raises(MemoryError):
        fuzz(Reader(_flood, (bytes(100),)))
    monkeypatch.setitem(globals(), "HANG_S", 0.05)
    with pytest.raises(HangError):
        fuzz(Reader(_hang, (bytes(100),)))
