"""Samples of one run that have their place on the movie's timeline, ready to be merged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.track_cut import cut

if TYPE_CHECKING:
    from fractions import Fraction

    from pipelines.gap import GapReason
    from pipelines.packaged_slice import PackagedTrack


@dataclass(frozen=True, eq=False)
class PlacedSamples:
    """Samples of one run (or of a stretch of it) of one track.

    ``track`` has the timescale of the movie's track, its samples' decode times are media ticks; its
    expectation is still on the source's clock, ``shift`` seconds away.
    """

    track: PackagedTrack
    shift: Fraction
    payload_offset: int  #: where the slice's payload starts in the mdat payload
    steady: bool  #: audio whose times were rounded on the way (MPEG-TS) and are rebuilt
    starts_period: bool
    hole: GapReason | None = None  #: why no track has anything right before it; None: some have
    inner: GapReason | None = None  #: why it may have holes of its own

    def cut(self, begin: int, end: int) -> PlacedSamples:
        """A stretch of them."""
        return replace(self, track=cut(self.track, begin, end))
