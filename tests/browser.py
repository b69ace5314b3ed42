"""What a viewer has: Chromium, a page with a player, and hls.js."""

import base64
import hashlib
import shutil
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from scripts.install import only_one
from tests.installing import Missing, install_package, run_command

CHROMIUM = Path("/usr/bin/chromium")
PAGE = Path(__file__).with_name("viewer.html")


@dataclass(frozen=True)
class NpmPackage:
    """One version of a package, by the digest of its archive (base64)."""

    name: str
    sha512: str


HLS_JS = NpmPackage(
    "hls.js@1.7.4",
    "3GlxGdPvT2YHvQYOt+yOzT/DEior/qJVNIylHA77kgeoBTdQQqi70GwefNEUmHQeNGyjC8U62+bruqW/Tpm+tg==",
)
#: A reader of MP4 that shares nothing with ffmpeg, nor with this project.
MP4BOX_JS = NpmPackage(
    "mp4box@2.4.1",
    "0HGX7nXoDIX6FKLVl4a3wtYjBlwqsN3xuQC3GXzNtKp98FXUOhDSq623azsz8DG5ptd9ZXcXodDkgbdMZOjWvw==",
)

_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
_HOLD_S = 60


def install_chromium(lock_folder: Path) -> None:
    """Install the distribution's Chromium, unless it is there; needs root. Raises Missing."""
    with only_one(lock_folder):
        if not CHROMIUM.exists():
            install_package("chromium")


def fetch_hls_js(folder: Path) -> Path:
    """The script of hls.js in ``folder``, fetched unless it is there. Raises Missing."""
    return _fetched(HLS_JS, folder) / "dist" / "hls.min.js"


def fetch_mp4box(folder: Path) -> Path:
    """The script of mp4box.js in ``folder``, fetched unless it is there. Raises Missing."""
    return _fetched(MP4BOX_JS, folder) / "dist" / "mp4box.all.cjs"


def _fetched(package: NpmPackage, folder: Path) -> Path:
    """The unpacked package, in a folder of its own below ``folder``."""
    unpacked = folder / package.name.partition("@")[0]
    with only_one(folder):
        if not unpacked.exists():
            draft = folder / f"{unpacked.name}.draft"
            draft.mkdir()
            _unpack(package, draft)
            (draft / "package").rename(unpacked)
    return unpacked


def _unpack(package: NpmPackage, folder: Path) -> None:
    if shutil.which("npm") is None:
        raise Missing(f"there is no npm to fetch {package.name} with")
    run_command(
        ["npm", "pack", package.name, "--silent", f"--pack-destination={folder}"], "npm pack"
    )
    (archive,) = folder.glob("*.tgz")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != package.sha512:
        raise AssertionError(f"{package.name} is not what was pinned: sha512-{digest}")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")


@dataclass
class HeldFile:
    """An MP4 of which a server without ranges sends ``first`` bytes, and the rest when told to."""

    body: bytes
    first: int
    rest: threading.Event = field(default_factory=threading.Event)


class PageServer(ThreadingHTTPServer):
    """Serves the viewer's page, held files below ``/held/`` and, in ranges, shared ones below
    ``/shared/``, on the loopback interface."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.held: dict[str, HeldFile] = {}
        self.shared: dict[str, bytes] = {}

    def share(self, path: Path) -> str:
        """The URL of a file; of those that were shared before it nothing is there any more."""
        self.shared = {f"/shared/{path.parent.name}/{path.name}": path.read_bytes()}
        return self.url + next(iter(self.shared))[1:]

    def hold(self, name: str, body: bytes, first: int) -> tuple[str, HeldFile]:
        """The URL of a file whose end is held back, and the file to release."""
        self.held[f"/held/{name}"] = file = HeldFile(body, first)
        return f"{self.url}held/{name}", file


class _Answers(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        if file := self.server.held.get(self.path):
            self._begin(200, "video/mp4", len(file.body))
            self._send_held(file)
        elif (body := self.server.shared.get(self.path)) is not None:
            self._send_range(body)
        elif self.path == "/":
            page = PAGE.read_bytes()
            self._begin(200, "text/html", len(page))
            self.wfile.write(page)
        else:
            self._begin(404, "text/plain", 0)

    def _begin(self, status: int, content_type: str, size: int, **fields: str) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def _send_range(self, body: bytes) -> None:
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last or len(body)) + 1, len(body))
        told = f"bytes {begin}-{end - 1}/{len(body)}"
        self._begin(206, "video/mp4", end - begin, Content_Range=told, Accept_Ranges="bytes")
        try:
            self.wfile.write(body[begin:end])
        except ConnectionError:
            self.close_connection = True  # the viewer went away

    def _send_held(self, file: HeldFile) -> None:
        try:
            self.wfile.write(file.body[: file.first])
            if file.rest.wait(_HOLD_S):
                self.wfile.write(file.body[file.first :])
        except ConnectionError:
            self.close_connection = True  # the viewer went away

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a test tells what went wrong."""


@contextmanager
def page_server() -> Iterator[PageServer]:
    """A running server of the viewer's page."""
    with PageServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            for file in server.held.values():
                file.rest.set()
            server.shutdown()
            thread.join()


class Viewer:
    """Somebody who watches on the viewer's page; every wait is bounded there.

    Each method raises playwright's error, with the player's state in its message, when the media
    fail or what was asked for does not happen in time. Times are seconds of the player.
    """

    def __init__(self, page: Page) -> None:
        self._page = page

    def open_file(self, url: str, kind: str = "video") -> dict[str, Any]:
        """Open a file in a ``video`` or ``audio`` element and wait until it could play."""
        return self._page.evaluate("([kind, url]) => openFile(kind, url)", [kind, url])

    def open_playlist(self, url: str, hls_js: Path, kind: str = "video") -> dict[str, Any]:
        """Open a playlist with hls.js and wait until it could play; what hls.js knows of it."""
        if not self._page.evaluate("'Hls' in window"):
            self._page.add_script_tag(path=hls_js)
        return self._page.evaluate("([kind, url]) => openPlaylist(kind, url)", [kind, url])

    def subtitles(self, count: int) -> list[dict[str, Any]]:
        """Turn on the first subtitles of the playlist, and wait until so many cues were read."""
        return self._page.evaluate("count => subtitles(count)", count)

    def seek(self, time: float, tolerance: float) -> float | None:
        """Seek and wait for a picture whose time is so near; its brightness from 0 to 255."""
        return self._page.evaluate("([time, near]) => seek(time, near)", [time, tolerance])

    def play(self, seconds: float) -> dict[str, Any]:
        """Play for so long from here, then pause."""
        return self._page.evaluate("seconds => play(seconds)", seconds)

    def play_to_the_end(self) -> dict[str, Any]:
        """Play four times as fast until ``ended``."""
        return self._page.evaluate("() => playToTheEnd()")


@contextmanager
def watching(url: str) -> Iterator[Viewer]:
    """A viewer in front of the page at ``url``, in a Chromium that ends with it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            page = browser.new_page()
            page.goto(url)
            yield Viewer(page)
        finally:
            browser.close()
