"""What a finished movie lacks of its source, in words: gaps, losses, and samples that are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.gap import ALL_TRACKS, GapCause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.movie_tables import MovieTables


def missing_media(tables: MovieTables) -> Iterator[str]:
    """All that is missing, a sentence each without its full stop. Hours of which the clock on the
    wall tells that nothing was recorded are not."""
    for gap in tables.gaps:
        if gap.cause is not GapCause.WALL_CLOCK:
            what = "media" if gap.track == ALL_TRACKS else gap.track
            where = f"{gap.at:.3f} s of the recording: {gap.detail}"
            yield f"{gap.duration:.3f} s of {what} are missing at {where}"
    for loss in tables.losses:
        lost = "is lost" if loss.whole else "is lost in part"
        yield f"segment {loss.sequence} ({loss.location}) {lost}: {loss.detail}"
    for each in tables.dropped:
        where = f"{each.at:.3f} s of the recording"
        yield f"{each.samples} samples of {each.track} at {where} are left out: {each.cause}"
