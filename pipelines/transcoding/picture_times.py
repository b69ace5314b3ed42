"""When pictures are shown: which a decoder shows of a run, and whether the encoded ones are those."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import ErrorCode, ToolError
from pipelines.gap import TOLD
from pipelines.packaged_slice import Expectation, Samples
from pipelines.segment_index import NO_TIME, TS_TIMESCALE
from pipelines.stretches import SLOW
from pipelines.transcoding.filter_chain import PictureWindow, grid, video_timescale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.transcoding.encoding import VideoEncoding
    from pipelines.transcoding.picture_grid import PictureGrid

#: Ticks of 90 kHz by which a picture's time may differ from its source's.
TOLERANCE_TICKS = 2


class PictureLog:
    """The pictures that a decoder is fed, in that order; times in ticks of the source."""

    def __init__(self) -> None:
        self._pts: list[np.ndarray] = []
        self._sync: list[np.ndarray] = []

    def add(self, pts: np.ndarray, sync: np.ndarray) -> None:
        """Note pictures (int64[n], ``NO_TIME`` for those without a time; bool[n])."""
        self._pts.append(pts)
        self._sync.append(sync)

    @property
    def pts(self) -> np.ndarray:
        """Presentation times, int64[n]; a picture without one has that of the one before it."""
        pts = _joined(self._pts, np.int64)
        known = np.flatnonzero(pts != NO_TIME)
        if not len(known):
            return pts
        place = np.searchsorted(known, np.arange(len(pts)), side="right") - 1
        filled: np.ndarray = pts[known[np.maximum(place, 0)]]
        return filled

    @property
    def first_key(self) -> int | None:
        """When the first key frame is shown; None when there is none."""
        keys = np.flatnonzero(_joined(self._sync, np.bool_))
        return int(self.pts[keys[0]]) if len(keys) else None

    @property
    def latest(self) -> int | None:
        """When the picture that is shown last is shown; None when there is none."""
        pts = self.pts
        return int(pts.max()) if len(pts) else None

    def inside(self, window: PictureWindow) -> OwnPictures:
        """Those that are shown within the window, from the first key frame on.

        What comes before that refers to pictures that are not there. Of pictures with the same time
        only one can be right, as it happens with muxers of fragmented MP4.
        """
        pts, timed = self.pts, _joined(self._pts, np.int64) != NO_TIME
        bounds = [bound for bound in (window.first, self.first_key) if bound is not None]
        own = pts >= max(bounds, default=NO_TIME)
        if self.first_key is None:
            own[:] = False
        if window.end is not None:
            own &= pts < window.end
        times = np.unique(pts[own & timed])
        return OwnPictures(times, int(own.sum()) - len(times), window.end, window.anchor)


def _joined(pieces: Sequence[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(pieces) if pieces else np.zeros(0, kind)


@dataclass(frozen=True, eq=False)
class OwnPictures:
    """The pictures that a slice owns of a run; times in ticks of the source."""

    times: np.ndarray  #: int64[n], ascending, of those that have a time of their own
    untimed: int  #: how many have none: ffmpeg shows them between the others
    end: int | None  #: when the first picture behind them is shown; None when none follows
    anchor: int = 0  #: a time, anywhere, at which constant rates show a picture

    def __len__(self) -> int:
        return len(self.times) + self.untimed

    def moved(self, ticks: int) -> OwnPictures:
        """The same pictures on another clock."""
        end = None if self.end is None else self.end + ticks
        return OwnPictures(self.times + ticks, self.untimed, end, self.anchor + ticks)


def in_presentation_order(samples: Samples, last_duration: int, name: str) -> Samples:
    """The samples with decode times made anew: the n-th to be decoded, when the n-th is shown.

    Encoders begin to count before their first picture, as early as they reorder: slices would
    overlap. These times only go on from slice to slice, whatever the frame rate does; composition
    offsets may be negative. The last picture lasts ``last_duration`` ticks.

    Raises ``ToolError`` when two pictures have the same time, or when decoding could not begin
    with the picture that is shown first.
    """
    pts = samples.pts
    dts = np.sort(pts)
    if len(pts) and (not samples.sync[0] or pts[0] != dts[0]):
        message = f"{name}: the encoded pictures do not begin with a key frame"
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
    if (np.diff(dts) <= 0).any():
        message = f"{name}: two encoded pictures are shown at the same time"
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
    composition = (pts - dts).astype(np.int32)
    return Samples(dts, composition, samples.sizes, samples.sync, last_duration)


def usual_duration(pts: np.ndarray, nominal: int) -> int:
    """Ticks from one picture to the next, as most of them have it; ``pts`` in any order.

    ``nominal`` where there are too few to tell.
    """
    return int(np.median(np.diff(np.sort(pts)))) if len(pts) > 1 else nominal


def pauses(own: OwnPictures, timescale: int, shift: Fraction) -> tuple[tuple[float, float], ...]:
    """From when to when the source has no pictures although their number says that it should.

    In seconds of a clock that is ``shift`` seconds ahead; up to the next slice's first picture.
    """
    times = own.times if own.end is None else np.append(own.times, own.end)
    usual = usual_duration(own.times, 0)
    longest = max(TOLD * timescale, SLOW * usual)
    return tuple(
        (float(Fraction(begin + usual, timescale) + shift), float(Fraction(end, timescale) + shift))
        for begin, end in pairwise(times.tolist())
        if usual and end - begin - usual > longest
    )


def expectation(
    pts: np.ndarray,
    sync: np.ndarray,
    own: OwnPictures,
    encoding: VideoEncoding,
    source_timescale: int,
    name: str,
) -> Expectation:
    """What the source demands of encoded pictures that are shown at ``pts``, int64[n], in decode
    order, ticks of ``video_timescale``; the key flags are the encoder's own. Those on a grid are
    shown its ``phase`` later in truth.

    Raises ``ToolError`` (``verification_failed``) when they are not exactly the source's own
    pictures, or those of the constant rate's grid.
    """
    on_grid = grid(encoding, source_timescale, own.anchor)
    if on_grid:
        timescale, wanted, untimed = on_grid.timescale, _points(len(pts), own, on_grid), 0
    else:
        timescale, untimed = video_timescale(encoding, source_timescale), own.untimed
        wanted = scaled(own.times, source_timescale, timescale)
    if len(pts) != len(wanted) + untimed:
        message = f"{name}: {len(wanted) + untimed} pictures in the source, {len(pts)} encoded"
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
    order = np.argsort(pts, kind="stable")
    shown = _beside(pts[order], wanted, timescale, name) if untimed else wanted
    off = np.abs(pts[order] - shown)[shown != NO_TIME]
    if len(off) and int(off.max()) > _tolerance(timescale):
        seconds = int(off.max()) / timescale
        message = f"{name}: a picture is shown {seconds * 1000:.3f} ms away from its source time"
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
    expected = np.empty(len(pts), np.int64)
    expected[order] = shown
    return Expectation(timescale, np.sort(pts), expected, sync)


def scaled(times: np.ndarray, source: int, target: int) -> np.ndarray:
    """Times (int64[n]) in ``target`` ticks/s instead of ``source``, to the nearest tick.

    ``NO_TIME`` stays.
    """
    if source == target:
        return times
    # In parts: the product of a clock of 33 bits and a timescale may be more than 63 bits.
    whole, rest = np.divmod(np.where(times == NO_TIME, 0, times), source)
    moved = whole * target + (2 * rest * target + source) // (2 * source)
    return np.where(times == NO_TIME, NO_TIME, moved)


def _tolerance(timescale: int) -> int:
    return TOLERANCE_TICKS * timescale // TS_TIMESCALE


def _beside(pts: np.ndarray, wanted: np.ndarray, timescale: int, name: str) -> np.ndarray:
    """``wanted`` times beside the ascending ``pts`` they belong to, NO_TIME for all others."""
    shown = np.full(len(pts), NO_TIME, np.int64)
    if not len(wanted):
        return shown
    after = np.minimum(np.searchsorted(pts, wanted - _tolerance(timescale)), len(pts) - 1)
    shown[after] = wanted
    if int(np.sum(shown != NO_TIME)) != len(wanted):
        message = f"{name}: pictures of the source are missing among the encoded ones"
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
    return shown


def _points(count: int, own: OwnPictures, on_grid: PictureGrid) -> np.ndarray:
    """The grid's points that the pictures cover, in its ticks, without its phase.

    Where none follows, the last picture lasts for as long as ffmpeg takes it to: that decides
    whether it covers one time or a few, of ``count`` in all.
    """
    if not len(own.times):
        return own.times
    first, last = (on_grid.number(int(own.times[at])) for at in (0, -1))
    if own.end is not None:
        end = on_grid.number(own.end)
    else:
        usual = usual_duration(own.times, round(on_grid.source_timescale / on_grid.rate))
        behind = on_grid.number(int(own.times[-1]) + 2 * usual)
        end = min(max(first + count, last), behind + 1)
    points: np.ndarray = np.arange(first, end, dtype=np.int64) * on_grid.step
    return points
