"""The layout that was decided for a rendition of a run, and upon which packaged slices it was."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pipelines.rendition_layout import RenditionLayout

#: The format that is written and the only one that is read; another version's is decided anew.
FORMAT = 1


@dataclass(frozen=True)
class DecidedLayout:
    """A layout, which counts while the slices are those of its ``basis``.

    Whenever one of them is packaged anew, what it holds may be another thing, and so may the layout.
    """

    basis: str
    layout: RenditionLayout

    def to_json(self) -> str:
        """The form in which the run keeps it."""
        data = {"v": FORMAT, "basis": self.basis, "layout": self.layout.to_json()}
        return json.dumps(data, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> DecidedLayout | None:
        """The inverse of ``to_json``; None for what another version wrote."""
        data: dict[str, Any] = json.loads(text)
        if data.get("v") != FORMAT:
            return None
        return cls(data["basis"], RenditionLayout.from_json(data["layout"]))
