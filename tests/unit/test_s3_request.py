"""Requests are told by the names that S3 gives them; a link's pace is kept on the average."""

import pytest

from scripts.http_messages import Head
from scripts.s3_proxy import Pace
from scripts.s3_request import S3Request


def asked(line, *fields):
    return S3Request.of(Head(line, fields))


@pytest.mark.parametrize(
    ("line", "operation"),
    [
        ("PUT /vod/a/b.mp4?partNumber=7&uploadId=x HTTP/1.1", "UploadPart"),
        ("PUT /vod/a/b.mp4 HTTP/1.1", "PutObject"),
        ("GET /vod/a/b.mp4 HTTP/1.1", "GetObject"),
        ("HEAD /vod/a/b.mp4 HTTP/1.1", "HeadObject"),
        ("POST /vod/a/b.mp4?uploads HTTP/1.1", "CreateMultipartUpload"),
        ("POST /vod/a/b.mp4?uploadId=x HTTP/1.1", "CompleteMultipartUpload"),
        ("DELETE /vod/a/b.mp4?uploadId=x HTTP/1.1", "AbortMultipartUpload"),
        ("GET /vod/a/b.mp4?uploadId=x&part-number-marker=0 HTTP/1.1", "ListParts"),
        ("POST /vod?delete HTTP/1.1", "DeleteObjects"),
        ("GET /vod?uploads&prefix=a HTTP/1.1", "ListMultipartUploads"),
        ("GET /vod?list-type=2&prefix=a HTTP/1.1", "ListObjectsV2"),
        ("HEAD /vod HTTP/1.1", "HeadBucket"),
        ("PATCH /vod/a HTTP/1.1", "Other"),
    ],
)
def test_an_operation_has_the_name_that_s3_gives_it(line, operation):
    assert asked(line).operation == operation


def test_a_copy_is_told_from_a_write_by_its_source():
    source = ("x-amz-copy-source", "/recordings/a.ts")
    assert asked("PUT /vod/a.ts HTTP/1.1", source).operation == "CopyObject"
    assert asked("PUT /vod/a?partNumber=1 HTTP/1.1", source).operation == "UploadPartCopy"


def test_bucket_key_query_and_size_are_read():
    request = asked("PUT /vod/a/b%20c?partNumber=7&uploadId=x HTTP/1.1", ("content-length", "5"))
    assert (request.bucket, request.key, request.size) == ("vod", "a/b c", 5)
    assert request.query == {"partNumber": "7", "uploadId": "x"}


def test_a_link_without_a_rate_makes_nobody_wait():
    assert Pace(None).pause(1 << 30, 5.0) == 0.0


def test_a_pace_is_kept_on_the_average_although_sleeping_is_never_exact():
    pace = Pace(1000.0)
    now = 100.0
    for _ in range(50):
        now += pace.pause(100, now) + 0.003
    assert now - 100.0 == pytest.approx(5.0, abs=0.1)


def test_a_link_that_was_idle_saves_nothing_up():
    pace = Pace(1000.0)
    pace.pause(1000, 0.0)
    assert pace.pause(1000, 60.0) == pytest.approx(1.0, abs=0.06)
