"""Shows the product at work: a live session ends, and its recording becomes ready.

``./scripts/demo [path/to/index.m3u8]``
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from pipelines.errors import FinalizerError
from pipelines.tools import locate
from scripts.child import ChildFailedError
from scripts.demo_stack import DemoStack
from scripts.event_words import printable
from scripts.own_recording import OwnRecording, RecordingRefusedError
from scripts.showing import IDLE_TIMEOUT_S, Showing

_KEEP_LOOK_S = 0.5
_PLAIN_WIDTH = 110

_Recording = Annotated[
    Path | None,
    typer.Argument(
        metavar="path/to/index.m3u8",
        help="A recording of your own, instead of a live session.",
        exists=True,
        dir_okay=False,
    ),
]
_Keep = Annotated[bool, typer.Option("--keep", help="Leave the stack running until Ctrl-C.")]
_Directory = Annotated[
    Path | None,
    typer.Option("--dir", help="Keep the stack's data here. Default: a temporary folder."),
]


def main(recording: _Recording = None, keep: _Keep = False, directory: _Directory = None) -> None:
    """Start everything, play a live session, and show how its recording becomes ready.

    Exits with 0 only when the recording is ready and its MP4 can be played from its address.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    own = _read_own(recording) if recording else None
    try:
        tools = locate()
        with tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True) as scratch:
            folder = Path(scratch)
            where = directory.absolute() if directory else folder / "stack"
            with DemoStack(where, folder / "stack.log", IDLE_TIMEOUT_S) as stack:
                showing = Showing(console, stack, tools, folder)
                ready = showing.run(own)
                if keep:
                    _stay(console, stack, showing.session_id)
    except KeyboardInterrupt:
        console.print("\n  Stopped; nothing was left running.", style="dim")
        raise typer.Exit(130) from None
    except (FinalizerError, ChildFailedError) as error:
        _end(str(error), 1)
    raise typer.Exit(0 if ready else 1)


def _read_own(playlist: Path) -> OwnRecording:
    try:
        return OwnRecording.read(playlist)
    except RecordingRefusedError as refused:
        _end(str(refused), 2)


def _stay(console: Console, stack: DemoStack, session_id: str) -> None:
    """Leave the stack running until Ctrl-C; raises ChildFailedError when it ends by itself."""
    lines = (
        ("API", f"{stack.api_url}/docs"),
        ("S3", stack.s3_url),
        ("Logs", f"{stack.directory}/logs"),
        ("Token", f"in {stack.directory}/env, with all settings. In another shell:"),
        ("", f". {stack.directory}/env"),
        ("", f'curl -H "Authorization: Bearer $FINALIZER_API_TOKEN" {stack.api_url}/sessions'),
        ("", f"./scripts/rerun --force --wait {session_id}"),
    )
    for name, value in lines:
        line = Text("  ").append(f"{name:<15}", style="dim").append(value)
        console.print(line, soft_wrap=True)
    try:
        console.print("\n  The stack keeps running. Ctrl-C ends it.", style="dim")
        while stack.running():
            time.sleep(_KEEP_LOOK_S)
    except KeyboardInterrupt:
        return
    raise ChildFailedError(f"The stack has ended: {stack.last_words()}")


def _end(sentence: str, code: int) -> NoReturn:
    print(printable(sentence), file=sys.stderr, flush=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    typer.run(main)
