"""Which track of the movie each PID or track_ID of a run goes on as, also when encoders change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError
from pipelines.media import TrackKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.packaged_slice import PackagedRun, PackagedTrack

#: Most tracks of one kind.
MAX_TRACKS = 33
#: What mdhd says of a track without a language (ISO 639-2).
UNDETERMINED = "und"


class TrackNames:
    """Names of the movie's tracks (``video``, ``audio``, ``audio2`` …) by PID or track_ID.

    A name never vanishes, and always means the same track of the movie. Raises ``PermanentError``
    where one MP4 cannot hold them all.
    """

    def __init__(self) -> None:
        self._names: dict[int, str] = {}  # in the period that is open
        self._languages: dict[str, str] = {}  # of every track of the movie, in their order
        self._last: frozenset[int] = frozenset()  # PIDs of the last run

    def __getitem__(self, number: int) -> str:
        return self._names[number]

    def get(self, number: int) -> str:
        """The name of a PID; one of its own while it has none."""
        return self._names.get(number, f"PID {number}")

    def take_over(self, run: PackagedRun) -> None:
        """Let PIDs that appear within a period go on as those that end where they begin."""
        present = {track.track for track in run.tracks}
        new = [track for track in run.tracks if track.track not in self._names]
        for kind in TrackKind:
            following = [track for track in new if track.kind is kind]
            ended = [
                number
                for number, name in self._names.items()
                if number in self._last - present and name.startswith(str(kind))
            ]
            if not following or not ended:
                continue
            pairs = self._paired(following, [self._names[number] for number in ended])
            for number in ended:
                if self._names[number] in pairs.values():
                    del self._names[number]
            self._names |= pairs

    def open_period(self, run: PackagedRun) -> None:
        """Say which track of a new period goes on as which track of the movie.

        The same PIDs with the same languages mean the same tracks; others are told by language,
        and where that does not tell, by their order.
        """
        sounds = [track for track in run.tracks if track.kind is TrackKind.AUDIO]
        known = [name for name in self._languages if name.startswith(TrackKind.AUDIO)]
        swapped = len(known) > 1 and any(
            _differ(self._languages[self._names[each.track]], each.language)
            for each in sounds
            if each.track in self._names
        )
        if all(track.track in self._names for track in sounds) and not swapped:
            present = {track.track for track in run.tracks}
            if not present <= self._names.keys():
                self._names = {track.track: self._names[track.track] for track in sounds}
            return
        self._names = self._paired(sounds, known)

    def give(self, run: PackagedRun, where: str) -> None:
        """Name all tracks of a run that have no name yet."""
        for track in run.tracks:
            if track.track not in self._names:
                self._names[track.track] = self._free(track.kind, where)
            self._languages.setdefault(self._names[track.track], track.language)
        self._last = frozenset(track.track for track in run.tracks)

    def _free(self, kind: TrackKind, where: str) -> str:
        taken = set(self._names.values())
        names = [str(kind), *(f"{kind}{n}" for n in range(2, MAX_TRACKS + 1))]
        free = next((name for name in names if name not in taken), None)
        if free is None or (kind is TrackKind.VIDEO and free != names[0]):
            message = f"too many {kind} tracks at {where}"
            raise PermanentError(ErrorCode.RENDITION_UNSUPPORTED, message)
        return free

    def _paired(self, tracks: Sequence[PackagedTrack], names: Sequence[str]) -> dict[int, str]:
        """Which of ``names`` each track goes on as; tracks that are none of them are left out."""
        free, pairs = list(names), {}
        for track in tracks:
            same = [name for name in free if self._languages[name] == track.language]
            if same:
                pairs[track.track] = same[0]
                free.remove(same[0])
        rest = [track for track in tracks if track.track not in pairs]
        return pairs | {track.track: name for track, name in zip(rest, free, strict=False)}


def _differ(one: str, other: str) -> bool:
    return one != other and UNDETERMINED not in (one, other)
