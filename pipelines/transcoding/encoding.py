"""How the pictures of one rendition are encoded: decided once by the plan, the same in all slices."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from pipelines.profile import Encoder, H264Profile

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class VideoEncoding:
    """Everything that an encoder is told; slices encoded alike have one codec configuration."""

    encoder: Encoder
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
    tone_map: bool = False  #: the source is HDR (PQ or HLG), the result BT.709
    sample_aspect: Fraction = Fraction(1)  #: width of a pixel by its height
    timescale: int | None = None  #: ticks/s in which times are kept; None: the source's
    parameter_set_id: int | None = None  #: of H.264's; None: as the encoder numbers them

    def to_json(self) -> dict[str, Any]:
        """The form in which a plan is stored."""
        fractions = ("nominal_rate", "sample_aspect")
        return asdict(self) | {name: getattr(self, name).as_integer_ratio() for name in fractions}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> VideoEncoding:
        """The inverse of ``to_json``."""
        profile = data["profile"]
        return cls(
            **{
                **data,
                "encoder": Encoder(data["encoder"]),
                "nominal_rate": Fraction(*data["nominal_rate"]),
                "sample_aspect": Fraction(*data.get("sample_aspect", (1, 1))),
                "profile": H264Profile(profile) if profile else None,
            }
        )
