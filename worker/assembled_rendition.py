"""What assembling a rendition has given: what was proven of its MP4, for the report and the VOD."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

from pipelines.clock_point import ClockPoint
from pipelines.lost_stretches import LostPlace
from pipelines.report import RenditionReport

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The format that is written and the only one that is read; another version's is assembled again.
FORMAT = 4


class RepeatedPlace(NamedTuple):
    """Which listed segment is an earlier one once more."""

    segment: int  #: media sequence
    sound: str  #: name of the sound whose own playlist lists it; "": the variant's playlist


@dataclass(frozen=True)
class AssembledRendition:
    """The result of an assembly that was proven, as the run's record keeps it."""

    proven: RenditionReport
    size: int
    duration: float
    width: int
    height: int
    codecs: Sequence[str]
    clocks: tuple[ClockPoint, ...]
    starts: Sequence[int]  #: media sequences of the segments at which players begin anew
    repeated: tuple[RepeatedPlace, ...]  #: segments that are an earlier one once more
    lost: tuple[LostPlace, ...]  #: all of them, where the report may list the first ones
    assembling: float  #: seconds that it took
    proving: float

    def to_json(self) -> str:
        """The stored form."""
        data = {
            **vars(self),
            "v": FORMAT,
            "proven": self.proven.to_json(),
            "clocks": [asdict(point) for point in self.clocks],
        }
        return json.dumps(data, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> AssembledRendition | None:
        """The inverse of ``to_json``; None for what another version wrote."""
        data = json.loads(text)
        if data.pop("v", None) != FORMAT:
            return None
        return cls(
            **{
                **data,
                "proven": RenditionReport.model_validate(data["proven"]),
                "lost": tuple(LostPlace(*place) for place in data["lost"]),
                "repeated": tuple(RepeatedPlace(*place) for place in data["repeated"]),
                "clocks": tuple(ClockPoint(**point) for point in data["clocks"]),
            }
        )
