"""Where a player may begin: the key frames that a movie lists, of those that the source marks."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

#: Seconds between two closed key frames up to which open ones are no entries: a player decodes so
#: much at most to show any picture.
FARTHEST = Fraction(20)


class EntryPoints:
    """Finds the key frames of open groups of H.264 while its samples are added in order.

    ISO/IEC 14496-15, 5.4.2, lists as sync samples those behind which nothing refers to what is
    before them; MPEG-TS, and ffmpeg, mark recovery points too, which pictures follow that are shown
    before them and refer back. Chromium ends with a decoding error when it is made to begin there.
    They stay entries where closed ones are farther apart than ``FARTHEST`` anywhere: a recording of
    hours that has one closed key frame could not be sought in by any player.
    """

    def __init__(self, timescale: int) -> None:
        self._farthest = int(FARTHEST * timescale)
        self._open: list[np.ndarray] = []
        self._count = 0
        self._last: tuple[int, int] | None = None  # the last key frame, and when it is shown
        self._last_opens = False
        self._closed: int | None = None  # when the last closed one is shown
        self._longest = 0
        self._end = 0

    def append(self, pts: np.ndarray, sync: np.ndarray) -> None:
        """Add samples in decode order: when they are shown, ticks, and whether they are keys."""
        if not len(pts):
            return
        keys = np.flatnonzero(sync)
        head = pts[: keys[0]] if len(keys) else pts
        if self._last is not None and len(head) and int(head.min()) < self._last[1]:
            self._last_opens = True
        self._end = max(self._end, int(pts.max()))
        if len(keys):
            self._settle_last()
            opens = np.minimum.reduceat(pts, keys) < pts[keys]
            self._settle(keys[:-1] + self._count, pts[keys[:-1]], opens[:-1])
            self._last = int(keys[-1]) + self._count, int(pts[keys[-1]])
            self._last_opens = bool(opens[-1])
        self._count += len(pts)

    def left_out(self) -> np.ndarray:
        """Numbers of the key frames that are no entries (int64[k]), once all samples are added."""
        self._settle_last()
        none = np.zeros(0, np.int64)
        if self._closed is None or self._end - self._closed > self._farthest:
            return none
        if self._longest > self._farthest:
            return none
        return np.concatenate([none, *self._open])

    def _settle_last(self) -> None:
        if self._last is not None:
            number, shown = np.array([self._last[0]]), np.array([self._last[1]])
            self._settle(number, shown, np.array([self._last_opens]))
        self._last, self._last_opens = None, False

    def _settle(self, numbers: np.ndarray, shown: np.ndarray, opens: np.ndarray) -> None:
        if opens.any():
            self._open.append(numbers[opens])
        closed = shown[~opens]
        if not len(closed):
            return
        before = closed[:1] if self._closed is None else np.array([self._closed])
        self._longest = max(self._longest, int(np.diff(np.append(before, closed)).max()))
        self._closed = int(closed[-1])
