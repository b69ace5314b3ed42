"""The usual ways from an HLS recording in S3 to encoded MP4s in S3, encoded exactly as ours are."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import ffmpeg

from pipelines.colours import UNTOLD
from pipelines.transcoding.command import timing_options
from pipelines.transcoding.encoder_options import encoder_options
from pipelines.transcoding.encoding import VideoEncoding
from pipelines.transcoding.filter_chain import PictureWindow, filtered
from scripts.recipe_task import FFMPEG_TIMEOUT_S, PLAYLIST, download, upload

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scripts.recipe_task import RecipeTask

#: Ticks per second of MPEG-TS, and all pictures there are.
_TIMESCALE = 90_000
_ALL = PictureWindow(None, None)


def each(client: Any, task: RecipeTask) -> None:
    """Download every segment in parallel, run one ffmpeg per output after another, upload."""
    download(client, task)
    files = _files(task)
    for file, encoding in files.items():
        _encode(task, {file: encoding})
    upload(client, task, list(files))


def floor(client: Any, task: RecipeTask) -> None:
    """Download every segment in parallel, run one ffmpeg that makes all outputs, upload."""
    download(client, task)
    files = _files(task)
    _encode(task, files)
    upload(client, task, list(files))


def _files(task: RecipeTask) -> Mapping[Path, VideoEncoding]:
    """A file per output, in the same order; raises ValueError for an output to be copied."""
    files = {}
    for number, (key, encoding) in enumerate(task.outputs.items()):
        if encoding is None:
            raise ValueError(f"{key} has no encoding: these recipes only encode.")
        files[task.folder / f"output{number}.mp4"] = VideoEncoding.from_json(encoding)
    return files


def _encode(task: RecipeTask, files: Mapping[Path, VideoEncoding]) -> None:
    """Decode once, filter and encode each with our own options, copy the sound to each."""
    source = ffmpeg.input(PLAYLIST, protocol_whitelist="file,crypto")
    copies = source["v:0"].filter_multi_output("split")
    outputs = [
        ffmpeg.output(
            filtered(copies[number], encoding, _ALL, _TIMESCALE, UNTOLD),
            source["a:0"],
            file.name,
            **encoder_options(encoding),
            **timing_options(encoding, _TIMESCALE),
            **{"c:a": "copy", "movflags": "+faststart"},
        )
        for number, (file, encoding) in enumerate(files.items())
    ]
    command = ffmpeg.merge_outputs(*outputs).global_args("-hide_banner", "-loglevel", "error")
    subprocess.run(
        command.compile(cmd=task.ffmpeg),
        cwd=task.folder,
        stdin=subprocess.DEVNULL,
        timeout=FFMPEG_TIMEOUT_S,
        check=True,
    )
