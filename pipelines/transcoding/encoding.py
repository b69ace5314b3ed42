"""How the pictures of one rendition are encoded: decided once by the plan, the same in all slices."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

from pipelines.colours import UNTOLD, Colours
from pipelines.mp4.movie_header import UNITY_MATRIX
from pipelines.profile import Encoder, H264Profile

if TYPE_CHECKING:
    from collections.abc import Mapping


class OddEncoder(StrEnum):
    """Encoders that no profile asks for: odd pictures of such a recording are made with them."""

    AV1 = "AV1"
    MPEG2 = "MPEG-2"


PictureEncoder: TypeAlias = Encoder | OddEncoder


@dataclass(frozen=True)
class VideoEncoding:
    """Everything that an encoder is told; slices encoded alike have one codec configuration."""

    encoder: PictureEncoder
    implementation: str  #: ffmpeg's name of the encoder, such as ``libx264`` or ``h264_nvenc``
    preset: str  #: speed of the software encoders, in x264's words
    width: int  #: pixels of the picture as encoded; even
    height: int
    bitrate: int  #: bit/s; the target, or with ``quality`` the cap
    nominal_rate: Fraction  #: frames/s that the encoder reckons with: the asked-for or the source's
    constant_rate: bool  #: pictures lie on a grid of ``nominal_rate``; else keep the source's times
    quality: int | None = None  #: constant rate factor; None: the bit rate decides
    gop: float | None = None  #: seconds between key frames; 0: all are; None: the encoder decides
    profile: H264Profile | None = None
    deinterlace: bool = False
    tone_map: bool = False  #: the source is HDR as far as it was looked at, the result is SDR
    sample_aspect: Fraction = Fraction(1)  #: width of a pixel by its height
    timescale: int | None = None  #: ticks/s in which times are kept; None: the source's
    parameter_set_id: int | None = None  #: of H.264's; None: as the encoder numbers them
    pixel_format: str = "yuv420p"  #: of the pictures as encoded, ffmpeg's name
    colours: Colours = UNTOLD  #: that they are told to have, and are brought to
    matrix: bytes = UNITY_MATRIX  #: by which players turn them (tkhd): they are stored turned back

    def to_json(self) -> dict[str, Any]:
        """The form in which a plan is stored."""
        fractions = ("nominal_rate", "sample_aspect")
        plain = {name: getattr(self, name).as_integer_ratio() for name in fractions}
        return asdict(self) | plain | {"matrix": self.matrix.hex()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> VideoEncoding:
        """The inverse of ``to_json``."""
        profile = data["profile"]
        return cls(
            **{
                **data,
                "encoder": _encoder(data["encoder"]),
                "nominal_rate": Fraction(*data["nominal_rate"]),
                "sample_aspect": Fraction(*data.get("sample_aspect", (1, 1))),
                "profile": H264Profile(profile) if profile else None,
                "colours": Colours(**data.get("colours", {})),
                "matrix": bytes.fromhex(data.get("matrix", UNITY_MATRIX.hex())),
            }
        )


def _encoder(name: str) -> PictureEncoder:
    return Encoder(name) if name in list(Encoder) else OddEncoder(name)
