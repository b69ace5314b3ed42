"""What a run of chaos has shown, as tables and a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from scripts.chaos_schedule import StrikeKind

if TYPE_CHECKING:
    from rich.console import Console

    from scripts.chaos_run import ChaosResult


def show(console: Console, result: ChaosResult) -> None:
    """Print what was done, what came of it, and the verdict."""
    console.print()
    console.print(_strikes(result))
    console.print(_sessions(result))
    console.print(_work(result))
    for complaint in result.complaints:
        console.print(f"[red]✗[/] {escape(complaint)}")
    count = sum(result.sessions.values())
    verdict = "harm was done" if result.complaints else "nothing was harmed"
    mark = "[red]✗[/]" if result.complaints else "[green]✓[/]"
    console.print(
        f"{mark} {verdict}: seed {result.seed}, {result.strikes} strikes in {result.seconds:g} s, "
        f"{count} sessions ready, {result.objects} objects compared"
    )


def _strikes(result: ChaosResult) -> Table:
    table = Table("strike", "times", box=None, padding=(0, 3, 0, 0))
    for kind in StrikeKind:
        table.add_row(kind, str(result.account.done[kind]))
    table.add_row("spared", str(result.account.spared))
    table.add_row("messages dropped", str(result.account.messages_dropped))
    table.add_row("messages doubled", str(result.account.messages_doubled))
    table.add_row("uploads aborted", str(result.account.uploads_aborted))
    return table


def _sessions(result: ChaosResult) -> Table:
    table = Table("session", "ready and equal", box=None, padding=(0, 3, 0, 0))
    for name, count in sorted(result.sessions.items()):
        table.add_row(name, str(count))
    return table


def _work(result: ChaosResult) -> Table:
    """Slices that were made again, beside those that were in flight when something was struck."""
    account, again = result.account, result.made_again
    table = Table("slices made again", "times", "in flight", box=None, padding=(0, 3, 0, 0))
    table.add_row("its worker fell silent", str(again["silent"]), str(account.silent))
    table.add_row("handed back", str(again["handedBack"]), str(account.handed_back))
    table.add_row("its parts were lost", str(again["lost"]), str(account.lost))
    table.add_row("the work failed", str(again["failed"]), "0")
    table.add_row("the store was away", str(again["outage"]), "")
    return table
