"""Drives the pipelines in this process against a real store: recording in, proven MP4 out."""

import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipelines.assemble import (
    MP4,
    NONCE,
    AssembledObject,
    Assembly,
    LayoutNeeded,
    OpenUpload,
    assemble,
)
from pipelines.gap_policy import GapPolicy
from pipelines.location import Location
from pipelines.object_store import ObjectStore, UploadedPart
from pipelines.package import Packaged, Packager, package_slice
from pipelines.part_scheme import VARYING_PARTS, PartScheme
from pipelines.parts import PartUpload
from pipelines.playlist import AudioRendition, MediaPlaylist, Segment
from pipelines.profile import Encoder
from pipelines.read_recording import read_recording
from pipelines.rendition_layout import RenditionLayout
from pipelines.slices import COPY_LENGTHS, Slice, SliceLengths, cut
from pipelines.sound_windows import with_sound
from pipelines.source import SourceReader
from pipelines.staging import SliceReceipt, Staging
from pipelines.tools import MediaTools
from pipelines.transcoding.conform import conform_slice
from pipelines.transcoding.conforming_encoding import conforming_encoding
from pipelines.transcoding.encoding import VideoEncoding
from pipelines.transcoding.kit import probe_kit
from pipelines.transcoding.sound import encode_sound
from pipelines.transcoding.transcode import RenditionOutput, transcode_slice
from pipelines.verify import Proof, Thoroughness, Verification

MAX_HOLE = Fraction(600)


def never_cancelled() -> None:
    """A checkpoint that lets everything go on."""


def nobody(seconds: float) -> None:
    """Is told of progress, and does nothing with it."""


def small_encoding(**options: Any) -> VideoEncoding:
    """An encoding to 160x90 that is quick to make; ``options`` are other fields."""
    usual = {
        "encoder": Encoder.H264,
        "implementation": "libx264",
        "preset": "ultrafast",
        "width": 160,
        "height": 90,
        "bitrate": 300_000,
        "nominal_rate": Fraction(30),
        "constant_rate": False,
        "gop": 1.0,
    }
    return VideoEncoding(**{**usual, **options})


def upload_folder(client: Any, folder: Path, bucket: str, prefix: str) -> None:
    """Put every file of a recording's folder into the store."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            key = f"{prefix}/{path.relative_to(folder).as_posix()}"
            client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())


@dataclass
class LazyUpload(PartUpload):
    """Opens the multipart upload of the MP4 when the first part is full."""

    store: ObjectStore
    location: Location
    parts: PartScheme = VARYING_PARTS
    opened: OpenUpload | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> OpenUpload:
        with self._lock:  # parts are uploaded from several threads
            if self.opened is None:
                nonce = uuid.uuid4().hex
                upload_id = self.store.create_upload(self.location, MP4, {NONCE: nonce})
                self.opened = OpenUpload(upload_id, nonce)
            return self.opened

    def scheme(self, payload_bytes: int) -> PartScheme:
        return self.parts

    def upload_part(self, number: int, body: bytes) -> UploadedPart:
        return self.store.upload_part(self.location, self.open().upload_id, number, body)


@dataclass
class Finalizer:
    """One recording on its way to an MP4, step by step, so that tests can look in between."""

    client: Any
    tools: MediaTools
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    rendition: str = "source"
    slice_seconds: float | None = None
    max_hole: Fraction = MAX_HOLE
    gap_policy: GapPolicy = GapPolicy.HOLD

    def __post_init__(self) -> None:
        self.store = ObjectStore(self.client)
        self.reader = SourceReader(self.store)
        self.output = Location.parse(f"s3://vod/{self.name}/r1/{self.rendition}.mp4")
        self.staging = Staging(self.store, Location.parse(f"s3://staging/{self.name}/"))
        self.upload = LazyUpload(self.store, self.output)
        self.receipts: list[SliceReceipt] = []
        self.layout: RenditionLayout | None = None
        self.sound: Sequence[AudioRendition] = ()
        self.listed: Sequence[Segment] = ()

    def playlist(self, path: Path) -> MediaPlaylist:
        """Upload the recording beside ``path`` and read its playlist from the store.

        Of a multivariant playlist that is the best variant's; sound of its own is packaged too.
        """
        upload_folder(self.client, path.parent, "recordings", self.name)
        location = Location.parse(f"s3://recordings/{self.name}/{path.name}")
        best = read_recording(self.reader, location, ()).source
        self.sound = best.sound
        self.listed = best.segments
        return best.playlists[0]

    def package(self, playlist: MediaPlaylist) -> None:
        """Package every slice."""
        for work in self.slices(playlist):
            self.stage(package_slice(work, self.packager, self.upload, never_cancelled))

    @property
    def packager(self) -> Packager:
        """What packaging needs besides a slice."""
        return Packager(self.reader, self.tools.ffmpeg, self.max_hole)

    def slices(self, playlist: MediaPlaylist) -> tuple[Slice, ...]:
        """The slices of a recording that has ended."""
        lengths = SliceLengths.all(self.slice_seconds) if self.slice_seconds else COPY_LENGTHS
        slices = cut(playlist, idle=True, lengths=lengths)
        return with_sound(slices, playlist, self.sound, idle=True)

    def stage(self, packaged: Packaged) -> None:
        """Keep the result of a slice."""
        self.receipts.append(self.staging.write(1, self.rendition, uuid.uuid4().hex, packaged))

    def assemble(self) -> AssembledObject:
        """Merge the tables and complete the object."""
        return assemble(
            Assembly(
                store=self.store,
                staging=self.staging,
                rendition=self.rendition,
                location=self.output,
                receipts=self.receipts,
                upload=self.upload.opened,
                open_upload=self.upload.open,
                max_hole=self.max_hole,
                creation_time=datetime(2026, 1, 1, tzinfo=UTC),
                checkpoint=never_cancelled,
                gap_policy=self.gap_policy,
                ffmpeg=self.tools.ffmpeg,
                layout=self.layout,
                listed=self.listed,
                encoding_of=lambda main: conforming_encoding(
                    main, probe_kit(self.tools.ffmpeg), "ultrafast"
                ),
            )
        )

    def conform(
        self,
        playlist: MediaPlaylist,
        layout: RenditionLayout,
        video: VideoEncoding | None = None,
        sound: Sequence[Packaged] = (),
    ) -> None:
        """Make the slices again that the layout names; ``video`` and ``sound`` as of a transcode."""
        self.layout = layout
        output = RenditionOutput(self.rendition, video, bool(sound), self.upload)
        for work in self.slices(playlist):
            if work.number in layout.slices:
                staged = sound[work.number] if sound else None
                made = conform_slice(
                    work, self.packager, layout, output, staged, never_cancelled, nobody
                )
                token = uuid.uuid4().hex
                self.receipts[work.number] = self.staging.write(1, self.rendition, token, made)

    def verify(self, made: AssembledObject) -> Proof:
        """Prove the object, reading every byte of it back."""
        return Verification(
            self.store, made, self.tools.ffmpeg, Thoroughness.FULL, never_cancelled
        ).prove()

    def finalize(self, path: Path) -> tuple[AssembledObject, Proof]:
        """All of it."""
        playlist = self.playlist(path)
        self.package(playlist)
        return self.prove(playlist)

    def prove(
        self,
        playlist: MediaPlaylist,
        video: VideoEncoding | None = None,
        sound: Sequence[Packaged] = (),
    ) -> tuple[AssembledObject, Proof]:
        """Assemble and prove; runs that are not as the others are conformed to them first."""
        try:
            made = self.assemble()
        except LayoutNeeded as needed:
            self.conform(playlist, needed.layout, video, sound)
            made = self.assemble()
        return made, self.verify(made)

    def download(self, target: Path) -> Path:
        """Fetch the MP4."""
        self.client.download_file(self.output.bucket, self.output.key, str(target))
        return target


@dataclass
class Transcoder:
    """One recording on its way to several renditions, which are made of it together."""

    client: Any
    tools: MediaTools
    encodings: dict[str, VideoEncoding | None]
    slice_seconds: float | None = None
    max_hole: Fraction = MAX_HOLE
    encodes_audio: bool = False
    gap_policy: GapPolicy = GapPolicy.HOLD

    def __post_init__(self) -> None:
        name = uuid.uuid4().hex[:12]
        self.renditions = {
            each: Finalizer(
                self.client, self.tools, name, each,
                self.slice_seconds, self.max_hole, self.gap_policy,
            )
            for each in self.encodings
        }  # fmt: skip

    def transcode(self, path: Path) -> tuple[MediaPlaylist, Sequence[Packaged]]:
        """Transcode every slice; its sound is encoded before, when it has to be, and given back."""
        first = next(iter(self.renditions.values()))
        playlist = first.playlist(path)
        for each in self.renditions.values():
            each.sound = first.sound
        outputs = [
            RenditionOutput(name, encoding, self.encodes_audio, self.renditions[name].upload)
            for name, encoding in self.encodings.items()
        ]
        slices = first.slices(playlist)
        encoded: dict[int, Packaged] = {}
        if self.encodes_audio:
            encode_sound(
                slices,
                first.packager,
                lambda each: encoded.update({each.tables.number: each}),
                never_cancelled,
            )
        sound = list(encoded.values())
        for work in slices:
            staged = sound[work.number] if sound else None
            made = dict(
                transcode_slice(work, first.packager, outputs, staged, never_cancelled, nobody)
            )
            assert made.keys() == self.renditions.keys()
            for name, packaged in made.items():
                self.renditions[name].stage(packaged)
        return playlist, sound

    def finalize(self, path: Path) -> dict[str, tuple[AssembledObject, Proof]]:
        """All of it, for every rendition."""
        playlist, sound = self.transcode(path)
        return {
            name: rendition.prove(playlist, self.encodings[name], sound)
            for name, rendition in self.renditions.items()
        }
