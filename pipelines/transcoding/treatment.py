"""What becomes of one run of a slice in one rendition."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from pipelines.errors import AccountError
from pipelines.indexed_segment import IndexedSegment
from pipelines.interleaver import LaidIn
from pipelines.mp4.fragments import FragmentReader
from pipelines.transcoding.renumbering_reader import RenumberingReader
from pipelines.transcoding.sound_stretch import encoded_tracks
from pipelines.transcoding.spared_sound import spared_sound

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.fmp4_stream import Fmp4Segment
    from pipelines.mp4.hevc_sets import HevcRenumbering
    from pipelines.package import Packaged, Packager
    from pipelines.packaged_slice import PackagedRun
    from pipelines.slices import Slice
    from pipelines.transcoding.encoding import VideoEncoding
    from pipelines.transcoding.transcode import RenditionOutput

    FirstSegment = IndexedSegment | Fmp4Segment


def _as_made(run: PackagedRun) -> PackagedRun:
    return run


@dataclass(frozen=True, eq=False)
class Treatment:
    """How pictures and sound of a run are made into a rendition's."""

    video: VideoEncoding | None  #: None: the pictures are copied
    laid_in: LaidIn = field(default_factory=LaidIn)  #: sound that is laid between the pictures
    replaced: frozenset[int] = frozenset()  #: PIDs or track_IDs of sound whose place that takes
    renumbering: HevcRenumbering | None = None  #: of encoded HEVC
    finish: Callable[[PackagedRun], PackagedRun] = _as_made  #: applied to the finished tables

    def reader(self) -> FragmentReader:
        """What reads the movie that ffmpeg writes of the run."""
        return RenumberingReader(self.renumbering) if self.renumbering else FragmentReader()

    @property
    def copies(self) -> bool:
        """Whether all of the run's own media is copied."""
        return self.video is None and not self.replaced


class Treat(Protocol):
    """Decides what becomes of the run that begins with ``first``."""

    def __call__(self, out: RenditionOutput, first: FirstSegment, demuxed: LaidIn) -> Treatment:
        """Its treatment in one rendition; raises what keeps it from being made.

        ``demuxed`` is its sound that comes from playlists of its own.
        """

    def of(self, work: Slice) -> Treat:
        """The same for the slice without some of its segments, or for a part of it."""


@dataclass(frozen=True, eq=False)
class AsAsked:
    """Pictures as the rendition wants them, its sound copied, or taken from the encoded one."""

    sound: Packaged | None  #: of the slice, when a rendition ``encodes_audio``
    packager: Packager
    without_sound: bool = False  #: what is to be encoded is left out

    def __call__(self, out: RenditionOutput, first: FirstSegment, demuxed: LaidIn) -> Treatment:
        """As ``Treat``; raises ``AccountError`` when sound that was to be encoded is not there."""
        if not out.encodes_audio or not isinstance(first, IndexedSegment):
            return Treatment(out.video, demuxed)
        wanted = encoded_tracks(first.index.tracks)
        if not wanted:
            return Treatment(out.video, demuxed)
        if self.without_sound:
            return Treatment(out.video, demuxed, frozenset(wanted))
        place = first.segment.sequence, first.piece
        runs = self.sound.tables.runs if self.sound else ()
        run = next((r for r in runs if (r.first_sequence, r.piece) == place), None)
        if self.sound is None or run is None:
            message = f"no encoded sound from segment {first.segment.sequence} on"
            raise AccountError(message)
        tracks = tuple(track for track in run.tracks if track.track in wanted)
        laid_in = demuxed.together(LaidIn(tracks, self.sound.staged))
        return Treatment(out.video, laid_in, frozenset(wanted))

    def of(self, work: Slice) -> AsAsked:
        """As ``Treat``; of a segment beside the slice no sound is encoded."""
        if self.sound is None:
            return self
        if work.segments[:1] == (work.beside,):
            return replace(self, without_sound=True)
        return replace(self, sound=spared_sound(self.sound, work, self.packager))
