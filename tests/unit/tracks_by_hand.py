"""Packaged tracks, runs and slices made by hand, with sample entries that read as real ones."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from pipelines.loss import Loss, LossCause
from pipelines.media import Codec, TrackKind
from pipelines.mp4.samples import starts
from pipelines.packaged_slice import (
    Expectation,
    PackagedRun,
    PackagedSlice,
    PackagedTrack,
    Placement,
    Samples,
)
from pipelines.segment_index import TS_TIMESCALE, Container
from pipelines.silence import SilentSound
from tests.unit.mp4_by_hand import audio_entry, avcc, esds, visual_entry

VIDEO, AUDIO = 256, 257
PICTURES_PER_SECOND = 30
PICTURE = TS_TIMESCALE // PICTURES_PER_SECOND
RATE = 48_000
FRAME = 1024
SILENT_FRAMES = 47

VIDEO_ENTRY = visual_entry(avcc())
AUDIO_ENTRY = audio_entry(esds())


def picture_samples(first, count, *, keys=(0,), delay=0, size=100):
    """``count`` pictures from tick ``first`` (90 kHz) on, shown ``delay`` ticks later."""
    sync = np.zeros(count, np.bool_)
    sync[list(keys)] = True
    return Samples(
        first + PICTURE * np.arange(count, dtype=np.int64),
        np.full(count, delay, np.int32),
        np.full(count, size, np.uint32),
        sync,
        PICTURE,
    )


def sound_samples(dts, size=10):
    """Frames of sound at the given ticks of ``RATE``."""
    count = len(dts)
    return Samples(
        np.asarray(dts, np.int64),
        np.zeros(count, np.int32),
        np.full(count, size, np.uint32),
        np.ones(count, np.bool_),
        FRAME,
    )


def frames(first, count):
    """Ticks of ``count`` frames of sound that follow each other from ``first`` on."""
    return first + FRAME * np.arange(count, dtype=np.int64)


def placement(samples, offset=0, group=7):
    """Samples that lie one after the other from ``offset`` on, in groups of ``group``."""
    begins = np.arange(0, len(samples), group)
    counts = np.diff(begins, append=len(samples))
    offsets = offset + starts(samples.sizes.astype(np.int64))[begins]
    return Placement(offsets, counts.astype(np.uint32), np.zeros(len(begins), np.uint64))


def track(kind, samples, *, number=None, offset=0, entry=None, group=7, language="und"):
    """A track whose expectation is what its samples say."""
    video = kind is TrackKind.VIDEO
    timescale = TS_TIMESCALE if video else RATE
    return PackagedTrack(
        track=number or (VIDEO if video else AUDIO),
        codec=Codec.H264 if video else Codec.AAC,
        timescale=timescale,
        sample_entry=entry or (VIDEO_ENTRY if video else AUDIO_ENTRY),
        language=language,
        width=320 if video else 0,
        height=180 if video else 0,
        edit_start=None,
        samples=samples,
        placement=placement(samples, offset, group),
        expected=Expectation(timescale, samples.dts, samples.pts, samples.sync),
    )


def hashed(one, first=0, kinds=None):
    """A track whose units have hashes, as if they were number ``first`` and on of others that are
    all unlike each other, or of so many kinds."""
    numbers = first + np.arange(len(one.samples), dtype=np.uint64)
    hashes = 1 + (numbers if kinds is None else numbers % kinds)
    return replace(one, expected=replace(one.expected, hashes=hashes.astype(np.uint64)))


def silence(codec, sample_entry, timescale):
    """A second of silence, as if an encoder had made it."""
    return SilentSound(
        Fraction(FRAME * timescale, RATE),
        np.full(SILENT_FRAMES, 6, np.int64),
        bytes(6 * SILENT_FRAMES),
    )


def run_of(sequence, *tracks, container=Container.MPEGTS, tagged=False, **options):
    """A run that begins with segment ``sequence``; ``options`` are other fields of it."""
    return PackagedRun(container, tagged, True, sequence, tracks, **options)


def packaged(number, *tracks, losses=(), repairs=(), **options):
    """A slice of one run, or of those given as a list; ``options`` are fields of the run."""
    sequence = options.pop("sequence", number)
    given = tracks and isinstance(tracks[0], list)
    runs = tuple(tracks[0]) if given else (run_of(sequence, *tracks, **options),)
    size = sum(int(each.samples.sizes.sum()) for run in runs for each in run.tracks)
    return PackagedSlice(number, "", runs, size, size, (), size, 1, 2.0, losses, repairs)


def lost(sequence, seconds=2.0, *, whole=True, cause=LossCause.SEGMENT_MISSING, **options):
    """A listed segment that is not there, or not all of it."""
    seconds = seconds if whole else 0.0
    return Loss(
        sequence, f"s3://recordings/{sequence}.ts", cause, "gone", whole, seconds, **options
    )
