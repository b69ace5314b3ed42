"""How far the transcoding of one slice has come, in seconds of its media, over all its batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class SliceProgress:
    """Tells ``told`` what is done of ``seconds``: each batch counts for the same share of them.

    It never goes back, though a batch may begin again, and never beyond ``seconds``.
    """

    seconds: float
    batches: int
    told: Callable[[float], None]
    _done: float = field(default=0.0, init=False)

    def at(self, batch: int, seconds: float) -> None:
        """Note how far into the slice a batch (counted from 0) has come."""
        inside = min(max(seconds, 0.0), self.seconds)
        done = (batch * self.seconds + inside) / self.batches
        if done > self._done:
            self._done = done
            self.told(done)
