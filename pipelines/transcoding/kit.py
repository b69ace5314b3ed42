"""What the ffmpeg at hand can encode and filter, and which encoder makes what a profile asks for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from pipelines import tools
from pipelines.errors import ErrorCode, PermanentError
from pipelines.profile import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.transcoding.encoding import PictureEncoder

#: Filters that take the second field out of interlaced pictures (``bwdif``: w3fdif with yadif).
DEINTERLACING = frozenset({"bwdif"})
#: Filters that bring HDR pictures down to BT.709.
TONE_MAPPING = frozenset({"zscale", "tonemap"})

_SOFTWARE = {Encoder.H264: "libx264", Encoder.HEVC: "libx265", Encoder.VP9: "libvpx-vp9"}
_IN_HARDWARE: dict[PictureEncoder, str] = {Encoder.H264: "h264", Encoder.HEVC: "hevc"}


class Hardware(StrEnum):
    """Kinds of hardware encoders, by the suffix of ffmpeg's names for them."""

    NVENC = "nvenc"
    VAAPI = "vaapi"
    QSV = "qsv"


def hardware_implementation(encoder: PictureEncoder, hardware: Hardware) -> str | None:
    """ffmpeg's name of the hardware's encoder; None for what is always made in software, as VP9.

    NVENC has none, and those of the others were never seen to keep a rate.
    """
    codec = _IN_HARDWARE.get(encoder)
    return f"{codec}_{hardware.value}" if codec else None


@dataclass(frozen=True)
class EncoderKit:
    """Names of the encoders and filters that an ffmpeg has."""

    encoders: frozenset[str]
    filters: frozenset[str]
    #: Names of the pixel formats that an encoder takes: every one takes 8 bits in 4:2:0.
    pixel_formats: Callable[[str], frozenset[str]] = lambda _: frozenset({"yuv420p"})

    def implementation(self, encoder: Encoder, hardware: Hardware | None) -> str:
        """ffmpeg's name of the encoder to use: the hardware's when this ffmpeg has one.

        Raises PermanentError (``encoder_missing``) when it has none in software either.
        """
        in_hardware = hardware_implementation(encoder, hardware) if hardware else None
        if in_hardware and in_hardware in self.encoders:
            return in_hardware
        return self.require_encoder(_SOFTWARE[encoder], encoder.value)

    def makes(self, implementation: str, pixel_format: str) -> bool:
        """Whether it has this encoder, which takes pictures of that format."""
        return implementation in self.encoders and pixel_format in self.pixel_formats(
            implementation
        )

    def require_encoder(self, name: str, purpose: str) -> str:
        """The name itself; raises PermanentError (``encoder_missing``) when it is not there."""
        if name not in self.encoders:
            raise _missing(f"the encoder {name}", purpose)
        return name

    def require_filters(self, names: frozenset[str], purpose: str) -> None:
        """Raise PermanentError (``encoder_missing``) unless all of ``names`` are there."""
        lacking = sorted(names - self.filters)
        if lacking:
            raise _missing(f"the filter {' and '.join(lacking)}", purpose)


def _missing(what: str, purpose: str) -> PermanentError:
    message = f"{purpose} needs {what}, which this ffmpeg lacks: install a build that has it."
    return PermanentError(ErrorCode.ENCODER_MISSING, message)


def probe_kit(ffmpeg: str) -> EncoderKit:
    """What the program has, asked once per process; raises ToolError when it does not run."""
    encoders, filters = (tools.listed(ffmpeg, option) for option in ("-encoders", "-filters"))
    return EncoderKit(encoders, filters, partial(tools.pixel_formats, ffmpeg))
