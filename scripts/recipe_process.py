"""A process that waits for one task, does it by a recipe, and waits again until it was measured."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from scripts import reaper
from scripts.bench_result import BenchFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from scripts.recipe_task import RecipeTask

#: Seconds that a task may take before its process is killed.
_TASK_S = 1860.0


class RecipeProcess:
    """``scripts.bench_recipes`` with one recipe; entering waits until it is ready for its task."""

    def __init__(self, recipe: str, environment: Mapping[str, str]) -> None:
        self._recipe = recipe
        self._environment = dict(environment)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scripts.bench_recipes", self._recipe],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._alarm = threading.Timer(_TASK_S, self._kill)
        self._alarm.daemon = True
        self._alarm.start()
        self._expect("ready")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._alarm.cancel()
        if kind is not None:
            self._kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        """The process to measure."""
        return self._process.pid

    def do(self, task: RecipeTask) -> None:
        """Have the task done; raises BenchFailedError when the process ends instead."""
        if self._process.stdin is None:
            raise RuntimeError("the recipe was started without a pipe")
        self._process.stdin.write(task.to_json() + "\n")
        self._process.stdin.flush()
        self._expect("done")

    def _expect(self, word: str) -> None:
        if self._process.stdout is None:
            raise RuntimeError("the recipe was started without a pipe")
        if self._process.stdout.readline().strip() != word:
            self._kill()
            message = f"the recipe {self._recipe!r} ended before it was {word}; see above"
            raise BenchFailedError(message)

    def _kill(self) -> None:
        """Its ffmpeg too, which would go on, and keep the pipe open that we wait for."""
        reaper.kill_group(self._process.pid)
