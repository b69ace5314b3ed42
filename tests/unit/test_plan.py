"""The plan: the source always, a profile when a variant is what it asks for, each with a reason."""

from __future__ import annotations

import dataclasses
import json

import pytest

from pipelines.errors import ErrorCode, PermanentError
from pipelines.location import Location
from pipelines.plan import plan
from pipelines.playlist import (
    AudioRendition,
    Encryption,
    MediaPlaylist,
    PlaylistKind,
    Recording,
    Segment,
    Variant,
)
from pipelines.session import FfmpegProfile, Session

FOLDER = Location.parse("s3://recordings/rec1/")


def listed(name, **changes):
    segments = (
        Segment(0, FOLDER.child(f"{name}/0.ts"), 2.0),
        Segment(1, FOLDER.child(f"{name}/1.ts"), 2.0, **changes),
    )
    return MediaPlaylist(FOLDER.child(f"{name}.m3u8"), segments, True, 2.0, PlaylistKind.VOD)


def variant(name, width=None, height=None, bandwidth=0, **changes):
    known = {"width": width, "height": height, "bandwidth": bandwidth}
    playlists = (listed(name),)
    return Variant(name, FOLDER.child(f"{name}.m3u8"), **known | {"playlists": playlists} | changes)


def profile(name="wanted", width=1280, height=720, bitrate=3_000_000):
    return FfmpegProfile(name=name, width=width, height=height, bitrate=bitrate, fps=0)


def planned(variants, *profiles):
    session = Session(id="rec1", profiles=list(profiles))
    return plan(session, Recording(FOLDER.child("index.m3u8"), tuple(variants)))


LADDER = (
    variant("low", 640, 360, 800_000),
    variant("hd", 1280, 720, 3_100_000, average_bandwidth=2_500_000),
    variant("hd-rich", 1280, 720, 6_000_000),
    variant("hd-again", 1280, 720, 6_000_000),
    variant("sound", bandwidth=9_000_000),
)


def test_the_source_is_the_best_variant_by_size_then_rate_then_order():
    made = planned(LADDER)
    assert [(copy.name, copy.variant) for copy in made.renditions] == [("source", "hd-rich")]
    assert made.renditions[0].reason == "The best of 5 variants: 1280x720 at 6000000 bit/s."
    assert (made.mp4, made.renditions[0].object_name) == ("source", "source.mp4")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (profile("LOW", 1920, 1080, 400), "low"),
        (profile(), "hd"),
        (profile(bitrate=2_100_000), "hd"),
        (profile(bitrate=2_000_000), None),
        (profile(bitrate=7_500_000), "hd-rich"),
        (profile(bitrate=7_600_000), None),
        (profile(width=1283, height=718), "hd"),
        (profile(width=1284), None),
        (profile(height=1080), None),
        (profile(width=640, height=361, bitrate=800_000), "low"),
    ],
)
def test_a_profile_is_copied_from_the_variant_that_is_what_it_asks_for(wanted, found):
    made = planned(LADDER, wanted)
    copies = {copy.name: copy for copy in made.renditions[1:]}
    if found is None:
        assert not copies
        assert [(missed.name, bool(missed.reason)) for missed in made.not_made] == [
            ("wanted", True)
        ]
    else:
        assert copies[wanted.name].variant == found
        assert copies[wanted.name].reason
        assert made.not_made == ()


def test_a_recording_of_unknown_size_matches_by_name_only():
    made = planned([variant("source")], profile(), profile("720p0"))
    assert [copy.variant for copy in made.renditions] == ["source"]
    assert [missed.name for missed in made.not_made] == ["wanted", "720p0"]
    assert "1280x720 at about 3000000 bit/s" in made.not_made[0].reason


def test_a_plan_is_plain_json():
    shown = planned(LADDER, profile(), profile("odd", 128, 128)).to_json()
    assert json.loads(json.dumps(shown)) == shown
    assert [(r["kind"], r["name"]) for r in shown["renditions"]] == [
        ("copy", "source"),
        ("copy", "wanted"),
    ]
    assert [profile["name"] for profile in shown["notMade"]] == ["odd"]


KEY = Encryption("AES-128", FOLDER.child("key"))
APART = (AudioRendition("en", "en", True, FOLDER.child("en.m3u8")),)
MUXED = (AudioRendition("en", "en", True, None),)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (
            {"playlists": (dataclasses.replace(listed("hd"), segments=()),)},
            ErrorCode.PLAYLIST_MISSING,
        ),
        ({"playlists": (listed("hd", gap=True),)}, ErrorCode.SEGMENT_MISSING),
        ({"playlists": (listed("hd", encryption=KEY),)}, ErrorCode.ENCRYPTION_UNSUPPORTED),
        ({"audio": APART}, ErrorCode.RENDITION_UNSUPPORTED),
    ],
)
def test_what_cannot_be_copied_whole_is_refused(changes, code):
    broken = variant("hd", 1280, 720, 3_000_000, **changes)
    with pytest.raises(PermanentError) as refused:
        planned([broken, variant("low", 640, 360)])
    assert refused.value.code is code
    with pytest.raises(PermanentError):
        planned([variant("4k", 3840, 2160), broken], profile())
    assert planned([variant("4k", 3840, 2160), broken]).renditions[0].variant == "4k"


def test_muxed_audio_of_a_group_is_no_obstacle():
    assert planned([variant("hd", 1280, 720, audio=MUXED)]).renditions
