"""Pictures that nothing before them lets a decoder read: after a loss, and where a period starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.track_cut import cut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.packaged_slice import PackagedRun, PackagedTrack, Samples


@dataclass(frozen=True)
class Undecodable:
    """Samples that are left out of a run, until it is known where it lies."""

    name: str
    begin: Fraction  #: clock seconds of the first
    count: int
    cause: str

    def dropped(self, at: Fraction) -> Dropped:
        """The same once it is known at which media time that would have been."""
        return Dropped(self.name, max(0.0, float(at)), self.count, self.cause)


@dataclass(frozen=True)
class Dropped:
    """Samples left out because nothing before them lets them be decoded."""

    track: str
    at: float  #: media seconds
    samples: int
    cause: str


class LeadingPictures:
    """Leaves out what comes before a key frame that it needs; over several runs, until one comes."""

    def __init__(self) -> None:
        self._awaiting: set[str] = set()  # tracks that wait for a key frame

    def decodable(
        self, run: PackagedRun, names: Mapping[int, str], *, opens: bool
    ) -> tuple[PackagedRun, list[Undecodable]]:
        """The run without samples that come before a key frame and refer to what is not there.

        They may go on over several runs of a period.
        """
        kept, left_out = [], []
        for track in run.tracks:
            name, samples = names[track.track], track.samples
            if opens or run.broken:
                self._awaiting.add(name)
            if name not in self._awaiting or not len(samples):
                kept.append(track)
                continue
            keys = np.flatnonzero(samples.sync)
            count = int(keys[0]) if len(keys) else len(samples)
            if len(keys):
                self._awaiting.discard(name)
                leading = 0 if run.starts_clean and not count else _leading(samples, count)
                kept += _without_leading(track, count, leading)
                if leading:
                    begin = Fraction(int(samples.pts[count + 1 :].min()), track.timescale)
                    cause = "they refer to pictures before their key frame, which are not there"
                    left_out.append(Undecodable(name, begin, leading, cause))
            if count:
                begin = Fraction(int(samples.pts[:count].min()), track.timescale)
                cause = "what they refer to is lost" if run.broken else "no key frame before them"
                left_out.append(Undecodable(name, begin, count, cause))
        return replace(run, tracks=tuple(kept)), left_out


def _leading(samples: Samples, key: int) -> int:
    """How many samples behind a key frame are shown before it: pictures of an open group."""
    behind = samples.pts[key + 1 :] >= samples.pts[key]
    return int(np.argmax(behind)) if behind.any() else len(behind)


def _without_leading(track: PackagedTrack, key: int, leading: int) -> list[PackagedTrack]:
    """A track from its key frame on, without the samples right behind it."""
    if not leading:
        return [cut(track, key, len(track.samples))]
    rest = cut(track, key + 1 + leading, len(track.samples))
    return [cut(track, key, key + 1), *([rest] if len(rest.samples) else [])]
