"""The access units of one elementary stream, before they are given times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pipelines.media import Codec, Configuration
    from pipelines.mpegts.packets import Flags, Offsets

#: Most access units of one track, and most NAL units, that are read of one segment.
UNIT_LIMIT = 1 << 20


@dataclass(frozen=True, eq=False)
class Units:
    """Where the units of a stream begin, and what they say about themselves.

    ``starts`` are the byte offsets at which units begin; ``stamped_at`` the offsets that decide
    which PES packet's time stamps they take. ``samples`` at ``sample_rate`` last one audio unit.
    ``sizes`` are the bytes that each unit has as a sample of MP4, ``UNKNOWN_SIZE`` where that
    cannot be told; ``carried`` those that the unit before the first one gets from this stream,
    ``UNKNOWN_SIZE`` too.
    """

    codec: Codec
    starts: Offsets
    stamped_at: Offsets
    sync: Flags
    sizes: Offsets
    carried: int = 0
    hashes: npt.NDArray[np.uint64] | None = None  #: of each unit as a sample of MP4, see
    #: ``UNKNOWN_HASH``; None: none is told
    optional: Offsets | None = None  #: bytes of ``sizes`` that a muxer may leave out; None: none
    padding: Offsets | None = None  #: zeros in ``sizes`` that a muxer may leave out; None: none
    second_fields: Flags | None = None  #: units that end the picture of the one before; None: none
    configuration: Configuration | None = None
    configuration_change: str | None = None
    unconfigured: int = 0  #: first pictures that come before their parameter sets
    starts_clean: bool = False
    ends_unfinished: bool = False
    samples: int = 0
    sample_rate: int = 0
    limited: bool = False  #: there were more than are read of one segment

    def __len__(self) -> int:
        return len(self.starts)


def no_units(codec: Codec) -> Units:
    """What a stream holds in which no unit begins."""
    nothing = np.empty(0, np.int64)
    return Units(codec, nothing, nothing, np.empty(0, np.bool_), nothing)


class ParameterSets:
    """Collects the parameter sets of a segment by name, and notices when one changes."""

    def __init__(self) -> None:
        self._sets: dict[str, bytes] = {}
        self._first: dict[str, int] = {}
        self.change: str | None = None

    def add(self, name: str, unit: bytes, number: int = 0) -> None:
        """Note one set as it was seen, in access unit ``number``."""
        self._first.setdefault(name[:3], number)
        if self._sets.setdefault(name, unit) != unit and self.change is None:
            self.change = f"parameter set {name} changed"

    def first(self, prefix: str) -> bytes | None:
        """The set of that kind with the lowest number."""
        return next((unit for name, unit in self.sorted() if name.startswith(prefix)), None)

    def before_all(self, kinds: tuple[str, ...], units: int) -> int:
        """How many of the ``units`` come before the first sets of all these kinds."""
        return max(self._first.get(kind, units) for kind in kinds)

    def sorted(self) -> tuple[tuple[str, bytes], ...]:
        """All sets by name, each as it was first seen."""
        return tuple(sorted(self._sets.items()))
