"""The store's side: parts, lost answers, other runs' uploads, and nothing left behind."""

import dataclasses

import boto3
import pytest
from botocore.config import Config

from pipelines import assemble as assembly
from pipelines.assemble import MP4, NONCE, OpenUpload, SlicesChanged, UploadLost
from pipelines.errors import InterruptedWork, ToolError, TransientError
from pipelines.mpegts.index import absent
from pipelines.object_store import ObjectStore
from pipelines.package import Packaged, Packager, package_slice
from pipelines.parts import PartUpload
from pipelines.segment_pieces import HEAD_BYTES
from pipelines.slices import cut
from pipelines.source import SourceReader
from pipelines.staging import SliceLost
from pipelines.store_errors import ObjectMissing
from tests.packaging import Finalizer, never_cancelled

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

#: Noise that barely compresses: two seconds need more than 10 MiB, the last one less.
NOISE = {
    "duration": 4.5, "size": "640x360", "b_frames": 2,
    "encoder_options": ("-vf", "noise=alls=90:allf=t", "-qp", "22"),
}  # fmt: skip


@pytest.fixture
def packaged(media, finalizer):
    """A finalizer after packaging: two slices in uploaded parts, one staged."""
    one = finalizer(slice_seconds=2.0)
    one.package(one.playlist(media.recording(**NOISE)))
    assert [bool(receipt.payload.parts) for receipt in one.receipts] == [True, True, False]
    return one


@pytest.fixture
def opened(media, finalizer):
    """A finalizer after packaging a small recording whose upload was opened before: what becomes of
    an upload does not depend on how much is in it."""
    one = finalizer(slice_seconds=1.0)
    one.upload.open()
    one.package(one.playlist(media.recording()))
    return one


class LosingAnswers(ObjectStore):
    """A store whose answer to `complete` is lost on the way, after the work was done."""

    def complete_upload(self, location, upload_id, parts):
        super().complete_upload(location, upload_id, parts)
        raise TransientError("the connection broke")


class CountingStore(ObjectStore):
    """A store that counts the bytes that are read of it, by several threads."""

    def __init__(self, client):
        super().__init__(client)
        self.lengths = []

    def read(self, location, *, start=0, length=None):
        data = super().read(location, start=start, length=length)
        self.lengths.append(len(data))
        return data


def open_uploads(one):
    return one.store.open_uploads(one.output)


def exists(one):
    try:
        one.store.head(one.output)
    except ObjectMissing:
        return False
    return True


def test_parts_become_one_proven_object(packaged):
    made = packaged.assemble()
    proof = packaged.verify(made)
    assert proof.bytes_read > 25 << 20
    assert proof.checksum == made.checksum
    assert made.checksum.endswith(f"-{len(made.parts)}")
    assert open_uploads(packaged) == ()


def test_one_slice_gives_the_same_samples_as_many(packaged, media, finalizer):
    whole, proof = finalizer().finalize(media.recording(**NOISE))
    made = packaged.assemble()
    assert packaged.verify(made).tracks == proof.tracks
    assert made.size - len(made.header) == whole.size - len(whole.header)


def test_of_the_segment_behind_a_slice_only_the_beginning_is_read(media, finalizer):
    """Also where its pictures are so large that no sound is among its first bytes."""
    one = finalizer(slice_seconds=2.0)
    playlist = one.playlist(media.recording(**NOISE))
    first, following, _ = one.slices(playlist)
    store = CountingStore(one.client)
    one.reader = SourceReader(store)
    assert absent(one.reader.read(following.segments[0].location)[:HEAD_BYTES], {0x100, 0x101})
    store.lengths.clear()
    one.stage(package_slice(first, one.packager, one.upload, never_cancelled))
    own = sum(one.store.head(segment.location).size for segment in first.segments)
    assert own < sum(store.lengths) < own + (1 << 20)


def test_parts_that_another_worker_overwrote_never_get_into_the_object(
    packaged, media, finalizer, tmp_path
):
    """This store keeps both uploads of a number, and takes the one that is asked for."""
    for receipt in packaged.receipts[:2]:
        part = receipt.payload.parts[-1]
        packaged.upload.upload_part(part.number, bytearray(part.size))
    packaged.verify(packaged.assemble())
    undisturbed = finalizer(slice_seconds=2.0)
    undisturbed.finalize(media.recording(**NOISE))
    files = [one.download(tmp_path / one.name).read_bytes() for one in (packaged, undisturbed)]
    assert files[0] == files[1]


def test_a_part_that_is_not_there_names_its_slice(packaged):
    receipt = packaged.receipts[1]
    parts = tuple(dataclasses.replace(part, etag='"0"') for part in receipt.payload.parts)
    tables = dataclasses.replace(packaged.staging.tables(receipt), parts=parts)
    staged = Packaged(tables, packaged.staging.payload(receipt))
    packaged.receipts[1] = packaged.staging.write(1, packaged.rendition, "changed", staged)
    with pytest.raises(SlicesChanged) as caught:
        packaged.assemble()
    assert caught.value.numbers == (1,)
    assert not exists(packaged)


def test_an_aborted_upload_is_lost(opened):
    opened.store.abort_upload(opened.output, opened.upload.opened.upload_id)
    with pytest.raises(UploadLost):
        opened.assemble()
    assert not exists(opened)


@pytest.mark.parametrize("what", ["tables", "payload"])
def test_a_lost_staged_result_names_its_slice(opened, what):
    last = opened.receipts[-1]
    [found] = [
        each
        for each in opened.store.list(opened.staging._folder)
        if each.key.endswith(f"{last.name}.{what}")
    ]
    opened.store.delete([found])
    with pytest.raises(SliceLost) as caught:
        opened.assemble()
    assert caught.value.number == last.number


def test_a_lost_answer_of_complete_is_recognized(opened):
    opened.store = LosingAnswers(opened.client)
    opened.verify(opened.assemble())
    assert open_uploads(opened) == ()


def test_assembling_again_finds_the_finished_object(opened):
    first = opened.assemble()
    again = opened.assemble()
    assert (again.header, again.etag, again.size) == (first.header, first.etag, first.size)
    assert opened.verify(again).checksum == first.checksum


def test_the_object_of_another_run_is_not_taken_for_ours(opened):
    opened.store.write(opened.output, b"older", MP4, {NONCE: "another"})
    opened.verify(opened.assemble())


def test_an_outage_before_complete_is_an_outage(opened):
    class Failing(ObjectStore):
        def complete_upload(self, location, upload_id, parts):
            raise TransientError("no answer")

    opened.store = Failing(opened.client)
    with pytest.raises(TransientError):
        opened.assemble()
    assert not exists(opened)


def test_uploads_of_other_runs_are_aborted(opened):
    others = {opened.store.create_upload(opened.output, MP4, {}) for _ in range(2)}
    assert others < set(open_uploads(opened))
    opened.assemble()
    assert open_uploads(opened) == ()


def test_a_small_recording_opens_no_upload_and_staging_is_emptied(media, finalizer):
    one = finalizer(slice_seconds=1.0)
    one.finalize(media.recording())
    assert one.upload.opened is None
    assert one.store.list(one.staging._folder) != []
    one.staging.remove()
    assert one.store.list(one.staging._folder) == []
    assert exists(one)


def test_a_small_recording_whose_upload_was_opened_before_uses_it(opened):
    opened.verify(opened.assemble())
    assert open_uploads(opened) == ()


def test_two_runs_are_equal_bit_by_bit(media, finalizer, tmp_path):
    files = []
    for name in ("first", "second"):
        one = finalizer(slice_seconds=1.0)
        one.finalize(media.recording(b_frames=2))
        files.append(one.download(tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_a_cancelled_slice_stops(media, finalizer, media_tools):
    one = finalizer()
    work = cut(one.playlist(media.recording()), idle=True)[0]
    looks = iter(range(3))

    def cancelled():
        if next(looks, None) is None:
            raise InterruptedWork("the lease was lost")

    packager = Packager(one.reader, media_tools.ffmpeg, one.max_hole)
    with pytest.raises(InterruptedWork):
        package_slice(work, packager, one.upload, cancelled)


@pytest.mark.parametrize(
    ("recording", "waits"), [(NOISE, True), ({}, False)], ids=["in parts", "staged"]
)
def test_a_slice_begins_when_the_one_before_has_something_to_upload(
    media, finalizer, media_tools, recording, waits
):
    """One that is too small for parts neither waits nor is waited for."""
    one = finalizer()
    work = cut(one.playlist(media.recording(**recording)), idle=True)[0]
    packager = Packager(one.reader, media_tools.ffmpeg, one.max_hole)
    looks = []

    def looked():
        looks.append(True)
        raise InterruptedWork("the lease was lost")

    with packager.head_start.given(never_cancelled) as begun:
        if waits:
            with pytest.raises(InterruptedWork):
                package_slice(work, packager, one.upload, looked)
            assert open_uploads(one) == ()
            begun()
        package_slice(work, packager, Uploading(packager, one.upload), never_cancelled)


class Uploading(PartUpload):
    """Uploads nothing before another slice could begin."""

    def __init__(self, packager, upload):
        self._packager, self._upload = packager, upload

    def upload_part(self, number, body):
        with self._packager.head_start.given(interrupted):
            return self._upload.upload_part(number, body)


def interrupted():
    raise InterruptedWork("the lease was lost")


def test_a_store_where_the_last_upload_of_a_part_wins(moto_server, media, media_tools, monkeypatch):
    client = boto3.client(
        "s3",
        endpoint_url=moto_server,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )
    for bucket in ("recordings", "vod", "staging"):
        client.create_bucket(Bucket=bucket)
    one = Finalizer(client, media_tools, slice_seconds=2.0)
    slices = one.slices(one.playlist(media.recording(**NOISE)))
    for work in slices:
        one.stage(package_slice(work, one.packager, one.upload, never_cancelled))
    part = one.receipts[1].payload.parts[0]
    kept = assembly._check_parts

    def overtaken(*arguments):
        kept(*arguments)
        other = one.upload.upload_part(part.number, bytearray(part.size))
        assert dataclasses.replace(other, etag=part.etag, crc32=part.crc32) == part

    with monkeypatch.context() as patch:
        patch.setattr(assembly, "_check_parts", overtaken)
        with pytest.raises(ToolError, match="the store refused the parts"):
            one.assemble()
    assert not exists(one)
    with pytest.raises(SlicesChanged) as caught:
        one.assemble()
    assert caught.value.numbers == (1,)
    one.stage(package_slice(slices[1], one.packager, one.upload, never_cancelled))
    one.receipts[1] = one.receipts.pop()
    one.verify(one.assemble())
    assert open_uploads(one) == ()


def test_an_upload_is_known_by_its_nonce(opened, s3):
    made = opened.assemble()
    head = s3.head_object(Bucket=made.location.bucket, Key=made.location.key)
    upload: OpenUpload = opened.upload.opened
    assert head["Metadata"][NONCE] == upload.nonce
