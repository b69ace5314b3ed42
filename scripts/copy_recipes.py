"""The usual ways from an HLS recording in S3 to an MP4 in S3 that holds the same coded media."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from scripts.recipe_task import (
    FFMPEG_TIMEOUT_S,
    PLAYLIST,
    download,
    playlist_lines,
    segment_names,
    upload,
)

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.recipe_task import RecipeTask

#: Payload of one part, and how many of them are under way at once, when nothing is packaged.
FLOOR_PART_BYTES = 16 << 20
FLOOR_STREAMS = 4

_URL_SECONDS = 3600


def serial(client: Any, task: RecipeTask) -> None:
    """Download every segment in parallel, join them with ffmpeg, upload the file."""
    download(client, task)
    upload(client, task, [_join(task)])


def presigned(client: Any, task: RecipeTask) -> None:
    """Let ffmpeg read every segment by a presigned URL, upload the file."""
    lines = playlist_lines(client, task)
    urls = {name: _presigned_url(client, task, name) for name in segment_names(lines)}
    (task.folder / PLAYLIST).write_text("\n".join(urls.get(line, line) for line in lines))
    upload(client, task, [_join(task)])


def floor(client: Any, task: RecipeTask) -> None:
    """Move the same bytes through memory, nothing else: what no way of doing it can beat."""
    [key] = task.outputs
    target = {"Bucket": task.output_bucket, "Key": key}
    upload_id = client.create_multipart_upload(**target)["UploadId"]

    def move(part: tuple[int, list[str]]) -> dict[str, Any]:
        number, names = part
        body = bytearray()
        for name in names:
            answer = client.get_object(Bucket=task.source_bucket, Key=task.prefix + name)
            body += answer["Body"].read()
        sent = client.upload_part(**target, UploadId=upload_id, PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": sent["ETag"]}

    parts = enumerate(_floor_parts(client, task), start=1)
    with ThreadPoolExecutor(FLOOR_STREAMS) as pool:
        moved = list(pool.map(move, parts))
    client.complete_multipart_upload(**target, UploadId=upload_id, MultipartUpload={"Parts": moved})


def _floor_parts(client: Any, task: RecipeTask) -> list[list[str]]:
    """Names of neighbouring segments that fill a part."""
    names = segment_names(playlist_lines(client, task))
    head = client.head_object(Bucket=task.source_bucket, Key=task.prefix + names[0])
    together = max(1, -(-FLOOR_PART_BYTES // head["ContentLength"]))
    return [names[at : at + together] for at in range(0, len(names), together)]


def _presigned_url(client: Any, task: RecipeTask, name: str) -> str:
    place = {"Bucket": task.source_bucket, "Key": task.prefix + name}
    url: str = client.generate_presigned_url("get_object", place, ExpiresIn=_URL_SECONDS)
    return url


def _join(task: RecipeTask) -> Path:
    """The remux of every tutorial: copy the codecs, then move the moov to the front."""
    joined = task.folder / "output.mp4"
    argv = [
        task.ffmpeg, "-hide_banner", "-nostdin", "-loglevel", "error", "-y",
        "-protocol_whitelist", "file,http,https,tcp,tls,crypto",
        "-i", PLAYLIST, "-c", "copy", "-movflags", "+faststart", joined.name,
    ]  # fmt: skip
    subprocess.run(
        argv, cwd=task.folder, stdin=subprocess.DEVNULL, timeout=FFMPEG_TIMEOUT_S, check=True
    )
    return joined
