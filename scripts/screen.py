"""Shows sessions while they come along: a calm picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Self

from rich.console import Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipelines.session import Phase
from scripts.event_words import printable, time_of_day, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from rich.console import Console, RenderableType

#: Sessions in the picture at a time.
_ROWS = 5
_BAR_WIDTH = 24
_LOOKS_A_SECOND = 12

_STYLES: Mapping[str, str] = {
    Phase.READY: "green",
    Phase.FAILED: "red",
    Phase.FINALIZING: "cyan",
    "rendition_verified": "green",
    "postponed": "yellow",
    "attempt_failed": "yellow",
    "encoder_fallback": "yellow",
    "not_made": "yellow",
}


class Screen:
    """A context in which sessions are looked at again and again.

    What happens is printed once, line by line, each with its session's id if there are
    ``several``; below it, on a terminal, stands how far those that are under way have come.
    """

    def __init__(self, console: Console, *, several: bool = False) -> None:
        self.console = console
        self._several = several
        self._seen: dict[str, set[str]] = {}
        self._rows: dict[str, RenderableType] = {}
        self._live = Live(
            console=console,
            transient=True,
            refresh_per_second=_LOOKS_A_SECOND,
            redirect_stderr=sys.stderr.isatty(),  # else errors would land among the output
        )

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def skip(self, session_id: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Take events for known: they happened before anybody looked."""
        self._seen.setdefault(session_id, set()).update(map(_identity, events))

    def look(
        self,
        session_id: str,
        view: Mapping[str, Any],
        events: Sequence[Mapping[str, Any]],
        note: str = "",
    ) -> None:
        """Show a session as the API's JSON shows it, and those of its events that are new."""
        seen = self._seen.setdefault(session_id, set())
        for event in events:
            if _identity(event) not in seen:
                seen.add(_identity(event))
                self._print(session_id, event)
        self._rows[session_id] = _row(session_id if self._several else "", view, note)
        self._draw()

    def leave(self, session_id: str) -> None:
        """Take a session that has come to its end out of the picture."""
        self._rows.pop(session_id, None)
        self._draw()

    def _print(self, session_id: str, event: Mapping[str, Any]) -> None:
        action = str(event["action"])
        line = Text("  ")
        line.append(time_of_day(event), style="dim")
        if self._several:
            line.append(f"  {session_id}", style="bold")
        line.append(f"  {action.replace('_', ' '):<18}  ", style=_STYLES.get(action, "bold"))
        line.append(words(event))
        self.console.print(line, soft_wrap=True)

    def _draw(self) -> None:
        shown = list(self._rows.values())[:_ROWS]
        hidden = len(self._rows) - len(shown)
        more = [Text(f"  … and {hidden} more", style="dim")] if hidden else []
        self._live.update(Group(*shown, *more))


def _identity(event: Mapping[str, Any]) -> str:
    return json.dumps(event, sort_keys=True)


def _row(name: str, view: Mapping[str, Any], note: str) -> RenderableType:
    title = Text()
    if name:
        title.append(f"{name}  ", style="bold")
    title.append(str(view["phase"]), style=_STYLES.get(view["phase"], "bold"))
    if note:
        title.append(f"  {note}", style="dim")
    head = Padding(Spinner("dots", title), (1, 0, 0, 2))
    return Group(head, *_renditions(view)) if view["phase"] == Phase.FINALIZING else head


def _renditions(view: Mapping[str, Any]) -> list[RenderableType]:
    grid = Table.grid(padding=(0, 2))
    for rendition in view["renditions"]:
        state = str(rendition["state"])
        share = rendition.get("progress")
        bar: RenderableType = Text("")
        if share is not None:
            bar = ProgressBar(total=1.0, completed=share, width=_BAR_WIDTH)
        text = Text(state.replace("_", " "), style=_STYLES.get(state, ""))
        if rendition.get("speed") and state == "transcoding":
            text.append(f", {rendition['speed']:g} times as fast as it plays", style="dim")
        grid.add_row(Text(printable(str(rendition["name"])), style="bold"), bar, text)
    return [Padding(grid, (0, 0, 0, 4))]
