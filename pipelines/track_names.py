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

    def find(self, number: int) -> str | None:
        """The name of a PID or track_ID in the period that is open; None while it has none."""
        return self._names.get(number)

    def get(self, track: PackagedTrack) -> str:
        """The name of a PID; one of its own while it has none."""
        return self._names[track.track] if self._knows(track) else f"PID {track.track}"

    def take_over(self, run: PackagedRun) -> None:
        """Let PIDs that appear within a period go on as those that end where they begin."""
        kinds = {track.track: track.kind for track in run.tracks}
        ended = {
            number: name
            for number, name in self._names.items()
            if number in self._last and not _is_of(name, kinds.get(number))
        }
        pairs: dict[int, str] = {}
        for kind in TrackKind:
            following = [t for t in run.tracks if t.kind is kind and not self._knows(t)]
            pairs |= self._paired(following, [n for n in ended.values() if _is_of(n, kind)])
        self._names = {
            number: name
            for number, name in self._names.items()
            if not (number in ended and name in pairs.values())
            and (number not in kinds or _is_of(name, kinds[number]))
        } | pairs

    def open_period(self, run: PackagedRun) -> None:
        """Say which track of a new period goes on as which track of the movie.

        The same PIDs of the same kind with the same languages mean the same tracks; others are told
        by language, and where that does not tell, by their order.
        """
        sounds = [track for track in run.tracks if track.kind is TrackKind.AUDIO]
        known = [name for name in self._languages if name.startswith(TrackKind.AUDIO)]
        swapped = len(known) > 1 and any(
            _differ(self._languages[self._names[each.track]], each.language)
            for each in sounds
            if self._knows(each)
        )
        if all(self._knows(track) for track in sounds) and not swapped:
            if not all(self._knows(track) for track in run.tracks):
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

    def _knows(self, track: PackagedTrack) -> bool:
        """Whether its PID has a name: one that had pictures, and has sound now, is another track."""
        return _is_of(self._names.get(track.track, ""), track.kind)

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


def _is_of(name: str, kind: TrackKind | None) -> bool:
    """Whether a track of that name is of this kind; of None there is no track."""
    return kind is not None and name.startswith(kind)


def _differ(one: str, other: str) -> bool:
    return one != other and UNDETERMINED not in (one, other)
