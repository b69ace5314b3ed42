"""The silence that a movie repeats: one small block per track, before all other payload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pipelines.errors import PermanentError

if TYPE_CHECKING:
    from pipelines.media import Codec
    from pipelines.packaged_slice import PackagedTrack
    from pipelines.silence import SilentSound


class SilenceSource(Protocol):
    """Makes silence; ``PermanentError`` for a configuration that no encoder makes."""

    def __call__(self, codec: Codec, sample_entry: bytes, timescale: int) -> SilentSound:
        """Silence like the sound that ``sample_entry`` describes."""


@dataclass(frozen=True, eq=False)
class SilentBlock:
    """A second of silence of one track, and where it lies."""

    offset: int  #: bytes from the start of slice 0's payload, before which it lies: negative
    sound: SilentSound

    def chunks(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Offsets (int64) and samples (int64) of the chunks that are ``count`` frames together:
        the block, over and over."""
        whole, rest = divmod(count, len(self.sound.sizes))
        counts = np.full(whole + bool(rest), len(self.sound.sizes), np.int64)
        if rest:
            counts[-1] = rest
        return np.full(len(counts), self.offset, np.int64), counts


class SilentBlocks:
    """Every block of a movie, each made when its track first needs one."""

    def __init__(self, source: SilenceSource) -> None:
        self._source = source
        self._blocks: dict[str, SilentBlock | None] = {}
        self._payload = b""

    def block(self, name: str, track: PackagedTrack) -> SilentBlock | None:
        """The block of the track of that name; None where no encoder makes silence like it."""
        if name not in self._blocks:
            self._blocks[name] = self._made(track)
        return self._blocks[name]

    @property
    def payload(self) -> bytes:
        """All blocks, as they lie before slice 0's payload."""
        return self._payload

    @property
    def placed(self) -> dict[str, SilentBlock]:
        """The blocks that were made, by track."""
        return {name: block for name, block in self._blocks.items() if block is not None}

    def _made(self, track: PackagedTrack) -> SilentBlock | None:
        try:
            sound = self._source(track.codec, track.sample_entry, track.timescale)
        except PermanentError:
            return None  # the hole stays open, and the report says so
        self._payload = sound.payload + self._payload
        return SilentBlock(-len(self._payload), sound)
