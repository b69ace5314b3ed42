"""The laws of reports find what contradicts itself."""

from __future__ import annotations

import pytest

from pipelines.report import ChecksumReport
from pipelines.run_report import RunOrigin, report
from pipelines.session import Session
from tests.report_laws import broken_laws
from tests.unit import reports_by_hand as made

SOUND = {"name": "audio", "codec": "aac", "expected": 563, "copied": 563, "seconds": 12.01}
TIMINGS = {"assemble": 0.1, "verify": 0.2, "publish": 0.1, "since_run_began": 1.0}


def told(**changes):
    """The report of a recording with pictures and sound, as JSON."""
    checksum = ChecksumReport(algorithm="CRC64NVME", value="x", composite=False, told_by="store")
    whole = {
        "tracks": [made.track(), made.track(**SOUND)],
        "checksums": [checksum],
        "duration": 12.01,
        "end_skew": 0.01,
    }
    origin = RunOrigin(7, 1, "9.0", "0.1.0", TIMINGS)
    rendition = made.rendition(**{**whole, **changes})
    return report(Session(id="s1"), None, [rendition], "source", origin).to_json()


def sound(**changes):
    return [made.track(), made.track(**{**SOUND, **changes})]


def test_reports_that_contradict_nothing_keep_them():
    assert broken_laws(told()) == []
    gap = made.gap(wall_clock="2026-01-01T12:00:04.000Z")
    lost = {"losses": [made.loss()], "source_segments_lost": 1}
    assert broken_laws(told(gaps=[gap], tracks=sound(inserted=94), **lost)) == []


@pytest.mark.parametrize(
    ("changes", "law"),
    [
        ({"tracks": sound(expected=600)}, "600 expected, 563 accounted for"),
        ({"tracks": sound(dropped=1, expected=564)}, "1 dropped, 0 told"),
        ({"tracks": sound(inserted=9)}, "9 inserted where nothing is missing"),
        ({"tracks": sound(repeated=9, expected=572)}, "9 repeated, 0 told"),
        ({"tracks": sound(re_encoded=9, expected=572)}, "9 encoded anew, told False"),
        ({"tracks": sound(seconds=13.0)}, "a track lasts 13.0 s"),
        ({"start_skew": 0.04}, "its ends say"),
        ({"tracks": [made.track()]}, "a skew without two tracks"),
        ({"periods": []}, "periods begin at"),
        ({"gaps": [made.gap()]}, "is told of [2], lost are []"),
        ({"gaps": [made.gap(duration=-0.4)]}, "lasts -0.4 s"),
        ({"gaps": [made.gap(at=11.0)]}, "ends at 13.0"),
        ({"gaps": [made.gap(track="audio7")]}, "there is no such track"),
        ({"gaps": [made.gap(), made.gap(at=5.0)]}, "begins before the last one ended"),
        ({"gaps": [made.gap(cause="wall_clock")]}, "although nothing is missing"),
        ({"losses": [made.loss()]}, "0 segments lost, 1 told"),
        ({"losses": [made.loss(segments=2)], "source_segments_lost": 2}, "2 segments from 2 to 2"),
        ({"checksums": []}, "no checksum"),
        ({"duration_differs": True}, "said to differ"),
    ],
)
def test_what_contradicts_itself_is_found(changes, law):
    assert any(law in each for each in broken_laws(told(**changes)))


@pytest.mark.parametrize(
    ("change", "law"),
    [
        ({"verdict": "complete"}, "complete, with"),
        ({"reasons": []}, "no reason"),
        ({"gaps": []}, "gaps of the whole"),
        ({"run": {"ffmpegVersion": None}}, "what did the work"),
        ({"run": {"timings": {}}}, "what did the work"),
    ],
)
def test_what_contradicts_the_renditions_is_found(change, law):
    whole = told(gaps=[made.gap()], losses=[made.loss()], source_segments_lost=1)
    run = {**whole["run"], **change.pop("run", {})}
    run["timings"] = {name: run["timings"].get(name, 0.0) for name in whole["run"]["timings"]}
    assert any(law in each for each in broken_laws({**whole, **change, "run": run}))
