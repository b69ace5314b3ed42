"""The account of sound in playlists of its own: what the source has, against what was handed out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import AccountError
from pipelines.segment_index import NO_TIME, TS_TIMESCALE, TS_WRAP

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipelines.packaged_slice import Expectation

#: Ticks of 90 kHz by which a time may be off: a round of the clock is no whole number of ticks of
#: every timescale.
TOLERANCE_TICKS = 9


@dataclass(frozen=True, eq=False)
class SoundAccount:
    """What the index of the source's own bytes says of each track, by its number, run by run."""

    source: dict[int, list[Expectation]] = field(default_factory=dict)

    def note(self, number: int, expected: Expectation) -> None:
        """Add what the source has of a track in one more run."""
        self.source.setdefault(number, []).append(expected)

    def compare(self, handed: Iterable[tuple[int, Expectation]]) -> None:
        """Refuse what was handed out of the tracks unless it is each frame of the source once.

        Frames may have come into another order, and into another round of the clock; nothing else
        may become of them. Raises ``AccountError``.
        """
        found: dict[int, list[Expectation]] = {}
        for number, expected in handed:
            found.setdefault(number, []).append(expected)
        for number in self.source.keys() | found.keys():
            _compare(number, self.source.get(number, []), found.get(number, []))


def _compare(number: int, source: Sequence[Expectation], found: Sequence[Expectation]) -> None:
    due, given = sum(map(len, source)), sum(map(len, found))
    if due != given:
        raise _differs(number, f"{due} frames in the source, {given} were handed out")
    if not due:
        return
    zero = _pause(_times(source))
    due_times, due_rows = _sorted(source, zero)
    times, rows = _sorted(found, zero)
    if not np.array_equal(due_rows, rows):
        raise _differs(number, "frames of other bytes than the source's were handed out")
    off = float(np.abs(times - due_times).max())
    if off > TOLERANCE_TICKS:
        seconds = off / TS_TIMESCALE
        raise _differs(
            number, f"a frame was moved by {seconds * 1000:.3f} ms, no round of its clock"
        )


def _times(pieces: Sequence[Expectation]) -> np.ndarray:
    """When each frame is heard, ticks of 90 kHz (float64[n]); 0 where nothing tells."""
    times = [
        np.where(each.pts == NO_TIME, 0.0, each.pts * (TS_TIMESCALE / each.timescale))
        for each in pieces
    ]
    return np.concatenate(times)


def _pause(times: np.ndarray) -> float:
    """A time inside the longest pause of the clock's round: nothing is heard close to it."""
    heard = np.sort(times % TS_WRAP)
    pauses = np.diff(heard, append=heard[0] + TS_WRAP)
    longest = int(np.argmax(pauses))
    return float(heard[longest] + pauses[longest] / 2)


def _sorted(pieces: Sequence[Expectation], zero: float) -> tuple[np.ndarray, np.ndarray]:
    """Times within the round of the clock that begins at ``zero``, and hash and bytes of each frame
    (uint64[n, 2]), in an order that depends on nothing but those."""
    times = (_times(pieces) - zero) % TS_WRAP
    columns = (
        np.concatenate([_told(each.hashes, len(each)) for each in pieces]),
        np.concatenate([_told(each.sizes, len(each)) for each in pieces]),
    )
    order = np.lexsort((times, *columns))
    return times[order], np.stack(columns, axis=1)[order]


def _told(values: np.ndarray, count: int) -> np.ndarray:
    """A column of what is expected, uint64[n]; zeros where it is not told."""
    return values.astype(np.uint64) if len(values) else np.zeros(count, np.uint64)


def _differs(number: int, what: str) -> AccountError:
    message = f"sound {number:#x} of a playlist of its own: {what}"
    return AccountError(message)
