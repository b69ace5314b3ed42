"""What the media of a variant is, as its first segments tell: what a plan must know of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.colours import BT709, UNTOLD, Colours
from pipelines.segment_index import Container

if TYPE_CHECKING:
    from pipelines.media import Codec


@dataclass(frozen=True)
class SourceVideo:
    """The pictures of a variant, as stored; codec and format in ffmpeg's words."""

    codec: str
    width: int  #: pixels as stored, before rotation and sample aspect ratio
    height: int
    pixel_format: str  #: such as ``yuv420p`` or ``yuv422p10le``
    frame_rate: Fraction  #: frames/s on average; 0 when it cannot be told
    sample_aspect: Fraction = Fraction(1)  #: width of a pixel by its height
    rotation: int = 0  #: degrees clockwise by which players turn it: 0, 90, 180, 270
    interlaced: bool = False  #: flagged as such
    colours: Colours = UNTOLD

    @property
    def hdr(self) -> bool:
        """Whether its brightness is coded for HDR screens."""
        return self.colours.hdr

    @property
    def sdr_colours(self) -> Colours:
        """Those of its pictures once they are encoded for SDR screens, luma from 16 on."""
        return BT709 if self.hdr else replace(self.colours.encodable, full_range=False)


@dataclass(frozen=True)
class SourceMedia:
    """All that a plan must know of a variant's media; ``video`` is None when it has no pictures."""

    video: SourceVideo | None
    audio: tuple[Codec, ...]  #: codecs of its tracks of sound
    container: Container = Container.MPEGTS
