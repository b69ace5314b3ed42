"""The directory of a stack: its lock, what survives a restart, and what tells others about it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from scripts.embedded import S3_PORT_COUNT
from scripts.ports import free_ports
from scripts.s3_access import Credentials

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: Marks a directory as a stack's: no other one is ever wiped.
_MARKER = "stack.json"
_FORMAT = 1
_REMOVED_WHEN_FRESH = ("redis", "s3", "logs", "env", "pids", _MARKER)


class DirectoryRefusedError(Exception):
    """The directory is in use, or is not a stack's; the message says which."""


@dataclass(frozen=True)
class Identity:
    """What stays the same from one start of a stack to the next: its ports and its secrets."""

    redis_port: int
    s3_port: int
    api_port: int
    access_key: str
    secret_key: str = field(repr=False)
    api_token: str = field(repr=False)
    webhook_secret: str = field(repr=False)

    @classmethod
    def new(cls) -> Identity:
        """Free ports, and secrets that nobody else has."""
        credentials = Credentials.random()
        return cls(
            redis_port=0,
            s3_port=0,
            api_port=0,
            access_key=credentials.access_key,
            secret_key=credentials.secret_key,
            api_token=secrets.token_urlsafe(24),
            webhook_secret=secrets.token_urlsafe(24),
        ).with_new_ports()

    @property
    def credentials(self) -> Credentials:
        """The S3 server's access key."""
        return Credentials(self.access_key, self.secret_key)

    def with_new_ports(self) -> Identity:
        """The same secrets on other ports."""
        first = free_ports(S3_PORT_COUNT + 2)
        return replace(
            self,
            s3_port=first,
            redis_port=first + S3_PORT_COUNT,
            api_port=first + S3_PORT_COUNT + 1,
        )


class StackDirectory:
    """The files of one stack below ``path``. Make it with ``open_directory``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"

    def identity(self) -> Identity | None:
        """What an earlier start has kept; raises DirectoryRefusedError when it is unreadable."""
        marker = self.path / _MARKER
        if not marker.exists():
            return None
        try:
            kept = json.loads(marker.read_text())
            if kept.pop("format") != _FORMAT:
                raise ValueError("unknown format")
            return Identity(**kept)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DirectoryRefusedError(
                f"{marker} was not written by this version ({error}); start with --fresh."
            ) from error

    def keep(self, identity: Identity) -> None:
        """Write down what the next start shall use again."""
        write_private(self.path / _MARKER, json.dumps({"format": _FORMAT, **asdict(identity)}))

    def publish_environment(self, environment: Mapping[str, str]) -> None:
        """Write ``env``: lines that a shell can source."""
        lines = [f"export {name}={quoted(value)}\n" for name, value in environment.items()]
        write_private(self.path / "env", "".join(lines))

    def publish_process_ids(self, pids: Mapping[str, int]) -> None:
        """Write ``pids``: ``name pid`` lines."""
        write_private(self.path / "pids", "".join(f"{name} {pid}\n" for name, pid in pids.items()))

    def unpublish(self) -> None:
        """Remove ``env`` and ``pids``: nothing runs."""
        for name in ("env", "pids"):
            (self.path / name).unlink(missing_ok=True)

    def wipe(self) -> None:
        """Remove everything that a stack has written here, and nothing else."""
        for name in _REMOVED_WHEN_FRESH:
            target = self.path / name
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)


@contextmanager
def open_directory(path: Path, *, fresh: bool) -> Iterator[StackDirectory]:
    """Hold the directory for this process, made if need be and wiped if ``fresh``.

    Raises DirectoryRefusedError when another stack holds it, or when it holds other things.
    """
    path = path.absolute()
    _refuse_foreign(path)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryRefusedError(
                f"A stack already runs in {path}: end it first, or name another --dir."
            ) from None
        directory = StackDirectory(path)
        if fresh:
            directory.wipe()
        directory.unpublish()  # a stack that was killed could not
        yield directory
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, readable by nobody else: a reader sees the old one or the new one."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)


def quoted(value: str) -> str:
    """``value`` as one word of a POSIX shell, always in single quotes."""
    return "'" + value.replace("'", "'\\''") + "'"


def _refuse_foreign(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_dir():
        raise DirectoryRefusedError(f"{path} is not a directory.")
    entries = {entry.name for entry in path.iterdir()}
    if entries - {"lock"} and _MARKER not in entries:
        raise DirectoryRefusedError(
            f"{path} holds other things than a stack's: name a new or an empty --dir."
        )
