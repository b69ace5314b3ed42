"""HTTP servers are read as far as was agreed, in bytes and in time, whatever they send."""

import contextlib
import gzip
import itertools
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipelines.errors import ErrorCode, PermanentError, TransientError
from pipelines.http_source import Allowance, HttpReader
from pipelines.location import Location
from pipelines.loss import LossCause
from pipelines.object_store import ObjectStore, connect
from pipelines.playlist import ByteRange, Segment
from pipelines.source import (
    FETCHES,
    MANY_MISSING,
    TRIES,
    SourceReader,
    fetch_head,
    measure,
    read_ahead,
)
from pipelines.store_errors import ObjectMissing

DATA = bytes(range(256)) * 40
ALLOWED = Allowance(len(DATA), ErrorCode.SEGMENT_DAMAGED)
#: Far above what one drop takes, far below what the whole takes: no test waits for the whole.
IMPATIENT = 0.3


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_):
        """The reader hung up between two requests: that is what many of these tests are about."""


class Server:
    """A server on the loopback that answers as a test says; ``seen`` are the requests."""

    def __init__(self):
        self.answers = {}
        self.seen = []
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.seen.append((self.command, dict(self.headers)))
                with contextlib.suppress(OSError):  # the reader may hang up
                    outer.answers[self.path](self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self._http = _QuietServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    def serve(self, answer):
        """Where ``answer`` (a function of the request) can be fetched."""
        path = f"/{len(self.answers)}.ts"
        self.answers[path] = answer
        return Location.parse(f"http://127.0.0.1:{self._http.server_port}{path}")

    def close(self):
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def drip(self, request, data):
        """One byte at a time, for as long as the test runs."""
        for byte in itertools.cycle(data):
            request.wfile.write(bytes([byte]))
            if self.closing.wait(0.02):
                return


@pytest.fixture
def server():
    started = Server()
    yield started
    started.close()


def answer(request, data=b"", status=200, **headers):
    request.send_response(status)
    for name, value in {"content_length": str(len(data)), **headers}.items():
        if value is not None:
            request.send_header(name.replace("_", "-").title(), value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(data)


def ranged(request):
    """What a server that knows ranges sends of ``DATA``."""
    first, last = map(int, request.headers["Range"].removeprefix("bytes=").split("-"))
    part = DATA[first : last + 1]
    if not part:
        answer(request, status=416)
    else:
        stated = f"bytes {first}-{first + len(part) - 1}/{len(DATA)}"
        answer(request, part, 206, content_range=stated)


def plain(request):
    answer(request, DATA)


def refusal(location, allowed=ALLOWED):
    with pytest.raises(PermanentError) as refused:
        HttpReader().read(location, allowed)
    return refused.value.code


def test_an_object_is_read_whole_and_its_connection_used_again(server):
    ports = set()

    def noted(request):
        ports.add(request.client_address)
        (ranged if "Range" in request.headers else plain)(request)

    location, reader = server.serve(noted), HttpReader()
    assert reader.size(location) == len(DATA)
    assert reader.read(location, ALLOWED) == reader.read(location, ALLOWED) == DATA
    for offset in (0, 99):
        part = reader.read_range(location, ByteRange(offset, 50), ALLOWED)
        assert part == DATA[offset : offset + 50]
    assert reader.size(location) == len(DATA)
    assert len(ports) == 1


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 100, DATA[:100]), (300, 7, DATA[300:307]), (len(DATA) - 5, 100, DATA[-5:]),
     (len(DATA) + 9, 10, b"")],
    ids=["begin", "middle", "beyond-the-end", "behind-the-end"],
)  # fmt: skip
@pytest.mark.parametrize("serve", [ranged, plain], ids=["ranges", "range-ignored"])
def test_a_range_is_the_same_whether_or_not_the_server_knows_ranges(
    serve, offset, length, expected, server
):
    location = server.serve(serve)
    assert HttpReader().read_range(location, ByteRange(offset, length), ALLOWED) == expected


def test_a_server_that_ignores_the_range_is_not_read_to_its_end(server):
    def endless(request):
        answer(request, DATA[:500], content_length=str(1 << 40))
        server.drip(request, b"x")

    found = HttpReader().read_range(server.serve(endless), ByteRange(100, 400), ALLOWED)
    assert found == DATA[100:500]


def test_another_range_than_asked_is_not_taken_for_it(server):
    location = server.serve(
        lambda request: answer(request, DATA[:10], 206, content_range="bytes 0-9/10240")
    )
    with pytest.raises(TransientError, match="another range"):
        HttpReader().read_range(location, ByteRange(100, 10), ALLOWED)


def test_a_body_larger_than_allowed_is_refused_without_being_read(server):
    def endless(request):
        answer(request, DATA + b"x", content_length=str(1 << 40))
        server.drip(request, b"x")

    assert refusal(server.serve(endless)) is ErrorCode.SEGMENT_DAMAGED


def test_a_chunked_body_is_read_as_far_as_allowed(server):
    def in_pieces(data):
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
        chunked = {"content_length": None, "transfer_encoding": "chunked"}
        return server.serve(lambda request: answer(request, framed, **chunked))

    assert HttpReader().read(in_pieces(DATA), ALLOWED) == DATA
    assert refusal(in_pieces(DATA + b"x")) is ErrorCode.SEGMENT_DAMAGED


def fetched(server, *answers):
    """What becomes of a segment whose server gives these answers, the last one ever after."""
    coming = list(answers)

    def next_answer(request):
        (coming.pop(0) if len(coming) > 1 else coming[0])(request)

    segment = Segment(7, server.serve(next_answer), 2.0)
    reader = SourceReader(ObjectStore(connect()))
    sizes = measure(reader, [segment])
    [found] = read_ahead(reader, [segment], sizes)
    return found


def small(request):
    answer(request, DATA[:1000])


def test_a_segment_that_grows_after_it_was_measured_is_measured_again(server):
    half = DATA[: len(DATA) // 2]
    found = fetched(server, small, lambda request: answer(request, half), plain)
    assert (found.data, found.loss) == (DATA, None)
    assert [command for command, _ in server.seen] == ["HEAD", "GET", "HEAD", "GET"]


def announced_small(request):
    answer(request, content_length="1000") if request.command == "HEAD" else plain(request)


def compressed(request):
    answer(request, gzip.compress(DATA), content_encoding="gzip")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [(announced_small, "more than the 1000 bytes"), (compressed, "sent compressed")],
    ids=["larger-than-announced", "compressed"],
)
def test_a_segment_that_its_server_sends_otherwise_than_agreed_is_lost_alone(wrong, why, server):
    found = fetched(server, wrong)
    assert found.data == b""
    assert found.loss.cause is LossCause.SEGMENT_UNREADABLE
    assert why in found.loss.detail
    head = fetch_head(SourceReader(ObjectStore(connect())), found.segment, 100)
    assert (head.loss is None) == (wrong is announced_small)


def test_compression_is_not_asked_for_and_a_compressed_body_is_refused(server):
    bomb = gzip.compress(bytes(30 << 20))
    location = server.serve(lambda request: answer(request, bomb, content_encoding="gzip"))
    playlist = Allowance(64 << 20, ErrorCode.PLAYLIST_INVALID)
    assert refusal(location, playlist) is ErrorCode.PLAYLIST_INVALID
    assert [headers["Accept-Encoding"] for _, headers in server.seen] == ["identity"]


def test_a_body_that_drips_is_an_outage(server):
    def slow(request):
        answer(request, content_length="1000000")
        server.drip(request, b"x")

    allowed = Allowance(1 << 20, ErrorCode.SEGMENT_DAMAGED)
    with pytest.raises(TransientError):
        HttpReader(body_seconds=IMPATIENT).read(server.serve(slow), allowed)


def test_a_chunked_body_whose_framing_drips_is_an_outage(server):
    def slow(request):
        answer(request, content_length=None, transfer_encoding="chunked")
        server.drip(request, b"0")

    with pytest.raises(TransientError):
        HttpReader(body_seconds=IMPATIENT).read(server.serve(slow), ALLOWED)


@pytest.mark.parametrize("read", ["read", "size"])
def test_a_head_that_drips_is_an_outage(read, server):
    def slow(request):
        request.send_response(200)
        request.flush_headers()
        server.drip(request, b"X-Long: xxxxxxxxxxxx\r\n")

    reader, location = HttpReader(head_seconds=IMPATIENT), server.serve(slow)
    with pytest.raises(TransientError):
        reader.size(location) if read == "size" else reader.read(location, ALLOWED)


def test_a_body_cut_short_is_an_outage_not_a_shorter_segment(server):
    def short(request):
        answer(request, DATA[:-1], content_length=str(len(DATA)))
        request.close_connection = True

    with pytest.raises(TransientError):
        HttpReader().read(server.serve(short), ALLOWED)


def test_a_body_that_no_length_proves_whole_is_an_outage(server):
    def unframed(request):
        answer(request, DATA, content_length=None)
        request.close_connection = True

    with pytest.raises(TransientError, match="without a Content-Length"):
        HttpReader().read(server.serve(unframed), ALLOWED)


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_missing(status, server):
    location = server.serve(lambda request: answer(request, b"gone", status))
    reader = HttpReader()
    with pytest.raises(ObjectMissing):
        reader.read(location, ALLOWED)
    with pytest.raises(ObjectMissing):
        reader.size(location)


def test_a_redirect_is_not_followed(server):
    elsewhere = server.serve(plain)
    location = server.serve(lambda request: answer(request, status=302, location=elsewhere.url))
    assert refusal(location) is ErrorCode.URI_REFUSED
    assert len(server.seen) == 1


def test_an_outage_that_passes_is_not_noticed(server):
    statuses = iter([503, 500, 200])
    location = server.serve(lambda request: answer(request, DATA, next(statuses)))
    assert SourceReader(ObjectStore(connect())).read(location, allowed=ALLOWED) == DATA


def test_a_size_that_is_not_stated_is_an_outage(server):
    location = server.serve(lambda request: answer(request, content_length=None))
    with pytest.raises(TransientError, match="without a Content-Length"):
        HttpReader().size(location)


def test_the_query_of_a_url_is_fetched_but_never_shown(server):
    location = server.serve(lambda request: answer(request, status=500))
    signed = Location(location.scheme, location.authority, location.path, "signature=secret")
    server.answers[f"{location.path}?signature=secret"] = server.answers[location.path]
    with pytest.raises(TransientError) as failed:
        HttpReader().read(signed, ALLOWED)
    assert "500" in failed.value.message
    assert "secret" not in failed.value.message


def test_a_slice_of_which_nothing_is_there_is_not_asked_for_again_and_again(server):
    asked = []

    def missing(request):
        asked.append(request.path)
        request.send_error(404)

    place = server.serve(missing)
    segments = [Segment(number, place, 2.0) for number in range(120)]
    reader = SourceReader(ObjectStore(connect()))
    sizes = measure(reader, segments)
    assert set(sizes.values()) == {0}
    at_most = len(segments) + (MANY_MISSING + 2 * FETCHES) * (TRIES - 1)
    assert len(segments) <= len(asked) <= at_most
    ranged = [replace(each, byte_range=ByteRange(0, 9)) for each in segments]
    asked.clear()
    assert all(each.loss for each in read_ahead(reader, ranged, measure(reader, ranged)))
    assert len(asked) <= at_most
