"""Drives the pipelines in this process against a real store: recording in, proven MP4 out."""

import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipelines.assemble import MP4, NONCE, AssembledObject, Assembly, OpenUpload, assemble
from pipelines.location import Location
from pipelines.m3u8 import parse_media
from pipelines.object_store import ObjectStore, UploadedPart
from pipelines.package import Packager, package_slice
from pipelines.playlist import MediaPlaylist
from pipelines.slices import cut
from pipelines.source import SourceReader
from pipelines.staging import SliceReceipt, Staging
from pipelines.tools import MediaTools
from pipelines.verify import Proof, Thoroughness, Verification

MAX_HOLE = Fraction(600)


def never_cancelled() -> None:
    """A checkpoint that lets everything go on."""


def upload_folder(client: Any, folder: Path, bucket: str, prefix: str) -> None:
    """Put every file of a recording's folder into the store."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            key = f"{prefix}/{path.relative_to(folder).as_posix()}"
            client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())


@dataclass
class LazyUpload:
    """Opens the multipart upload of the MP4 when the first part is full."""

    store: ObjectStore
    location: Location
    opened: OpenUpload | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> OpenUpload:
        with self._lock:  # parts are uploaded from several threads
            if self.opened is None:
                nonce = uuid.uuid4().hex
                upload_id = self.store.create_upload(self.location, MP4, {NONCE: nonce})
                self.opened = OpenUpload(upload_id, nonce)
            return self.opened

    def upload_part(self, number: int, body: bytearray) -> UploadedPart:
        return self.store.upload_part(self.location, self.open().upload_id, number, body)


@dataclass
class Finalizer:
    """One recording on its way to an MP4, step by step, so that tests can look in between."""

    client: Any
    tools: MediaTools
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    slice_seconds: float | None = None
    max_hole: Fraction = MAX_HOLE

    def __post_init__(self) -> None:
        self.store = ObjectStore(self.client)
        self.reader = SourceReader(self.store)
        self.output = Location.parse(f"s3://vod/{self.name}/r1/source.mp4")
        self.staging = Staging(self.store, Location.parse(f"s3://staging/{self.name}/"))
        self.upload = LazyUpload(self.store, self.output)
        self.receipts: list[SliceReceipt] = []

    def playlist(self, path: Path) -> MediaPlaylist:
        """Upload the recording beside ``path`` and read its playlist from the store."""
        upload_folder(self.client, path.parent, "recordings", self.name)
        location = Location.parse(f"s3://recordings/{self.name}/{path.name}")
        return parse_media(self.reader.read(location), location, allowed=[location.folder])

    def package(self, playlist: MediaPlaylist) -> None:
        """Package every slice."""
        packager = Packager(self.reader, self.tools.ffmpeg, self.max_hole)
        for work in cut(playlist, idle=True, slice_seconds=self.slice_seconds):
            packaged = package_slice(work, packager, self.upload, never_cancelled)
            self.receipts.append(self.staging.write(1, "source", uuid.uuid4().hex, packaged))

    def assemble(self) -> AssembledObject:
        """Merge the tables and complete the object."""
        return assemble(
            Assembly(
                store=self.store,
                staging=self.staging,
                rendition="source",
                location=self.output,
                receipts=self.receipts,
                upload=self.upload.opened,
                open_upload=self.upload.open,
                max_hole=self.max_hole,
                creation_time=datetime(2026, 1, 1, tzinfo=UTC),
                checkpoint=never_cancelled,
            )
        )

    def verify(self, made: AssembledObject) -> Proof:
        """Prove the object, reading every byte of it back."""
        return Verification(
            self.store, made, self.tools.ffmpeg, Thoroughness.FULL, never_cancelled
        ).prove()

    def finalize(self, path: Path) -> tuple[AssembledObject, Proof]:
        """All of it."""
        self.package(self.playlist(path))
        made = self.assemble()
        return made, self.verify(made)

    def download(self, target: Path) -> Path:
        """Fetch the MP4."""
        self.client.download_file(self.output.bucket, self.output.key, str(target))
        return target
