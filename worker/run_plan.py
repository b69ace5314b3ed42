"""What one run set out to make: the plan and the slices' identities, kept beside its work items."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.plan import plan
from pipelines.slices import Slice, cut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.playlist import Recording
    from pipelines.session import Session

#: Raised by one whenever the meaning of a field changes; another one is planned again.
FORMAT = 1

ASSEMBLE = "assemble"
PACKAGE = "package"
PUBLISH = "publish"


def package_item(rendition: str, number: int) -> str:
    """The work item that packages one slice."""
    return f"{PACKAGE}/{rendition}/{number}"


def assemble_item(rendition: str) -> str:
    """The work item that assembles and proves one rendition."""
    return f"{ASSEMBLE}/{rendition}"


@dataclass(frozen=True)
class PlannedRendition:
    """One MP4 to be made, and its slices by identity, in order."""

    name: str
    variant: str
    reason: str
    slices: tuple[str, ...]

    @property
    def identity(self) -> str:
        """Which input its assembly is for."""
        return hashlib.sha256("\n".join(self.slices).encode()).hexdigest()


@dataclass(frozen=True)
class RunPlan:
    """The plan of a run upon one reading of the recording, ``fingerprint``."""

    fingerprint: str
    renditions: tuple[PlannedRendition, ...]
    not_made: tuple[Mapping[str, str], ...]
    mp4: str

    @classmethod
    def make(cls, session: Session, recording: Recording, slice_seconds: float | None) -> RunPlan:
        """Plan what is made of the recording; raises ``PermanentError`` when nothing can be."""
        decided = plan(session, recording)
        renditions = tuple(
            PlannedRendition(
                copy.name,
                copy.variant,
                copy.reason,
                tuple(each.identity for each in slices_of(recording, copy.variant, slice_seconds)),
            )
            for copy in decided.renditions
        )
        not_made = tuple({"name": n.name, "reason": n.reason} for n in decided.not_made)
        return cls(recording.fingerprint, renditions, not_made, decided.mp4)

    @property
    def identity(self) -> str:
        """Which input publishing is for."""
        parts = [self.fingerprint, *(f"{r.name} {r.identity}" for r in self.renditions)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def rendition(self, name: str) -> PlannedRendition | None:
        """The planned rendition of that name."""
        return next((each for each in self.renditions if each.name == name), None)

    def to_json(self, by: str = "") -> str:
        """The stored form; ``by`` tells the same plan of two that were made at once apart."""
        data = {
            "v": FORMAT,
            "by": by,
            "fingerprint": self.fingerprint,
            "renditions": [[r.name, r.variant, r.reason, list(r.slices)] for r in self.renditions],
            "notMade": list(self.not_made),
            "mp4": self.mp4,
        }
        return json.dumps(data, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> RunPlan | None:
        """The plan that was stored; None for another version's, which is planned again."""
        data: dict[str, Any] = json.loads(text)
        if data.get("v") != FORMAT:
            return None
        renditions = tuple(
            PlannedRendition(name, variant, reason, tuple(slices))
            for name, variant, reason, slices in data["renditions"]
        )
        return cls(data["fingerprint"], renditions, tuple(data["notMade"]), data["mp4"])


def slices_of(recording: Recording, variant: str, slice_seconds: float | None) -> tuple[Slice, ...]:
    """The slices of one variant of an idle recording."""
    playlist = recording.variant(variant).playlists[0]
    return cut(playlist, idle=True, slice_seconds=slice_seconds)
