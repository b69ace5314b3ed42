"""A run of one audio playlist: its sound in memory, numbered apart from that of all others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.segment_index import Container
from pipelines.sound_track import begin_of, end_of

if TYPE_CHECKING:
    from fractions import Fraction

    from pipelines.packaged_slice import PackagedRun
    from pipelines.sound_track import SoundTrack
    from pipelines.sound_windows import SoundWindow

#: Tracks of sound that a playlist holds are numbered from here on, those of the next from twice it
#: on: PIDs and track_IDs are smaller.
TRACK_NUMBERS = 1 << 32


@dataclass(frozen=True, eq=False)
class SoundRun:
    """A run of one audio playlist: sound of one clock and one configuration."""

    window: SoundWindow
    discontinuity: int  #: discontinuity sequence of the segment that it begins with
    run: PackagedRun
    tracks: tuple[SoundTrack, ...]

    @property
    def wraps(self) -> bool:
        """Whether its clock is MPEG-TS's, which comes round."""
        return self.run.container is Container.MPEGTS

    @property
    def begin(self) -> Fraction:
        """Seconds of its clock at which it is first heard."""
        return min(begin_of(each.track) for each in self.tracks)

    @property
    def end(self) -> Fraction:
        """Seconds of its clock at which it is last heard."""
        return max(end_of(each.track) for each in self.tracks)

    def moved(self, by: Fraction) -> SoundRun:
        """The same run in another round of the clock."""
        return replace(self, tracks=tuple(each.moved(by) for each in self.tracks)) if by else self


def is_own(run: PackagedRun) -> bool:
    """Whether a run has media of the variant's own playlist, not sound of another one alone."""
    return any(track.track < TRACK_NUMBERS for track in run.tracks)


def track_number(window: SoundWindow, number: int) -> int:
    """The number of a window's track, a PID or track_ID, among those of all playlists."""
    return TRACK_NUMBERS * (window.position + 1) + number
