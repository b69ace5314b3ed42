"""The log: one form for every line, and no secret in any."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from worker import log
from worker.settings import Settings

SIGNED = (
    "https://bucket.s3.amazonaws.com/rec/1.ts?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    "&X-Amz-Credential=AKIAEXAMPLE&X-Amz-Signature=deadbeef"
)
SETTINGS = Settings(
    source_url="s3://recordings/{id}/index.m3u8",
    output_url="s3://vod/",
    public_url="https://vod.example/",
    redis_url="redis://:redis-pa%24s@127.0.0.1:6379/0",
    broker_url="amqp://user:amqp-pass@127.0.0.1/",
    api_token="token-one,token-two",
    webhook_secret="hook-secret",
)
NEVER = (
    "X-Amz-Credential", "AKIAEXAMPLE", "deadbeef", "redis-pa", "amqp-pass", "token-one",
    "token-two", "hook-secret", "aws-secret",
)  # fmt: skip


@pytest.fixture(params=["json", "console"])
def stream(request, monkeypatch) -> Iterator[io.StringIO]:
    """Where the configured log goes; the logging of the test run is put back afterwards."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in ("boto3", "botocore", "urllib3")}
    out = io.StringIO()
    settings = SETTINGS.model_copy(update={"log_format": request.param, "log_level": "debug"})
    log.configure(settings, out)
    yield out
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> str:
    text = stream.getvalue()
    assert text
    return text


def fail_with(message: str) -> None:
    raise RuntimeError(message)


def test_a_signed_url_loses_its_query_wherever_it_stands(stream):
    logger = structlog.get_logger("test")
    logger.info("fetching %s", SIGNED, url=SIGNED, urls=[SIGNED], nested={"a": (SIGNED,)})
    logging.getLogger("somebody").warning("retrying %s", SIGNED, extra={"where": SIGNED})
    try:
        fail_with(f"GET {SIGNED} failed")
    except RuntimeError:
        logger.exception("went wrong")
        logging.getLogger("somebody").exception("went wrong too")
    text = lines(stream)
    assert "bucket.s3.amazonaws.com/rec/1.ts" in text
    assert "went wrong too" in text
    assert not [word for word in NEVER if word in text]


def test_configured_secrets_never_come_out(stream):
    logger = structlog.get_logger("test")
    logger.info("given token-one", header="Bearer token-two", body=b"hook-secret")
    logger.info("connecting", redis=SETTINGS.redis_url, broker=SETTINGS.broker_url)
    logger.info("secret aws-secret", settings=SETTINGS, password="pa$s redis-pa$s")
    logging.getLogger("somebody").info("%s %r", "token-one", {"k": "hook-secret"})
    text = lines(stream)
    assert not [word for word in NEVER if word in text]
    assert "127.0.0.1:6379" in text


def test_headers_that_authenticate_never_come_out(stream):
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=unknown-1",
        "X-Amz-Security-Token": "unknown-2",
        "Livepeer-Signature": "t=1,v1=unknown-3",
        "Cookie": "unknown-4",
        "Host": "store.example",
    }
    structlog.get_logger("test").info("sending", headers=headers)
    logging.getLogger("somebody").info("sending %r", headers)
    logging.getLogger("somebody").info("sending\nAuthorization: Bearer unknown-5\nHost: x")
    text = lines(stream)
    assert "unknown" not in text
    assert "store.example" in text


def test_access_lines_carry_no_query_string(stream):
    access = logging.getLogger("uvicorn.access")
    access.info('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", "/sessions?cursor=abc", "1.1", 200)
    access.info('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", "/sessions?onlyakey", "1.1", 200)
    text = lines(stream)
    assert text.count("/sessions HTTP/1.1") == 2
    assert "cursor" not in text
    assert "onlyakey" not in text


def test_libraries_that_log_payloads_are_kept_quiet(stream):
    logging.getLogger("botocore.endpoint").debug("payload")
    logging.getLogger("botocore.endpoint").warning("slow")
    assert "payload" not in lines(stream)
    assert "slow" in lines(stream)


def test_an_ordinary_sentence_stays_as_it_is(stream):
    structlog.get_logger("test").info("Ready? 3/4 done, 12 s left.", session_id="abc", bytes=12)
    assert "Ready? 3/4 done, 12 s left." in lines(stream)
    assert "abc" in lines(stream)


def test_ids_bound_once_are_on_every_line_of_every_library(stream):
    with structlog.contextvars.bound_contextvars(session_id="s1", generation=7):
        structlog.get_logger("test").info("ours", action="packaged")
        logging.getLogger("somebody").info("theirs")
    for line in lines(stream).splitlines():
        assert "s1" in line
        assert "generation" in line


def test_json_lines_are_objects_with_time_level_and_logger(stream):
    structlog.get_logger("test").warning("a sentence", action="looked")
    line = lines(stream).splitlines()[0]
    if not line.startswith("{"):
        assert "warning" in line
        return
    entry = json.loads(line)
    assert (entry["event"], entry["level"], entry["logger"]) == ("a sentence", "warning", "test")
    assert entry["action"] == "looked"
    assert entry["at"].endswith("Z")


def test_a_queue_that_is_away_is_told_of_once(stream):
    for queue in ("package", "control"):
        consumer = logging.getLogger(f"dramatiq.worker.ConsumerThread({queue})")
        for _ in range(3):
            consumer.critical("Consumer encountered a connection error: %s", object())
    assert stream.getvalue().count("Consumer encountered") == 2
    for _ in range(2):
        logging.getLogger("dramatiq.worker").error("Failed")
    assert stream.getvalue().count("Failed") == 2
