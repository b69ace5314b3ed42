"""Faults are seeded into the packager itself: whatever it does wrong, nothing of it is committed."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines import assemble as assembly
from pipelines import copied_runs, demuxed_sound
from pipelines.cutter import SampleCutter
from pipelines.errors import ErrorCode, FinalizerError, ToolError
from pipelines.movie_tables import MovieTables
from pipelines.object_store import ObjectStore
from pipelines.package import Packaged
from pipelines.parts import PartWriter
from pipelines.playback import play
from pipelines.session import Phase
from pipelines.sound_hand_out import SoundHandOut
from pipelines.staging import SliceLost
from pipelines.transcoding import slice_attempt, sound_walk
from pipelines.transcoding.sound import encode_sound
from pipelines.transcoding.transcode import RenditionOutput, transcode_slice
from pipelines.verify import Thoroughness, Verification
from tests.demuxed import Sound, demuxed_recording
from tests.packager_faults import (
    change_picture,
    drop_fragment,
    drop_sample,
    repeat_fragment,
    spoil_once,
    swap_samples,
    swap_written,
    swapped,
    write_elsewhere,
    write_less,
)
from tests.packaging import never_cancelled, nobody, small_encoding
from tests.sample_tables import movie_of
from tests.stack import eventually
from worker.standing import Standing

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

#: Every frame of this sound has as many bytes as the others: swapped, they cannot be counted out.
EQUAL_FRAMES = {"audio": "mp3", "b_frames": 2}
#: Two seconds need more than 10 MiB, so that parts are uploaded; the last slice is staged.
NOISE = {
    "duration": 4.5, "size": "640x360", "b_frames": 2,
    "encoder_options": ("-vf", "noise=alls=90:allf=t", "-qp", "22"),
}  # fmt: skip


def finalize(one, path):
    """All of it, with the payload read back in samples only."""
    one.package(one.playlist(path))
    made = one.assemble()
    Verification(one.store, made, one.tools.ffmpeg, Thoroughness.SAMPLED, never_cancelled).prove()


def refused(one, path):
    """The refusal of a recording at any step."""
    with pytest.raises(FinalizerError) as caught:
        finalize(one, path)
    assert caught.value.code == ErrorCode.VERIFICATION_FAILED
    return caught.value.message


SEEDS = {
    "a-sample-dropped": (SampleCutter, "take", drop_sample),
    "a-fragment-dropped": (SampleCutter, "take", drop_fragment),
    "a-fragment-twice": (SampleCutter, "take", repeat_fragment),
    "equal-samples-swapped-in-a-fragment": (SampleCutter, "take", swap_samples),
    "a-byte-changed-in-a-picture": (SampleCutter, "take", change_picture),
    "bytes-swapped-behind-the-hash": (PartWriter, "write", swap_written),
    "a-wrong-offset": (PartWriter, "write", write_elsewhere),
    "payload-cut-short": (PartWriter, "write", write_less),
}


def test_without_a_fault_it_is_proven(media, finalizer):
    finalize(finalizer(), media.recording(**EQUAL_FRAMES))


@pytest.mark.parametrize(("where", "name", "spoil"), SEEDS.values(), ids=SEEDS.keys())
@pytest.mark.parametrize("container", ["ts", "fmp4"])
@pytest.mark.alike(2)
def test_a_fault_in_packaging_is_found(
    where, name, spoil, container, media, finalizer, monkeypatch
):
    path = media.recording(**EQUAL_FRAMES, container=container)
    calls = spoil_once(monkeypatch, where, name, spoil)
    refused(finalizer(), path)
    assert len(calls) >= 2


def lose_segment(monkeypatch, module, position):
    """Let a segment vanish once between the list and the packager, which is told of none."""
    kept, calls = module.read_ahead, []

    def without(reader, segments, *rest, **options):
        calls.append(segments)
        listed = list(segments)
        if len(calls) == 1:
            del listed[position]
        return kept(reader, listed, *rest, **options)

    monkeypatch.setattr(module, "read_ahead", without)


def refused_slice(make):
    with pytest.raises(ToolError, match="neither in a run nor told as lost") as caught:
        make()
    assert caught.value.code is ErrorCode.VERIFICATION_FAILED


@pytest.mark.parametrize("position", [1, -1], ids=["middle", "last"])
@pytest.mark.parametrize("container", ["ts", "fmp4"])
def test_a_segment_that_vanishes_in_packaging_is_found(
    position, container, media, finalizer, monkeypatch
):
    one = finalizer()
    listed = one.playlist(media.recording(**EQUAL_FRAMES, container=container))
    lose_segment(monkeypatch, copied_runs, position)
    refused_slice(lambda: one.package(listed))


def test_a_segment_that_vanishes_in_a_transcode_is_found(media, finalizer, monkeypatch):
    one = finalizer()
    [work] = one.slices(one.playlist(media.recording(**EQUAL_FRAMES)))
    out = RenditionOutput("small", small_encoding(), encodes_audio=False, upload=one.upload)
    lose_segment(monkeypatch, slice_attempt, -1)
    arguments = (work, one.packager, [out], None, never_cancelled, nobody)
    refused_slice(lambda: dict(transcode_slice(*arguments)))


def test_a_segment_that_vanishes_while_sound_is_encoded_is_found(media, finalizer, monkeypatch):
    one = finalizer()
    works = one.slices(one.playlist(media.recording(audio="ac3", video=None)))
    lose_segment(monkeypatch, sound_walk, -1)
    refused_slice(lambda: encode_sound(works, one.packager, lambda _: None, never_cancelled))


@pytest.fixture(scope="module")
def apart(media, tmp_path_factory):
    """A recording whose sound lies in a playlist of its own."""
    folder = tmp_path_factory.mktemp("apart")
    sound = Sound("English", "en", [media.recording(audio="mp3", video=None)], default=True)
    return demuxed_recording(folder, [media.recording(audio=None)], [sound])


def test_a_segment_of_sound_that_vanishes_is_found(apart, finalizer, monkeypatch):
    one = finalizer()
    listed = one.playlist(apart)
    lose_segment(monkeypatch, copied_runs, -1)
    refused_slice(lambda: one.package(listed))


def test_sound_that_is_swapped_in_memory_is_found(apart, finalizer, monkeypatch):
    kept = SoundHandOut.laid_in

    def exchanged(hand_out, start):
        laid_in = kept(hand_out, start)
        if not laid_in.tracks:
            return laid_in
        size = int(laid_in.tracks[0].samples.sizes[0])
        return replace(laid_in, payload=bytes(swapped(laid_in.payload, 0, size, size)))

    monkeypatch.setattr(SoundHandOut, "laid_in", exchanged)
    assert "bytes of payload are not" in refused(finalizer(), apart)


def test_a_run_of_sound_that_is_dropped_is_found(apart, finalizer, monkeypatch):
    kept = demuxed_sound._sound_run
    monkeypatch.setattr(demuxed_sound, "_sound_run", lambda *given: kept(*given) and None)
    assert "0 were handed out" in refused(finalizer(), apart)


def test_a_changed_byte_in_hevc_is_found(media, finalizer, monkeypatch):
    spoil_once(monkeypatch, SampleCutter, "take", change_picture)
    message = refused(finalizer(), media.recording(video="hevc", b_frames=2))
    assert "other bytes than its unit" in message


@pytest.mark.parametrize("position", [0, 1], ids=["pictures", "sound"])
@pytest.mark.parametrize("container", ["ts", "fmp4"])
def test_a_track_shifted_by_40_ms_in_packaging_is_found(
    position, container, media, finalizer, monkeypatch
):
    scales = {"ts": (90_000, 48_000), "fmp4": (15_360, 48_000)}[container]
    kept = SampleCutter.take

    def late(cutter, fragment):
        tracks = list(fragment.tracks)
        for at, track in enumerate(tracks):
            if track.track_id == position + 1:
                later = track.base_decode_time + scales[position] * 40 // 1000
                tracks[at] = replace(track, base_decode_time=later)
        kept(cutter, replace(fragment, tracks=tuple(tracks)))

    monkeypatch.setattr(SampleCutter, "take", late)
    refused(finalizer(), media.recording(**EQUAL_FRAMES, container=container))


def test_a_track_shifted_by_40_ms_in_assembly_is_found(media, finalizer, monkeypatch):
    kept = MovieTables.movie

    def shifted(tables):
        tracks = list(kept(tables).tracks)
        later = replace(tracks[1], edits=tuple(_later(edit) for edit in tracks[1].edits))
        return replace(kept(tables), tracks=(tracks[0], later))

    monkeypatch.setattr(MovieTables, "movie", shifted)
    assert "from its source time" in refused(finalizer(), media.recording(**EQUAL_FRAMES))


def _later(edit):
    """An edit that begins 40 ms of 48 kHz further into the media."""
    return replace(edit, media_time=edit.media_time + 1920) if edit.media_time >= 0 else edit


def test_a_parameter_set_of_something_else_is_found(media, finalizer, monkeypatch):
    kept = MovieTables.movie

    def other(tables):
        first, *others = kept(tables).tracks
        entry = bytearray(first.sample_entry)
        at = entry.index(b"avcC") + 4
        sps_length = int.from_bytes(entry[at + 6 : at + 8], "big")
        entry[at + 8 + sps_length - 1] ^= 4
        return replace(kept(tables), tracks=(replace(first, sample_entry=bytes(entry)), *others))

    monkeypatch.setattr(MovieTables, "movie", other)
    assert "tells a decoder something else" in refused(finalizer(), media.recording())


class NoisyStore:
    """A store in whose object, which begins with ``header``, one picture is noise."""

    def __init__(self, store, header, noise):
        track = movie_of(header).tracks[0]
        begin, size = int(track.offsets[10]), int(track.sizes[10])
        self._inside = range(begin + 12, begin + size)  # behind the start of its first NAL unit
        self._store = store
        self._noise = noise(len(self._inside))

    def read(self, location, *, start, length):
        data = bytearray(self._store.read(location, start=start, length=length))
        for at in range(max(start, self._inside.start), min(start + length, self._inside.stop)):
            data[at - start] = self._noise[at - self._inside.start]
        return bytes(data)


@pytest.fixture(scope="module")
def proven(media, finalizer):
    """A finalizer, and what it made."""
    one = finalizer()
    return one, one.finalize(media.recording(gop=30))[0]


def noisy(proven, noise=bytes):
    """The proof of a movie one of whose pictures is noise; its timescale, and the track of them."""
    one, made = proven
    store = NoisyStore(one.store, made.header, noise)
    check = Verification(store, made, one.tools.ffmpeg, Thoroughness.SAMPLED, never_cancelled)
    scale, tracks = check._parsed()
    return check, scale, *next(tracks)


@pytest.fixture
def played(proven):
    """Plays noise that was packaged: what encoder or source has made."""
    check, *_, track = noisy(proven)
    ffmpeg = proven[0].tools.ffmpeg

    def played(own):
        confirmed = []
        found = play(track, [0, 20], own, check._read, confirmed.append, ffmpeg, never_cancelled)
        return [*found], confirmed

    return played


def test_noise_in_what_was_encoded_is_found(played):
    with pytest.raises(ToolError, match="that were encoded") as caught:
        played(lambda begin, end: np.zeros(end - begin, np.bool_))
    assert caught.value.code is ErrorCode.VERIFICATION_FAILED


def test_noise_behind_what_was_encoded_is_the_sources_own(played):
    found, confirmed = played(lambda begin, end: np.arange(begin, end) >= 5)
    assert all(each.units < 3 for each in found)
    assert 10 in np.concatenate(confirmed)


@pytest.mark.parametrize(
    "noise", [bytes, np.random.default_rng(1).bytes], ids=["nothing", "random"]
)
def test_noise_in_what_was_copied_is_found(noise, proven):
    check, scale, name, track = noisy(proven, noise)
    with pytest.raises(ToolError, match="are not those that were packaged") as caught:
        [*check._play(name, track, scale, first=True)]
    assert caught.value.code is ErrorCode.VERIFICATION_FAILED


@pytest.fixture
def packaged(media, finalizer):
    """A finalizer after packaging three slices."""
    one = finalizer(slice_seconds=1.0)
    one.package(one.playlist(media.recording(**EQUAL_FRAMES)))
    assert len(one.receipts) == 3
    return one


def refused_assembly(one):
    with pytest.raises((FinalizerError, SliceLost)) as caught:
        one.verify(one.assemble())
    if isinstance(caught.value, FinalizerError):
        assert caught.value.code == ErrorCode.VERIFICATION_FAILED


@pytest.mark.parametrize("number", [0, 1])
def test_a_slice_left_out_is_found(number, packaged):
    """The last one is found by who knows what is listed: the worker, see below."""
    del packaged.receipts[number]
    refused_assembly(packaged)


def test_swapped_slices_are_found(packaged):
    packaged.receipts[1:] = reversed(packaged.receipts[1:])
    refused_assembly(packaged)


def test_tables_of_another_slice_are_found(packaged):
    first, other = packaged.receipts[1:]
    packaged.receipts[1] = replace(first, name=other.name)
    refused_assembly(packaged)


def test_tables_of_another_recording_are_found(packaged, media, finalizer):
    other = finalizer(slice_seconds=1.0)
    other.package(other.playlist(media.recording(**EQUAL_FRAMES, start=7.0, gop=30)))
    packaged.staging.write(1, packaged.rendition, "other", _repackaged(other, 1))
    packaged.receipts[1] = replace(packaged.receipts[1], name=f"1/{packaged.rendition}/1-other")
    refused_assembly(packaged)


def _repackaged(one, number):
    receipt = one.receipts[number]
    return Packaged(one.staging.tables(receipt), one.staging.payload(receipt))


@pytest.mark.parametrize("bytes_lost", [1, 100_000])
def test_a_truncated_object_is_found(packaged, bytes_lost, monkeypatch):
    kept = ObjectStore.create

    def cut_short(store, location, body, *rest):
        return kept(store, location, body[:-bytes_lost], *rest)

    monkeypatch.setattr(ObjectStore, "create", cut_short)
    refused_assembly(packaged)


def test_staged_bytes_that_were_swapped_are_found(packaged):
    receipt = packaged.receipts[1]
    location = packaged.staging._payload(receipt.name)
    data = packaged.store.read(location)
    packaged.store.write(location, bytes(swapped(data, 0, 1000, 100)), assembly.MP4)
    refused_assembly(packaged)


class LastUploadWins(ObjectStore):
    """A store that keeps one upload of a number, the last, and takes it whichever is asked for."""

    def __init__(self, client):
        super().__init__(client)
        self._last = {}

    def upload_part(self, location, upload_id, number, body):
        self._last[number] = super().upload_part(location, upload_id, number, body)
        return self._last[number]

    def complete_upload(self, location, upload_id, parts):
        last = [self._last[part.number] for part in parts]
        return super().complete_upload(location, upload_id, last)


def test_a_part_of_an_older_run_is_found(media, finalizer, monkeypatch):
    one = finalizer(slice_seconds=2.0)
    one.store = one.upload.store = LastUploadWins(one.client)
    one.package(one.playlist(media.recording(**NOISE)))
    part = one.receipts[1].payload.parts[0]
    kept = assembly._check_parts

    def overtaken(*arguments):
        kept(*arguments)
        older = np.random.default_rng(1).bytes(part.size)
        one.upload.upload_part(part.number, older)

    monkeypatch.setattr(assembly, "_check_parts", overtaken)
    made = one.assemble()
    with pytest.raises(ToolError, match="is not that of its parts") as caught:
        one.verify(made)
    assert caught.value.code is ErrorCode.VERIFICATION_FAILED


def test_a_session_whose_packager_swaps_samples_never_becomes_ready(recorded, monkeypatch):
    kept = SampleCutter.take
    monkeypatch.setattr(SampleCutter, "take", lambda *taken: swap_samples(kept, *taken))
    worker = recorded(recording={"duration": 4.0, **EQUAL_FRAMES}, slice_seconds=4)
    eventually(lambda: worker.finalize() or worker.record().phase is not Phase.FINALIZING)
    record = worker.record()
    assert record.phase is Phase.FAILED
    assert record.error.code == ErrorCode.VERIFICATION_FAILED
    assert record.session.mp4_url is None


def test_a_session_whose_last_slice_is_left_out_never_becomes_ready(recorded, monkeypatch):
    kept = Standing.receipts
    monkeypatch.setattr(Standing, "receipts", lambda *given: (kept(*given) or [])[:-1] or None)
    worker = recorded(recording={"duration": 4.0, "size": "160x90"})
    eventually(lambda: worker.finalize() or worker.record().phase is not Phase.FINALIZING)
    record = worker.record()
    assert record.phase is Phase.FAILED
    assert record.error.code == ErrorCode.VERIFICATION_FAILED
    assert "holds 1 of 2 listed segments" in record.error.message
