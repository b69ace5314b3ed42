"""Ends what a killed owner left behind: a watcher that outlives the process which started it.

A supervisor that is killed with SIGKILL cannot end its children. So it starts this program first
and holds the write end of its standard input. Each line is a JSON array ``[group, [pattern, …]]``:
that process group runs, and leaves files of these patterns behind when it is killed; ``[group]``
takes that back. The end of the input means that the owner is gone.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def survivors(lines: Iterable[str]) -> dict[int, list[str]]:
    """The groups that were announced and not taken back by the end of ``lines``, with patterns."""
    alive: dict[int, list[str]] = {}
    for line in lines:
        group, *patterns = json.loads(line)
        alive.pop(group, None)
        if patterns:
            alive[group] = patterns[0]
    return alive


def kill_group(group: int) -> None:
    """Send SIGKILL to every process of a group that this program's owner made."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # nobody is left in it
        return


def remove_litter(patterns: Iterable[str]) -> None:
    """Remove the files that match, as far as they are there."""
    for pattern in patterns:
        for name in glob.iglob(pattern):  # noqa: PTH207  (absolute patterns)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)  # noqa: PTH108


def main() -> None:
    """Wait for the owner's end, then kill the groups that it did not end itself."""
    for group, patterns in survivors(sys.stdin).items():
        kill_group(group)
        remove_litter(patterns)


if __name__ == "__main__":
    main()
