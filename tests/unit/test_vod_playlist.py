"""VOD playlists: what we write, our own strict reader reads back as it was."""

from __future__ import annotations

import dataclasses
import subprocess
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.location import Location
from pipelines.m3u8 import parse
from pipelines.playlist import ByteRange, Encryption, InitSection, PlaylistKind, Segment
from pipelines.vod_playlist import (
    MediaType,
    PeriodMark,
    VodMedia,
    VodVariant,
    marked,
    media_playlist,
    multivariant_playlist,
    period_marks,
    subtitle_playlist,
)
from pipelines.vod_segments import lacking

FOLDER = Location.parse("https://cdn.example/rec/")
PLAYLIST = FOLDER.child("index.m3u8")


def url(location):
    return location.url


def read(text):
    return parse(text.encode(), PLAYLIST, allowed=[FOLDER])


def segment(sequence, **changes):
    return Segment(sequence, FOLDER.child(f"{sequence}.ts"), 2.0, **changes)


def test_a_plain_playlist_is_as_small_as_can_be():
    assert media_playlist([segment(0), segment(1)], lambda location: location.path[5:]) == (
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n"
        "#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:2.000000,\n0.ts\n#EXTINF:2.000000,\n1.ts\n#EXT-X-ENDLIST\n"
    )


def test_the_target_duration_covers_the_longest_segment():
    written = media_playlist([dataclasses.replace(segment(0), duration=5.78)], url)
    assert "#EXT-X-TARGETDURATION:6\n" in written
    assert "#EXT-X-TARGETDURATION:1\n" in media_playlist([], url)


KEYS = st.none() | st.builds(
    Encryption,
    st.just("AES-128"),
    st.sampled_from([FOLDER.child("k1"), FOLDER.child('k"2')]),
    st.sampled_from([None, bytes(range(16))]),
)
INITS = st.none() | st.builds(
    InitSection,
    st.sampled_from([FOLDER.child("i.mp4"), FOLDER.child("j k.mp4")]),
    st.sampled_from([None, ByteRange(0, 800)]),
    KEYS,
)
CLOCKS = st.none() | st.integers(0, 10**9).map(
    lambda ms: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
)


@st.composite
def timelines(draw):
    init = draw(INITS)
    number, tags = draw(st.integers(0, 10**6)), draw(st.integers(0, 9))
    segments = []
    for position in range(draw(st.integers(1, 12))):
        discontinuity = draw(st.booleans())
        tags += discontinuity
        init = (draw(INITS) or init) if discontinuity else init
        name = draw(st.sampled_from(["a", "b c", "#x", 'q"', "ü", "100%", "a,b", "x?y"]))
        segments.append(
            Segment(
                sequence=number + position,
                location=FOLDER.child(f"{name}{position}.ts"),
                duration=draw(st.integers(0, 30_000_000)) / 1e6,
                byte_range=draw(st.none() | st.builds(ByteRange, st.integers(0, 9), st.just(5))),
                init_section=init,
                encryption=draw(KEYS),
                discontinuity=discontinuity,
                discontinuity_sequence=tags,
                gap=draw(st.booleans()),
                program_date_time=draw(CLOCKS),
            )
        )
    return tuple(segments)


@settings(deadline=None)
@given(timelines())
def test_what_is_written_reads_back_as_it_was(segments):
    again = read(media_playlist(segments, url))
    assert again.segments == segments
    assert (again.ended, again.kind) == (True, PlaylistKind.VOD)
    assert again.target_duration >= max(segment.duration for segment in segments)


def test_an_implied_iv_is_spelled_out_once_the_numbers_have_moved():
    key = Encryption("AES-128", FOLDER.child("k"))
    kept = [segment(7, encryption=key), segment(9, encryption=key)]
    ivs = [found.encryption.iv for found in read(media_playlist(kept, url)).segments]
    assert ivs == [None, (9).to_bytes(16, "big")]


@pytest.mark.parametrize(
    ("returned", "line"),
    [
        ("a b.ts", "a%20b.ts"),
        ("a%20b.ts", "a%20b.ts"),
        ("100%.ts", "100%25.ts"),
        ("#a.ts", "%23a.ts"),
        ("a\n#EXT-X-ENDLIST", "a%0A#EXT-X-ENDLIST"),
        ('a".ts', "a%22.ts"),
        ("https://cdn/ü.ts?a=b&c", "https://cdn/%C3%BC.ts?a=b&c"),
    ],
)
def test_no_uri_breaks_out_of_its_line(returned, line):
    written = media_playlist([segment(0)], lambda location: returned)
    assert written.splitlines()[-2] == line


HD = VodVariant(
    name="source",
    uri="r1/source/index.m3u8",
    size=3_750_000,
    duration=10.0,
    bandwidth=4_000_000,
    width=1280,
    height=720,
    frame_rate=30000 / 1001,
    codecs=("avc1.64001f", "mp4a.40.2"),
)


def test_a_multivariant_playlist_says_what_is_known():
    assert multivariant_playlist([HD]) == (
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-STREAM-INF:BANDWIDTH=4000000,AVERAGE-BANDWIDTH=3000000,"
        'RESOLUTION=1280x720,FRAME-RATE=29.970,CODECS="avc1.64001f,mp4a.40.2",NAME="source"\n'
        "r1/source/index.m3u8\n"
    )


def test_an_unknown_bandwidth_is_measured_and_unknown_facts_are_left_out():
    written = multivariant_playlist([VodVariant("a", "a.m3u8", 1000, 3.0)])
    assert '#EXT-X-STREAM-INF:BANDWIDTH=2667,AVERAGE-BANDWIDTH=2667,NAME="a"\n' in written
    assert "BANDWIDTH=1," in multivariant_playlist([VodVariant("a", "a.m3u8", 0, 0.0)])


def test_no_attribute_is_smuggled_in():
    evil = dataclasses.replace(HD, name='a",URI="x\n#EXTINF:1', codecs=('a",X="', "mp4a"))
    (variant,) = read(multivariant_playlist([evil])).variants
    assert variant.name == "a__URI__x__EXTINF_1"
    assert (variant.codecs, variant.width, variant.bandwidth) == ((), 1280, 4_000_000)


def test_a_period_that_its_playlist_does_not_tag_begins_with_a_discontinuity():
    listed = [segment(number) for number in range(4)]
    marks = period_marks(listed, {0, 2})
    assert marks == (PeriodMark(0, 4.0),)
    told = marked(listed, marks)
    assert [each.discontinuity for each in told] == [False, False, True, False]
    assert read(media_playlist(told, url)).segments == told


def test_a_tag_before_lost_segments_holds_for_the_period_behind_them():
    listed = [segment(0), segment(1, discontinuity=True, discontinuity_sequence=1)]
    listed += [segment(number, discontinuity_sequence=1) for number in (2, 3)]
    lost = lacking(listed, {(1, str(listed[1].location))})
    assert [each.gap for each in lost] == [False, True, False, False]
    assert period_marks(lost, {0, 2}) == ()
    assert period_marks(listed, {0, 2}) == (PeriodMark(1, 2.0),)


def test_other_playlists_are_marked_where_a_segment_begins_nearest():
    sound = [dataclasses.replace(segment(number), duration=1.5) for number in range(6)]
    told = marked(sound, [PeriodMark(0, 4.0), PeriodMark(0, 4.2), PeriodMark(7, 1.0)])
    assert [each.discontinuity_sequence for each in told] == [0, 0, 0, 2, 2, 2]


def rfc_8216(text):
    """By URI its discontinuity sequence: what section 6.2.1 says, counted line by line."""
    lines = text.splitlines()
    header = [line for line in lines if line.startswith("#EXT-X-DISCONTINUITY-SEQUENCE:")]
    number = int(header[0].partition(":")[2]) if header else 0
    told = {}
    for line in lines:
        number += line == "#EXT-X-DISCONTINUITY"
        if line and not line.startswith("#"):
            told[line.rpartition("/")[2]] = number
    return told


@pytest.mark.parametrize(
    ("sound", "numbers"),
    [
        # Both resets lie in the first segment of sound: the second one is behind both.
        ((6, 6, 6), [0, 2, 3]),
        # Both lie in the only one of its tagged period: the tag behind it counts for them too.
        ((12, 6), [0, 3]),
        ((1.5,) * 12, [0, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3]),
    ],
)
def test_each_discontinuity_counts_once_in_every_playlist(sound, numbers):
    pictures = [
        segment(number, discontinuity=number == 6, discontinuity_sequence=int(number >= 6))
        for number in range(9)
    ]
    marks = period_marks(pictures, {1, 2})
    sums = [sum(sound[:number]) for number in range(len(sound))]
    beside = [
        dataclasses.replace(
            segment(number, discontinuity=at == 12, discontinuity_sequence=int(at >= 12)),
            duration=seconds,
        )
        for number, (seconds, at) in enumerate(zip(sound, sums, strict=True))
    ]
    own = rfc_8216(media_playlist(marked(pictures, marks), url))
    assert [*own.values()] == [0, 1, 2, 2, 2, 2, 3, 3, 3]
    written = media_playlist(marked(beside, marks), url)
    assert [*rfc_8216(written).values()] == numbers
    assert [each.discontinuity_sequence for each in read(written).segments] == numbers


def test_many_marks_in_many_segments_are_found_at_once():
    listed = [segment(number) for number in range(20_000)]
    told = marked(listed, [PeriodMark(0, 2.0 * number + 0.3) for number in range(1, 20_000)])
    assert [each.discontinuity for each in told] == [False] + [True] * 19_999


def test_times_of_day_are_told_in_utc():
    east = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    written = media_playlist([dataclasses.replace(segment(0), program_date_time=east)], url)
    assert "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T06:30:00.000Z\n" in written


def test_lost_segments_are_gaps_and_the_version_says_so():
    listed = lacking([segment(0), segment(1)], {(1, str(FOLDER.child("1.ts")))})
    written = media_playlist(listed, url)
    assert "#EXT-X-VERSION:8\n" in written
    assert [each.gap for each in read(written).segments] == [False, True]


def test_groups_of_sound_and_subtitles_are_named_and_read_back():
    audio = VodMedia(MediaType.AUDIO, "audio-0", "Deutsch", "de", True, "r1/source/audio-0/i.m3u8")
    muxed = VodMedia(MediaType.AUDIO, "audio-0", "English", "en", False, None)
    text = VodMedia(MediaType.SUBTITLES, "subtitles", 'a",URI="x', 'x"', True, "s.m3u8", True)
    variant = dataclasses.replace(HD, audio="audio-0", subtitles="subtitles")
    written = multivariant_playlist([variant], [audio, muxed, text])
    (again,) = read(written).variants
    assert [(each.name, each.language, each.default) for each in again.audio] == [
        ("Deutsch", "de", True),
        ("English", "en", False),
    ]
    assert again.audio[1].location is None
    (subtitles,) = again.subtitles
    assert (subtitles.name, subtitles.language, subtitles.forced) == ("a_,URI=_x", None, True)
    assert "#EXT-X-VERSION:4\n" in written


def test_names_in_a_group_differ_whatever_the_recording_calls_them():
    names = ["Français", "Français", "", "\n", "Français (2)"]
    media = [VodMedia(MediaType.AUDIO, "g", name, None, False, "a.m3u8") for name in names]
    written = multivariant_playlist([dataclasses.replace(HD, audio="g")], media)
    (variant,) = read(written).variants
    told = [each.name for each in variant.audio]
    assert told == ["Français", "Français (2)", "g", "_", "Français (2) (2)"]


def test_subtitles_have_a_segment_for_each_period():
    again = read(subtitle_playlist([(4.0, 3), (2.5, 5)]))
    told = [(each.duration, each.discontinuity_sequence) for each in again.segments]
    assert (told, again.ended, again.target_duration) == ([(4.0, 3), (2.5, 5)], True, 4)


@pytest.mark.ffmpeg
def test_ffprobe_accepts_the_playlists(corpus, media_tools, tmp_path):
    folder = corpus / "ts-basic-3seg"
    place = Location.parse("https://cdn.example/rec/tiny.m3u8")
    listed = parse((folder / "tiny.m3u8").read_bytes(), place, allowed=[place.folder])
    for found in listed.segments:
        name = found.location.path.rsplit("/", 1)[1]
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    media = media_playlist(listed.segments, lambda location: location.path.rsplit("/", 1)[1])
    (tmp_path / "media.m3u8").write_text(media)
    top = multivariant_playlist([dataclasses.replace(HD, uri="media.m3u8")])
    (tmp_path / "index.m3u8").write_text(top)
    probed = subprocess.run(
        [media_tools.ffprobe, "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0",
         str(tmp_path / "index.m3u8")],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert probed.stderr == ""
    assert float(probed.stdout) == pytest.approx(30.0)
