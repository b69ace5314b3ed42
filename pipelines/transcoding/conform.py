"""Conforming one slice: runs that differ from the rendition's main configuration are brought to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

from pipelines.demuxed_sound import demuxed_sound
from pipelines.errors import ErrorCode, ToolError
from pipelines.media import Codec, TrackKind
from pipelines.mp4.hevc_sets import HevcRenumbering
from pipelines.mp4.parameter_sets import free_sps_id
from pipelines.picture_format import entry_format
from pipelines.slice_memory import FFMPEG_BYTES, SliceSizes
from pipelines.transcoding.conformed_pictures import conformed_pictures, decode_delay
from pipelines.transcoding.filter_chain import STRETCH
from pipelines.transcoding.kit import DEINTERLACING, probe_kit
from pipelines.transcoding.laid_in_sound import Conformer
from pipelines.transcoding.slice_attempt import SOUND_BYTES, SPARE, SliceAttempt
from pipelines.transcoding.slice_progress import SliceProgress
from pipelines.transcoding.spared_sound import without_silenced
from pipelines.transcoding.transcode import hardware_encoders, telling_of
from pipelines.transcoding.transcode_memory import transcoding_bytes
from pipelines.transcoding.treatment import AsAsked, Treatment

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.interleaver import LaidIn
    from pipelines.package import Packaged, Packager
    from pipelines.packaged_slice import PackagedRun
    from pipelines.rendition_layout import OddRun, RenditionLayout, TrackLayout
    from pipelines.slices import Slice
    from pipelines.transcoding.encoding import VideoEncoding
    from pipelines.transcoding.transcode import RenditionOutput
    from pipelines.transcoding.treatment import FirstSegment, Treat

_VIDEO = "video"


def conform_slice(
    work: Slice,
    packager: Packager,
    layout: RenditionLayout,
    output: RenditionOutput,
    sound: Packaged | None,
    checkpoint: Callable[[], None],
    progress: Callable[[float], None],
) -> Packaged:
    """Package one slice once more, its odd runs conformed to ``layout``; the same runs as before.

    ``output.video`` None: a rendition that copies; only odd pictures are encoded. Otherwise all
    pictures are encoded with it. ``sound`` is the slice's encoded sound when the rendition
    ``encodes_audio``. Segments that ffmpeg fails over are given up (``spare_the_rest``). ``checkpoint``
    is called often and raises to cancel; ``progress`` is told the seconds of the slice's media that
    are done. Raises what ``package_slice`` raises; on every error the parts sent so far count for
    nothing.
    """
    work = without_silenced(work, sound)
    sizes = SliceSizes.of(work, packager)
    reaching: dict[tuple[int, int], bool] = {}
    done = SliceProgress(work.duration, 1, progress)
    with telling_of(work, [output]):
        conformer = Conformer(work, packager, layout, checkpoint)
        conformed = _Conformed(layout, packager.ffmpeg, AsAsked(sound, packager), conformer)
        encoding = conformed.encoding_of(work, output)
        # Sound is conformed by an ffmpeg of its own, one after the other.
        need = FFMPEG_BYTES + transcoding_bytes(sizes, work.duration, [encoding])
        with packager.memory.admitted(need, checkpoint):
            attempt = SliceAttempt(
                work,
                packager,
                [output],
                conformed,
                partial(conformed.made_bytes, work),
                checkpoint,
                lambda seconds: done.at(0, seconds),
                sizes.segments,
                reaching,
                demuxed_sound(work, packager, sizes.sound, checkpoint),
            )
            hardware = hardware_encoders([output])
            made = (attempt.judged() if hardware else attempt.spared())[output.name]
    progress(work.duration)
    return made


@dataclass(frozen=True, eq=False)
class _Conformed:
    """Treats odd runs as the layout wants them, all others as they were."""

    layout: RenditionLayout
    ffmpeg: str
    as_asked: AsAsked
    conformer: Conformer
    laid_in: dict[tuple[int, int], LaidIn] = field(default_factory=dict)  #: made so far, by run

    def __call__(self, out: RenditionOutput, first: FirstSegment, demuxed: LaidIn) -> Treatment:
        """As ``Treat``."""
        usual = self.as_asked(out, first, demuxed)
        run = self.layout.run_at(first.segment.sequence, first.piece)
        if run is None:
            return usual
        replaced = _odd_numbers(run, self.layout, TrackKind.AUDIO)
        treatment = Treatment(
            out.video,
            usual.laid_in.without(replaced).together(self._sound(run, demuxed)),
            usual.replaced | replaced,
        )
        if not _odd_numbers(run, self.layout, TrackKind.VIDEO):
            return treatment
        track = self.layout.track(_VIDEO)
        if out.video is not None:
            video = replace(out.video, timescale=track.timescale, matrix=track.matrix)
            finish = partial(_fitted, track=track, delay=Fraction(0))
            return replace(treatment, video=video, finish=finish)
        finish = partial(_fitted, track=track, delay=decode_delay(first))
        return replace(
            treatment, video=self._encoding(), renumbering=self._renumbering(), finish=finish
        )

    def of(self, work: Slice) -> Treat:
        """As ``Treat``."""
        as_asked, conformer = self.as_asked.of(work), self.conformer.of(work)
        return replace(self, as_asked=as_asked, conformer=conformer, laid_in={})

    def encoding_of(self, work: Slice, out: RenditionOutput) -> VideoEncoding | None:
        """How pictures of the slice are encoded; None: all of them are copied."""
        odd = self.layout.slices.get(work.number, ())
        if out.video is None and any(_VIDEO in run.odd for run in odd):
            return self._encoding()
        return out.video

    def made_bytes(self, work: Slice, out: RenditionOutput) -> int:
        """Bytes of the rendition's payload that are not copied out of the slice's segments."""
        sound = self.as_asked.sound
        made = len(sound.staged) if sound and out.encodes_audio else 0
        made += round(SOUND_BYTES * work.duration)
        encoding = self.encoding_of(work, out)
        if out.video is None and encoding is not None:
            made += round(SPARE * work.duration * encoding.bitrate / 8)
        return made

    def _sound(self, run: OddRun, demuxed: LaidIn) -> LaidIn:
        """What is laid into an odd run; a slice may have to be gone through twice."""
        place = run.sequence, run.piece
        if place not in self.laid_in:
            self.laid_in[place] = self.conformer.laid_in(run, demuxed)
        return self.laid_in[place]

    def _encoding(self) -> VideoEncoding:
        """How odd pictures are encoded among those that are copied."""
        track = self.layout.track(_VIDEO)
        if track.video is None:
            message = "the layout does not say how odd pictures are encoded"
            raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
        # Pictures that are not flagged as interlaced pass the deinterlacer untouched.
        video = replace(
            track.video,
            timescale=track.timescale,
            sample_aspect=_sample_aspect(track, track.video),
            deinterlace=probe_kit(self.ffmpeg).filters >= DEINTERLACING,
            matrix=track.matrix,
        )
        if track.codec is not Codec.H264:
            return video
        return replace(video, parameter_set_id=free_sps_id(track.sample_entry))

    def _renumbering(self) -> HevcRenumbering | None:
        """What x265, which cannot be told ids, needs to have done to its parameter sets."""
        track = self.layout.track(_VIDEO)
        return HevcRenumbering.beside(track.sample_entry) if track.codec is Codec.HEVC else None


def _sample_aspect(track: TrackLayout, video: VideoEncoding) -> Fraction:
    """Width by height of the main pictures' pixels: they are stored in another shape than shown.

    As their stream has it, unless the track is shown otherwise: its size is in whole pixels.
    """
    aspect = Fraction(track.width * video.height, max(1, track.height * video.width)) or Fraction(1)
    told = entry_format(track.sample_entry).sample_aspect
    if told and abs(told / aspect - 1) <= STRETCH:
        return told
    return aspect if abs(aspect - 1) > STRETCH else Fraction(1)


def _odd_numbers(run: OddRun, layout: RenditionLayout, kind: TrackKind) -> frozenset[int]:
    """PIDs or track_IDs of a run's tracks that are conformed."""
    return frozenset(
        number
        for number, name in run.names.items()
        if name in run.odd and layout.track(name).kind is kind
    )


def _fitted(run: PackagedRun, track: TrackLayout, delay: Fraction) -> PackagedRun:
    tracks = (
        conformed_pictures(each, track, delay) if each.kind is TrackKind.VIDEO else each
        for each in run.tracks
    )
    return replace(run, tracks=tuple(tracks))
