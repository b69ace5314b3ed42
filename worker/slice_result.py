"""What doing a slice has given: the receipts of its renditions, and when it was worked on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.staging import SliceReceipt

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The format that is written and the only one that is read; another version's is done again.
FORMAT = 1


@dataclass(frozen=True)
class SliceResult:
    """The result of a work item that copied or transcoded one slice; times are Unix ms of Redis."""

    began: int
    ended: int
    receipts: Mapping[str, SliceReceipt]  #: by rendition

    def to_json(self) -> str:
        """The form in which the run's record keeps it."""
        receipts = {name: receipt.to_json() for name, receipt in self.receipts.items()}
        data = {"v": FORMAT, "began": self.began, "ended": self.ended, "receipts": receipts}
        return json.dumps(data, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> SliceResult | None:
        """The inverse of ``to_json``; None for what another version wrote."""
        data = json.loads(text)
        if data.get("v") != FORMAT:
            return None
        receipts = {name: SliceReceipt.from_json(each) for name, each in data["receipts"].items()}
        return cls(data["began"], data["ended"], receipts)
