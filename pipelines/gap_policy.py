"""What becomes of a gap: media of a known length that the recording does not hold."""

from __future__ import annotations

from enum import StrEnum


class GapPolicy(StrEnum):
    """An operator's choice, for all recordings of a deployment."""

    HOLD = "hold"  #: the last picture lasts longer, sound becomes encoded silence
    COLLAPSE = "collapse"  #: what follows moves up; the report tells
    FAIL = "fail"  #: the session ends as failed (``gap_refused``)
