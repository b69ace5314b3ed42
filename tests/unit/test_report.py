"""The report: one form for every end, its JSON Schema, the verdict, and the origin's counters."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from pipelines.location import Location
from pipelines.loss import Loss, LossCause
from pipelines.playlist import MediaPlaylist, PlaylistKind, Segment, recording
from pipelines.rendition_report import DROPPED, unproven_report
from pipelines.report import (
    ReencodedReport,
    Report,
    SubtitleReport,
    Verdict,
    not_made_views,
    schema_text,
)
from pipelines.run_report import RunError, RunOrigin, report, verdict_of
from pipelines.session import Session
from tests.unit import reports_by_hand as made

SCHEMA = Path(__file__).parents[2] / "docs" / "report.schema.json"
FOLDER = Location.parse("s3://recordings/s1/")
ORIGIN = RunOrigin(7, 1, "9.0", "0.1.0", {"plan": 0.1234})


def listed(count=6):
    segments = tuple(Segment(n, FOLDER.child(f"{n}.ts"), 2.0) for n in range(count))
    place = FOLDER.child("index.m3u8")
    return recording(MediaPlaylist(place, segments, True, 2.0, PlaylistKind.VOD))


def told(*renditions, session=None, **options):
    seen = Session(id="s1", **(session or {}))
    return report(seen, listed(), renditions, "source", ORIGIN, **options)


def valid(written: Report):
    """The report as JSON, which the schema allows."""
    schema = json.loads(SCHEMA.read_text())
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    data = json.loads(json.dumps(written.to_json()))
    validator.validate(data)
    return data


def test_the_schema_is_that_of_the_code():
    assert SCHEMA.read_text() == schema_text(), (
        "docs/report.schema.json must hold what pipelines.report.schema_text() returns"
    )


def test_a_report_of_a_whole_recording_is_complete():
    data = valid(told(made.rendition()))
    assert (data["verdict"], data["reasons"], data["error"]) == ("complete", [], None)
    assert data["source"]["segments"] == 6
    assert data["run"]["timings"] == {
        "plan": 0.123, "package": 0.0, "transcode": 0.0, "assemble": 0.0, "verify": 0.0,
        "publish": None, "sinceRunBegan": 0.0,
    }  # fmt: skip


def test_the_schema_knows_every_key_and_no_other():
    data = valid(told(made.rendition()))
    schema = json.loads(SCHEMA.read_text())
    for broken in (
        {**data, "more": 1},
        {name: value for name, value in data.items() if name != "gaps"},
        {**data, "verdict": "good"},
        {**data, "renditions": [{**data["renditions"][0], "more": 1}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_a_failed_report_has_the_same_keys_and_says_what_was_found():
    loss = Loss(2, "s3://recordings/s1/2.ts", LossCause.SEGMENT_EMPTY, "no bytes", True, 2.0)
    (view,) = not_made_views([{"name": "source", "reason": "none"}])
    known = unproven_report({**view, "kind": "copy", "state": "failed"}, [loss])
    error = RunError("gap_refused", "there is a gap", ("source",))
    failed = valid(told(known, error=error))
    assert failed.keys() == valid(told(made.rendition())).keys()
    assert failed["renditions"][0].keys() == valid(told(made.rendition()))["renditions"][0].keys()
    assert (failed["verdict"], failed["error"]["code"]) == ("failed", "gap_refused")
    assert failed["reasons"][0] == "there is a gap"
    assert [each["segment"] for each in failed["losses"]] == [2]


def test_a_failed_report_without_a_recording_has_no_source():
    nothing = report(Session(id="s1"), None, (), None, ORIGIN, error=RunError("x", "y"))
    data = valid(nothing)
    assert (data["source"], data["renditions"], data["mp4"]) == (None, [], None)


SOUND = {"name": "audio", "codec": "aac"}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.COMPLETE),
        ({"repairs": [made.repair()]}, Verdict.REPAIRED),
        (
            {
                "reencoded": [
                    ReencodedReport(
                        track="video", segment=3, at=6.0, seconds=2.0, was="h264 640x360", made=""
                    )
                ]
            },
            Verdict.REPAIRED,
        ),
        ({"gaps": [made.gap()], "repairs": [made.repair()]}, Verdict.PARTIAL),
        ({"gaps": [made.gap(done="reported")]}, Verdict.PARTIAL),
        ({"gaps": [made.gap(cause="wall_clock", done="reported")]}, Verdict.COMPLETE),
        ({"losses": [made.loss()]}, Verdict.PARTIAL),
        ({"losses": [made.loss(whole=False, units=3)]}, Verdict.PARTIAL),
        ({"tracks": [made.track(**SOUND, inserted=9)]}, Verdict.REPAIRED),
        (
            {"tracks": [made.track(dropped=3)], "repairs": [made.repair(kind=DROPPED, units=3)]},
            Verdict.PARTIAL,
        ),
    ],
)
def test_the_verdict_follows_from_what_was_proven(changes, verdict):
    renditions = [made.rendition(), made.rendition(name="720p", **changes)]
    assert verdict_of(renditions) is verdict
    data = valid(told(*renditions))
    assert data["verdict"] == verdict
    assert bool(data["reasons"]) == (verdict is not Verdict.COMPLETE)
    assert all(reason.startswith("720p: ") for reason in data["reasons"])


def test_what_was_found_stands_at_the_top_with_its_rendition():
    renditions = [made.rendition(), made.rendition(name="720p", gaps=[made.gap()])]
    data = valid(told(*renditions))
    assert [(each["rendition"], each["at"]) for each in data["gaps"]] == [("720p", 4.0)]


def test_lost_subtitles_make_a_recording_partial():
    text = SubtitleReport(
        name="English",
        language="en",
        url=None,
        cues=0,
        left_out=0,
        reason="",
        losses=[made.loss()],
        losses_not_listed=0,
    )
    data = valid(told(made.rendition(), subtitles=[text]))
    assert (data["verdict"], data["losses"][0]["rendition"]) == ("partial", "English")


@pytest.mark.parametrize(
    ("session", "differing"),
    [
        ({}, []),
        ({"sourceSegments": 0, "sourceBytes": 0}, []),
        ({"sourceSegments": 6, "sourceSegmentsDuration": 12.0, "sourceBytes": 600}, []),
        ({"sourceSegments": 7, "sourceSegmentsDuration": 13.9, "sourceBytes": 700}, []),
        ({"sourceSegments": 8}, ["sourceSegments"]),
        ({"sourceSegments": 4}, ["sourceSegments"]),
        ({"sourceSegmentsDuration": 14.5}, ["sourceSegmentsDuration"]),
        ({"sourceBytes": 701}, ["sourceBytes"]),
    ],
)
def test_the_origins_counters_are_told_apart_by_more_than_a_segment(session, differing):
    data = valid(told(made.rendition(), session=session))
    assert [name for name, counter in data["counters"].items() if counter["differs"]] == differing
    assert data["verdict"] == "complete"
    assert len(data["reasons"]) == len(differing)
    for name, reason in zip(differing, data["reasons"], strict=True):
        assert name in reason


def test_lost_segments_are_not_found():
    lost = made.rendition(losses=[made.loss()], source_segments_lost=1, source_bytes=500)
    counters = valid(told(lost, session={"sourceSegments": 7}))["counters"]
    assert counters["sourceSegments"] == {"said": 7, "found": 5.0, "differs": True}
    assert counters["sourceSegmentsDuration"]["found"] == 10.0
