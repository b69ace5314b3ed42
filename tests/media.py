"""Makes small recordings with ffmpeg: a test picture that flashes, a tone that beeps, once a second.

The first picture of every second is white, and the first tenth of every second sounds, so that a
finished file can be counted and its tracks compared in time.
"""

import hashlib
import subprocess
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from pipelines.tools import MediaTools
from scripts.flash_and_beep import beep_times as beep_times
from scripts.flash_and_beep import flash_times as flash_times

VIDEO_ENCODERS = {"h264": "libx264", "hevc": "libx265"}
AUDIO_ENCODERS = {"aac": "aac", "mp3": "libmp3lame", "ac3": "ac3"}
SAMPLE_RATE = 48_000

_RUN_TIMEOUT_S = 240
#: Bars of a numbered picture: the bits of its number, the lowest at the left.
_BITS = 10


@dataclass(frozen=True)
class RecordingSpec:
    """What a recording shall be like.

    ``duration``, ``segment`` and ``start`` (the clock of the first picture) are in seconds, ``gop``
    and ``b_frames`` in pictures. ``video`` or ``audio`` None leaves that track out. ``container``
    is ``ts`` or ``fmp4``. ``split_by_time`` cuts segments away from key frames. ``numbered``: every
    picture shows its number, see ``picture_numbers``. ``filters`` change the pictures.
    """

    duration: float = 6.0
    size: str = "320x180"
    fps: str = "30"
    gop: int = 60
    b_frames: int = 0
    open_gop: bool = False
    segment: float = 2.0
    split_by_time: bool = False
    container: str = "ts"
    start: float = 0.0
    video: str | None = "h264"
    audio: str | None = "aac"
    end_list: bool = True
    numbered: bool = False
    filters: str = "null"
    encoder_options: tuple[str, ...] = ()


class MediaFactory:
    """Makes each recording once and hands out the path of its media playlist."""

    def __init__(self, tools: MediaTools, folder: Path) -> None:
        self.tools = tools
        self._folder = folder

    def recording(self, **options: object) -> Path:
        """The ``index.m3u8`` of a recording as described by ``RecordingSpec(**options)``.

        The folder is shared between tests: read it, copy it, never write to it.
        """
        spec = RecordingSpec(**options)  # type: ignore[arg-type]
        name = hashlib.sha256(repr(astuple(spec)).encode()).hexdigest()[:16]
        folder = self._folder / name
        if not folder.is_dir():
            self._make(spec, folder)
        return folder / "index.m3u8"

    def _make(self, spec: RecordingSpec, folder: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=self._folder, prefix="draft-"))
        run(self.tools.ffmpeg, *recording_arguments(spec), cwd=draft)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster: the contents are the same
                raise


def run(program: str, *arguments: str, cwd: Path | None = None) -> bytes:
    """What a media program writes to its standard output; its log when it fails."""
    done = subprocess.run(
        [program, *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_RUN_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{program} failed:\n{done.stderr.decode(errors='replace')[-4000:]}")
    return done.stdout


def recording_arguments(spec: RecordingSpec) -> list[str]:
    """The arguments that make ffmpeg write the recording into its working directory."""
    arguments = ["-hide_banner", "-nostdin", "-loglevel", "warning", "-y"]
    if spec.video:
        picture = f"testsrc2=size={spec.size}:rate={spec.fps}:duration={spec.duration}"
        flash = f"drawbox=color=white:t=fill:enable='lt(mod(t+0.0001,1),1/({spec.fps}))'"
        if spec.numbered:
            # Written small and then enlarged: an expression for each of many pixels takes its time.
            bit = "mod(floor(N/pow(2,floor(X/2))),2)"
            bars = f"scale={2 * _BITS}:2,geq=lum='16+219*{bit}':cb=128:cr=128"
            flash = f"{bars},scale={spec.size.replace('x', ':')}:flags=neighbor,setsar=1"
        arguments += ["-f", "lavfi", "-i", f"{picture},{flash},{spec.filters}"]
    if spec.audio:
        tone = "if(lt(mod(t,1),0.1),0.5*sin(2*PI*1000*t),0)"
        source = f"aevalsrc='{tone}|{tone}':s={SAMPLE_RATE}:d={spec.duration}"
        arguments += ["-f", "lavfi", "-i", source]
    arguments += _video_arguments(spec) if spec.video else []
    if spec.audio:
        arguments += ["-c:a", AUDIO_ENCODERS[spec.audio], "-b:a", "96k"]
    return [*arguments, *spec.encoder_options, *_hls_arguments(spec)]


def picture_numbers(tools: MediaTools, path: Path | str) -> list[int]:
    """The numbers that the pictures of a ``numbered`` recording show, in presentation order."""
    raw = run(
        tools.ffmpeg, "-v", "error", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough",
        "-vf", f"scale={_BITS}:1:flags=area,format=gray", "-f", "rawvideo", "-",
    )  # fmt: skip
    bits = np.frombuffer(raw, dtype=np.uint8).reshape(-1, _BITS) > 125
    return [int(number) for number in bits @ (1 << np.arange(_BITS))]


def _video_arguments(spec: RecordingSpec) -> list[str]:
    encoder = VIDEO_ENCODERS[str(spec.video)]
    codec_options = f"open-gop={int(spec.open_gop)}:scenecut=0:keyint={spec.gop}:min-keyint=1"
    if encoder == "libx264":
        options = ["-x264-params", codec_options]
    else:
        options = ["-x265-params", f"{codec_options}:bframes={spec.b_frames}:log-level=error"]
    return [
        "-c:v", encoder, "-preset", "ultrafast", "-pix_fmt", "yuv420p",
        "-g", str(spec.gop), "-bf", str(spec.b_frames), *options,
        *(["-tag:v", "hvc1"] if encoder == "libx265" and spec.container == "fmp4" else []),
    ]  # fmt: skip


def _hls_arguments(spec: RecordingSpec) -> list[str]:
    flags = [
        *(["split_by_time"] if spec.split_by_time else []),
        *([] if spec.end_list else ["omit_endlist"]),
    ]
    fragmented = spec.container == "fmp4"
    return [
        "-muxdelay", "0", "-muxpreload", "0", "-output_ts_offset", str(spec.start),
        "-f", "hls", "-hls_time", str(spec.segment), "-hls_list_size", "0",
        "-hls_segment_type", "fmp4" if fragmented else "mpegts",
        "-hls_segment_filename", f"segment%05d.{'m4s' if fragmented else 'ts'}",
        *(["-hls_flags", "+".join(flags)] if flags else []),
        "index.m3u8",
    ]  # fmt: skip
