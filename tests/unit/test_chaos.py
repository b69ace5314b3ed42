"""What chaos draws, what its sessions are made of, and what its judge takes for harm."""

import json
from itertools import islice

from scripts.chaos_judge import Outcome, differences, normal
from scripts.chaos_schedule import StrikeKind, strikes
from scripts.chaos_sessions import SessionKind

PLAYLIST = (
    "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-MAP:URI=\"init.mp4\"\n"
    "#EXTINF:4.0,\na.m4s\n#EXTINF:4.0,\nb.m4s\n#EXTINF:2.0,\nc.m4s\n#EXT-X-ENDLIST\n"
)  # fmt: skip
FILES = {"a.m4s": b"a", "b.m4s": b"b", "c.m4s": b"c", "init.mp4": b"i"}


def test_a_seed_draws_the_same_strikes_and_each_kind_before_any_comes_twice():
    first = [*islice(strikes(7), 2 * len(StrikeKind))]
    assert first == [*islice(strikes(7), len(first))]
    assert first != [*islice(strikes(8), len(first))]
    for dealt in (first[: len(StrikeKind)], first[len(StrikeKind) :]):
        assert {strike.kind for strike in dealt} == {*StrikeKind}


def test_a_live_recording_grows_by_a_segment_at_a_time_and_never_ends():
    steps = SessionKind("a", FILES, PLAYLIST, live=True).grown()
    assert [names for names, _ in steps] == [("init.mp4", "a.m4s"), ("b.m4s",), ("c.m4s",)]
    assert [text.count("#EXTINF") for _, text in steps] == [1, 2, 3]
    assert all(text.startswith("#EXTM3U\n") and text.endswith(".m4s\n") for _, text in steps)


def report(**changes):
    told = {
        "verdict": "complete", "run": {"generation": 1}, "session": {"id": "x"},
        "source": {"fingerprint": "a", "segments": 3}, "renditions": [{"name": "source", "speed": 2.0}],
    }  # fmt: skip
    return json.dumps({**told, **changes}).encode()


def test_reports_of_equal_recordings_are_equal_whoever_made_them_and_when():
    one = report(run={"generation": 1}, renditions=[{"name": "source", "speed": 2.0}])
    other = report(run={"generation": 2}, renditions=[{"name": "source", "speed": 3.0}])
    assert normal("r/recording.json", one, "x") == normal("r/recording.json", other, "x")
    worse = report(verdict="partial")
    assert normal("r/recording.json", one, "x") != normal("r/recording.json", worse, "x")


def test_playlists_differ_by_more_than_the_session_and_the_revision():
    ours = normal("index.m3u8", b"http://vod/x-1/r2/source.mp4", "x-1")
    theirs = normal("index.m3u8", b"http://vod/y-7/r1/source.mp4", "y-7")
    assert ours == theirs
    assert normal("index.m3u8", b"http://vod/x-1/r2/web.mp4", "x-1") != theirs


def test_what_is_missing_too_much_or_another_is_told():
    undisturbed = Outcome({"a.mp4": "1", "b.mp4": "2", "c.m3u8": "x\ny"}, {})
    found = Outcome({"a.mp4": "1", "c.m3u8": "x\nz", "d.mp4": "3"}, {})
    assert differences(found, undisturbed) == [
        "b.mp4 is missing", "c.m3u8 is another one: 'z' instead of 'y'", "d.mp4 is one too many",
    ]  # fmt: skip
    assert differences(undisturbed, undisturbed) == []
