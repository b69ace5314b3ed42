"""Recordings encrypted with AES-128 become the very MP4 that they become in the clear."""

import contextlib
import threading
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from pipelines.errors import ErrorCode, PermanentError, TransientError
from pipelines.location import Location
from pipelines.loss import LossCause
from pipelines.package import Packager, package_slice
from pipelines.playlist import Variant
from pipelines.read_recording import read_recording
from pipelines.subtitles import SubtitleBudget, read_subtitles
from pipelines.transcoding.survey import survey
from tests.packaging import never_cancelled, upload_folder

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

KEYS = {f"{number}.key": bytes([number + 1]) * 16 for number in range(3)}
IV = bytes(range(16))


def encrypted(data, key, iv):
    padder = PKCS7(128).padder()
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return cipher.update(padder.update(data) + padder.finalize())


def key_line(name, iv=None):
    stated = f",IV=0x{iv.hex()}" if iv else ""
    return f'#EXT-X-KEY:METHOD=AES-128,URI="{name}"{stated}'


class Encryptor:
    """Writes a recording again: its segments encrypted, their keys beside them."""

    def __init__(self, path, folder):
        self.folder = folder
        self.segments = [each.read_bytes() for each in sorted(path.parent.glob("segment*"))]
        init = path.parent / "init.mp4"
        self.init = init.read_bytes() if init.exists() else None
        for name, key in KEYS.items():
            (folder / name).write_bytes(key)

    def explicit(self):
        """One key with an IV for all; the initialization section comes before it, in the clear."""
        return self._written([key_line("0.key", IV)], lambda number: ("0.key", IV))

    def implicit(self, first=4_000_000_007):
        """The media sequence is the IV."""
        return self._written(
            [key_line("1.key")],
            lambda number: ("1.key", (first + number).to_bytes(16, "big")),
            first=first,
        )

    def rotating(self):
        """Another key for every segment; every other one with an IV."""

        def used(number):
            return f"{number}.key", IV if number % 2 else number.to_bytes(16, "big")

        tags = {number: key_line(f"{number}.key", IV if number % 2 else None) for number in (1, 2)}
        return self._written([key_line("0.key")], used, tags)

    def with_init(self):
        """The initialization section is encrypted too, with a key of its own."""
        (self.folder / "init.mp4").write_bytes(encrypted(self.init, KEYS["2.key"], IV))
        head = [key_line("2.key", IV), '#EXT-X-MAP:URI="init.mp4"', key_line("0.key", IV)]
        return self._written(head, lambda number: ("0.key", IV), init=False)

    def ranged(self):
        """All segments in one object, each encrypted alone."""
        return self._written([key_line("0.key", IV)], lambda number: ("0.key", IV), one_object=True)

    def _written(self, head, used, tags=None, first=0, init=True, one_object=False):
        lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:2"]
        lines.append(f"#EXT-X-MEDIA-SEQUENCE:{first}")
        if self.init is not None and init:
            (self.folder / "init.mp4").write_bytes(self.init)
            lines.append('#EXT-X-MAP:URI="init.mp4"')
        lines += head
        whole = b""
        for number, data in enumerate(self.segments):
            name, iv = used(number)
            sealed = encrypted(data, KEYS[name], iv)
            lines += [tags[number]] if tags and number in tags else []
            lines.append("#EXTINF:2.0,")
            if one_object:
                lines += [f"#EXT-X-BYTERANGE:{len(sealed)}@{len(whole)}", "all.bin"]
                whole += sealed
                (self.folder / "all.bin").write_bytes(whole)
            else:
                (self.folder / f"{number}.bin").write_bytes(sealed)
                lines.append(f"{number}.bin")
        path = self.folder / "index.m3u8"
        path.write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
        return path


@pytest.fixture
def encryptor(media, tmp_path):
    """Encrypts a recording of six seconds."""

    def make(container="ts"):
        folder = tmp_path / f"encrypted{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return Encryptor(media.recording(container=container), folder)

    return make


def one_slice(one, playlist, final=True):
    """The tables of all segments, packaged as one slice."""
    packager = Packager(one.reader, one.tools.ffmpeg, Fraction(600), missing_is_final=final)
    [work] = one.slices(playlist)
    return package_slice(work, packager, one.upload, never_cancelled).tables


@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "many"])
@pytest.mark.parametrize(
    ("container", "way"),
    [
        ("ts", "explicit"),
        ("ts", "implicit"),
        ("ts", "rotating"),
        ("ts", "ranged"),
        ("fmp4", "explicit"),
        ("fmp4", "rotating"),
        ("fmp4", "with_init"),
    ],
)
def test_the_mp4_is_that_of_the_recording_in_the_clear(
    container, way, seconds, media, finalizer, encryptor, tmp_path
):
    files = []
    for path in (media.recording(container=container), getattr(encryptor(container), way)()):
        one = finalizer(slice_seconds=seconds)
        _, proof = one.finalize(path)
        assert [track.copied for track in proof.tracks] == [180, 283]
        files.append(one.download(tmp_path / f"{len(files)}.mp4").read_bytes())
    assert files[0] == files[1]


class KeyServer:
    """Hands out the keys by HTTP on the loopback; ``asked`` are the paths."""

    def __init__(self):
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                key = KEYS.get(self.path.rsplit("/", 1)[-1].partition("?")[0])
                self.send_response(200 if key else 404)
                self.send_header("Content-Length", str(len(key or b"")))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(key or b"")

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.prefix = f"http://127.0.0.1:{self._http.server_port}/keys/"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def key_server():
    started = KeyServer()
    yield started
    started.close()


def test_keys_come_from_servers_that_are_allowed_and_from_no_others(
    encryptor, finalizer, key_server
):
    path = encryptor().explicit()
    path.write_text(path.read_text().replace('"0.key"', f'"{key_server.prefix}0.key?token=x"'))
    one = finalizer()
    upload_folder(one.client, path.parent, "recordings", one.name)
    location = Location.parse(f"s3://recordings/{one.name}/index.m3u8")
    with pytest.raises(PermanentError) as refused:
        read_recording(one.reader, location, ())
    assert refused.value.code is ErrorCode.URI_REFUSED
    elsewhere = Location.parse(key_server.prefix.replace("/keys/", "/others/"))
    with pytest.raises(PermanentError):
        read_recording(one.reader, location, (elsewhere,))
    assert key_server.asked == []

    found = read_recording(one.reader, location, (Location.parse(key_server.prefix),))
    tables = one_slice(one, found.source.playlists[0])
    assert [len(track.samples) for track in tables.runs[0].tracks] == [180, 283]
    assert set(key_server.asked) == {"/keys/0.key?token=x"}


@pytest.mark.parametrize("container", ["ts", "fmp4"])
@pytest.mark.parametrize("key", [b"\xaa" * 16, b"too short", b"k" * 17])
def test_a_wrong_key_costs_its_segment_and_is_never_told(container, key, encryptor, finalizer):
    path = encryptor(container).rotating()
    (path.parent / "1.key").write_bytes(key)
    one = finalizer()
    tables = one_slice(one, one.playlist(path))
    [loss] = tables.losses
    assert (loss.sequence, loss.cause, loss.whole) == (1, LossCause.NOT_DECRYPTED, True)
    assert repr(key)[2:-1] not in repr(tables.losses)
    assert [run.first_sequence for run in tables.runs] == [0, 2]
    assert [run.broken for run in tables.runs] == [False, True]


@pytest.mark.parametrize("key", [None, b"\xaa" * 16], ids=["missing", "wrong"])
def test_a_recording_of_which_no_segment_can_be_decrypted_fails_by_that(key, encryptor, finalizer):
    path = encryptor("fmp4").explicit()
    (path.parent / "0.key").unlink()
    if key:
        (path.parent / "0.key").write_bytes(key)
    with pytest.raises(PermanentError, match=r"0\.bin") as failed:
        finalizer(slice_seconds=1.0).finalize(path)
    assert failed.value.code is ErrorCode.ENCRYPTION_UNSUPPORTED


def test_a_missing_key_is_waited_for_and_then_given_up(encryptor, finalizer):
    path = encryptor().rotating()
    (path.parent / "2.key").unlink()
    one = finalizer()
    playlist = one.playlist(path)
    with pytest.raises(TransientError, match=r"2\.key"):
        one_slice(one, playlist, final=False)
    tables = one_slice(one, playlist)
    assert [(each.sequence, each.cause) for each in tables.losses] == [(2, LossCause.NOT_DECRYPTED)]


@pytest.mark.parametrize("container", ["ts", "fmp4"])
def test_what_is_encrypted_is_surveyed(container, media, encryptor, finalizer, media_tools):
    told = []
    for path in (media.recording(container=container), encryptor(container).rotating()):
        one = finalizer()
        playlist = one.playlist(path)
        variant = Variant("source", playlist.location, playlists=(playlist,))
        told.append(survey(one.reader, variant, media_tools.ffprobe))
    assert told[0] == told[1]
    assert told[0].video


def test_encrypted_subtitles_are_read(finalizer, tmp_path):
    text = b"WEBVTT\n\n00:01.000 --> 00:02.000\nhello\n"
    vector = (1).to_bytes(16, "big")
    (tmp_path / "1.vtt").write_bytes(encrypted(text, KEYS["0.key"], vector))
    (tmp_path / "2.vtt").write_bytes(encrypted(text, KEYS["2.key"], vector))
    (tmp_path / "0.key").write_bytes(KEYS["0.key"])
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXT-X-MEDIA-SEQUENCE:1", key_line("0.key")]
    lines += ["#EXTINF:2.0,", "1.vtt", "#EXTINF:2.0,", "2.vtt", "#EXT-X-ENDLIST", ""]
    (tmp_path / "index.m3u8").write_text("\n".join(lines))
    one = finalizer()
    playlist = one.playlist(tmp_path / "index.m3u8")
    read = read_subtitles(one.reader, playlist, SubtitleBudget(), never_cancelled)
    assert [cue.text for each in read.texts for cue in each.text.cues] == ["hello"]
    assert [(loss.sequence, loss.cause) for loss in read.losses] == [
        (2, LossCause.SEGMENT_UNREADABLE)
    ]
