"""The usual ways from an HLS recording in S3 to an MP4 in S3, each in a process of its own.

``python -m scripts.bench_recipes NAME`` says ``ready`` when all is imported, reads one ``Job``
(JSON, a line), does it, says ``done``, and stays until its stdin is closed, so that it can be
measured from ``ready`` to ``done``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boto3.s3.transfer import TransferConfig, create_transfer_manager

from pipelines.object_store import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Threads of s3transfer's downloads and uploads: boto3's own default.
TRANSFERS = 10
#: Payload of one part, and how many of them are under way at once, when nothing is packaged.
FLOOR_PART_BYTES = 16 << 20
FLOOR_STREAMS = 4

_FFMPEG_TIMEOUT_S = 600
_URL_SECONDS = 3600


@dataclass(frozen=True)
class Job:
    """A recording's playlist, the object to make, a folder for files, and ffmpeg's path."""

    source_bucket: str
    playlist: str
    output_bucket: str
    output: str
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


def serial(client: Any, job: Job) -> None:
    """Download every segment in parallel, join them with ffmpeg, upload the file."""
    lines = _playlist(client, job)
    (job.folder / "index.m3u8").write_text("\n".join(lines))
    config = TransferConfig(max_concurrency=TRANSFERS, preferred_transfer_client="classic")
    with create_transfer_manager(client, config) as manager:
        downloads = [
            manager.download(job.source_bucket, job.prefix + name, str(job.folder / name))
            for name in _segments(lines)
        ]
        for download in downloads:
            download.result()
    _join(job)
    _upload(client, job)


def presigned(client: Any, job: Job) -> None:
    """Let ffmpeg read every segment by a presigned URL, upload the file."""
    lines = _playlist(client, job)
    urls = {name: _presigned_url(client, job, name) for name in _segments(lines)}
    (job.folder / "index.m3u8").write_text("\n".join(urls.get(line, line) for line in lines))
    _join(job)
    _upload(client, job)


def floor(client: Any, job: Job) -> None:
    """Move the same bytes through memory, nothing else: what no way of doing it can beat."""
    target = {"Bucket": job.output_bucket, "Key": job.output}
    upload_id = client.create_multipart_upload(**target)["UploadId"]

    def move(part: tuple[int, list[str]]) -> dict[str, Any]:
        number, names = part
        body = bytearray()
        for name in names:
            answer = client.get_object(Bucket=job.source_bucket, Key=job.prefix + name)
            body += answer["Body"].read()
        sent = client.upload_part(**target, UploadId=upload_id, PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": sent["ETag"]}

    parts = enumerate(_floor_parts(client, job), start=1)
    with ThreadPoolExecutor(FLOOR_STREAMS) as pool:
        moved = list(pool.map(move, parts))
    client.complete_multipart_upload(**target, UploadId=upload_id, MultipartUpload={"Parts": moved})


RECIPES: Mapping[str, Callable[[Any, Job], None]] = {
    "serial": serial,
    "presigned": presigned,
    "floor": floor,
}


def _floor_parts(client: Any, job: Job) -> list[list[str]]:
    """Names of neighbouring segments that fill a part."""
    names = _segments(_playlist(client, job))
    head = client.head_object(Bucket=job.source_bucket, Key=job.prefix + names[0])
    together = max(1, -(-FLOOR_PART_BYTES // head["ContentLength"]))
    return [names[at : at + together] for at in range(0, len(names), together)]


def _playlist(client: Any, job: Job) -> list[str]:
    answer = client.get_object(Bucket=job.source_bucket, Key=job.playlist)
    text: str = answer["Body"].read().decode()
    return text.splitlines()


def _segments(lines: list[str]) -> list[str]:
    return [line for line in lines if line and not line.startswith("#")]


def _presigned_url(client: Any, job: Job, name: str) -> str:
    place = {"Bucket": job.source_bucket, "Key": job.prefix + name}
    url: str = client.generate_presigned_url("get_object", place, ExpiresIn=_URL_SECONDS)
    return url


def _join(job: Job) -> None:
    """The remux of every tutorial: copy the codecs, then move the moov to the front."""
    argv = [
        job.ffmpeg, "-hide_banner", "-nostdin", "-loglevel", "error", "-y",
        "-protocol_whitelist", "file,http,https,tcp,tls,crypto",
        "-i", "index.m3u8", "-c", "copy", "-movflags", "+faststart", "output.mp4",
    ]  # fmt: skip
    subprocess.run(
        argv, cwd=job.folder, stdin=subprocess.DEVNULL, timeout=_FFMPEG_TIMEOUT_S, check=True
    )


def _upload(client: Any, job: Job) -> None:
    config = TransferConfig(max_concurrency=TRANSFERS, preferred_transfer_client="classic")
    path = str(job.folder / "output.mp4")
    client.upload_file(path, job.output_bucket, job.output, Config=config)


def main(name: str) -> None:
    """Speak the protocol of this module."""
    recipe, client = RECIPES[name], connect()
    print("ready", flush=True)
    recipe(client, Job(**json.loads(sys.stdin.readline())))
    print("done", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
