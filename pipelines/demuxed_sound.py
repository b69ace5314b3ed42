"""Sound in playlists of its own, packaged into memory: it is laid between the pictures of a slice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pipelines.copied_runs import copy_runs, source_sizes
from pipelines.errors import ErrorCode, PermanentError
from pipelines.language import UNDETERMINED, iso_639_2
from pipelines.last_resort import spare_the_rest
from pipelines.media import TrackKind
from pipelines.sample_proof import compare_listed
from pipelines.sound_account import SoundAccount
from pipelines.sound_hand_out import SoundHandOut
from pipelines.sound_run import SoundRun, track_number
from pipelines.sound_track import regrouped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from fractions import Fraction

    from pipelines.copied_runs import CopiedRuns
    from pipelines.loss import Loss
    from pipelines.package import Packager
    from pipelines.packaged_slice import PackagedRun, PackagedTrack
    from pipelines.repair import Repair
    from pipelines.slices import Slice
    from pipelines.sound_windows import SoundWindow

#: Bytes that the sound of one slice may have: it is held in memory.
MAX_BYTES = 256 << 20


@dataclass(frozen=True, eq=False)
class DemuxedSound:
    """The sound of all windows of a slice, in memory; ``payload`` holds its frames."""

    work: Slice
    runs: tuple[SoundRun, ...] = ()
    payload: bytes = b""
    source_bytes: int = 0
    losses: tuple[Loss, ...] = ()
    repairs: tuple[Repair, ...] = ()
    account: SoundAccount = field(default_factory=SoundAccount)  #: what must be handed out

    def hand_out(self, max_hole: Fraction) -> SoundHandOut:
        """Begin to hand it out to the runs of the slice's pictures; once for each way through."""
        return SoundHandOut(self, max_hole)


def demuxed_sound(
    work: Slice,
    packager: Packager,
    sizes: Sequence[Mapping[int, int]],
    checkpoint: Callable[[], None],
) -> DemuxedSound:
    """Package the sound of the slice's windows, whose segments have ``sizes`` by media sequence.

    Raises as ``package_slice`` does; ``bitrate_too_high`` when it does not fit in memory. What is lost of it is noted, and is no
    reason to refuse anything.
    """
    memory, account = SoundMemory(), SoundAccount()
    runs: list[SoundRun] = []
    losses: list[Loss] = []
    repairs: list[Repair] = []
    source_bytes = 0
    for window, known in zip(work.sound, sizes, strict=True):
        source_bytes += sum(known.values())
        made = _copied(window.work, packager, known, memory, checkpoint)
        compare_listed(window.work.segments, made.runs, made.losses, made.repairs)
        for track in _sound_of(made):
            account.note(track_number(window, track.track), track.expected)
        runs += filter(None, (_sound_run(window, run, memory.held) for run in made.runs))
        losses += (replace(each, rendition=window.name) for each in made.losses)
        repairs += (_numbered_apart(window, each) for each in made.repairs)
    return DemuxedSound(
        work,
        tuple(runs),
        bytes(memory.held),
        source_bytes,
        tuple(losses),
        tuple(repairs),
        account,
    )


def _numbered_apart(window: SoundWindow, repair: Repair) -> Repair:
    counts = ((track_number(window, number), units) for number, units in repair.by_track)
    return replace(repair, rendition=window.name, by_track=tuple(counts))


def _sound_of(made: CopiedRuns) -> Iterator[PackagedTrack]:
    return (each for run in made.runs for each in run.tracks if each.kind is TrackKind.AUDIO)


def _copied(
    work: Slice,
    packager: Packager,
    known: Mapping[int, int],
    memory: SoundMemory,
    checkpoint: Callable[[], None],
) -> CopiedRuns:
    """The runs of one window, without segments that keep the others from being made."""
    begin = len(memory.held)

    def copied(each: Slice, taking: SoundMemory) -> CopiedRuns:
        sizes = known if each is work else source_sizes(each, packager)
        return copy_runs(each, packager, sizes, taking, checkpoint)

    def made(each: Slice) -> CopiedRuns:
        del memory.held[begin:]
        return copied(each, memory)

    return spare_the_rest(work, made, lambda each: copied(each, SoundMemory()))


class SoundMemory:
    """Takes the sound of one slice into memory."""

    def __init__(self) -> None:
        self.held = bytearray()

    def write(self, data: memoryview) -> int:
        """Append ``data``; its offset in the payload."""
        offset = len(self.held)
        if offset + len(data) > MAX_BYTES:
            message = f"the sound of one slice is larger than {MAX_BYTES >> 20} MiB"
            raise PermanentError(ErrorCode.BITRATE_TOO_HIGH, message)
        self.held += data
        return offset


def _sound_run(window: SoundWindow, run: PackagedRun, held: bytearray) -> SoundRun | None:
    """The sound of a packaged run, its tracks numbered apart; None when it has none."""
    language = iso_639_2(window.language)
    tracks = []
    for track in run.tracks:
        if track.kind is TrackKind.AUDIO and len(track.samples):
            named = replace(
                track,
                track=track_number(window, track.track),
                language=track.language if language == UNDETERMINED else language,
            )
            tracks.append(regrouped(named, held))
    if not tracks:
        return None
    [first] = (s for s in window.work.segments if s.sequence == run.first_sequence)
    return SoundRun(window, first.discontinuity_sequence, run, tuple(tracks))
