"""Groups of neighbouring samples in the payload, by whose hashes it can be read back and compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.mp4.samples import starts
from pipelines.payload_hash import payload_hash

if TYPE_CHECKING:
    from pipelines.packaged_slice import PackagedTrack
    from pipelines.silent_blocks import SilentBlock


@dataclass(frozen=True, eq=False)
class PayloadGroups:
    """Neighbouring samples of one track in the payload, with the hash taken at packaging."""

    offsets: np.ndarray  #: int64[k], from the start of slice 0's payload; of silence: negative
    sizes: np.ndarray  #: int64[k], bytes
    hashes: np.ndarray  #: uint64[k], CRC-64/NVME

    @classmethod
    def of(cls, track: PackagedTrack, payload_offset: int) -> PayloadGroups:
        """Those of a packaged track, whose slice's payload starts at ``payload_offset``."""
        counts = track.placement.counts.astype(np.int64)
        sizes = np.add.reduceat(track.samples.sizes, starts(counts), dtype=np.int64)
        return cls(track.placement.offsets + payload_offset, sizes, track.placement.hashes)

    @classmethod
    def of_silence(cls, block: SilentBlock) -> PayloadGroups:
        """The one group of a block of silence."""
        data = block.sound.payload
        hashes = np.array([payload_hash(data)], np.uint64)
        return cls(np.array([block.offset]), np.array([len(data)]), hashes)
