"""How each encoder of ffmpeg is told a VideoEncoding: rate, key frames, profile, speed.

Every slice is encoded with the same words, and nothing that depends on what ffmpeg guesses of the
input, so that all slices have one codec configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.profile import Encoder, H264Profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.transcoding.encoding import VideoEncoding

    Options = dict[str, str | int]

#: Pictures between key frames that come by themselves: never, the forced ones are the only ones.
NEVER = 1_000_000
#: Seconds by which a key frame may come early: clocks that count milliseconds are that uneven.
KEY_FRAME_TOLERANCE = 0.002
#: Seconds of media at the full rate that a decoder buffers (the VBV's size).
BUFFER_SECONDS = 1.0
#: Share of it that a stream begins with: what a clip of a second may have above its rate. With less,
#: short slices end far below. CRF spends all of it at once; x265 does with key frames alone, and holds the rate after.
BUFFER_START, CRF_BUFFER_START, HEVC_INTRA_BUFFER_START = 0.4, 0.3, 0.1
#: bit/s: ffmpeg tells x264 and x265 whole kbit/s, and 0 is no rate. What comes out is the least
#: that the encoder can do, long before.
LOWEST_RATE = 1000

#: H.264 profiles in ffmpeg's words, and whether pictures may refer to later ones.
_H264_PROFILES = {
    H264Profile.BASELINE: ("baseline", False),
    H264Profile.MAIN: ("main", True),
    H264Profile.HIGH: ("high", True),
    H264Profile.CONSTRAINED_HIGH: ("high", False),
}
#: The profile of H.264 (annex A) and of HEVC (A.3.5) for pictures of another format than 8 bits in
#: 4:2:0, in the encoders' words.
_X264_FORMATS = {
    "gray": "high", "yuv420p10le": "high10", "gray10le": "high10", "yuv422p": "high422",
    "yuv422p10le": "high422", "yuv444p": "high444", "yuv444p10le": "high444",
}  # fmt: skip
_X265_FORMATS = {
    "gray": "main444-8", "yuv420p10le": "main10", "yuv420p12le": "main12", "yuv422p": "main422-10",
    "yuv422p10le": "main422-10", "yuv422p12le": "main422-12", "yuv444p": "main444-8",
    "yuv444p10le": "main444-10", "yuv444p12le": "main444-12", "gray10le": "main444-10",
    "gray12le": "main444-12",
}  # fmt: skip
#: B-frames in a row, where there may be any.
B_FRAMES = 3
#: Pictures that x264's rate control sees ahead at least, as ``veryfast`` has it, and the presets
#: that by themselves see none.
LOOKAHEAD = 10
_X264_WITHOUT_LOOKAHEAD = {"ultrafast", "superfast"}
#: Threads of a software encoder. With more, x264 and x265 decide by chance where a buffer limits
#: them (three runs, three files): a slice that is encoded again must be the same bytes. Renditions
#: and slices side by side keep the cores busy, and no frame waits for another thread's.
THREADS = 1

#: libvpx's ``-deadline`` and ``-cpu-used`` for x264's words. ``good`` takes eight times the CPU time
#: of ``realtime`` and can make noise a third as large: its lowest rate is that much lower, and so
#: the usual preset keeps the rate that was asked for.
_VP9_SPEEDS = {
    "ultrafast": ("realtime", 8), "superfast": ("realtime", 8), "veryfast": ("realtime", 7),
    "faster": ("realtime", 6), "fast": ("good", 5),
    "medium": ("good", 4), "slow": ("good", 3), "slower": ("good", 2), "veryslow": ("good", 1),
}  # fmt: skip
#: libvpx works towards a buffer that is nearly full, and spends what it begins with: both are to be
#: little beside a slice of a few seconds, or the slice ends above its rate.
_VP9_BUFFER_SECONDS = 0.2
_VP9_BUFFER_START = 0.5
#: Percent of a picture's share of the rate that a key frame may have; of key frames alone.
_VP9_KEY_FRAME, _VP9_INTRA_FRAME = 200, 100
#: The worst quality of x264 (and x265), and of libvpx.
_X264_WORST, _VP9_WORST = 51, 63
#: ``-preset`` of SVT-AV1 and ``-cpu-used`` of libaom for x264's words.
_AV1_SPEEDS = {
    "ultrafast": 10, "superfast": 10, "veryfast": 9, "faster": 9, "fast": 8,
    "medium": 8, "slow": 7, "slower": 6, "veryslow": 5,
}  # fmt: skip
#: The threshold by which MPEG-2 has no scene changes, as closed groups demand.
_MPEG2_NO_SCENES = 1_000_000_000
#: Quantiser of MPEG-2, 1 to 31: about what 6 Mbit/s give in SD.
_MPEG2_QUALITY = 3
_NVENC_PRESETS = {
    "ultrafast": "p1", "superfast": "p1", "veryfast": "p2", "faster": "p3", "fast": "p3",
    "medium": "p4", "slow": "p5", "slower": "p6", "veryslow": "p7",
}  # fmt: skip
#: Quick Sync begins at x264's veryfast.
_QSV_PRESETS = {"ultrafast": "veryfast", "superfast": "veryfast"}


def encoder_options(encoding: VideoEncoding) -> Options:
    """Output options for the pictures, as ffmpeg-python wants them: option without its dash."""
    special = _IMPLEMENTATIONS[encoding.implementation]
    options: Options = {
        "c:v": encoding.implementation,
        **_threads(encoding.implementation),
        **_key_frames(encoding),
        **_buffer(encoding),
        **special(encoding),
    }
    if encoding.encoder is Encoder.HEVC:
        options["tag:v"] = "hvc1"
    return options


def device_options(implementations: frozenset[str]) -> tuple[str, ...]:
    """Options of the whole command that open the device of a hardware encoder, if there is one."""
    if any(name.endswith("_vaapi") for name in implementations):
        return ("-init_hw_device", "vaapi=encoding", "-filter_hw_device", "encoding")
    if any(name.endswith("_qsv") for name in implementations):
        return ("-init_hw_device", "qsv=encoding", "-filter_hw_device", "encoding")
    return ()


def upload_format(implementation: str) -> tuple[tuple[str, ...], ...]:
    """Filters, with their arguments, that bring pictures to where a hardware encoder wants them."""
    if implementation.endswith("_vaapi"):
        return ("format", "nv12"), ("hwupload",)
    if implementation.endswith("_qsv"):
        return ("format", "nv12"), ("hwupload", "extra_hw_frames=64")
    return ()


def allows_b_frames(encoding: VideoEncoding) -> bool:
    """Whether pictures may refer to later ones, so that they are stored in another order."""
    if encoding.gop == 0:
        return False
    return encoding.encoder is not Encoder.H264 or _h264_profile(encoding)[1]


def _h264_profile(encoding: VideoEncoding) -> tuple[str, bool]:
    return _H264_PROFILES[encoding.profile or H264Profile.HIGH]


def _key_frames(encoding: VideoEncoding) -> Options:
    """Key frames: the first picture, then at every ``gop`` seconds' end."""
    if encoding.gop is None:
        return {}
    if encoding.gop == 0:
        return {"g": 1}
    due = f"gte(t,prev_forced_t+{encoding.gop - KEY_FRAME_TOLERANCE:.6f})"
    return {"g": NEVER, "force_key_frames": f"expr:if(isnan(prev_forced_t),1,{due})"}


def _threads(implementation: str) -> Options:
    return {"threads:v": THREADS} if implementation.startswith("lib") else {}


def _bit_rate(encoding: VideoEncoding) -> int:
    return max(encoding.bitrate, LOWEST_RATE)


def _buffer(encoding: VideoEncoding) -> Options:
    bit_rate = _bit_rate(encoding)
    return {"maxrate": bit_rate, "bufsize": round(bit_rate * BUFFER_SECONDS)}


def _buffer_start(encoding: VideoEncoding) -> float:
    if encoding.gop == 0 and encoding.encoder is Encoder.HEVC:
        return HEVC_INTRA_BUFFER_START
    return BUFFER_START if encoding.quality is None else CRF_BUFFER_START


def _parameters(parameters: dict[str, object]) -> str:
    return ":".join(f"{name}={value}" for name, value in parameters.items())


def _rate(encoding: VideoEncoding) -> str:
    return f"{encoding.nominal_rate.numerator}/{encoding.nominal_rate.denominator}"


def _target(encoding: VideoEncoding) -> Options:
    if encoding.quality is not None:
        return {"crf": encoding.quality}
    return {"b:v": _bit_rate(encoding)}


def _x264(encoding: VideoEncoding) -> Options:
    profile, _ = _h264_profile(encoding)
    parameters: dict[str, object] = {"fps": _rate(encoding), "vbv-init": _buffer_start(encoding)}
    if encoding.preset in _X264_WITHOUT_LOOKAHEAD:
        # With CRF, the first pictures overrun the buffer by a half.
        parameters["rc-lookahead"] = LOOKAHEAD
    if encoding.parameter_set_id is not None:
        parameters["sps-id"] = encoding.parameter_set_id
    # The quickest presets leave out the tools that make a stream Main or High.
    if profile != "baseline":
        parameters["cabac"] = 1
    if profile == "high":
        parameters["8x8dct"] = 1
    options: Options = {
        "preset": encoding.preset,
        "profile:v": _X264_FORMATS.get(encoding.pixel_format, profile),
        "bf": B_FRAMES if allows_b_frames(encoding) else 0,
        "forced-idr": 1,
        **_target(encoding),
    }
    if encoding.gop is not None:
        options["sc_threshold"] = 0
    return options | {"x264-params": _parameters(parameters)}


def _x265(encoding: VideoEncoding) -> Options:
    parameters: dict[str, object] = {
        "fps": _rate(encoding),
        "vbv-init": _buffer_start(encoding),
        "open-gop": 0,
        "info": 0,
        "log-level": "error",
        "pools": "none",
        "frame-threads": THREADS,
        "bframes": B_FRAMES if allows_b_frames(encoding) else 0,
    }
    if encoding.gop is not None:
        parameters["scenecut"] = 0
    options: Options = {
        "preset": encoding.preset,
        "profile:v": _X265_FORMATS.get(encoding.pixel_format, "main"),
        "forced-idr": 1,
        "a53cc:v": 1,  # captions, which libx264 keeps without being told
        **_target(encoding),
        "x265-params": _parameters(parameters),
    }
    if encoding.gop == 0:
        # By force: told that there are key frames alone, x265 makes a stream of another profile
        # (format range extensions, ITU-T H.265 A.3.5), which browsers need not play.
        options |= {"g": NEVER, "force_key_frames": "expr:1"}
    return options


def _vp9(encoding: VideoEncoding) -> Options:
    """libvpx, whose only rate control that keeps a rate in one pass is CBR of live encoding.

    The others let noise have up to four times the rate (measured), and so does its constrained
    quality: the worst quality that is never surpassed (``qmin``) comes to the same thing. Nothing
    is dropped: where all pictures at the worst quality take more than the rate, it is exceeded.
    """
    deadline, speed = _VP9_SPEEDS[encoding.preset]
    buffer = _bit_rate(encoding) * _VP9_BUFFER_SECONDS
    options: Options = {
        "deadline": deadline,
        "cpu-used": speed,
        "lag-in-frames": 0,
        "row-mt": 1,
        "tile-columns": 2,
        "profile:v": _vp9_profile(encoding.pixel_format),
        "b:v": _bit_rate(encoding),
        "minrate": _bit_rate(encoding),
        "bufsize": round(buffer),
        "rc_init_occupancy": round(buffer * _VP9_BUFFER_START),
        "overshoot-pct": 0,
        "undershoot-pct": 100,
        "max-intra-rate": _VP9_INTRA_FRAME if encoding.gop == 0 else _VP9_KEY_FRAME,
    }
    if encoding.quality is not None:
        options["qmin"] = round(encoding.quality * _VP9_WORST / _X264_WORST)
    return options


def _vp9_profile(pixel_format: str) -> int:
    """1 and 3 are for other chroma than 4:2:0, 2 and 3 for more than 8 bits."""
    return (not pixel_format.startswith("yuv420p")) + 2 * pixel_format.endswith("le")


def _svt_av1(encoding: VideoEncoding) -> Options:
    """SVT-AV1, whose caps go with constant quality alone: the rate is a target."""
    return {
        "preset": _AV1_SPEEDS[encoding.preset],
        "b:v": _bit_rate(encoding),
        "maxrate": 0,
        "bufsize": 0,
    }


def _aom_av1(encoding: VideoEncoding) -> Options:
    return {
        "usage": "realtime",
        "cpu-used": _AV1_SPEEDS[encoding.preset],
        "lag-in-frames": 0,
        "b:v": _bit_rate(encoding),
    }


def _mpeg2(encoding: VideoEncoding) -> Options:
    """MPEG-2, whose sequence header tells one of eight frame rates: it is written afterwards.

    The encoder takes the ticks of its clock for pictures, which leaves it no rate that it knows and
    no bits for any of them: their quality is constant.
    """
    return {
        "strict:v": "experimental",
        "q:v": _MPEG2_QUALITY,
        "maxrate": 0,
        "bufsize": 0,
        "bf": 2 if allows_b_frames(encoding) else 0,
        "flags:v": "+cgop",
        "sc_threshold:v": _MPEG2_NO_SCENES,
        "bsf:v": f"mpeg2_metadata=frame_rate={_rate(encoding)}",
    }


def _nvenc(encoding: VideoEncoding) -> Options:
    options: Options = {
        "preset": _NVENC_PRESETS[encoding.preset],
        "rc": "vbr",
        "b:v": _bit_rate(encoding),
        "forced-idr": 1,
        "bf": B_FRAMES if allows_b_frames(encoding) else 0,
        "profile:v": _hardware_profile(encoding),
    }
    if encoding.quality is not None:
        options |= {"b:v": 0, "cq": encoding.quality}
    if encoding.gop is not None:
        options["no-scenecut"] = 1
    return options


def _vaapi(encoding: VideoEncoding) -> Options:
    options: Options = {
        "rc_mode": "VBR",
        "b:v": _bit_rate(encoding),
        "bf": B_FRAMES if allows_b_frames(encoding) else 0,
        "profile:v": _hardware_profile(encoding).replace("baseline", "constrained_baseline"),
    }
    if encoding.quality is not None:
        options |= {"rc_mode": "QVBR", "global_quality": encoding.quality}
    return options


def _qsv(encoding: VideoEncoding) -> Options:
    options: Options = {
        "preset": _QSV_PRESETS.get(encoding.preset, encoding.preset),
        "b:v": _bit_rate(encoding),
        "forced_idr": 1,
        "bf": B_FRAMES if allows_b_frames(encoding) else 0,
        "profile:v": _hardware_profile(encoding),
    }
    if encoding.quality is not None:
        options["global_quality"] = encoding.quality
    if encoding.gop is not None:
        options["adaptive_i"] = 0
    return options


def _hardware_profile(encoding: VideoEncoding) -> str:
    return "main" if encoding.encoder is Encoder.HEVC else _h264_profile(encoding)[0]


_IMPLEMENTATIONS: dict[str, Callable[[VideoEncoding], Options]] = {
    "libx264": _x264,
    "libx265": _x265,
    "libvpx-vp9": _vp9,
    "libsvtav1": _svt_av1,
    "libaom-av1": _aom_av1,
    "mpeg2video": _mpeg2,
    "h264_nvenc": _nvenc,
    "hevc_nvenc": _nvenc,
    "h264_vaapi": _vaapi,
    "hevc_vaapi": _vaapi,
    "h264_qsv": _qsv,
    "hevc_qsv": _qsv,
}
