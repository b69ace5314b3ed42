"""Sound of one track in memory: its frames side by side, and the MP4 by which ffmpeg is fed it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import TrackKind
from pipelines.mp4.movie import Movie, MovieTrack, write_header
from pipelines.mp4.samples import run_lengths, starts
from pipelines.packaged_slice import Expectation, PackagedTrack, Placement, Samples
from pipelines.payload_hash import payload_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.media import Codec
    from pipelines.packaged_slice import TrackMade

#: Seconds of sound in one group of a payload, so that pictures can be put between them.
GROUP_SECONDS = 1


@dataclass(frozen=True, eq=False)
class SoundSamples:
    """Frames of sound in the order of time; ``payload`` holds their bytes one behind the other."""

    timescale: int
    sample_entry: bytes
    dts: np.ndarray  #: int64[n], ticks of a source's clock
    sizes: np.ndarray  #: int64[n], bytes
    frame: int  #: ticks that the last one lasts
    payload: bytes

    def __len__(self) -> int:
        return len(self.dts)

    @property
    def begin(self) -> Fraction:
        """Seconds of the clock at which the first frame begins."""
        return Fraction(int(self.dts[0]), self.timescale)

    @property
    def end(self) -> Fraction:
        """Seconds of the clock at which the last frame ends."""
        return Fraction(int(self.dts[-1]) + self.frame, self.timescale)

    def moved(self, ticks: int) -> SoundSamples:
        """The same sound later."""
        return SoundSamples(
            self.timescale,
            self.sample_entry,
            self.dts + ticks,
            self.sizes,
            self.frame,
            self.payload,
        )

    def part(self, first: int, end: int) -> SoundSamples:
        """The frames from number ``first`` to before ``end``."""
        ends = np.cumsum(self.sizes)
        bounds = np.concatenate(([0], ends))
        return SoundSamples(
            self.timescale,
            self.sample_entry,
            self.dts[first:end],
            self.sizes[first:end],
            self.frame,
            self.payload[int(bounds[first]) : int(bounds[end])],
        )


def samples_of(track: PackagedTrack, payload: bytes) -> SoundSamples:
    """The sound of a packaged track, gathered from where it lies in ``payload``."""
    sizes = track.samples.sizes.astype(np.int64)
    counts = track.placement.counts.astype(np.int64)
    grouped = np.add.reduceat(sizes, starts(counts)) if len(counts) else counts
    pieces = [
        payload[offset : offset + size]
        for offset, size in zip(track.placement.offsets.tolist(), grouped.tolist(), strict=True)
    ]
    return SoundSamples(
        track.timescale,
        track.sample_entry,
        track.samples.dts,
        sizes,
        track.samples.last_duration,
        b"".join(pieces),
    )


def joined(pieces: Sequence[SoundSamples]) -> SoundSamples:
    """Sound of one configuration and one clock, one piece behind the other."""
    first, last = pieces[0], pieces[-1]
    return SoundSamples(
        first.timescale,
        first.sample_entry,
        np.concatenate([each.dts for each in pieces]),
        np.concatenate([each.sizes for each in pieces]),
        last.frame,
        b"".join(each.payload for each in pieces),
    )


def placed(sound: SoundSamples, offset: int) -> Placement:
    """Where the frames lie in a payload that holds theirs from ``offset`` on, in groups of about a
    second, hashed; there must be some."""
    frames = max(1, GROUP_SECONDS * sound.timescale // max(1, sound.frame))
    begins = np.arange(0, len(sound), frames)
    sizes = np.add.reduceat(sound.sizes, begins)
    ends = np.cumsum(sizes)
    view = memoryview(sound.payload)
    hashes = [
        payload_hash(view[end - size : end])
        for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)
    ]
    counts = np.diff(np.append(begins, len(sound)))
    return Placement(offset + ends - sizes, counts.astype(np.uint32), np.array(hashes, np.uint64))


def made_track(
    sound: SoundSamples, number: int, codec: Codec, language: str, made: TrackMade, offset: int
) -> PackagedTrack:
    """A track of frames that were made, not copied, which a payload holds from ``offset`` on.

    What is expected of it are the frames themselves: there is nothing like them in the source.
    """
    count = len(sound)
    sync = np.ones(count, np.bool_)
    return PackagedTrack(
        track=number,
        codec=codec,
        timescale=sound.timescale,
        sample_entry=sound.sample_entry,
        language=language,
        width=0,
        height=0,
        edit_start=None,
        samples=Samples(
            sound.dts, np.zeros(count, np.int32), sound.sizes.astype(np.uint32), sync, sound.frame
        ),
        placement=placed(sound, offset),
        expected=Expectation(sound.timescale, sound.dts, sound.dts, sync, sound.sizes),
        made=made,
    )


def movie_header(sound: SoundSamples) -> bytes:
    """What must come before the payload to make it an MP4, whose time 0 is the first frame's.

    Raises ``Mp4Error`` for times that MP4 cannot tell.
    """
    durations = np.append(np.diff(sound.dts), sound.frame)
    counts, deltas = run_lengths(durations)
    track = MovieTrack(
        kind=TrackKind.AUDIO,
        timescale=sound.timescale,
        sample_entry=sound.sample_entry,
        language="und",
        enabled=True,
        width=0,
        height=0,
        duration=int(durations.sum()),
        time_counts=counts,
        time_deltas=deltas,
        composition_counts=None,
        composition_offsets=None,
        sync_samples=None,
        sizes=sound.sizes,
        chunk_offsets=np.zeros(1, np.int64),
        chunk_samples=np.array([len(sound)]),
        edits=(),
    )
    return write_header(Movie((track,), sound.timescale, None), len(sound.payload))
