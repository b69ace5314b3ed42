"""What copying one slice takes of memory: known from the sizes of its segments, before they flow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pipelines.copied_runs import source_sizes
from pipelines.object_store import MIN_PART_BYTES
from pipelines.parts import UPLOADS, estimated_part_bytes
from pipelines.source import READ_AHEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.package import Packager
    from pipelines.slices import Slice

#: An ffmpeg that copies or encodes sound, measured: 40 MB for small segments, 75 MB at 40 Mbit/s.
FFMPEG_BYTES = 72 << 20
#: Tables of the samples, indexes of segments, and what allocators keep besides.
TABLE_BYTES = 24 << 20
#: Whole segments in memory besides those that are read ahead: the one that is fed, those beside it
#: that it is compared with, and one on its way through index and mending.
SEGMENTS_HELD = 4


@dataclass(frozen=True)
class SliceSizes:
    """Bytes of a slice's segments by media sequence, and the same of each window of sound."""

    segments: Mapping[int, int]
    sound: tuple[Mapping[int, int], ...]

    @classmethod
    def of(cls, work: Slice, packager: Packager) -> SliceSizes:
        """Ask the source; raises as ``measure`` does."""
        sound = tuple(source_sizes(window.work, packager) for window in work.sound)
        return cls(source_sizes(work, packager), sound)

    @cached_property
    def sound_bytes(self) -> int:
        """Bytes of all sound in playlists of its own."""
        return sum(sum(window.values()) for window in self.sound)

    @cached_property
    def total(self) -> int:
        """Bytes of all segments."""
        return sum(self.segments.values()) + self.sound_bytes


def copying_bytes(sizes: SliceSizes) -> int:
    """Bytes that copying a slice takes at most, ffmpeg included."""
    return FFMPEG_BYTES + reading_bytes(sizes) + written_bytes(sizes.total)


def reading_bytes(sizes: SliceSizes) -> int:
    """What reading a slice takes: read ahead, looked at, indexed; its own sound is held as a whole,
    for a moment twice."""
    windows = (sizes.segments, *sizes.sound)
    largest = max((size for window in windows for size in window.values()), default=0)
    ahead = max(READ_AHEAD_BYTES, largest)
    return TABLE_BYTES + ahead + SEGMENTS_HELD * largest + 2 * sizes.sound_bytes


def written_bytes(payload: int) -> int:
    """What a ``PartWriter`` of about so large a payload takes: parts that are uploaded, one that is
    held back and what follows it; of slice 0, the staged beginning as well."""
    return (UPLOADS + 1) * estimated_part_bytes(payload) + 3 * MIN_PART_BYTES
