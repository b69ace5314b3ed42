"""The report of a live window that slid: what is kept of it, and what nobody can have any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.listing import never_listed
from pipelines.report import WindowReport

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pipelines.playlist import Recording


def window_report(
    recording: Recording,
    gone: Collection[tuple[int, str]] = (),
    earlier_revisions: Sequence[int] = (),
    forgotten: int = 0,
) -> WindowReport | None:
    """What became of the recording's window; None when it always listed everything.

    ``gone`` are segments (media sequence and location) that the source does not hold any more,
    ``earlier_revisions`` those that hold media which the recording lists no longer, ``forgotten``
    is how many segments slid away that only a run knew which has failed.
    """
    playlists = recording.source.playlists[:1]
    slid = [each for playlist in playlists for each in playlist.slid]
    restarts = [number for playlist in playlists for number in playlist.restarts]
    missed = never_listed(recording.source.segments)
    if not (slid or restarts or missed or earlier_revisions or forgotten):
        return None
    return WindowReport(
        segments=len(slid),
        seconds=round(sum(each.duration for each in slid), 6),
        not_at_source=sum((each.sequence, str(each.location)) in gone for each in slid),
        never_listed=missed,
        forgotten=forgotten,
        restarts=restarts,
        earlier_revisions=[*earlier_revisions],
    )


def window_reasons(window: WindowReport) -> Iterator[str]:
    """What a window means for the recording, a sentence for each thing."""
    if window.segments:
        yield (
            f"{window.segments} segments ({window.seconds:.3f} s) slid out of the live playlist and"
            " are kept."
        )
    if window.not_at_source:
        yield (
            f"{window.not_at_source} of them are not at their source any more: they are gaps in the"
            " VOD playlist, not in the MP4s."
        )
    if window.never_listed:
        yield f"{window.never_listed} segments slid away before any look saw them listed."
    if window.forgotten:
        yield f"{window.forgotten} segments that an earlier run knew slid away, and failed with it."
    if window.restarts:
        numbers = ", ".join(map(str, window.restarts))
        yield f"The origin began its playlist anew at segment {numbers}."
    if window.earlier_revisions:
        numbers = ", ".join(f"r{number}" for number in window.earlier_revisions)
        yield f"What the playlist listed before is in {numbers} alone, which is kept."
