"""The proxy before the store passes everything on as it is, and breaks what it is told to."""

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from scripts.s3_access import s3_client
from scripts.s3_proxy import Link, LostAnswer, LostRequest, Refusal, S3Proxy, Wait

pytestmark = pytest.mark.s3

PART = bytes(range(256)) * (6 << 12)


@pytest.fixture
def proxy(s3_server):
    with S3Proxy(s3_server.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy, s3_server):
    return s3_client(proxy.endpoint, s3_server.credentials, 30)


def upload(client, bucket, key, *parts):
    opened = client.create_multipart_upload(Bucket=bucket, Key=key)
    where = {"Bucket": bucket, "Key": key, "UploadId": opened["UploadId"]}
    sent = [
        {"PartNumber": n, "ETag": client.upload_part(**where, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate(parts, 1)
    ]
    client.complete_multipart_upload(**where, MultipartUpload={"Parts": sent})


def only(operation, fault):
    return lambda request: fault if request.operation == operation else None


def test_objects_of_all_sizes_pass_unchanged_and_are_counted(proxy, client, s3, bucket):
    upload(client, bucket, "large", PART, PART, b"end")
    client.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == PART + PART + b"end"
    assert client.get_object(Bucket=bucket, Key="large")["Body"].read() == PART + PART + b"end"
    ranged = client.get_object(Bucket=bucket, Key="large", Range="bytes=5-9")["Body"].read()
    assert ranged == PART[5:10]
    assert client.head_object(Bucket=bucket, Key="empty")["ContentLength"] == 0
    listed = client.list_objects_v2(Bucket=bucket)["Contents"]
    assert [each["Key"] for each in listed] == ["empty", "large"]
    client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "large"}, {"Key": "empty"}]})
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    traffic = proxy.traffic()
    assert traffic.requests == {
        "CreateMultipartUpload": 1, "UploadPart": 3, "CompleteMultipartUpload": 1, "PutObject": 1,
        "GetObject": 2, "HeadObject": 1, "ListObjectsV2": 1, "DeleteObjects": 1,
    }  # fmt: skip
    assert traffic.up >= 2 * len(PART)
    assert traffic.down >= 2 * len(PART)
    assert not traffic.faults


def test_what_the_store_refuses_is_passed_on(client, bucket):
    with pytest.raises(ClientError, match="NoSuchKey"):
        client.get_object(Bucket=bucket, Key="nothing")
    with pytest.raises(ClientError, match="404"):
        client.head_object(Bucket=bucket, Key="nothing")


def test_a_refusal_never_reaches_the_store_and_the_connection_goes_on(proxy, client, s3, bucket):
    proxy.rule = only("PutObject", Refusal(503, "SlowDown", retry_after=2))
    with pytest.raises(ClientError, match="SlowDown") as caught:
        client.put_object(Bucket=bucket, Key="a", Body=PART)
    headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["retry-after"] == "2"
    proxy.rule = lambda request: None
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)
    assert proxy.traffic().faults == {"Refusal": 1}


def test_a_lost_request_never_reaches_the_store(proxy, client, s3, bucket):
    proxy.rule = only("PutObject", LostRequest())
    with pytest.raises(BotoCoreError):
        client.put_object(Bucket=bucket, Key="a", Body=PART)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_an_answer_is_lost_after_the_work_was_done(proxy, client, s3, bucket):
    proxy.rule = only("CompleteMultipartUpload", LostAnswer())
    with pytest.raises(BotoCoreError):
        upload(client, bucket, "a", PART, b"end")
    assert s3.head_object(Bucket=bucket, Key="a")["ContentLength"] == len(PART) + 3


def test_a_slow_link_and_a_late_request_change_nothing_but_the_time(s3_server, s3, bucket):
    link = Link(bytes_per_second=50e6, latency=0.001)
    with S3Proxy(s3_server.port, link=link, rule=only("GetObject", Wait(0.01))) as proxy:
        client = s3_client(proxy.endpoint, s3_server.credentials, 30)
        client.put_object(Bucket=bucket, Key="a", Body=PART)
        assert client.get_object(Bucket=bucket, Key="a")["Body"].read() == PART
    with pytest.raises(BotoCoreError):
        client.head_object(Bucket=bucket, Key="a")


def test_a_server_that_was_killed_is_found_again(s3_server_factory):
    server = s3_server_factory(private=("test",), public=())
    with S3Proxy(server.port) as proxy:
        client = s3_client(proxy.endpoint, server.credentials, 30)
        client.put_object(Bucket="test", Key="a", Body=b"kept")
        server.kill()
        with pytest.raises(BotoCoreError):
            client.get_object(Bucket="test", Key="a")
        server.start()
        assert client.get_object(Bucket="test", Key="a")["Body"].read() == b"kept"
