"""When a quiet session is taken to have ended."""

from __future__ import annotations

import pytest

from pipelines.location import Location
from pipelines.playlist import MediaPlaylist, PlaylistKind, Segment, recording
from worker.live_pace import SOONEST_MS
from worker.quiet import STILL_TARGETS, Quiet

FOLDER = Location.parse("https://host/rec/")


def listed(count, target=6.0):
    segments = tuple(Segment(n, FOLDER.child(f"{n}.ts"), target) for n in range(count))
    playlist = MediaPlaylist(
        FOLDER.child("index.m3u8"), segments, ended=False, target_duration=target,
        kind=PlaylistKind.EVENT,
    )  # fmt: skip
    return recording(playlist)


def looked(*readings, target=6.0):
    """What is known after readings of so many segments, each at a time (ms)."""
    quiet = Quiet("", 0, 0)
    for count, at in readings:
        quiet = quiet.seen(listed(count, target), at)
    return quiet.ends_in(listed(readings[-1][0], target))


def test_it_has_ended_once_its_playlist_stayed_the_same_for_two_segments():
    still = round(STILL_TARGETS * 6000)
    assert looked((3, 1000)) == still
    assert looked((3, 1000), (3, 4000)) == still - 3000
    assert looked((3, 1000), (3, 1000 + still)) == 0
    assert looked((3, 1000), (3, 1001 + 2 * still)) == 0


def test_a_playlist_that_grew_begins_to_be_still_anew():
    still = round(STILL_TARGETS * 6000)
    assert looked((3, 1000), (4, 1000 + still)) == still
    assert looked((3, 1000), (4, 5000), (4, 6000)) == still - 1000


@pytest.mark.parametrize("target", [0.0, 0.5])
def test_short_segments_are_waited_for_no_less_than_a_reading(target):
    assert looked((3, 1000), target=target) == SOONEST_MS
