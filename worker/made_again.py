"""How often work on slices was begun again, and why, for the report of a run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from worker.run_plan import CONFORM, PACKAGE, TRANSCODE

if TYPE_CHECKING:
    from worker.standing import Standing

_OF_SLICES = (f"{PACKAGE}/", f"{TRANSCODE}/", f"{CONFORM}/")


def made_again_of(standing: Standing) -> dict[str, int]:
    """How many slices were begun more than once, and how the leases before their last one ended, as
    ``MadeAgainReport`` names them; what earlier runs made of it counts as well."""
    again = [
        state.earlier
        for item, state in standing.items.items()
        if item.startswith(_OF_SLICES) and state.earlier
    ]
    endings: Counter[str] = Counter()
    for earlier in again:
        endings.update({str(ending): count for ending, count in earlier.items()})
    return {"slices": len(again), **endings}
