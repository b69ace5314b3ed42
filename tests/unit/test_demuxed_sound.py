"""Sound in playlists of its own is handed out to the runs of pictures, each frame exactly once."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.copied_runs import RunStart
from pipelines.demuxed_sound import DemuxedSound
from pipelines.errors import ErrorCode, ToolError
from pipelines.interleaver import Interleaver, pieces_of
from pipelines.location import Location
from pipelines.media import TrackKind
from pipelines.packaged_slice import PackagedRun
from pipelines.payload_hash import payload_hash
from pipelines.playlist import Segment
from pipelines.segment_index import TS_WRAP, Container
from pipelines.slices import PeriodStart, Slice
from pipelines.sound_account import SoundAccount
from pipelines.sound_run import TRACK_NUMBERS, SoundRun
from pipelines.sound_track import SoundTrack, parted, regrouped
from pipelines.sound_windows import SoundWindow
from tests.unit.mp4_by_hand import audio_entry, esds
from tests.unit.tracks_by_hand import (
    FRAME,
    RATE,
    TS_TIMESCALE,
    frames,
    picture_samples,
    sound_samples,
    track,
)

FOLDER = Location.parse("https://host/rec/")
MAX_HOLE = Fraction(600)
#: A mono configuration.
OTHER = audio_entry(esds(b"\x11\x88"), channels=1)
SECOND = RATE // FRAME + 1  # frames


class Memory:
    """Where the runs' payload goes."""

    def __init__(self):
        self.data = bytearray()

    def write(self, data):
        self.data += data
        return len(self.data) - len(data)


def segments(count, tags=(), name="v", seconds=10.0):
    found, period = [], 0
    for at in range(count):
        period += at in tags
        place = FOLDER.child(f"{name}{at}.ts")
        found.append(
            Segment(at, place, seconds, discontinuity=at in tags, discontinuity_sequence=period)
        )
    return tuple(found)


def slice_of(listed, sound=()):
    return Slice(0, listed, (), None, PeriodStart((), 0.0), 0.0, True, sound)


def proven(made, bodies):
    """A track whose groups were hashed, its frames compared with the source's."""
    placed, hashes, first = made.placement, [], 0
    for count in placed.counts.tolist():
        hashes.append(payload_hash(b"".join(bodies[first : first + count])))
        first += count
    own = np.array([payload_hash(each) for each in bodies], np.uint64)
    sizes = made.samples.sizes.astype(np.int64)
    return replace(
        made,
        placement=replace(placed, hashes=np.array(hashes, np.uint64)),
        expected=replace(made.expected, sizes=sizes, hashes=own),
    )


class Sounds:
    """The sound of a slice, put together run by run; every frame has bytes of its own."""

    def __init__(self, pictures=1, tags=()):
        self.pictures = segments(pictures, tags)
        self.windows = {}
        self.runs = []
        self.held = bytearray()
        self.account = SoundAccount()

    def playlist(self, position=0, count=1, tags=()):
        listed = segments(count, tags, f"a{position}-")
        name = f"sound {position}"
        self.windows[position] = SoundWindow(name, "en", position == 0, position, slice_of(listed))
        return self

    def add(self, begin, count, *, at=0, position=0, entry=None, wraps=True):
        """A run of ``count`` frames from ``begin`` seconds on, in segment ``at``."""
        window = self.windows[position]
        samples = sound_samples(frames(round(begin * RATE), count))
        number = TRACK_NUMBERS * (position + 1) + 256
        made = track(TrackKind.AUDIO, samples, number=number, offset=len(self.held), entry=entry)
        first = len(self.held) // 10
        bodies = [f"{first + n:010}".encode() for n in range(count)]
        self.held += b"".join(bodies)
        made = proven(made, bodies)
        self.account.note(number, made.expected)
        container = Container.MPEGTS if wraps else Container.FMP4
        segment = window.work.segments[at]
        run = PackagedRun(container, segment.discontinuity, True, at, (made,))
        sound = regrouped(made, self.held)
        self.runs.append(SoundRun(window, segment.discontinuity_sequence, run, (sound,)))
        return self

    def demuxed(self):
        work = slice_of(self.pictures, tuple(self.windows.values()))
        runs = sorted(self.runs, key=lambda each: each.window.position)
        return DemuxedSound(work, tuple(runs), bytes(self.held), account=self.account)


def package(demuxed, pictures, *, wraps=True):
    """What comes of runs of pictures: (segment, first second, seconds) each; runs and payload."""
    memory, hand_out, made = Memory(), demuxed.hand_out(MAX_HOLE), []
    container = Container.MPEGTS if wraps else Container.FMP4
    for sequence, begin, seconds in pictures:
        segment = demuxed.work.segments[sequence]
        laid_in = hand_out.laid_in(RunStart(segment, Fraction(begin), wraps))
        interleaver = Interleaver(memory, pieces_of(laid_in.tracks, laid_in.payload))
        samples = picture_samples(round(begin * TS_TIMESCALE), max(1, round(seconds * 30)))
        video = track(TrackKind.VIDEO, samples)
        interleaver.write_until(float(begin + seconds))
        interleaver.write_until(float("inf"))
        sounds = [
            replace(each, placement=interleaver.placement(each.track)) for each in laid_in.tracks
        ]
        tracks = (video, *sounds)
        made.append(PackagedRun(container, segment.discontinuity, True, sequence, tracks))
    return hand_out.settled(made, memory), memory.data


def heard(run, payload, position=0):
    """Numbers of the frames of a run, and when they begin; checks hashes and expectation."""
    for each in run.tracks:
        if each.track // TRACK_NUMBERS == position + 1:
            break
    else:
        return [], []
    found, first = [], 0
    for offset, count, value in zip(
        each.placement.offsets.tolist(),
        each.placement.counts.tolist(),
        each.placement.hashes.tolist(),
        strict=True,
    ):
        size = int(each.samples.sizes[first : first + count].sum())
        data = bytes(payload[offset : offset + size])
        assert payload_hash(data) == value
        found += [int(data[n : n + 10]) for n in range(0, size, 10)]
        first += count
    assert first == len(each.samples) == len(each.expected)
    assert np.array_equal(each.samples.dts, each.expected.dts)
    assert (np.diff(each.samples.dts) > 0).all()
    return found, (each.samples.dts / RATE).tolist()


def test_sound_lies_with_its_pictures():
    demuxed = Sounds().playlist().add(100, 5 * SECOND).demuxed()
    [run], payload = package(demuxed, [(0, 100, 5)])
    numbers, times = heard(run, payload)
    assert numbers == list(range(5 * SECOND))
    assert times[0] == 100


def test_sound_that_goes_on_while_pictures_break_off_is_shared_out():
    demuxed = Sounds(3).playlist().add(100, 30 * SECOND).demuxed()
    [before, behind], payload = package(demuxed, [(0, 100, 10), (2, 120, 10)])
    first, earlier = heard(before, payload)
    second, later = heard(behind, payload)
    assert first + second == list(range(30 * SECOND))
    assert earlier[-1] < 120 <= later[0] < 120 + FRAME / RATE


def test_runs_of_one_sound_become_one_track():
    demuxed = Sounds().playlist(count=2).add(100, SECOND).add(105, SECOND, at=1).demuxed()
    [run], payload = package(demuxed, [(0, 100, 10)])
    numbers, times = heard(run, payload)
    assert numbers == list(range(2 * SECOND))
    assert times[SECOND] == 105


def test_another_configuration_is_a_run_of_its_own():
    sounds = Sounds().playlist(count=2).add(100, SECOND).add(105, SECOND, at=1, entry=OTHER)
    [run, alone], payload = package(sounds.demuxed(), [(0, 100, 10)])
    assert heard(run, payload)[0] == list(range(SECOND))
    assert heard(alone, payload)[0] == list(range(SECOND, 2 * SECOND))
    assert (alone.first_sequence, alone.piece) == (0, -1)


def test_tagged_periods_of_one_clock_are_kept_apart():
    """Both periods count from 0: only the tags tell which sound is whose."""
    sounds = Sounds(2, {1}).playlist(count=2, tags={1})
    demuxed = sounds.add(0, 9 * SECOND).add(0, 9 * SECOND, at=1).demuxed()
    runs, payload = package(demuxed, [(0, 0, 10), (1, 0, 10)])
    assert [heard(run, payload)[0][0] for run in runs] == [0, 9 * SECOND]


def test_sound_of_a_period_without_pictures_stands_alone():
    sounds = Sounds(3, {1, 2}).playlist(count=3, tags={1, 2}).playlist(1, count=3, tags={1, 2})
    for position in (0, 1):
        for at in range(3):
            sounds.add(50 * at, SECOND, at=at, position=position)
    runs, payload = package(sounds.demuxed(), [(0, 0, 1), (2, 100, 1)])
    assert [len(run.tracks) for run in runs] == [3, 2, 3]
    assert heard(runs[1], payload)[1][0] == heard(runs[1], payload, 1)[1][0] == 50
    assert (runs[1].tagged, runs[1].first_sequence, runs[1].piece) == (True, 2, -1)


def test_sound_in_another_round_of_the_clock_is_brought_near():
    wrap = TS_WRAP / TS_TIMESCALE
    demuxed = Sounds().playlist().add(1, SECOND).demuxed()
    [run], payload = package(demuxed, [(0, wrap + 1, 2)])
    assert heard(run, payload)[1][0] == pytest.approx(wrap + 1, abs=1e-4)


def test_fragmented_mp4_has_no_rounds():
    demuxed = Sounds().playlist().add(1, SECOND, wraps=False).demuxed()
    runs, _ = package(demuxed, [(0, round(TS_WRAP / TS_TIMESCALE), 2)], wraps=False)
    assert [len(run.tracks) for run in runs] == [1, 1]


def test_the_default_comes_before_sound_that_is_muxed():
    demuxed = Sounds().playlist().playlist(1).add(0, SECOND).add(0, SECOND, position=1).demuxed()
    hand_out, memory = demuxed.hand_out(MAX_HOLE), Memory()
    laid_in = hand_out.laid_in(RunStart(demuxed.work.segments[0], Fraction(0), True))
    muxed = track(TrackKind.AUDIO, sound_samples(frames(0, SECOND)))
    run = PackagedRun(Container.MPEGTS, False, True, 0, (muxed, *laid_in.tracks))
    [done] = hand_out.settled([run], memory)
    assert [each.track // TRACK_NUMBERS for each in done.tracks] == [1, 0, 2]


numbers_of_frames = st.integers(1, 3 * SECOND)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.integers(-20, 40), numbers_of_frames, st.booleans()), max_size=6),
    st.lists(st.tuples(st.integers(-20, 40), st.integers(1, 20), st.booleans()), max_size=5),
)
def test_every_frame_is_in_one_run_whatever_the_clocks_say(sound, pictures):
    """Steps of the clock forward, back and none, tags in either playlist or in both."""
    tags = {at for at, (*_, tagged) in enumerate(sound) if tagged and at}
    cuts = {at for at, (*_, tagged) in enumerate(pictures) if tagged and at}
    sounds = Sounds(max(1, len(pictures)), cuts).playlist(count=max(1, len(sound)), tags=tags)
    clock = 500
    for at, (jump, count, _) in enumerate(sound):
        clock += jump
        sounds.add(clock, count, at=at)
    clock, shown = 500, []
    for at, (jump, seconds, _) in enumerate(pictures):
        clock += jump
        shown.append((at, clock, seconds))
        clock += seconds
    runs, payload = package(sounds.demuxed(), shown)
    found = [number for run in runs for number in heard(run, payload)[0]]
    assert sorted(found) == list(range(sum(count for _, count, _ in sound)))
    assert len(payload) == 10 * len(found)
    assert len({(run.first_sequence, run.piece) for run in runs}) == len(runs)


def refused(spoil):
    """Why sound of two runs is refused, once ``spoil`` has changed what is handed out."""
    sounds = Sounds().playlist(count=2).add(100, 3 * SECOND).add(105, 2 * SECOND, at=1)
    with pytest.raises(ToolError) as caught:
        package(spoil(sounds.demuxed()), [(0, 100, 10)])
    assert caught.value.code is ErrorCode.VERIFICATION_FAILED
    return caught.value.message


def changed_tracks(demuxed, change):
    """The same with the track of each run changed."""
    runs = [replace(run, tracks=tuple(map(change, run.tracks))) for run in demuxed.runs]
    return replace(demuxed, runs=tuple(runs))


def test_a_run_of_sound_that_is_dropped_is_found():
    told = refused(lambda demuxed: replace(demuxed, runs=demuxed.runs[:-1]))
    assert "235 frames in the source, 141 were handed out" in told


def test_frames_that_are_dropped_with_their_expectation_are_found():
    def cut(sound, held):
        return parted(sound, len(sound.track.samples) - 2, held)[0]

    told = refused(lambda each: changed_tracks(each, lambda sound: cut(sound, each.payload)))
    assert "235 frames in the source, 231 were handed out" in told


def test_sound_that_is_moved_with_its_expectation_is_found():
    told = refused(lambda each: changed_tracks(each, lambda sound: sound.moved(Fraction(1, 25))))
    assert "moved by 40.000 ms" in told


def test_frames_of_other_bytes_are_found():
    """Expectation and bytes of neighbours exchanged alike: only the source knows better."""

    def exchanged(sound):
        expected = sound.track.expected
        hashes = expected.hashes[[1, 0, *range(2, len(expected))]]
        track = replace(sound.track, expected=replace(expected, hashes=hashes))
        return replace(sound, track=track)

    assert "moved by" in refused(lambda each: changed_tracks(each, exchanged))


@pytest.mark.parametrize("change", [regrouped, lambda track, held: parted_inside(track, held)])
def test_frames_that_change_in_memory_are_found(change):
    sounds = Sounds().playlist().add(100, SECOND)
    [sound] = sounds.runs[0].tracks
    held = bytearray(sounds.held)
    held[10:20], held[20:30] = held[20:30], held[10:20]
    with pytest.raises(ToolError, match="not what was packaged any more"):
        change(sound.track, held)


def parted_inside(track, held):
    """A track cut within its first group."""
    return parted(SoundTrack(track, track.placement.offsets), 5, bytes(held))
