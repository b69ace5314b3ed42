"""What one run set out to make: the plan and the slices' identities, kept beside its work items."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.plan import Transcode
from pipelines.rendition_layout import RenditionLayout
from pipelines.report import RenditionKind
from pipelines.slices import COPY_LENGTHS, TRANSCODE_LENGTHS, Slice, SliceLengths, cut
from pipelines.sound_windows import with_sound
from pipelines.transcoding.encoding import VideoEncoding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipelines.plan import Plan, Rendition
    from pipelines.playlist import Recording
    from pipelines.session import Session

#: Raised by one whenever the meaning of a field changes; another one is planned again.
FORMAT = 5

ASSEMBLE = "assemble"
CONFORM = "conform"
PACKAGE = "package"
PUBLISH = "publish"
SOUND = "sound"
TRANSCODE = "transcode"

_LENGTHS = {RenditionKind.COPY: COPY_LENGTHS, RenditionKind.TRANSCODE: TRANSCODE_LENGTHS}
#: Names of variants that stand in names of work items as they are; recordings may choose any text.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def package_item(rendition: str, number: int) -> str:
    """The work item that copies one slice of a rendition."""
    return f"{PACKAGE}/{rendition}/{number}"


def conform_item(rendition: str, number: int) -> str:
    """The work item that makes one slice of a rendition again, conformed to its layout."""
    return f"{CONFORM}/{rendition}/{number}"


def assemble_item(rendition: str) -> str:
    """The work item that assembles and proves one rendition."""
    return f"{ASSEMBLE}/{rendition}"


class PlannedSlice(NamedTuple):
    """A slice as it was cut when the plan was made: what it is, and how long, seconds."""

    identity: str
    seconds: float


@dataclass(frozen=True)
class PlannedRendition:
    """One MP4 to be made, and its slices in order.

    For a transcode, ``video`` is None where the pictures are copied, and ``encodes_audio`` says that
    sound is encoded which browsers cannot play.
    """

    name: str
    kind: RenditionKind
    variant: str
    reason: str
    slices: tuple[PlannedSlice, ...]
    video: VideoEncoding | None = None
    encodes_audio: bool = False

    @property
    def identity(self) -> str:
        """Which input, made into what, its assembly is for; a layout follows from that."""
        return _digest([*(each.identity for each in self.slices), *self.encoding])

    @property
    def encoding(self) -> tuple[str, ...]:
        """What its media are made into, in words that differ when the result would."""
        if self.kind is RenditionKind.COPY:
            return ()
        video = self.video.to_json() if self.video else None
        return (json.dumps([self.name, video, self.encodes_audio], sort_keys=True),)

    def conformed(self, slice_identity: str, number: int, layout: RenditionLayout) -> str:
        """Which input, made into what, conforming slice ``number`` is for.

        Only the tracks and the slice's own odd runs matter: what is odd elsewhere changes nothing.
        """
        mine = RenditionLayout(layout.tracks, {number: layout.slices[number]})
        return _digest([slice_identity, *self.encoding, mine.digest])

    @property
    def seconds(self) -> float:
        """Sum of EXTINF of its slices."""
        return sum(each.seconds for each in self.slices)


@dataclass(frozen=True)
class TranscodeGroup:
    """All transcodes of one variant: each slice is decoded once and encoded for all of them."""

    variant: str
    renditions: tuple[PlannedRendition, ...]

    @property
    def key(self) -> str:
        """The variant in names of work items: its own name, or a digest of one that is not plain."""
        if _PLAIN.fullmatch(self.variant):
            return self.variant
        return f"~{_digest([self.variant])[:16]}"

    @property
    def slices(self) -> tuple[PlannedSlice, ...]:
        """The slices, the same for all of its renditions."""
        return self.renditions[0].slices

    @property
    def encodes_audio(self) -> bool:
        """Whether sound is encoded, which is done before any slice."""
        return any(each.encodes_audio for each in self.renditions)

    def item(self, number: int) -> str:
        """The work item that transcodes one slice."""
        return f"{TRANSCODE}/{self.key}/{number}"

    def identity(self, slice_identity: str) -> str:
        """Which input, made into what, the item of a slice is for."""
        return _digest([slice_identity, self._encodings])

    @property
    def sound_item(self) -> str:
        """The work item that encodes the sound of the whole variant."""
        return f"{SOUND}/{self.key}"

    @property
    def sound_identity(self) -> str:
        """Which input encoding the sound is for."""
        return sound_identity(each.identity for each in self.slices)

    @cached_property
    def _encodings(self) -> str:
        return _digest(line for each in self.renditions for line in each.encoding)


@dataclass(frozen=True)
class RunPlan:
    """The plan of a run upon one reading of the recording (``fingerprint``) and of the session.

    ``asked`` is what the session asked for then, as ``asked_of`` tells it. Of a session that is
    live it holds the slices that are settled, and those at the end while that seems to be the end: it
    is not ``final``, and grows until one is that follows it.
    """

    fingerprint: str
    renditions: tuple[PlannedRendition, ...]
    not_made: tuple[Mapping[str, str], ...]
    mp4: str
    asked: str
    final: bool = True

    @classmethod
    def make(
        cls,
        recording: Recording,
        session: Session,
        decided: Plan,
        slice_seconds: float | None,
        *,
        final: bool = True,
        ended: bool = False,
    ) -> RunPlan:
        """The plan with the slices of the recording, those that are settled unless it is ``final``
        or seems to have ``ended``; raises ``PermanentError`` when it is too long."""
        renditions = tuple(
            _planned(each, recording, slice_seconds, ended=final or ended)
            for each in decided.renditions
        )
        not_made = tuple({"name": n.name, "reason": n.reason} for n in decided.not_made)
        asked = asked_of(session)
        return cls(recording.fingerprint, renditions, not_made, decided.mp4, asked, final)

    def grown(
        self,
        recording: Recording,
        slice_seconds: float | None,
        *,
        final: bool = False,
        ended: bool = False,
    ) -> RunPlan:
        """The same renditions with the slices that are settled by now, or with all of them if it is
        ``final`` or seems to have ``ended``; raises as ``make`` does.

        Slices of a playlist that was rewritten are others by then, and are packaged again.
        """
        renditions = tuple(
            replace(
                each,
                slices=_planned_slices(
                    recording, each.variant, each.kind, slice_seconds, ended=final or ended
                ),
            )
            for each in self.renditions
        )
        if not (final or self.final) and renditions == self.renditions:
            return self  # the fingerprint takes every segment, and counts in a final plan
        return replace(self, fingerprint=recording.fingerprint, renditions=renditions, final=final)

    @property
    def identity(self) -> str:
        """Which input publishing is for."""
        return _digest([self.fingerprint, *(f"{r.name} {r.identity}" for r in self.renditions)])

    @cached_property
    def groups(self) -> tuple[TranscodeGroup, ...]:
        """The transcodes by variant."""
        transcodes = [each for each in self.renditions if each.kind is RenditionKind.TRANSCODE]
        variants = dict.fromkeys(each.variant for each in transcodes)
        return tuple(
            TranscodeGroup(name, tuple(each for each in transcodes if each.variant == name))
            for name in variants
        )

    def group(self, key: str) -> TranscodeGroup | None:
        """The group that stands in names of work items as ``key``."""
        return next((each for each in self.groups if each.key == key), None)

    def rendition(self, name: str) -> PlannedRendition | None:
        """The planned rendition of that name."""
        return next((each for each in self.renditions if each.name == name), None)

    def made_by(self, item: str) -> tuple[str, ...]:
        """Names of the renditions that a work item is for; () for one that is for all."""
        kind, _, rest = item.partition("/")
        name = rest.rpartition("/")[0] if kind in (PACKAGE, TRANSCODE, CONFORM) else rest
        if kind in (TRANSCODE, SOUND):
            group = self.group(name)
            return tuple(each.name for each in group.renditions) if group else ()
        return (name,) if kind in (PACKAGE, CONFORM, ASSEMBLE) else ()

    def work(self, planned: PlannedRendition) -> list[tuple[str, str]]:
        """The work items that first make the slices of a rendition, in order, with identities."""
        if planned.kind is RenditionKind.COPY:
            return [
                (package_item(planned.name, number), each.identity)
                for number, each in enumerate(planned.slices)
            ]
        group = next(group for group in self.groups if group.variant == planned.variant)
        return [
            (group.item(number), group.identity(each.identity))
            for number, each in enumerate(planned.slices)
        ]

    def to_json(self, by: str = "") -> str:
        """The stored form; ``by`` tells the same plan of two that were made at once apart."""
        cuts = list(dict.fromkeys(each.slices for each in self.renditions))
        data = {
            "v": FORMAT,
            "by": by,
            "fingerprint": self.fingerprint,
            "slices": cuts,
            "renditions": [
                {
                    "name": each.name,
                    "kind": each.kind,
                    "variant": each.variant,
                    "reason": each.reason,
                    "slices": cuts.index(each.slices),
                    "video": each.video.to_json() if each.video else None,
                    "encodesAudio": each.encodes_audio,
                }
                for each in self.renditions
            ],
            "notMade": list(self.not_made),
            "mp4": self.mp4,
            "asked": self.asked,
            "final": self.final,
        }
        return json.dumps(data, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> RunPlan | None:
        """The plan that was stored; None for another version's, which is planned again."""
        data: dict[str, Any] = json.loads(text)
        if data.get("v") != FORMAT:
            return None
        cuts = [tuple(PlannedSlice(*each) for each in slices) for slices in data["slices"]]
        renditions = tuple(
            PlannedRendition(
                name=each["name"],
                kind=RenditionKind(each["kind"]),
                variant=each["variant"],
                reason=each["reason"],
                slices=cuts[each["slices"]],
                video=VideoEncoding.from_json(each["video"]) if each["video"] else None,
                encodes_audio=each["encodesAudio"],
            )
            for each in data["renditions"]
        )
        not_made = tuple(data["notMade"])
        return cls(
            data["fingerprint"], renditions, not_made, data["mp4"], data["asked"], data["final"]
        )


def slices_of(
    recording: Recording,
    variant: str,
    kind: RenditionKind,
    slice_seconds: float | None,
    *,
    idle: bool = True,
) -> tuple[Slice, ...]:
    """The slices of one variant, of the usual lengths of their kind or of ``slice_seconds`` each."""
    chosen = recording.variant(variant)
    playlist = chosen.playlists[0]
    slices = cut(playlist, idle=idle, lengths=lengths_of(kind, slice_seconds))
    return with_sound(slices, playlist, chosen.sound, idle=idle)


def lengths_of(kind: RenditionKind, slice_seconds: float | None) -> SliceLengths:
    """After how much media slices of a kind close, unless ``slice_seconds`` says it for all."""
    return _LENGTHS[kind] if slice_seconds is None else SliceLengths.all(slice_seconds)


def asked_of(session: Session) -> str:
    """What a session asks to be made, in a word that differs when that does.

    Settings are no part of it: workers whose settings differ must not plan against one another.
    """
    return _digest([session.model_dump_json(include={"profiles"}, exclude_unset=True)])


def sound_identity(slices: Iterable[str]) -> str:
    """Which input encoding the sound of these slices (by identity) is for."""
    return _digest([SOUND, *slices])


def kind_of(decided: Rendition) -> RenditionKind:
    """How a rendition of a plan is made."""
    return RenditionKind.TRANSCODE if isinstance(decided, Transcode) else RenditionKind.COPY


def _planned(
    decided: Rendition, recording: Recording, slice_seconds: float | None, *, ended: bool
) -> PlannedRendition:
    kind = kind_of(decided)
    slices = _planned_slices(recording, decided.variant, kind, slice_seconds, ended=ended)
    planned = PlannedRendition(decided.name, kind, decided.variant, decided.reason, slices)
    if isinstance(decided, Transcode):
        return replace(planned, video=decided.video, encodes_audio=decided.encodes_audio)
    return planned


def _planned_slices(
    recording: Recording,
    variant: str,
    kind: RenditionKind,
    slice_seconds: float | None,
    *,
    ended: bool,
) -> tuple[PlannedSlice, ...]:
    """All slices of a variant, or those up to the first that may still grow."""
    slices = slices_of(recording, variant, kind, slice_seconds, idle=ended)
    settled = itertools.takewhile(lambda each: each.settled, slices)
    return tuple(PlannedSlice(each.identity, round(each.duration, 6)) for each in settled)


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()
