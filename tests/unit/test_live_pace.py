"""When a session that is live is looked at, and when it is due."""

import pytest

from pipelines.location import Location
from pipelines.playlist import MediaPlaylist, PlaylistKind, Segment, recording
from pipelines.session import Phase, Session
from worker.live_pace import (
    FIRST_LOOK_MS,
    LATEST_MS,
    SOONEST_MS,
    look_due,
    pause_ms,
    pause_while_away_ms,
)
from worker.records import SessionRecord

SEEN = 1_763_794_800_000


def listed(count, kind=PlaylistKind.EVENT, seconds=6.0):
    place = Location.parse("s3://recordings/s1/index.m3u8")
    segments = tuple(Segment(n, place.folder.child(f"{n}.ts"), seconds) for n in range(count))
    return recording(MediaPlaylist(place, segments, False, seconds, kind))


@pytest.mark.parametrize(
    ("kind", "count", "unsettled", "pause"),
    [
        (PlaylistKind.EVENT, 5, [150.0], 156_000),
        (PlaylistKind.EVENT, 5, [150.0, 30.0], 36_000),
        (PlaylistKind.EVENT, 5, [0.0], 6_000),
        (PlaylistKind.EVENT, 5, [], 6_000),
        (PlaylistKind.EVENT, 5, [900.0], LATEST_MS),
        (PlaylistKind.LIVE, 5, [150.0], 10_000),
        (PlaylistKind.LIVE, 1, [150.0], SOONEST_MS),
        (PlaylistKind.LIVE, 100, [30.0], 36_000),
    ],
)
def test_the_playlist_is_read_when_the_next_slice_settles_or_a_window_may_slide(
    kind, count, unsettled, pause
):
    assert pause_ms(listed(count, kind), unsettled) == pause


@pytest.mark.parametrize(
    ("away", "pause"),
    [(0, FIRST_LOOK_MS), (100_000, 10_000), (86_400_000, LATEST_MS)],
)
def test_a_playlist_that_is_away_is_looked_for_ever_more_rarely(away, pause):
    assert pause_while_away_ms(away) == pause


@pytest.mark.parametrize(
    ("look_at", "phase", "recorded", "due"),
    [
        (SEEN, Phase.LIVE, True, SEEN),
        (0, Phase.LIVE, True, None),
        (SEEN, Phase.LIVE, False, None),
        (SEEN, Phase.FINALIZING, True, None),
        (SEEN, Phase.READY, True, None),
    ],
)
def test_only_a_session_that_is_live_and_recorded_is_looked_at(look_at, phase, recorded, due):
    session = Session(id="s1", last_seen=SEEN, record=recorded)
    assert (
        look_due(SessionRecord(session=session, phase=phase, phase_since=0, look_at=look_at)) == due
    )
