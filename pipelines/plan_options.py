"""What the settings say about plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.transcoding.kit import Hardware


@dataclass(frozen=True)
class PlanOptions:
    """What the settings say about plans.

    ``preset`` is the speed of software encoders in x264's words; ``hardware`` the encoders to
    prefer; ``default_ladder``: sessions without ``profiles`` get Livepeer's; ``web_for_hevc``:
    browsers are taken not to play HEVC.
    """

    preset: str
    hardware: Hardware | None = None
    default_ladder: bool = False
    web_for_hevc: bool = False
