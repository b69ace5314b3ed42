"""How a run stands: which slices, sounds and assemblies of its plan are done, and which lack."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from pipelines.staging import SliceReceipt
from worker.run_plan import assemble_item, conform_item
from worker.slice_result import SliceResult
from worker.work_item import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.rendition_layout import RenditionLayout
    from worker.decided_layout import DecidedLayout
    from worker.run_plan import PlannedRendition, RunPlan, TranscodeGroup
    from worker.work_item import ItemState


@dataclass(frozen=True)
class Standing:
    """The plan of a run beside its work items as they were at one moment, ``now_ms``.

    ``layouts`` are those that were decided for renditions whose runs are not all alike, by name.
    """

    plan: RunPlan
    items: Mapping[str, ItemState]
    now_ms: int
    layouts: Mapping[str, DecidedLayout] = field(default_factory=dict)

    def layout(self, planned: PlannedRendition) -> RenditionLayout | None:
        """The layout to which a rendition's odd runs are conformed; None while none counts."""
        return self._counting.get(planned.name)

    def basis(self, planned: PlannedRendition) -> str | None:
        """Upon what a layout is decided: all slices as they were first made; None while one lacks."""
        receipts = _receipts(planned.name, self.first(planned))
        if receipts is None:
            return None
        lines = (planned.identity, *(receipt.name for receipt in receipts))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def assembled(self, planned: PlannedRendition) -> str | None:
        """The result of a rendition's assembly and proof; None while it is not done."""
        return self._done(assemble_item(planned.name), planned.identity)

    def work(self, planned: PlannedRendition) -> list[tuple[str, str]]:
        """The work items whose results make the rendition, slice by slice, with identities.

        Those of the plan, but for the slices that are made again to conform to a layout.
        """
        work = self.plan.work(planned)
        layout = self.layout(planned)
        if layout is not None:
            for number in layout.slices:
                identity = planned.conformed(planned.slices[number].identity, number, layout)
                work[number] = conform_item(planned.name, number), identity
        return work

    @property
    def results(self) -> dict[str, str] | None:
        """The results of all assemblies by rendition; None while one is missing."""
        found = {planned.name: self.assembled(planned) for planned in self.plan.renditions}
        whole = {name: result for name, result in found.items() if result is not None}
        return whole if len(whole) == len(found) else None

    def first(self, planned: PlannedRendition) -> list[SliceResult | None]:
        """The results of a rendition's slices as they were first made, in order; None for one that
        lacks its receipt."""
        return self._first[planned.name]

    def slices(self, planned: PlannedRendition) -> list[SliceResult | None]:
        """The results that make the rendition, as ``work`` has them; None for one that lacks."""
        return self._slices[planned.name]

    def receipts(self, name: str) -> list[SliceReceipt] | None:
        """The receipts of what makes a rendition, in order; None while one is missing."""
        done = self._slices.get(name)
        return None if done is None else _receipts(name, done)

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

    def attempts(self, item: str, identity: str) -> int:
        """Failures of an item that counted, for exactly this input."""
        state = self.items.get(item)
        return state.attempts if state is not None and state.identity == identity else 0

    def waits(self, item: str, identity: str) -> bool:
        """Whether an item was handed back for a while that is not over."""
        state = self.items.get(item)
        return (
            state is not None
            and state.state is State.RELEASED
            and state.identity == identity
            and state.not_before > self.now_ms
        )

    def seconds_under_way(self, planned: PlannedRendition) -> float:
        """Seconds of media done in those slices of a rendition that workers are on."""
        work = zip(self.work(planned), planned.slices, self.slices(planned), strict=True)
        return sum(
            min(self.items[item].progress or 0.0, each.seconds)
            for (item, identity), each, result in work
            if result is None and self.is_leased(item) and self.items[item].identity == identity
        )

    @cached_property
    def _first(self) -> dict[str, list[SliceResult | None]]:
        parsed: dict[str, SliceResult | None] = {}
        found: dict[str, list[SliceResult | None]] = {}
        for planned in self.plan.renditions:
            results = found[planned.name] = []
            for item, identity in self.plan.work(planned):
                if item not in parsed:
                    parsed[item] = self._result(item, identity)
                result = parsed[item]
                results.append(result if result and planned.name in result.receipts else None)
        return found

    @cached_property
    def _counting(self) -> dict[str, RenditionLayout]:
        return {
            planned.name: decided.layout
            for planned in self.plan.renditions
            if (decided := self.layouts.get(planned.name)) and decided.basis == self.basis(planned)
        }

    @cached_property
    def _slices(self) -> dict[str, list[SliceResult | None]]:
        found: dict[str, list[SliceResult | None]] = {}
        for planned in self.plan.renditions:
            found[planned.name] = [*self._first[planned.name]]
            layout = self.layout(planned)
            work = self.work(planned) if layout else []
            for number in layout.slices if layout else ():
                found[planned.name][number] = self._result(*work[number])
        return found

    def _result(self, item: str, identity: str) -> SliceResult | None:
        text = self._done(item, identity)
        return SliceResult.from_json(text) if text else None

    def _done(self, item: str, identity: str) -> str | None:
        """The result of an item that is done for exactly this input; else None."""
        state = self.items.get(item)
        if state is None or state.state is not State.DONE or state.identity != identity:
            return None
        return state.result or ""


def _receipts(name: str, done: Sequence[SliceResult | None]) -> list[SliceReceipt] | None:
    """The receipts of a rendition in the results of its slices; None while one is missing."""
    receipts = [result.receipts[name] for result in done if result is not None]
    return receipts if len(receipts) == len(done) else None


def sound_result(receipts: list[SliceReceipt]) -> str:
    """The result of a work item that encoded sound: the receipts of all slices, as JSON."""
    return json.dumps([receipt.to_json() for receipt in receipts], separators=(",", ":"))


def sound_receipts(text: str) -> list[SliceReceipt]:
    """The inverse of ``sound_result``."""
    return [SliceReceipt.from_json(receipt) for receipt in json.loads(text)]
