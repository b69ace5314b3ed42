"""What a preflight says about one thing it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a finding matters: only ``fail`` stands in the way of the work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``message`` says what was found and what to do about it."""

    level: Level
    subject: str
    message: str

    def __str__(self) -> str:
        return f"{self.level:<5}{self.subject:<9}{self.message}"


def ok(subject: str, message: str) -> Finding:
    """Nothing to do."""
    return Finding(Level.OK, subject, message)


def warn(subject: str, message: str) -> Finding:
    """The work can be done, with a risk or a cost that ``message`` names."""
    return Finding(Level.WARN, subject, message)


def fail(subject: str, message: str) -> Finding:
    """The work cannot be done until what ``message`` says is done."""
    return Finding(Level.FAIL, subject, message)
