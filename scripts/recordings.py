"""Makes recordings for measurements: hours of MPEG-TS out of a short encode, clocks moved on."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import openm3u8

from scripts.ts_clocks import CLOCK, continuity_advance, shift_clocks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FRAMES_PER_SECOND = 30
SAMPLE_RATE = 48_000
AUDIO_FRAME = 1024
SEGMENT_SECONDS = 4
#: The fewest whole seconds that hold whole pictures and whole audio frames and whole segments:
#: only such a recording can follow upon itself without a gap or an overlap in either track.
LOOP_UNIT = 8

_ENCODE_TIMEOUT_S = 300
_CONTENT_TYPES = {"ts": "video/mp2t", "m3u8": "application/vnd.apple.mpegurl"}


@dataclass(frozen=True)
class Scene:
    """What the pictures of a loop show, and how they are encoded.

    ``graph`` is a lavfi graph of endless pictures; it is filled in with ``rate`` (pictures/s),
    ``pictures`` (how many there are), and the ``width`` and ``height`` to end with.
    """

    graph: str
    preset: str  #: of x264
    parameters: str = ""  #: of x264, each followed by a colon


#: As hard to compress as pictures get, at a constant rate to the bit. They are made small and
#: blown up: cheap to make.
NOISE = Scene(
    graph="color=gray:s=480x270:r={rate},noise=alls=60:allf=t,scale={width}:{height}:flags=neighbor",
    preset="ultrafast",
    parameters="nal-hrd=cbr:",
)
#: A camera's pictures, as far as an encoder can tell: soft areas, fine edges, a steady zoom, a few
#: things that move by themselves, and a sensor's grain.
MOTION = Scene(
    graph=(
        "mandelbrot=s=480x270:r={rate}:maxiter=300:start_scale=2:end_scale=0.002"
        ":end_pts={pictures}[zoom];testsrc2=s=160x90:r={rate}[clock];[zoom][clock]overlay=300:20,"
        "scale={width}:{height}:flags=bicubic,format=yuv420p,noise=c0s=7:c0f=t"
    ),
    preset="veryfast",
)


@dataclass(frozen=True)
class Loop:
    """A short recording in a folder that can follow upon itself; ``seconds`` is its exact length.

    ``segments`` are file names with their EXTINF durations in seconds.
    """

    folder: Path
    segments: tuple[tuple[str, float], ...]
    seconds: int


@dataclass(frozen=True)
class Repeated:
    """What was written: the playlist's key, the segments' EXTINF seconds in order, their bytes."""

    key: str
    durations: tuple[float, ...]
    size: int

    @property
    def segments(self) -> int:
        """How many segments there are."""
        return len(self.durations)

    @property
    def seconds(self) -> float:
        """The length of the recording by its playlist."""
        return sum(self.durations)

    def first(self, seconds: float) -> int:
        """How many segments the first ``seconds`` reach into."""
        whole = (
            number for number, end in enumerate(accumulate(self.durations), 1) if end >= seconds
        )
        return next(whole, self.segments)


def make_loop(
    ffmpeg: str,
    folder: Path,
    *,
    seconds: int = 32,
    size: str = "1920x1080",
    bit_rate: int = 6_000_000,
    scene: Scene = NOISE,
    rate: int = FRAMES_PER_SECOND,
) -> Loop:
    """Encode ``seconds`` of a scene and noise into ``folder``: H.264 and AAC at ``bit_rate``, at
    ``rate`` pictures a second.

    Raises ValueError when ``seconds`` is no multiple of ``LOOP_UNIT``, CalledProcessError or
    TimeoutExpired when ffmpeg fails.
    """
    if seconds <= 0 or seconds % LOOP_UNIT:
        raise ValueError(f"A loop of {seconds} s has a seam: take a multiple of {LOOP_UNIT} s.")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [ffmpeg, *_encode_arguments(seconds, size, bit_rate, scene, rate)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        timeout=_ENCODE_TIMEOUT_S,
        check=True,
    )
    playlist = openm3u8.loads((folder / "index.m3u8").read_text(encoding="utf-8"))
    segments = tuple((segment.uri, float(segment.duration)) for segment in playlist.segments)
    return Loop(folder, segments, seconds)


def repeat_recording(
    loop: Loop, seconds: float, *, client: Any, bucket: str, prefix: str, parallel: int = 4
) -> Repeated:
    """Write ``{prefix}/index.m3u8`` and its segments: at least ``seconds`` of one timeline.

    Every segment is the loop's with its clocks and continuity counters moved on. ``client`` is
    boto3's; never more than ``parallel`` segments are in memory. The playlist comes last.
    """
    advance = continuity_advance((loop.folder / name).read_bytes() for name, _ in loop.segments)
    plan = _plan(loop, seconds)

    def write(place: tuple[int, int]) -> int:
        number, copy = place
        name, _ = loop.segments[number % len(loop.segments)]
        counters = {pid: copy * step for pid, step in advance.items()}
        body = shift_clocks(
            (loop.folder / name).read_bytes(), copy * loop.seconds * CLOCK, counters
        )
        put_file(client, bucket, f"{prefix}/{_segment_name(number)}", body)
        return len(body)

    with ThreadPoolExecutor(max_workers=parallel) as pool:
        total = sum(pool.map(write, plan))
    durations = tuple(loop.segments[number % len(loop.segments)][1] for number, _ in plan)
    key = f"{prefix}/index.m3u8"
    put_file(client, bucket, key, playlist(durations, ended=True).encode())
    return Repeated(key, durations, total)


def _plan(loop: Loop, seconds: float) -> list[tuple[int, int]]:
    """(segment number, how many loops came before) until the EXTINF durations reach ``seconds``."""
    plan: list[tuple[int, int]] = []
    total = 0.0
    while total < seconds:
        copy, index = divmod(len(plan), len(loop.segments))
        plan.append((len(plan), copy))
        total += loop.segments[index][1]
    return plan


def _segment_name(number: int) -> str:
    return f"segment{number:05d}.ts"


def playlist(durations: Sequence[float], *, ended: bool) -> str:
    """The media playlist of segments of these EXTINF seconds: a VOD's, or one that may grow."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{round(max(durations))}"]
    lines += ["#EXT-X-MEDIA-SEQUENCE:0", f"#EXT-X-PLAYLIST-TYPE:{'VOD' if ended else 'EVENT'}"]
    for number, duration in enumerate(durations):
        lines += [f"#EXTINF:{duration:.6f},", _segment_name(number)]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else []), ""])


def put_file(client: Any, bucket: str, key: str, body: bytes) -> None:
    """Store a file of a recording under its content type."""
    kind = _CONTENT_TYPES[key.rpartition(".")[2]]
    client.put_object(Bucket=bucket, Key=key, Body=body, ContentType=kind)


def _encode_arguments(seconds: int, size: str, bit_rate: int, scene: Scene, rate: int) -> list[str]:
    """The video gets what the audio, and the 4 % that TS adds, leave of ``bit_rate``."""
    width, height = size.split("x")
    pictures = seconds * rate
    video = scene.graph.format(rate=rate, pictures=pictures, width=width, height=height)
    # The encoder adds one frame of priming, so it is given one less than the loop holds.
    samples = seconds * SAMPLE_RATE - AUDIO_FRAME
    sound = f"anoisesrc=r={SAMPLE_RATE}:a=0.3:seed=1,atrim=end_sample={samples}"
    audio_rate = 128_000
    video_rate = round(bit_rate * 0.96) - audio_rate
    return [
        "-hide_banner", "-nostdin", "-loglevel", "error", "-y",
        "-f", "lavfi", "-i", video,
        "-f", "lavfi", "-i", f"{sound},aformat=channel_layouts=stereo",
        "-frames:v", str(pictures),
        "-c:v", "libx264", "-preset", scene.preset, "-pix_fmt", "yuv420p",
        "-b:v", str(video_rate), "-minrate", str(video_rate), "-maxrate", str(video_rate),
        "-bufsize", str(video_rate), "-x264-params",
        f"{scene.parameters}keyint={2 * rate}:scenecut=0:open-gop=0:bframes=2",
        "-c:a", "aac", "-b:a", str(audio_rate),
        "-muxdelay", "0", "-muxpreload", "0",
        "-f", "hls", "-hls_time", str(SEGMENT_SECONDS), "-hls_list_size", "0",
        "-hls_segment_filename", "loop%03d.ts", "index.m3u8",
    ]  # fmt: skip
