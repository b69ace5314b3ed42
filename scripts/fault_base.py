"""Flash-and-beep recordings that are whole: what faults are put into, and what ffprobe says of them.

The picture is white for one frame, and a tone of a tenth of a second sounds, in the middle of every
second: never where one segment ends and the next begins.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import astuple, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import openm3u8

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipelines.tools import MediaTools

SEGMENT_SECONDS = 2
FRAME_RATE = 30
#: Base time at which a flash and a beep come within each second.
WITHIN_SECOND = 0.5

_RUN_TIMEOUT_S = 120
_VIDEO_ENCODERS = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9"}
_AUDIO_ENCODERS = {"aac": "aac", "mp3": "libmp3lame", "ac3": "ac3", "opus": "libopus"}


@dataclass(frozen=True)
class BaseSpec:
    """What a whole recording is like; ``seconds``, ``segment`` (of each segment) and ``start`` (the
    first picture's clock) in seconds, ``gop`` in pictures."""

    seconds: int = 16
    segment: float = SEGMENT_SECONDS
    size: str = "160x90"
    video: str | None = "h264"
    audio: str | None = "aac"
    container: str = "ts"
    gop: int = 15
    b_frames: int = 0
    open_gop: bool = False
    split_by_time: bool = False
    start: float = 10.0
    sample_rate: int = 48_000
    channels: int = 2
    first_pid: int = 0x100
    pitch: int = 1000  #: Hz of the beep


@dataclass(frozen=True)
class Packet:
    """One packet of a segment as ffprobe sees it; times in seconds of the clock."""

    video: bool
    begin: float
    end: float
    offset: int  #: byte of the segment at which it begins


@dataclass(frozen=True)
class BaseSegment:
    """One segment of a whole recording; ``begin`` is the base time of its first picture."""

    name: str
    data: bytes
    seconds: float
    begin: float
    _probed: Callable[[bytes], tuple[Packet, ...]] = field(repr=False)

    @cached_property
    def packets(self) -> tuple[Packet, ...]:
        """What ffprobe says of it."""
        return self._probed(self.data)

    def offset_of(self, clock: float) -> int:
        """The byte at which the first picture that is shown from a clock time on begins."""
        return min(p.offset for p in self.packets if p.video and p.begin >= clock - 0.001)

    def first(self, *, video: bool) -> float | None:
        """The clock time at which its pictures, or its sound, begin."""
        return min((p.begin for p in self.packets if p.video == video), default=None)


@dataclass(frozen=True)
class Base:
    """A whole recording in its folder."""

    spec: BaseSpec
    folder: Path
    tools: MediaTools

    @cached_property
    def init(self) -> bytes:
        """The initialization section of fragmented MP4; empty for MPEG-TS."""
        return (self.folder / "init.mp4").read_bytes() if self.spec.container == "fmp4" else b""

    @cached_property
    def segments(self) -> tuple[BaseSegment, ...]:
        """All segments, in order."""
        listed = openm3u8.loads((self.folder / "index.m3u8").read_text(encoding="utf-8")).segments
        found, begin = [], 0.0
        for each in listed:
            data = (self.folder / each.uri).read_bytes()
            found.append(BaseSegment(each.uri, data, float(each.duration), begin, self._probed))
            begin += float(each.duration)
        return tuple(found)

    @cached_property
    def zero(self) -> float:
        """Base time at which its first picture or sound begins: 0, or a little before."""
        firsts = (self.segments[0].first(video=video) for video in (True, False))
        return min(first for first in firsts if first is not None) - self.spec.start

    def _probed(self, data: bytes) -> tuple[Packet, ...]:
        """What ffprobe sees in a segment (behind its initialization section)."""
        text = _run(
            self.tools.ffprobe, "-v", "quiet", "-show_entries",
            "packet=codec_type,pts_time,duration_time,pos", "-of", "json", "-",
            given=self.init + data,
        )  # fmt: skip
        rows = json.loads(text)["packets"]
        return tuple(
            Packet(
                row["codec_type"] == "video",
                float(row["pts_time"]),
                float(row["pts_time"]) + float(row.get("duration_time", 0)),
                int(row.get("pos", 0)) - len(self.init),
            )
            for row in rows
            if "pts_time" in row
        )


class Bases:
    """Makes each whole recording once and keeps it in a folder."""

    def __init__(self, tools: MediaTools, folder: Path) -> None:
        self._tools = tools
        self._folder = folder
        self._made: dict[BaseSpec, Base] = {}

    def get(self, **options: object) -> Base:
        """The recording as described by ``BaseSpec(**options)``."""
        spec = BaseSpec(**options)  # type: ignore[arg-type]
        if spec not in self._made:
            name = hashlib.sha256(repr(astuple(spec)).encode()).hexdigest()[:16]
            folder = self._folder / name
            if not (folder / "index.m3u8").exists():
                folder.mkdir(parents=True, exist_ok=True)
                _run(self._tools.ffmpeg, *_arguments(spec), folder=folder)
            self._made[spec] = Base(spec, folder, self._tools)
        return self._made[spec]

    @property
    def tools(self) -> MediaTools:
        """The programs that make them."""
        return self._tools


def _arguments(spec: BaseSpec) -> list[str]:
    arguments = ["-hide_banner", "-nostdin", "-loglevel", "error", "-y"]
    if spec.video:
        within = f"mod(t+{1 - WITHIN_SECOND}+0.0001,1)"
        flash = f"drawbox=color=white:t=fill:enable='lt({within},1/{FRAME_RATE})'"
        picture = f"testsrc2=size={spec.size}:rate={FRAME_RATE}:duration={spec.seconds}"
        arguments += ["-f", "lavfi", "-i", f"{picture},{flash}"]
    if spec.audio:
        tone = f"if(lt(mod(t+{1 - WITHIN_SECOND},1),0.1),0.5*sin(2*PI*{spec.pitch}*t),0)"
        spread = "|".join(f"c{channel}=c0" for channel in range(spec.channels))
        mono = f"aevalsrc='{tone}':s={spec.sample_rate}:d={spec.seconds}"
        source = f"{mono},pan={spec.channels}c|{spread}"
        arguments += ["-f", "lavfi", "-i", source]
    if spec.video:
        arguments += _video_arguments(spec)
    if spec.audio:
        arguments += ["-c:a", _AUDIO_ENCODERS[spec.audio], "-b:a", "96k"]
    return [*arguments, *_hls_arguments(spec)]


def _video_arguments(spec: BaseSpec) -> list[str]:
    gop = f"open-gop={int(spec.open_gop)}:scenecut=0:keyint={spec.gop}:min-keyint=1"
    options = {
        "h264": ["-preset", "ultrafast", "-bf", str(spec.b_frames), "-x264-params", gop],
        "hevc": [
            "-preset", "ultrafast", "-x265-params",
            f"{gop}:bframes={spec.b_frames}:log-level=error",
            *(["-tag:v", "hvc1"] if spec.container == "fmp4" else []),
        ],
        "vp9": ["-deadline", "realtime", "-cpu-used", "8"],
    }[str(spec.video)]  # fmt: skip
    encoder = _VIDEO_ENCODERS[str(spec.video)]
    return ["-c:v", encoder, "-pix_fmt", "yuv420p", "-g", str(spec.gop), *options]


def _hls_arguments(spec: BaseSpec) -> list[str]:
    fragmented = spec.container == "fmp4"
    pid = ["-hls_segment_options", f"mpegts_start_pid={spec.first_pid}"]
    return [
        "-muxdelay", "0", "-muxpreload", "0", "-output_ts_offset", str(spec.start),
        "-f", "hls", "-hls_time", str(spec.segment), "-hls_list_size", "0",
        "-hls_segment_type", "fmp4" if fragmented else "mpegts",
        "-hls_segment_filename", f"base%03d.{'m4s' if fragmented else 'ts'}",
        *([] if fragmented else pid),
        *(["-hls_flags", "split_by_time"] if spec.split_by_time else []),
        "index.m3u8",
    ]  # fmt: skip


def _run(
    program: str, *arguments: str, given: bytes | None = None, folder: Path | None = None
) -> bytes:
    """What a media program writes; raises CalledProcessError when it fails."""
    return subprocess.run(
        [program, *arguments],
        cwd=folder,
        input=given if given is not None else b"",
        stdout=subprocess.PIPE,
        timeout=_RUN_TIMEOUT_S,
        check=True,
    ).stdout
