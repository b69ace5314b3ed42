"""What a recipe is told to do, and what every recipe does with S3: read, download, upload."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boto3.s3.transfer import TransferConfig, create_transfer_manager

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Threads of s3transfer's downloads and uploads: boto3's own default.
TRANSFERS = 10
#: Seconds after which one ffmpeg of a recipe is killed.
FFMPEG_TIMEOUT_S = 1800
#: The playlist's name in the folder for files.
PLAYLIST = "index.m3u8"


@dataclass(frozen=True)
class RecipeTask:
    """A recording's playlist, the objects to make, a folder for files, and ffmpeg's path.

    ``outputs`` are keys, each with its VideoEncoding in JSON; None: the source, copied.
    """

    source_bucket: str
    playlist: str
    output_bucket: str
    outputs: Mapping[str, Mapping[str, Any] | None]
    scratch: str
    ffmpeg: str

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @property
    def folder(self) -> Path:
        """The folder for files."""
        return Path(self.scratch)

    @property
    def prefix(self) -> str:
        """What the keys of the segments start with."""
        return self.playlist[: self.playlist.rindex("/") + 1]


def playlist_lines(client: Any, task: RecipeTask) -> list[str]:
    """The lines of the recording's playlist."""
    answer = client.get_object(Bucket=task.source_bucket, Key=task.playlist)
    text: str = answer["Body"].read().decode()
    return text.splitlines()


def segment_names(lines: Iterable[str]) -> list[str]:
    """The segments that a playlist lists."""
    return [line for line in lines if line and not line.startswith("#")]


def download(client: Any, task: RecipeTask) -> None:
    """Bring the playlist and all its segments into the folder, several at once."""
    lines = playlist_lines(client, task)
    (task.folder / PLAYLIST).write_text("\n".join(lines))
    with create_transfer_manager(client, _transfers()) as manager:
        downloads = [
            manager.download(task.source_bucket, task.prefix + name, str(task.folder / name))
            for name in segment_names(lines)
        ]
        for each in downloads:
            each.result()


def upload(client: Any, task: RecipeTask, files: Sequence[Path]) -> None:
    """Store one file per output, in the same order."""
    for file, key in zip(files, task.outputs, strict=True):
        client.upload_file(str(file), task.output_bucket, key, Config=_transfers())


def _transfers() -> TransferConfig:
    return TransferConfig(max_concurrency=TRANSFERS, preferred_transfer_client="classic")
