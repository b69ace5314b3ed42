"""Playlists are read whole or refused: what a lenient parser would skip is never skipped."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import playlist_text
from pipelines.errors import ErrorCode, PermanentError
from pipelines.location import Location
from pipelines.m3u8 import parse, parse_media
from pipelines.playlist import (
    ByteRange,
    Encryption,
    InitSection,
    MediaPlaylist,
    MultivariantPlaylist,
    PlaylistKind,
    recording,
)

HOME = Location.parse("s3://recordings/rec1/index.m3u8")
HEAD = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n"
LIVEPEER = """#EXTM3U
#EXT-X-VERSION:3
#EXT-X-PLAYLIST-TYPE:EVENT
#EXT-X-TARGETDURATION:11.0000000000
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-PROGRAM-DATE-TIME:2023-06-06T00:27:38.157Z
#EXTINF:5.780,
source/0.ts
#EXT-X-PROGRAM-DATE-TIME:2023-06-13T00:27:38.157Z
#EXTINF:10.6
source/63744.ts
"""


def read(text, location=HOME, allowed=None):
    if isinstance(text, str):
        text = text.encode()
    return parse(text, location, allowed=[location.folder] if allowed is None else allowed)


def refusal(text, **places):
    with pytest.raises(PermanentError) as refused:
        read(text, **places)
    return refused.value


def read_or_refuse(text):
    with contextlib.suppress(PermanentError):
        read(text)


def names(playlist):
    return [segment.location.key.rsplit("/", 1)[-1] for segment in playlist.segments]


def test_a_livepeer_recording_is_read_as_it_is():
    playlist = read(LIVEPEER)
    first, second = playlist.segments
    assert isinstance(playlist, MediaPlaylist)
    assert (playlist.kind, playlist.ended, playlist.target_duration) == ("event", False, 11.0)
    assert (first.sequence, first.duration) == (0, 5.78)
    assert str(second.location) == "s3://recordings/rec1/source/63744.ts"
    assert first.program_date_time == datetime(2023, 6, 6, 0, 27, 38, 157000, UTC)
    assert playlist.duration == pytest.approx(16.38)


@pytest.mark.parametrize(
    "dress",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace("\n", " \t\n\n").encode(),
        lambda text: b"\n\n" + text.strip().encode(),
        lambda text: text.replace("\n", "\n## a stray comment\n#EXT-X-NEWER:1\n").encode(),
        lambda text: text.replace("\n#EXTINF", "\n#EXT-X-PART:rubbish\n#EXTINF").encode(),
        lambda text: text.replace(",\n", ",a title,\x01 \u2028\n").encode(),
        lambda text: text.replace("MEDIA-SEQUENCE:0", "MEDIA-SEQUENCE: 0").encode(),
    ],
)
def test_how_the_text_is_dressed_changes_nothing(dress):
    assert read(dress(LIVEPEER)) == read(LIVEPEER)


@pytest.mark.parametrize(
    ("extinf", "seconds"),
    [("3.04,", 3.04), ("3,04", 3.0), ("3.", 3.0), (".5", 0.5), ("0,", 0.0), (" 2.5 ,x", 2.5)],
)
def test_extinf_ends_where_its_title_begins(extinf, seconds):
    assert read(f"{HEAD}#EXTINF:{extinf}\na.ts\n").segments[0].duration == seconds


@pytest.mark.parametrize(
    "body",
    [
        "#EXTINF:abc,\na.ts",
        "#EXTINF:-1,\na.ts",
        "#EXTINF:nan,\na.ts",
        "#EXTINF:inf,\na.ts",
        "#EXTINF:1e3,\na.ts",
        "#EXTINF:,\na.ts",
        "#EXTINF\na.ts",
        "#EXTINF:86401,\na.ts",
        "#EXTINF:٣,\na.ts",
        "a.ts",
        "#EXTINF:2,\na.ts\nb.ts",
        "#EXTINF:2,\na.ts\n#EXTINF:2,",
        "#EXT-X-BYTERANGE:5@0\na.ts",
        "#EXTINF:2,\n#EXT-X-BYTERANGE:5\na.ts",
        "#EXTINF:2,\n#EXT-X-BYTERANGE:5@0\na.ts\n#EXTINF:2,\n#EXT-X-BYTERANGE:5\nb.ts",
        "#EXTINF:2,\n#EXT-X-BYTERANGE:0@0\na.ts",
        "#EXTINF:2,\n#EXT-X-BYTERANGE:-5@0\na.ts",
        "#EXT-X-MEDIA-SEQUENCE:x\n#EXTINF:2,\na.ts",
        "#EXT-X-MEDIA-SEQUENCE:-1\n#EXTINF:2,\na.ts",
        "#EXT-X-DISCONTINUITY-SEQUENCE:x\n#EXTINF:2,\na.ts",
        "#EXT-X-TARGETDURATION:x\n#EXTINF:2,\na.ts",
        '#EXT-X-MAP:BYTERANGE="5@0"\n#EXTINF:2,\na.ts',
        "#EXT-X-KEY:METHOD=AES-128\n#EXTINF:2,\na.ts",
        '#EXT-X-KEY:METHOD=AES-128,URI="k",IV=12\n#EXTINF:2,\na.ts',
        "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXTINF:2,\na.ts",
        "#EXT-X-I-FRAMES-ONLY\n#EXTINF:2,\na.ts",
        "#EXTINF:2,\na.ts\n#EXT-X-STREAM-INF:BANDWIDTH=1\nb.m3u8",
        "#EXT-X-STREAM-INF:BANDWIDTH=x\nb.m3u8",
        "#EXT-X-STREAM-INF:BANDWIDTH=-1\nb.m3u8",
        "#EXT-X-STREAM-INF:BANDWIDTH=inf\nb.m3u8",
        "#EXT-X-STREAM-INF:BANDWIDTH=nan\nb.m3u8",
        "#EXT-X-STREAM-INF:BANDWIDTH=1e999\nb.m3u8",
        "#EXT-X-STREAM-INF:BANDWIDTH=1,AVERAGE-BANDWIDTH=inf\nb.m3u8",
        "#EXT-X-STREAM-INF:BANDWIDTH=1,FRAME-RATE=inf\nb.m3u8",
        "#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=big\nb.m3u8",
        "#EXT-X-STREAM-INF:BANDWIDTH=1,FRAME-RATE=nan\nb.m3u8",
        "#EXT-X-STREAM-INF:BANDWIDTH=1",
        "#EXT-X-STREAM-INF:BANDWIDTH=1\nb.m3u8\nc.m3u8",
        "#EXTINF:2,\na.ts" + "a" * playlist_text.MAX_LINE,
        "#EXT-X-STREAM-INF:BANDWIDTH=1\nb.m3u8\n" * 101,
    ],
)
def test_what_would_be_lost_or_invented_is_refused(body):
    error = refusal(f"#EXTM3U\n{body}\n")
    assert error.code is ErrorCode.PLAYLIST_INVALID
    assert "s3://recordings/rec1/index.m3u8" in error.message


@pytest.mark.parametrize(
    "text",
    [b"", b"<html>not found</html>", b"#EXTM3U8\n", b"#EXTM3U\n\xff\xfe", b"#EXTINF:2,\na.ts\n"],
)
def test_a_text_that_is_no_playlist_is_refused(text):
    assert refusal(text).code is ErrorCode.PLAYLIST_INVALID


def test_playlists_made_to_exhaust_memory_are_refused(monkeypatch):
    monkeypatch.setattr(playlist_text, "MAX_BYTES", 100)
    assert "larger than" in refusal(HEAD + "#" * 100).message
    monkeypatch.undo()
    monkeypatch.setattr(playlist_text, "MAX_SEGMENTS", 2)
    assert "3 URIs" in refusal(HEAD + "#EXTINF:1,\na.ts\n" * 3).message
    monkeypatch.setattr(playlist_text, "MAX_LINES", 5)
    assert "lines" in refusal(HEAD + "\r" * 5).message


def test_a_playlist_without_segments_is_an_empty_one():
    assert read("#EXTM3U").segments == ()
    assert read(HEAD + "#EXT-X-ENDLIST").ended


def test_endlist_counts_wherever_it_stands():
    playlist = read(HEAD + "#EXT-X-ENDLIST\n#EXTINF:2,\na.ts\n")
    assert (playlist.ended, len(playlist.segments)) == (True, 1)


def test_a_missing_target_duration_is_the_longest_segment():
    assert read("#EXTM3U\n#EXTINF:2,\na.ts\n#EXTINF:3.5,\nb.ts").target_duration == 3.5
    assert read("#EXTM3U\n#EXTINF:2,\na.ts").kind is PlaylistKind.LIVE


def test_discontinuities_are_numbered_and_gaps_marked():
    playlist = read(
        HEAD + "#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-DISCONTINUITY-SEQUENCE:3\n#EXTINF:2,\na.ts\n"
        "#EXT-X-DISCONTINUITY\n#EXTINF:2,\nb.ts\n#EXT-X-GAP\n#EXTINF:2,\nc.ts\n#EXTINF:2,\nc.ts\n"
    )
    found = [
        (s.sequence, s.discontinuity, s.discontinuity_sequence, s.gap) for s in playlist.segments
    ]
    assert found == [
        (7, False, 3, False),
        (8, True, 4, False),
        (9, False, 4, True),
        (10, False, 4, False),
    ]


@pytest.mark.parametrize(
    "clock", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "2201-01-01"]
)
def test_a_clock_at_the_edge_of_the_calendar_is_no_hint(clock):
    text = HEAD + f"#EXT-X-PROGRAM-DATE-TIME:{clock}\n#EXTINF:2,\na.ts\n"
    assert read(text).segments[0].program_date_time is None


def test_a_clock_that_cannot_be_read_is_a_hint_less():
    text = HEAD + "#EXT-X-PROGRAM-DATE-TIME:yesterday\n#EXTINF:2,\na.ts\n"
    text += "#EXT-X-PROGRAM-DATE-TIME:2024-03-04T23:02:17\n#EXTINF:2,\nb.ts\n"
    clocks = [segment.program_date_time for segment in read(text).segments]
    assert clocks == [None, datetime(2024, 3, 4, 23, 2, 17, tzinfo=UTC)]


def test_byte_ranges_go_on_where_the_last_one_ended():
    playlist = read(
        HEAD + '#EXT-X-MAP:URI="a.mp4",BYTERANGE="50"\n#EXTINF:2,\n#EXT-X-BYTERANGE:10@50\na.mp4\n'
        "#EXTINF:2,\n#EXT-X-BYTERANGE:20\na.mp4\n"
    )
    assert [s.byte_range for s in playlist.segments] == [ByteRange(50, 10), ByteRange(60, 20)]
    init = InitSection(HOME.resolve("a.mp4"), ByteRange(0, 50))
    assert {s.init_section for s in playlist.segments} == {init}


def test_aes_128_is_read_and_ends_where_it_says():
    playlist = read(
        HEAD + '#EXT-X-KEY:METHOD=AES-128,URI="k,1.key",IV=0xAB\n#EXTINF:2,\na.ts\n'
        '#EXT-X-KEY:METHOD=AES-128,URI="k2"\n#EXTINF:2,\nb.ts\n#EXT-X-KEY:METHOD=NONE\n#EXTINF:2,\nc.ts\n'
    )
    assert [s.encryption for s in playlist.segments] == [
        Encryption("AES-128", HOME.resolve("k,1.key"), bytes(15) + b"\xab"),
        Encryption("AES-128", HOME.resolve("k2"), None),
        None,
    ]


@pytest.mark.parametrize(
    "key",
    [
        'METHOD=SAMPLE-AES,URI="skd://x"',
        'METHOD=SAMPLE-AES-CTR,URI="data:text/plain;base64,AAAA"',
        'METHOD=AES-256,URI="k"',
        'METHOD=AES-128,URI="k",KEYFORMAT="com.apple.streamingkeydelivery"',
        "rubbish",
    ],
)
def test_other_encryption_is_refused_by_name(key):
    error = refusal(f"{HEAD}#EXT-X-KEY:{key}\n#EXTINF:2,\na.ts\n")
    assert error.code is ErrorCode.ENCRYPTION_UNSUPPORTED
    before_a_map = f'{HEAD}#EXT-X-KEY:{key}\n#EXT-X-MAP:URI="i.mp4"\n#EXT-X-KEY:METHOD=NONE\n'
    error = refusal(f"{before_a_map}#EXTINF:2,\na.m4s\n")
    assert error.code is ErrorCode.ENCRYPTION_UNSUPPORTED


def test_an_initialization_section_has_the_key_before_its_tag():
    playlist = read(
        HEAD + '#EXT-X-MAP:URI="clear.mp4"\n#EXT-X-KEY:METHOD=AES-128,URI="k1",IV=0x1\n#EXTINF:2,\n'
        'a.m4s\n#EXT-X-MAP:URI="i.mp4"\n#EXT-X-KEY:METHOD=AES-128,URI="k2"\n#EXTINF:2,\nb.m4s\n'
        "#EXT-X-KEY:METHOD=NONE\n#EXTINF:2,\nc.m4s\n"
        '#EXT-X-MAP:URI="i.mp4"\n#EXTINF:2,\nd.m4s\n'
    )
    first = Encryption("AES-128", HOME.resolve("k1"), bytes(15) + b"\1")
    encrypted = InitSection(HOME.resolve("i.mp4"), None, first)
    assert [s.init_section for s in playlist.segments] == [
        InitSection(HOME.resolve("clear.mp4")),
        encrypted,
        encrypted,
        InitSection(HOME.resolve("i.mp4")),
    ]
    assert [s.encryption for s in playlist.segments] == [
        first,
        Encryption("AES-128", HOME.resolve("k2")),
        None,
        None,
    ]
    assert len({s.identity for s in playlist.segments}) == 4


PLAIN = '#EXT-X-KEY:METHOD=AES-128,URI="k"\n'
DRM = '#EXT-X-KEY:METHOD=AES-128,URI="skd://x",KEYFORMAT="com.example.drm"\n'
SAMPLES = '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x",KEYFORMAT="com.apple.streamingkeydelivery"\n'


@pytest.mark.parametrize("keys", [PLAIN + DRM, DRM + PLAIN])
def test_a_plain_key_beside_those_of_other_systems_is_a_choice(keys):
    playlist = read(f'{HEAD}{keys}#EXT-X-MAP:URI="i.mp4"\n#EXTINF:2,\na.m4s\n')
    [segment] = playlist.segments
    key = Encryption("AES-128", HOME.resolve("k"))
    assert (segment.encryption, segment.init_section.encryption) == (key, key)


@pytest.mark.parametrize("keys", [PLAIN + SAMPLES, SAMPLES + PLAIN, SAMPLES + DRM + PLAIN])
@pytest.mark.parametrize("apart", ["", "#EXTINF:2,\na.ts\n"])
def test_keys_of_two_methods_contradict_each_other(keys, apart):
    first, *others = keys.splitlines(keepends=True)
    error = refusal(f"{HEAD}{first}{apart}{''.join(others)}#EXTINF:2,\nb.ts\n")
    assert error.code is ErrorCode.ENCRYPTION_UNSUPPORTED


def test_no_encryption_ends_the_keys_of_all_systems():
    none = "#EXT-X-KEY:METHOD=NONE\n"
    playlist = read(f"{HEAD}{SAMPLES}{DRM}{none}#EXTINF:2,\na.ts\n{PLAIN}#EXTINF:2,\nb.ts\n")
    assert [each.encryption is None for each in playlist.segments] == [True, False]


def test_keys_of_more_systems_than_there_are_are_refused():
    line = '#EXT-X-KEY:METHOD=AES-128,URI="k",KEYFORMAT="{}"\n'
    error = refusal(HEAD + "".join(map(line.format, range(50))) + "#EXTINF:2,\na.ts\n")
    assert error.code is ErrorCode.PLAYLIST_INVALID


def test_session_keys_of_other_kinds_are_refused():
    variant = "#EXT-X-STREAM-INF:BANDWIDTH=1\nv/index.m3u8\n"
    key = '#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI="skd://x",KEYFORMAT="com.apple.fps"\n'
    assert refusal(f"#EXTM3U\n{key}{variant}").code is ErrorCode.ENCRYPTION_UNSUPPORTED
    read(f'#EXTM3U\n#EXT-X-SESSION-KEY:METHOD=AES-128,URI="https://keys/k"\n{variant}')


@pytest.mark.parametrize(
    "uri",
    [
        "../rec2/0.ts",
        "../rec10/0.ts",
        "/rec2/0.ts",
        "//other/0.ts",
        "s3://other/rec1/0.ts",
        "https://host/0.ts?sig=hush",
        "file:///etc/passwd",
        "/etc/passwd",
        "data:video/mp2t;base64,hush",
        "concat:a.ts|b.ts",
        "subfile,,start,0,end,9,,:/etc/passwd",
        "crypto+https://host/x",
        "gopher://host/x",
        "..%2frec2/0.ts",
        "%2e%2e/rec2/0.ts",
        "..\\rec2\\0.ts",
        "{$base}/0.ts",
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        HEAD + "#EXTINF:2,\n{uri}\n",
        HEAD + '#EXT-X-MAP:URI="{uri}"\n#EXTINF:2,\na.m4s\n',
        HEAD + '#EXT-X-KEY:METHOD=AES-128,URI="{uri}"\n#EXTINF:2,\na.ts\n',
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{uri}\n",
        '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="n",URI="{uri}"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a"\nv.m3u8\n',
        '#EXTM3U\n#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",NAME="n",URI="{uri}"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=1,SUBTITLES="s"\nv.m3u8\n',
    ],
    ids=["segment", "map", "key", "variant", "audio", "subtitles"],
)
def test_no_uri_leaves_the_recording(text, uri):
    error = refusal(text.replace("{uri}", uri))
    assert error.code is ErrorCode.URI_REFUSED
    assert "hush" not in error.message


def test_what_the_settings_permit_may_lie_elsewhere():
    prefixes = [HOME.folder, Location.parse("https://cdn.example/live/")]
    text = HEAD + "#EXTINF:2,\nhttps://cdn.example/live/0.ts?sig=1\n"
    assert read(text, allowed=prefixes).segments[0].location.query == "sig=1"


MULTIVARIANT = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="en",LANGUAGE="en",DEFAULT=YES
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",NAME="en",URI="subs.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=1000000,RESOLUTION=640x360,CODECS="avc1.64001e, mp4a.40.2",AUDIO="a"
360p0/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=3000000,AVERAGE-BANDWIDTH=2500000,RESOLUTION=1280x720,FRAME-RATE=29.97
720p0.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=64000,NAME="audio, only"
chunklist.m3u8?t=1
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="https://elsewhere/i.m3u8"
"""


def test_a_multivariant_playlist_names_its_variants():
    playlist = read(MULTIVARIANT)
    assert isinstance(playlist, MultivariantPlaylist)
    low, high, audio = playlist.variants
    assert [v.name for v in playlist.variants] == ["360p0", "720p0", "audio, only"]
    assert (low.width, low.height, low.codecs) == (640, 360, ("avc1.64001e", "mp4a.40.2"))
    assert (low.audio[0].name, low.audio[0].location) == ("en", None)
    assert (high.average_bandwidth, high.frame_rate) == (2_500_000, 29.97)
    assert (audio.width, audio.codecs, audio.bandwidth) == (None, (), 64_000)


RENDITIONS = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="Deutsch",LANGUAGE="de",URI="de.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="English",LANGUAGE="en",DEFAULT=YES,URI="en.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="Again",LANGUAGE="en",URI="en.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="Muxed",LANGUAGE="fr"
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",NAME="English",LANGUAGE="en",FORCED=YES,URI="subs.m3u8"
#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="c",NAME="CC",INSTREAM-ID="CC1"
#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="v",NAME="front",DEFAULT=YES
#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="v",NAME="self",URI="hd.m3u8"
#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="v",NAME="back",URI="back.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=3000000,CODECS="avc1.64001e,mp4a.40.2",AUDIO="a",SUBTITLES="s",VIDEO="v"
hd.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=9000000,CODECS="mp4a.40.2,ec-3"
sound.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=9000000
en.m3u8
"""


def test_sound_in_playlists_of_its_own_comes_default_first_and_each_once():
    hd = made(RENDITIONS).variants[0]
    assert [(each.name, each.language) for each in hd.sound] == [
        ("English", "en"),
        ("Deutsch", "de"),
    ]
    assert [each.name for each in hd.audio] == ["Deutsch", "English", "Again", "Muxed"]
    assert all(each.playlist and len(each.playlist.segments) == 2 for each in hd.sound)


def test_subtitles_and_camera_angles_are_known():
    hd = made(RENDITIONS).variants[0]
    assert [(each.name, each.language, each.forced) for each in hd.subtitles] == [
        ("English", "en", True)
    ]
    assert [(each.name, each.location.path) for each in hd.angles] == [("back", "/rec1/back.m3u8")]


def test_what_holds_sound_alone_is_not_the_best():
    rec = made(RENDITIONS)
    assert [variant.sound_only for variant in rec.variants] == [False, True, True]
    assert rec.source.name == "hd"


def test_a_recording_is_kept_without_a_playlist_of_sound():
    playlist = read(RENDITIONS)
    missing = HOME.resolve("de.m3u8")
    assert missing in playlist.sound_locations
    empty = parse_media(LIVEPEER.encode(), HOME, allowed=[HOME.folder])
    found = dict.fromkeys((*playlist.media_locations, *playlist.sound_locations), empty)
    del found[missing]
    sound = {each.location: each for each in recording(playlist, found).source.sound}
    assert [place for place, each in sound.items() if each.playlist is None] == [missing]


def test_renditions_made_to_exhaust_memory_are_refused():
    line = '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="n",URI="a.m3u8"\n'
    body = "#EXT-X-STREAM-INF:BANDWIDTH=1\nv/index.m3u8\n"
    assert refusal(f"#EXTM3U\n{line * 201}{body}").code is ErrorCode.PLAYLIST_INVALID
    read(f"#EXTM3U\n{line * 200}{body}")


@pytest.mark.parametrize("beside", ["en.m3u8", "subs.m3u8"])
def test_the_fingerprint_covers_sound_and_subtitles(beside):
    playlist = read(RENDITIONS)
    apart = (*playlist.sound_locations, *playlist.subtitle_locations)
    places = (*playlist.media_locations, *apart)
    listed = {
        place: parse_media(LIVEPEER.encode(), place, allowed=[HOME.folder]) for place in places
    }
    before = recording(playlist, listed).fingerprint
    place = HOME.resolve(beside)
    fewer = dataclasses.replace(listed[place], segments=listed[place].segments[:1])
    assert recording(playlist, {**listed, place: fewer}).fingerprint != before


def made(multivariant=MULTIVARIANT, media=LIVEPEER):
    playlist = read(multivariant)
    listed = {
        place: parse_media(media.encode(), place, allowed=[HOME.folder])
        for place in (*playlist.media_locations, *playlist.sound_locations)
    }
    return recording(playlist, listed)


def test_the_source_is_the_largest_variant():
    rec = made()
    assert rec.source.name == "720p0"
    assert (rec.segment_count, rec.ended) == (2, False)
    assert rec.duration == pytest.approx(16.38)
    assert rec.variant("360p0").segments == rec.variants[0].segments
    with pytest.raises(PermanentError, match="no variant 'x'"):
        rec.variant("x")


def test_a_media_playlist_alone_is_a_recording_of_one_variant():
    rec = recording(read(LIVEPEER))
    assert [variant.name for variant in rec.variants] == ["source"]


def test_variants_of_one_name_are_told_apart():
    twice = "#EXTM3U\n" + "#EXT-X-STREAM-INF:BANDWIDTH=1\nv/index.m3u8\n" * 2
    rec = made(twice)
    assert [variant.name for variant in rec.variants] == ["v", "v (2)"]
    assert len(read(twice).media_locations) == 1


def test_a_variant_that_was_not_found_is_missed():
    with pytest.raises(PermanentError, match=r"playlist_missing: .*360p0/index\.m3u8"):
        recording(read(MULTIVARIANT), {})


def test_playlists_nest_no_deeper():
    with pytest.raises(PermanentError, match="inside another"):
        parse_media(MULTIVARIANT.encode(), HOME, allowed=[HOME.folder])


LISTED = (
    HEAD + '#EXT-X-MAP:URI="i.mp4"\n#EXTINF:2,\n#EXT-X-BYTERANGE:5@0\na.m4s\n#EXTINF:2,\nb.m4s\n'
)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (("#EXTINF:2,", "#EXTINF:2.5,a title"), True),
        (("b.m4s", "b.m4s?signature=2"), True),
        (("#EXTM3U", "#EXTM3U\n#EXT-X-PROGRAM-DATE-TIME:2024-01-01T00:00:00Z"), True),
        (("b.m4s", "c.m4s"), False),
        (("5@0", "5@1"), False),
        (("i.mp4", "j.mp4"), False),
        (('i.mp4"', 'i.mp4",BYTERANGE="5@0"'), False),
        (("#EXT-X-TARGET", "#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-TARGET"), False),
        (("#EXTINF:2,\nb", "#EXT-X-DISCONTINUITY\n#EXTINF:2,\nb"), False),
        (("#EXTINF:2,\nb", "#EXT-X-GAP\n#EXTINF:2,\nb"), False),
        (("#EXTINF:2,\nb", '#EXT-X-KEY:METHOD=AES-128,URI="k"\n#EXTINF:2,\nb'), False),
        (("b.m4s", "b.m4s\n#EXTINF:2,\nc.m4s"), False),
    ],
)
def test_the_fingerprint_changes_when_another_recording_is_listed(change, same):
    place = Location.parse("https://host/rec/index.m3u8")
    before = recording(read(LISTED, place)).fingerprint
    after = recording(read(LISTED.replace(*change), place)).fingerprint
    assert (before == after) is same


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 30).map(lambda seconds: round(seconds, 3)), st.booleans(), st.booleans()
        ),
        max_size=30,
    ),
    st.integers(0, 10**6),
    st.booleans(),
)
def test_every_listed_segment_is_read_in_order(entries, first, ended):
    lines = [f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:{first}"]
    for position, (seconds, discontinuity, gap) in enumerate(entries):
        lines += ["#EXT-X-DISCONTINUITY"] * discontinuity + ["#EXT-X-GAP"] * gap
        lines += [f"#EXTINF:{seconds},", f"{position}.ts"]
    playlist = read("\n".join(lines + ["#EXT-X-ENDLIST"] * ended))
    assert playlist.ended is ended
    assert [(s.duration, s.discontinuity, s.gap) for s in playlist.segments] == entries
    assert [s.sequence - first for s in playlist.segments] == list(range(len(entries)))
    assert names(playlist) == [f"{position}.ts" for position in range(len(entries))]
    numbers = [s.discontinuity_sequence for s in playlist.segments]
    assert numbers == [sum(e[1] for e in entries[: i + 1]) for i in range(len(entries))]


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_text_does_worse_than_being_refused(noise):
    read_or_refuse(noise)
    read_or_refuse(b"#EXTM3U\n#EXT-X-STREAM-INF:" + noise)
    read_or_refuse(b"#EXTM3U\n#EXTINF:2,\n" + noise)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["#EXTINF:2,", "#EXTINF:x", "a.ts", "#EXT-X-KEY:METHOD=AES-128,URI=", "#EXT-X-MAP:", "\x00",
             "#EXT-X-KEY:", '#EXT-X-MAP:URI="', "#EXT-X-BYTERANGE:", "#EXT-X-BYTERANGE:9@1", "#EXT-X-GAP",
             "#EXT-X-MEDIA:TYPE=AUDIO", "#EXT-X-STREAM-INF:", "#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=",
             "#EXT-X-DISCONTINUITY", "#EXT-X-ENDLIST:1", "#EXT-X-KEY", "#EXT-X-MAP", "#EXT-X-MEDIA"]
        )
    )
)  # fmt: skip
def test_no_order_of_tags_does_worse_than_being_refused(lines):
    read_or_refuse("\n".join(["#EXTM3U", *lines]))


#: What must come of each playlist of the corpus: number of segments or variants, or the refusal.
CORPUS = {
    "cmaf-av1/index.m3u8": 1,
    "cmaf-av1/v.m3u8": 5,
    "cmaf-demuxed-abr-missing-first-audio/index.m3u8": 3,
    "composed-ts-encoder-reconnect/index.m3u8": 4,
    "fmp4-aes256-refuse/media.m3u8": ErrorCode.ENCRYPTION_UNSUPPORTED,
    "fmp4-byterange-map/output.m3u8": 5,
    "fmp4-iframe-only/media.m3u8": ErrorCode.PLAYLIST_INVALID,
    "fmp4-interstitials-daterange/main.m3u8": 5,
    "fmp4-late-start-chunk/hls.m3u8": 1,
    "fmp4-sample-aes-ctr-refuse/index.m3u8": ErrorCode.ENCRYPTION_UNSUPPORTED,
    "raw-aac-id3/manifest.m3u8": 1,
    "raw-ec3/prog_index.m3u8": 8,
    "ts-alt-audio-alt-video/master.m3u8": 2,
    "ts-audio-only-head-then-av/index.m3u8": 3,
    "ts-basic-3seg/tiny.m3u8": 3,
    "ts-cea608/manifest.m3u8": 1,
    "ts-discontinuity-pts-reset/playlist-video.m3u8": 5,
    "ts-gap-tag-missing-files/playlist.m3u8": 8,
    "ts-hevc-main10/hevc.m3u8": 1,
    "ts-hevc-main10/index.m3u8": 2,
    "ts-live-no-endlist/output_playlist.m3u8": 3,
    "ts-mp3-bframes-id3/index.m3u8": 8,
    "ts-pts-wrap-33bit/playlist.m3u8": 10,
}


@pytest.mark.parametrize(("path", "outcome"), CORPUS.items(), ids=CORPUS)
def test_the_corpus_is_read(corpus, path, outcome):
    text, place = (corpus / path).read_bytes(), Location.parse(f"s3://recordings/{path}")
    if isinstance(outcome, ErrorCode):
        assert refusal(text, location=place).code is outcome
        return
    playlist = read(text, location=place)
    listed = playlist.segments if isinstance(playlist, MediaPlaylist) else playlist.variants
    assert len(listed) == outcome


def test_every_playlist_of_the_corpus_is_read_or_refused_with_a_code(corpus):
    for path in corpus.rglob("*.m3u8"):
        try:
            playlist = read(path.read_bytes())
        except PermanentError:
            continue
        assert dataclasses.is_dataclass(playlist)
