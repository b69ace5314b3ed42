"""Programs that tests need and Python packages lack; only a complete run installs them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_INSTALL_S = 300
#: Debian asks it before a package starts its service: 101 forbids that.
_POLICY = Path("/usr/sbin/policy-rc.d")


class Missing(Exception):
    """A program is not to be had on this machine; the message says which and why."""


def install_package(name: str) -> None:
    """Install a package of the distribution, but no service of it; needs root. Raises Missing."""
    with _no_services():
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", name]):
            run_command(["apt-get", *arguments], "apt-get", DEBIAN_FRONTEND="noninteractive")


def run_command(command: list[str], what: str, **environment: str) -> None:
    """Run a command that fetches or installs something; raises Missing with its last words."""
    try:
        done = subprocess.run(
            command,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_INSTALL_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{what}: {error}") from None
    if done.returncode != 0:
        raise Missing(f"{what} failed:\n{done.stdout.decode(errors='replace')[-2000:]}")


@contextmanager
def _no_services() -> Iterator[None]:
    """Let no package start a service meanwhile, unless the machine has rules of its own."""
    if _POLICY.exists():
        yield
        return
    try:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    except OSError as error:
        raise Missing(f"{_POLICY}: {error}") from None
    try:
        yield
    finally:
        _POLICY.unlink()
