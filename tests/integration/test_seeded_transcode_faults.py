"""Faults are seeded into transcodes, and into sound that was encoded: nothing of it is committed.

A byte that is changed inside what ffmpeg made, or frames of it that are exchanged, before anything
was hashed, are out of reach: there is nothing to compare with, and what they spoil may decode.
"""

from dataclasses import replace

import pytest

from pipelines.cutter import SampleCutter
from pipelines.errors import ErrorCode, FinalizerError
from pipelines.object_store import ObjectStore
from pipelines.package import Packaged
from pipelines.parts import PartWriter
from pipelines.staging import SliceLost
from pipelines.transcoding.sound import _EncodedStretch, encode_sound
from pipelines.transcoding.transcode import RenditionOutput, transcode_slice
from tests.packager_faults import (
    drop_fragment,
    drop_sample,
    repeat_fragment,
    spoil_once,
    swap_written,
    write_elsewhere,
    write_less,
)
from tests.packaging import Transcoder, never_cancelled, nobody, small_encoding

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

#: Two slices of pictures; and three of two segments with sound that browsers do not play.
PICTURES = {"duration": 2.0, "segment": 1.0, "gop": 30, "size": "160x90", "audio": None}
SOUND = {
    "segment": 1.0, "gop": 30, "size": "160x90", "encoder_options": ("-c:a", "mp2", "-b:a", "128k")
}  # fmt: skip


def later(take, reader, fragment):
    """Everything in a fragment comes 40 ms later."""
    ticks = {3000: 3600, 1024: 1920}[int(fragment.tracks[0].durations[0])]
    tracks = [
        replace(track, base_decode_time=track.base_decode_time + ticks) for track in fragment.tracks
    ]
    take(reader, replace(fragment, tracks=tuple(tracks)))


@pytest.fixture(scope="module")
def transcoder(s3, media_tools):
    """Makes one rendition of every recording."""
    return lambda: Transcoder(s3, media_tools, {"small": small_encoding()}, 1.0)


def refused(make):
    with pytest.raises((FinalizerError, SliceLost)) as caught:
        make()
    if isinstance(caught.value, FinalizerError):
        assert caught.value.code == ErrorCode.VERIFICATION_FAILED


SEEDS = {
    "a-sample-dropped": (SampleCutter, "take", drop_sample),
    "a-fragment-dropped": (SampleCutter, "take", drop_fragment),
    "a-fragment-twice": (SampleCutter, "take", repeat_fragment),
    "a-slice-40-ms-late": (SampleCutter, "take", later),
    "bytes-swapped-behind-the-hash": (PartWriter, "write", swap_written),
    "a-wrong-offset": (PartWriter, "write", write_elsewhere),
    "payload-cut-short": (PartWriter, "write", write_less),
}


@pytest.mark.parametrize(("where", "name", "spoil"), SEEDS.values(), ids=SEEDS.keys())
def test_a_fault_in_a_transcode_is_found(where, name, spoil, transcoder, media, monkeypatch):
    calls = spoil_once(monkeypatch, where, name, spoil)
    refused(lambda: transcoder().finalize(media.recording(**PICTURES)))
    assert len(calls) >= 2


@pytest.fixture(scope="module")
def transcoded(transcoder, media):
    """What a recording was transcoded to, in two slices, and proven."""
    one = transcoder()
    one.finalize(media.recording(**PICTURES))
    return one.renditions["small"]


@pytest.mark.parametrize(
    "changed",
    [
        lambda first, second: [second],
        lambda first, second: [second, first],
        lambda first, second: [first, replace(first, number=second.number)],
        lambda first, second: [first, replace(second, name=first.name)],
    ],
    ids=["left-out", "swapped", "the-first-again", "tables-of-the-first"],
)
def test_slices_of_a_transcode_that_are_not_these_are_found(changed, transcoded, monkeypatch):
    monkeypatch.setattr(transcoded, "receipts", changed(*transcoded.receipts))
    refused(lambda: transcoded.verify(transcoded.assemble()))


def test_a_transcode_that_is_cut_short_in_the_store_is_found(transcoded, monkeypatch):
    kept = ObjectStore.create
    monkeypatch.setattr(
        ObjectStore, "create", lambda *given: kept(*given[:2], given[2][:-1], *given[3:])
    )
    transcoded.client.delete_object(Bucket=transcoded.output.bucket, Key=transcoded.output.key)
    refused(lambda: transcoded.verify(transcoded.assemble()))


SOUND_SEEDS = {
    "a-frame-dropped": drop_sample,
    "a-fragment-dropped": drop_fragment,
    "a-fragment-twice": repeat_fragment,
    "40-ms-late": later,
}


@pytest.mark.parametrize("spoil", SOUND_SEEDS.values(), ids=SOUND_SEEDS.keys())
def test_a_fault_in_encoding_sound_is_found(spoil, media, finalizer, monkeypatch):
    one = finalizer(slice_seconds=2.0)
    works = one.slices(one.playlist(media.recording(**SOUND)))
    calls = spoil_once(monkeypatch, _EncodedStretch, "_add", spoil)
    refused(lambda: encode_sound(works, one.packager, lambda _: None, never_cancelled))
    assert len(calls) >= 2


@pytest.fixture(scope="module")
def sound(media, finalizer):
    """The slices of sound, a finalizer, and what each slice's sound was encoded to."""
    one, staged = finalizer(slice_seconds=2.0), []
    works = one.slices(one.playlist(media.recording(**SOUND)))
    encode_sound(works, one.packager, staged.append, never_cancelled)
    assert len(staged) == 3
    return one, works, staged


STAGED_SEEDS = {
    "exchanged": lambda first, second, third: [first, third, second],
    "of-another-payload": lambda first, second, third: [
        first, Packaged(second.tables, first.staged), third
    ],
    "cut-short": lambda first, second, third: [
        first, Packaged(second.tables, second.staged[:-1]), third
    ],
}  # fmt: skip


@pytest.mark.parametrize("spoil", STAGED_SEEDS.values(), ids=STAGED_SEEDS.keys())
def test_encoded_sound_that_is_not_that_of_its_slice_is_found(spoil, sound, monkeypatch):
    one, works, staged = sound
    monkeypatch.setattr(one, "receipts", [])
    out = RenditionOutput(one.rendition, None, True, one.upload)

    def make():
        for work, given in zip(works, spoil(*staged), strict=True):
            made = transcode_slice(work, one.packager, [out], given, never_cancelled, nobody)
            one.stage(dict(made)[one.rendition])
        one.verify(one.assemble())

    refused(make)
