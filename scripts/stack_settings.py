"""The settings of a script: those of its environment, or those of a stack that runs here."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from worker.settings import InvalidSettings, load

if TYPE_CHECKING:
    from worker.settings import Settings

#: Where a stack lives when nobody says otherwise.
_USUAL = Path(".stack")


def load_settings(stack: Path | None) -> Settings:
    """Read the settings from the environment, into which those of ``stack`` are put first.

    Raises InvalidSettings; its sentence says so when a stack runs here and was only not named.
    """
    if stack is not None:
        os.environ.update(stack_variables(stack))
    try:
        return load()
    except InvalidSettings as error:
        if "FINALIZER_REDIS_URL" in os.environ or not (_USUAL / "env").is_file():
            raise
        hint = f"A stack runs in {_USUAL}: source {_USUAL}/env first, or add --stack {_USUAL}."
        raise InvalidSettings(f"{error}\n{hint}") from None


def stack_variables(directory: Path) -> dict[str, str]:
    """What ``env`` in a stack's directory exports; raises InvalidSettings when no stack runs."""
    try:
        text = (directory / "env").read_text()
    except OSError:
        raise InvalidSettings(f"No stack runs in {directory}: there is no env file.") from None
    assignments = (word for word in shlex.split(text) if word != "export")
    return dict(assignment.split("=", 1) for assignment in assignments)
