"""Equal parts, for stores that want all parts of an upload but the last to have one size."""

import re
import threading
from collections import defaultdict

import pytest

from pipelines import part_scheme
from pipelines.errors import ToolError
from pipelines.mp4.movie_reader import top_level_boxes
from pipelines.session import Phase
from scripts.s3_access import s3_client
from scripts.s3_proxy import Refusal, S3Proxy
from tests.by_hand import ID
from tests.framehash import packets
from tests.packaging import Finalizer
from tests.second_reader import assert_progressive, assert_same_packets, read

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

MEBIBYTE = 1 << 20
#: Noise that barely compresses, more of it from the third second on: slices of two seconds need
#: more than 10 MiB, then more than 15.
NOISE = {
    "duration": 6.5, "size": "640x360", "b_frames": 2,
    "filters": "noise=alls=60:allf=t,noise=alls=100:allf=t:enable=gte(t\\,2)",
    "encoder_options": ("-qp", "20"),
}  # fmt: skip


class EqualParts:
    """The rule of a store that completes no upload whose parts differ in size, but for the last."""

    def __init__(self):
        self.sizes = defaultdict(dict)
        self.completed = []
        self.refused = 0
        self.lock = threading.Lock()

    def __call__(self, request):
        upload = request.query.get("uploadId")
        with self.lock:
            if request.operation == "UploadPart":
                self.sizes[upload][int(request.query["partNumber"])] = request.size
            if request.operation != "CompleteMultipartUpload":
                return None
            numbers = re.findall(rb"<PartNumber>(\d+)</PartNumber>", request.body)
            *sizes, last = (self.sizes[upload][int(number)] for number in numbers)
            if len({*sizes}) > 1 or last > max(sizes, default=last):
                self.refused += 1
                return Refusal(400, "InvalidPart")
            self.completed.append([*sizes, last])
            return None


@pytest.fixture
def rule():
    return EqualParts()


@pytest.fixture
def proxy(s3_server, rule, monkeypatch):
    with S3Proxy(s3_server.port, rule=rule) as proxy:
        yield proxy


@pytest.fixture
def strict(recorded, proxy, monkeypatch):
    """As ``recorded``, before a store that wants equal parts."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    return recorded


def finalized(worker):
    """Finalize by hand; the object's key."""
    worker.finalize()
    record = worker.record()
    assert record.phase is Phase.READY, record.error
    return f"{ID}/r{record.revision}/source.mp4"


def downloaded(s3, key, folder):
    path = folder / key.replace("/", "-")
    s3.download_file("vod", key, str(path))
    return path


def all_packets(tools, path):
    return [packets(tools, path, stream) for stream in ("v:0", "a:0")]


def test_all_parts_are_equal_and_nothing_else_differs(
    strict, rule, media, finalizer, media_tools, mp4box, s3, tmp_path
):
    one = strict(recording=NOISE, uniform_parts=True, verify="full")
    key = finalized(one)
    ((*sizes, _),) = rule.completed
    assert {*sizes} == {5 * MEBIBYTE}
    assert rule.refused == 0
    path = downloaded(s3, key, tmp_path)
    names = [box.name for box in top_level_boxes(path.read_bytes())]
    assert names == ["ftyp", "moov", "free", "mdat"]
    plain = finalizer(slice_seconds=2.0)
    plain.finalize(media.recording(**NOISE))
    other = plain.download(tmp_path / "plain.mp4")
    assert all_packets(media_tools, path) == all_packets(media_tools, other)
    file = read(mp4box, path)
    assert_progressive(file)
    for track, found in zip(file.tracks, all_packets(media_tools, path), strict=True):
        assert_same_packets(track, found)


def test_slices_that_outgrow_the_parts_are_uploaded_anew_in_larger_ones(
    strict, rule, finalizer, media, media_tools, s3, tmp_path, monkeypatch
):
    # The numbers suffice for three parts of 5 MiB each: enough for the first slice alone.
    monkeypatch.setattr(part_scheme, "HEADROOM", 0.7)
    monkeypatch.setattr(part_scheme, "LAST_PART", 135)
    one = strict(recording=NOISE, uniform_parts=True)
    key = finalized(one)
    events = [each["action"] for each in one.runtime.sessions.events(ID)]
    assert events.count("parts_grown") == 1
    packaged = [
        e["slice"] for e in one.runtime.sessions.events(ID) if e["action"] == "slice_packaged"
    ]
    assert sorted(packaged) == [0, 0, 1, 2, 3]
    ((*sizes, _),) = rule.completed
    assert {*sizes} == {10 * MEBIBYTE}
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="vod", Prefix=key)
    plain = finalizer(slice_seconds=2.0)
    plain.finalize(media.recording(**NOISE))
    other = plain.download(tmp_path / "plain.mp4")
    ours = all_packets(media_tools, downloaded(s3, key, tmp_path))
    assert ours == all_packets(media_tools, other)


def test_a_small_recording_is_one_write(strict, rule, proxy):
    finalized(strict(uniform_parts=True))
    assert rule.completed == []
    assert "CreateMultipartUpload" not in proxy.traffic().requests


def test_the_store_refuses_parts_that_differ(proxy, rule, s3_server, media, media_tools):
    one = Finalizer(s3_client(proxy.endpoint, s3_server.credentials, 30), media_tools)
    one.package(one.playlist(media.recording(**NOISE)))
    with pytest.raises(ToolError, match="refused the parts"):
        one.assemble()
    assert rule.refused == 1
