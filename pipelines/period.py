"""Periods: the media between two discontinuities."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Period:
    """Media between two discontinuities."""

    number: int
    start: float  #: media seconds
    tagged: bool
    sequence: int  #: media sequence of the segment that it begins with, or in
    piece: int = 0  #: which part of that segment
