"""Ends what a killed owner left behind: a watcher that outlives the process which started it.

A supervisor that is killed with SIGKILL cannot end its children. So it starts this program first
and holds the write end of its standard input. Lines ``+PGID`` and ``-PGID`` say which process
groups are alive; the end of the input means that the owner is gone.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def survivors(lines: Iterable[str]) -> set[int]:
    """The process groups that were announced and not taken back by the end of ``lines``."""
    alive: set[int] = set()
    for line in lines:
        sign, digits = line[:1], line[1:].strip()
        if sign == "+" and digits.isdecimal():
            alive.add(int(digits))
        elif sign == "-" and digits.isdecimal():
            alive.discard(int(digits))
    return alive


def kill_group(group: int) -> None:
    """Send SIGKILL to every process of a group that this program's owner made."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # nobody is left in it
        return


def main() -> None:
    """Wait for the owner's end, then kill the groups that it did not end itself."""
    for group in survivors(sys.stdin):
        kill_group(group)


if __name__ == "__main__":
    main()
