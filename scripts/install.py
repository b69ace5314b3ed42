"""Makes the project's .venv and installs one requirements file into it; needs only Python itself.

It runs before any package is there, and several of it may run at once.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"

_LOG_LINES = 25


class InstallError(Exception):
    """The packages could not be installed; the message holds what the tool said last."""


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Wait until no other process is inside with the same folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def install(requirements: Path, environment: Path, python: Path) -> None:
    """Bring ``environment`` to what ``requirements`` says; raises InstallError."""
    stamp = environment / f"installed-{requirements.name}"
    wanted = requirements.read_bytes()
    if not _usable(python):
        _run([sys.executable, "-m", "venv", "--clear", str(environment)], "make .venv")
    elif stamp.is_file() and stamp.read_bytes() == wanted:
        return  # another process was faster
    stamp.unlink(missing_ok=True)
    pip = [str(python), "-I", "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check"]
    # Most modules are never imported: Python compiles those that are, when they are.
    quick = ("install", "--no-compile", "--require-hashes", "-r", str(requirements))
    _run([*pip, *quick], "install the packages")
    stamp.write_bytes(wanted)


def _usable(python: Path) -> bool:
    if shutil.which(python) is None:
        return False
    code = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([python, "-I", "-c", code], capture_output=True).returncode == 0


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode != 0:
        lines = done.stdout.decode(errors="replace").splitlines()[-_LOG_LINES:]
        raise InstallError("\n".join([f"Could not {what}:", *lines]))


def main(name: str) -> int:
    """Install the requirements file ``name`` of the project's root."""
    started = time.monotonic()
    print(f"Installing {name} into .venv, once …", file=sys.stderr, flush=True)
    try:
        with only_one(ROOT):
            install(ROOT / name, ENVIRONMENT, PYTHON)
    except InstallError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Installed in {time.monotonic() - started:.0f} s.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
