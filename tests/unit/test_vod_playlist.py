"""VOD playlists: what we write, our own strict reader reads back as it was."""

from __future__ import annotations

import dataclasses
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.location import Location
from pipelines.m3u8 import parse
from pipelines.playlist import ByteRange, Encryption, InitSection, PlaylistKind, Segment
from pipelines.vod_playlist import VodVariant, media_playlist, multivariant_playlist

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


INITS = st.none() | st.builds(
    InitSection,
    st.sampled_from([FOLDER.child("i.mp4"), FOLDER.child("j k.mp4")]),
    st.sampled_from([None, ByteRange(0, 800)]),
)
KEYS = st.none() | st.builds(
    Encryption,
    st.just("AES-128"),
    st.sampled_from([FOLDER.child("k1"), FOLDER.child('k"2')]),
    st.sampled_from([None, bytes(range(16))]),
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
