"""Sound that is laid into an odd run: encoded anew to fit the rendition's tracks, or silent."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import ErrorCode, ToolError
from pipelines.interleaver import LaidIn
from pipelines.media import TrackKind
from pipelines.packaged_slice import TrackMade
from pipelines.silence import silent_sound
from pipelines.sound_run import TRACK_NUMBERS
from pipelines.sound_samples import SoundSamples, made_track, samples_of
from pipelines.transcoding.conformed_sound import conformed_sound
from pipelines.transcoding.run_sound import Sides, SliceSound

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.package import Packager
    from pipelines.packaged_slice import PackagedTrack
    from pipelines.rendition_layout import OddRun, RenditionLayout, TrackLayout
    from pipelines.slices import Slice
    from pipelines.transcoding.conformed_sound import Surroundings
    from pipelines.transcoding.run_sound import RunSound


class Conformer:
    """Makes sound of one slice fit a layout."""

    def __init__(
        self,
        work: Slice,
        packager: Packager,
        layout: RenditionLayout,
        checkpoint: Callable[[], None],
    ) -> None:
        self._work = work
        self._packager = packager
        self._layout = layout
        self._checkpoint = checkpoint

    def of(self, work: Slice) -> Conformer:
        """The same for the slice without some of its segments, or for a part of it."""
        return Conformer(work, self._packager, self._layout, self._checkpoint)

    def laid_in(self, odd: OddRun, demuxed: LaidIn) -> LaidIn:
        """The odd tracks of sound of a run, encoded, and silence for those that it lacks.

        ``demuxed`` is its sound that comes from playlists of its own. Encoded tracks keep their
        number; silent ones have -1, -2 … in the order of ``odd.absent``. Raises ``PermanentError``
        for a layout that no encoder fits, ``ToolError`` when ffmpeg fails or the run is not what
        the layout was decided for.
        """
        made = _Payload()
        for number, name in sorted(odd.names.items()):
            track = self._layout.track(name)
            if name not in odd.odd or track.kind is not TrackKind.AUDIO:
                continue
            if number >= TRACK_NUMBERS and not self._work.sound:
                continue  # the slice is tried without what lies in playlists of its own
            own, beside = self._source(odd, number, demuxed)
            frames = conformed_sound(own, beside, track, self._packager.ffmpeg, self._checkpoint)
            made.add(number, track, frames, TrackMade.ENCODED)
        for ordinal, name in enumerate(odd.absent, 1):
            track = self._layout.track(name)
            made.add(-ordinal, track, self._silence(track, odd), TrackMade.SILENCE)
        return made.laid_in()

    def _source(
        self, odd: OddRun, number: int, demuxed: LaidIn
    ) -> tuple[SoundSamples, Surroundings]:
        """The sound of a track as it is in the source, and what other slices own of it."""
        for track in demuxed.tracks:
            if track.track == number:
                own = samples_of(track, demuxed.payload)
                position, inside = divmod(number, TRACK_NUMBERS)
                return own, self._sides[position - 1].of(own, inside)
        run = self._run(odd)
        if number not in run.tracks:
            raise _unknown(odd, f"has no track {number:#x}")
        return run.tracks[number], self._sound.beside(run, number)

    @cached_property
    def _sound(self) -> SliceSound:
        return SliceSound(self._work, self._packager, self._checkpoint)

    @cached_property
    def _sides(self) -> dict[int, Sides]:
        """What lies beside the slice in each audio playlist, by its position."""
        return {
            window.position: Sides(window.work, self._packager, self._checkpoint)
            for window in self._work.sound
        }

    def _run(self, odd: OddRun) -> RunSound:
        run = self._sound.run(odd.sequence, odd.piece)
        if run is None:
            raise _unknown(odd, "is not among the slice's")
        return run

    def _silence(self, track: TrackLayout, odd: OddRun) -> SoundSamples:
        """Silent frames, on a grid of whole frames of the clock, for as long as the run lasts."""
        silent = silent_sound(
            track.codec,
            track.sample_entry,
            track.timescale,
            self._packager.ffmpeg,
            self._checkpoint,
        )
        ticks = silent.frame_ticks
        first, end = (
            math.ceil(at * track.timescale / ticks) for at in self._sound.unheard(self._run(odd))
        )
        numbers = np.arange(first, max(first, end), dtype=np.int64)
        repeats, rest = divmod(len(numbers), len(silent.sizes))
        part = silent.payload[: int(silent.sizes[:rest].sum())]
        return SoundSamples(
            track.timescale,
            track.sample_entry,
            numbers * ticks.numerator // ticks.denominator,
            silent.repeated_sizes(len(numbers)),
            round(ticks),
            silent.payload * repeats + part,
        )


class _Payload:
    """Tracks of one run, their frames in groups one behind the other."""

    def __init__(self) -> None:
        self._tracks: list[PackagedTrack] = []
        self._payload = bytearray()

    def add(self, number: int, track: TrackLayout, frames: SoundSamples, made: TrackMade) -> None:
        """Add a track; nothing when it has no frame."""
        if not len(frames):
            return
        offset = len(self._payload)
        self._tracks.append(made_track(frames, number, track.codec, track.language, made, offset))
        self._payload += frames.payload

    def laid_in(self) -> LaidIn:
        """All of them."""
        return LaidIn(tuple(self._tracks), bytes(self._payload))


def _unknown(odd: OddRun, what: str) -> ToolError:
    message = f"the run from segment {odd.sequence} on (piece {odd.piece}) {what}: plan it again"
    return ToolError(ErrorCode.VERIFICATION_FAILED, message)
