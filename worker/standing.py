"""How a run stands: which slices, sounds and assemblies of its plan are done, and which lack."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pipelines.staging import SliceReceipt
from worker.run_plan import assemble_item
from worker.slice_result import SliceResult
from worker.work_item import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.run_plan import PlannedRendition, RunPlan, TranscodeGroup
    from worker.work_item import ItemState


@dataclass(frozen=True)
class Standing:
    """The plan of a run beside its work items as they were at one moment, ``now_ms``."""

    plan: RunPlan
    items: Mapping[str, ItemState]
    now_ms: int

    def assembled(self, planned: PlannedRendition) -> str | None:
        """The result of a rendition's assembly and proof; None while it is not done."""
        return self._done(assemble_item(planned.name), planned.identity)

    @property
    def results(self) -> dict[str, str] | None:
        """The results of all assemblies by rendition; None while one is missing."""
        found = {planned.name: self.assembled(planned) for planned in self.plan.renditions}
        whole = {name: result for name, result in found.items() if result is not None}
        return whole if len(whole) == len(found) else None

    def slices(self, planned: PlannedRendition) -> list[SliceResult | None]:
        """The results of a rendition's slices, in order; None for one that lacks its receipt."""
        return self._slices[planned.name]

    def receipts(self, name: str) -> list[SliceReceipt] | None:
        """The receipts of all slices of a rendition, in order; None while one is missing."""
        done = self._slices.get(name)
        if done is None:
            return None
        receipts = [result.receipts[name] for result in done if result is not None]
        return receipts if len(receipts) == len(done) else None

    def open(self, group: TranscodeGroup) -> tuple[PlannedRendition, ...]:
        """The renditions of a group that may still get parts: neither assembled nor about to be.

        One that is assembled is a finished object; nothing of it is ever uploaded again.
        """
        return tuple(
            each
            for each in group.renditions
            if self.assembled(each) is None and not self.is_active(assemble_item(each.name))
        )

    def sound(self, group: TranscodeGroup) -> list[SliceReceipt] | None:
        """The receipts of the group's encoded sound, slice by slice; None while it is not done."""
        text = self._done(group.sound_item, group.sound_identity)
        return None if text is None else sound_receipts(text)

    def is_active(self, item: str) -> bool:
        """Whether somebody holds a claim or a lease of the item."""
        state = self.items.get(item)
        return state is not None and state.active(self.now_ms)

    def is_leased(self, item: str) -> bool:
        """Whether a worker is on the item."""
        state = self.items.get(item)
        return state is not None and state.state is State.LEASED and state.active(self.now_ms)

    def seconds_under_way(self, planned: PlannedRendition) -> float:
        """Seconds of media done in those slices of a rendition that workers are on."""
        work = zip(self.plan.work(planned), planned.slices, self.slices(planned), strict=True)
        return sum(
            min(self.items[item].progress or 0.0, each.seconds)
            for (item, identity), each, result in work
            if result is None and self.is_leased(item) and self.items[item].identity == identity
        )

    @cached_property
    def _slices(self) -> dict[str, list[SliceResult | None]]:
        parsed: dict[str, SliceResult | None] = {}
        found: dict[str, list[SliceResult | None]] = {}
        for planned in self.plan.renditions:
            results = found[planned.name] = []
            for item, identity in self.plan.work(planned):
                if item not in parsed:
                    text = self._done(item, identity)
                    parsed[item] = SliceResult.from_json(text) if text else None
                result = parsed[item]
                results.append(result if result and planned.name in result.receipts else None)
        return found

    def _done(self, item: str, identity: str) -> str | None:
        """The result of an item that is done for exactly this input; else None."""
        state = self.items.get(item)
        if state is None or state.state is not State.DONE or state.identity != identity:
            return None
        return state.result or ""


def sound_result(receipts: list[SliceReceipt]) -> str:
    """The result of a work item that encoded sound: the receipts of all slices, as JSON."""
    return json.dumps([receipt.to_json() for receipt in receipts], separators=(",", ":"))


def sound_receipts(text: str) -> list[SliceReceipt]:
    """The inverse of ``sound_result``."""
    return [SliceReceipt.from_json(receipt) for receipt in json.loads(text)]
