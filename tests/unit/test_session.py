"""Sessions and profiles: every field on the wire, every bad value named, merging by PUT's rules."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.profile import Encoder, FfmpegProfile
from pipelines.session import (
    CLOCK_TOLERANCE_MS,
    LARGEST_DOCUMENT,
    FieldError,
    Phase,
    RecordingStatus,
    Session,
    merge,
    recording_status,
)

NOW = 1_763_800_000_000
PROFILE = {"name": "720p0", "width": 1280, "height": 720, "bitrate": 3_000_000, "fps": 0}
#: Every field of Livepeer's Session, as the SDK sends it: all numbers are floats.
WIRE = {
    "id": "de7818e7-610a-4057-8f6f-b785dc1e6f88",
    "kind": "stream",
    "userId": "u-1",
    "name": "video+eaw4nk06ts2d0mzb",
    "lastSeen": 1.7638e12,
    "sourceSegments": 3.0,
    "transcodedSegments": 6,
    "sourceSegmentsDuration": 29.97,
    "transcodedSegmentsDuration": 59.94,
    "sourceBytes": 594828,
    "transcodedBytes": 12,
    "ingestRate": 1000.5,
    "outgoingRate": 0,
    "isHealthy": None,
    "issues": ["Buffer underflow"],
    "createdAt": 1763799000000,
    "parentId": "p-1",
    "projectId": "pr-1",
    "record": True,
    "playbackId": "eaw4nk06ts2d0mzb",
    "profiles": [
        PROFILE
        | {"fpsDen": 1001, "quality": 23, "gop": "2.0", "profile": "H264High", "encoder": "HEVC"}
    ],
    "recordingSpec": {"profiles": [{"bitrate": 1}]},
}


def refused(patch, session=None, session_id="s1"):
    with pytest.raises(FieldError) as error:
        merge(session, session_id, patch, NOW)
    return error.value


def profile(**changes):
    return {"profiles": [PROFILE | changes]}


def test_profiles_of_null_are_as_if_never_given():
    absent, _ = merge(None, "s1", {"profiles": None}, NOW)
    assert "profiles" not in absent.model_fields_set
    given, _ = merge(absent, "s1", profile(), NOW)
    assert given.profiles[0].name == PROFILE["name"]
    taken_back, _ = merge(given, "s1", {"profiles": None}, NOW)
    assert "profiles" not in taken_back.model_fields_set
    none, _ = merge(given, "s1", {"profiles": []}, NOW)
    assert "profiles" in none.model_fields_set


def test_every_field_survives_the_wire_and_unknown_ones_are_kept():
    wire = WIRE | {"fromTheFuture": {"a": [1, None]}}
    wire["profiles"] = [wire["profiles"][0] | {"chroma": "420"}]
    session, notes = merge(None, WIRE["id"], wire, NOW)
    assert json.loads(session.model_dump_json(exclude_unset=True)) == wire
    assert session.last_seen == 1763800000000
    assert isinstance(session.last_seen, int)
    assert session.profiles[0].fps_den == 1001
    assert notes == ()


def test_snake_case_is_read_too():
    session, _ = merge(None, "s1", {"last_seen": NOW, "source_url": "s3://bb/x"}, NOW)
    assert (session.last_seen, session.source_url) == (NOW, "s3://bb/x")
    assert "lastSeen" in session.model_dump()


def test_every_field_has_a_description_for_the_api():
    for model in (Session, FfmpegProfile):
        for name, field in model.model_json_schema()["properties"].items():
            assert field.get("description"), name


@pytest.mark.parametrize(
    ("field", "patch"),
    [
        ("lastSeen", {"lastSeen": 1_763_800_000}),
        ("lastSeen", {"lastSeen": -1}),
        ("lastSeen", {"lastSeen": "1763800000000"}),
        ("lastSeen", {"lastSeen": True}),
        ("lastSeen", {"lastSeen": None}),
        ("lastSeen", {"lastSeen": 10**400}),
        ("createdAt", {"createdAt": 1_763_800_000}),
        ("id", {"id": "other"}),
        ("sourceBytes", {"sourceBytes": -1}),
        ("sourceBytes", {"sourceBytes": float("nan")}),
        ("sourceBytes", {"sourceBytes": float("inf")}),
        ("record", {"record": "yes"}),
        ("isHealthy", {"isHealthy": 1}),
        ("issues", {"issues": "none"}),
        ("issues.0", {"issues": [1]}),
        ("playbackId", {"playbackId": 1}),
        ("recordingSpec", {"recordingSpec": []}),
        ("sourceUrl", {"sourceUrl": "file:///etc/passwd"}),
        ("sourceUrl", {"sourceUrl": "https://me:secret@host/x"}),
        ("odd", {"odd": "\ud800"}),
        ("odd", {"odd": float("nan")}),
        ("profiles.0.gop", profile(gop="901")),
        ("profiles.0.fpsDen", profile(fps=1_000_003, fpsDen=5000)),
        ("profiles", {"profiles": [PROFILE] * 101}),
        ("profiles", {"profiles": [PROFILE, PROFILE | {"name": "720P0"}]}),
        ("profiles", {"profiles": [PROFILE, dict(PROFILE)]}),
        (
            "profiles.0.bitrate",
            {"profiles": [{k: v for k, v in PROFILE.items() if k != "bitrate"}]},
        ),
        ("profiles.0.width", profile(width=127)),
        ("profiles.0.width", profile(width=1280.5)),
        ("profiles.0.height", profile(height="720")),
        ("profiles.0.bitrate", profile(bitrate=399)),
        ("profiles.0.fps", profile(fps=-1)),
        ("profiles.0.fpsDen", profile(fpsDen=0)),
        ("profiles.0.fpsDen", profile(fps_den=0)),
        ("profiles.0.quality", profile(quality=45)),
        ("profiles.0.gop", profile(gop="-1")),
        ("profiles.0.gop", profile(gop="nan")),
        ("profiles.0.gop", profile(gop=True)),
        ("profiles.0.profile", profile(profile="H264Extended")),
        ("profiles.0.encoder", profile(encoder="AV1")),
        ("profiles.0.encoder", profile(encoder="VP8")),
        ("profiles.0.name", profile(name="")),
        ("profiles.0.name", profile(name="a/b")),
        ("profiles.0.name", profile(name="../x")),
        ("profiles.0.name", profile(name=".hidden")),
        ("profiles.0.name", profile(name="a\n")),
        ("profiles.0.name", profile(name="x" * 101)),
        ("profiles.0.name", profile(name="Source")),
        ("profiles.0.name", profile(name="recording")),
        ("profiles.0.name", profile(name="720p.mp4")),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_field(field, patch):
    error = refused(patch)
    assert error.field == field
    assert error.message.startswith(f"{field}: ")
    assert "secret" not in error.message


@pytest.mark.parametrize("session_id", ["", "a b", "a/b", "x" * 65, "é"])
def test_an_id_must_be_plain(session_id):
    assert refused({}, session_id=session_id).field == "id"


@pytest.mark.parametrize(
    ("given", "read"), [(2, "2"), (2.0, "2.0"), ("2", "2"), (0, "0"), ("intra", "intra")]
)
def test_gop_is_seconds_or_intra(given, read):
    assert FfmpegProfile(**PROFILE | {"gop": given}).gop == read


def test_old_spellings_of_encoders_are_read_and_vp8_is_explained():
    for old, encoder in (("h264", Encoder.H264), ("hevc", Encoder.HEVC), ("vp9", Encoder.VP9)):
        assert FfmpegProfile(**PROFILE | {"encoder": old}).encoder is encoder
    assert "MP4" in refused(profile(encoder="vp8")).message


def test_a_new_session_takes_its_defaults():
    session, notes = merge(None, "s1", {}, NOW)
    assert (session.id, session.name, session.created_at, session.last_seen) == ("s1", "s1", NOW, 0)
    assert session.active_at == NOW
    assert notes == ()


def test_a_heartbeat_changes_nothing_but_last_seen():
    session, _ = merge(None, WIRE["id"], WIRE | {"unknown": 1}, NOW)
    later, _ = merge(session, session.id, {"lastSeen": NOW + 1000}, NOW + 1000)
    assert later.model_dump() == session.model_dump() | {"lastSeen": NOW + 1000}


def test_last_seen_never_moves_backwards_and_created_at_is_taken_once():
    session, _ = merge(None, "s1", {"lastSeen": NOW, "createdAt": NOW - 5000}, NOW)
    later, notes = merge(session, "s1", {"lastSeen": NOW - 1, "createdAt": NOW - 9}, NOW + 5)
    assert (later.last_seen, later.created_at, notes) == (NOW, NOW - 5000, ())


def test_a_time_in_the_future_is_set_to_now_and_noted():
    ahead = NOW + CLOCK_TOLERANCE_MS
    session, notes = merge(None, "s1", {"lastSeen": ahead}, NOW)
    assert (session.last_seen, notes) == (ahead, ())
    session, notes = merge(None, "s1", {"lastSeen": ahead + 1, "createdAt": ahead * 2}, NOW)
    assert (session.last_seen, session.created_at) == (NOW, NOW)
    assert [note.split()[0] for note in notes] == ["lastSeen", "createdAt"]


def test_what_get_returned_can_be_put_back():
    session, _ = merge(None, WIRE["id"], WIRE, NOW)
    shown = session.model_dump(mode="json") | {
        "recordingStatus": "ready",
        "recordingUrl": "https://evil.example/x",
        "mp4Url": "https://evil.example/y",
        "phase": "ready",
        "generation": 4,
        "error": None,
        "renditions": [],
    }
    again, notes = merge(session, session.id, shown, NOW + 1)
    assert json.loads(again.model_dump_json()) == json.loads(session.model_dump_json())
    assert notes == ()


@settings(deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "lastSeen": st.integers(NOW - 10**9, NOW + 10**9),
                "sourceSegments": st.integers(0, 100),
                "isHealthy": st.none() | st.booleans(),
                "x": st.integers(),
            },
        ),
        max_size=6,
    )
)
def test_merging_keeps_what_no_patch_names_and_only_moves_forward(patches):
    session = None
    for position, patch in enumerate(patches):
        before = session.last_seen if session else 0
        session, _ = merge(session, "s1", patch, NOW + position)
        assert before <= session.last_seen <= max(before, NOW + position + CLOCK_TOLERANCE_MS)
    for name in ("sourceSegments", "isHealthy", "x"):
        given_values = [patch[name] for patch in patches if name in patch]
        if given_values:
            assert session.model_dump()[name] == given_values[-1]


def test_a_document_cannot_grow_without_end_however_small_its_patches():
    session = None
    for number in range(LARGEST_DOCUMENT // 10_100):
        session, _ = merge(session, "s1", {f"unknown{number}": "é" * 5_000}, NOW)
    error = refused({"lastSeen": NOW, "last": "é" * 7_000}, session)
    assert error.field == "last"
    assert "set fields to null" in error.message
    smaller, _ = merge(session, "s1", {"unknown0": None}, NOW)
    grown, _ = merge(smaller, "s1", {"another": "e" * 9_000}, NOW)
    assert grown.model_dump()["another"] == "e" * 9_000


@pytest.mark.parametrize(
    ("phase", "fresh", "published"),
    [
        (Phase.LIVE, RecordingStatus.WAITING, RecordingStatus.WAITING),
        (Phase.FINALIZING, RecordingStatus.WAITING, RecordingStatus.READY),
        (Phase.READY, RecordingStatus.READY, RecordingStatus.READY),
        (Phase.FAILED, RecordingStatus.FAILED, RecordingStatus.READY),
        (Phase.EMPTY, RecordingStatus.NONE, RecordingStatus.NONE),
        (Phase.DELETED, RecordingStatus.DELETED, RecordingStatus.DELETED),
    ],
)
def test_the_public_status_follows_from_the_phase(phase, fresh, published):
    assert recording_status(phase, record=True) is fresh
    assert recording_status(phase, record=True, published=True) is published
    assert recording_status(phase, record=None) is None
    assert recording_status(phase, record=False, published=True) is None
