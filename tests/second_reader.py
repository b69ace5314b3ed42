"""A second reader of MP4, mp4box.js, and what must be true of every file that it reads."""

import json
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tests.framehash import Packet

DUMP = Path(__file__).with_name("mp4box_dump.cjs")

_RUN_S = 60


@dataclass(frozen=True)
class ReadSample:
    """One sample; times in seconds of the media, before the edit list."""

    offset: int
    size: int
    dts: Fraction
    pts: Fraction
    sync: bool


@dataclass(frozen=True)
class ReadTrack:
    """One track; ``edits`` are the duration (s) and media time (s, None for a pause) of each."""

    kind: str  #: handler_type: ``vide`` or ``soun``
    entries: tuple[str, ...]
    edits: tuple[tuple[Fraction, Fraction | None], ...]
    samples: tuple[ReadSample, ...]

    @property
    def shift(self) -> Fraction:
        """Seconds that the edit list adds to the media's times."""
        pause = sum((length for length, media in self.edits if media is None), Fraction(0))
        begins = [media for _, media in self.edits if media is not None]
        return pause - (begins[0] if begins else 0)


@dataclass(frozen=True)
class ReadFile:
    """Boxes of the file by name, position and size, and its tracks."""

    boxes: tuple[tuple[str, int, int], ...]
    tracks: tuple[ReadTrack, ...]


def read(mp4box: Path, path: Path) -> ReadFile:
    """What mp4box.js reads of a file."""
    done = subprocess.run(
        ["node", str(DUMP), str(mp4box), str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_RUN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    told = json.loads(done.stdout)
    assert told["failure"] is None
    boxes = tuple((name, begin, size) for name, begin, size in told["boxes"])
    return ReadFile(boxes, tuple(_track(each, told["movieTimescale"]) for each in told["tracks"]))


def _track(told: dict, movie_timescale: int) -> ReadTrack:
    scale = told["timescale"]
    edits = tuple(
        (Fraction(length, movie_timescale), None if media < 0 else Fraction(media, scale))
        for length, media in told["edits"]
    )
    samples = tuple(
        ReadSample(offset, size, Fraction(dts, scale), Fraction(cts, scale), bool(sync))
        for offset, size, dts, cts, sync, _ in told["samples"]
    )
    return ReadTrack(told["handler"], tuple(told["entries"]), edits, samples)


def assert_progressive(file: ReadFile) -> None:
    """The movie comes first (equal parts fill up behind it), each track has one sample entry, and
    every sample lies in ``mdat``, none over another."""
    names = [name for name, _, _ in file.boxes if name != "free"]
    assert names == ["ftyp", "moov", "mdat"]
    _, begin, size = file.boxes[-1]
    taken = []
    for track in file.tracks:
        assert len(track.entries) == 1
        assert track.samples
        assert any(sample.sync for sample in track.samples)
        times = [sample.dts for sample in track.samples]
        assert times == sorted(times)
        taken += [(sample.offset, sample.offset + sample.size) for sample in track.samples]
    assert begin < min(taken)[0]
    assert max(end for _, end in taken) <= begin + size


def assert_same_packets(track: ReadTrack, packets: list[Packet]) -> None:
    """As many samples as ffmpeg gives packets, of the same sizes, shown at the same times."""
    assert [sample.size for sample in track.samples] == [packet.size for packet in packets]
    for sample, packet in zip(track.samples, packets, strict=True):
        assert abs(sample.pts + track.shift - packet.pts) < Fraction(1, 1000)
