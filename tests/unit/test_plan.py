"""The plan: the source always, each profile as a copy or a transcode, ``web`` where browsers need it."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest

from pipelines.colours import BT709, Colours
from pipelines.errors import ErrorCode, PermanentError
from pipelines.location import Location
from pipelines.media import Codec
from pipelines.plan import Copy, Transcode, plan
from pipelines.plan_options import PlanOptions
from pipelines.playlist import (
    AudioRendition,
    Encryption,
    MediaPlaylist,
    PlaylistKind,
    Recording,
    Segment,
    Variant,
)
from pipelines.profile import Encoder, H264Profile
from pipelines.segment_index import Container
from pipelines.session import FfmpegProfile, Session
from pipelines.transcoding.encoding import VideoEncoding
from pipelines.transcoding.kit import EncoderKit, Hardware
from pipelines.transcoding.source_media import SourceMedia, SourceVideo

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


def profile(name="wanted", width=1280, height=720, bitrate=3_000_000, fps=0, **fields):
    known = {"name": name, "width": width, "height": height, "bitrate": bitrate, "fps": fps}
    return FfmpegProfile(**known | fields)


HD = SourceVideo("h264", 1920, 1080, "yuv420p", Fraction(30000, 1001))
AVC = ("avc1.64001f", "mp4a.40.2")
SILENT_FILM = SourceMedia(HD, ())
RADIO = SourceMedia(None, (Codec.AAC,))
KIT = EncoderKit(
    encoders=frozenset({"libx264", "libx265", "libvpx-vp9", "aac", "h264_nvenc", "hevc_nvenc"}),
    filters=frozenset({"zscale", "tonemap", "bwdif"}),
)
OPTIONS = PlanOptions(preset="fast")


def media(*audio, **changes):
    """A 1080p source of H.264, changed, with the tracks of sound."""
    return SourceMedia(dataclasses.replace(HD, **changes), audio)


def planned(variants, *profiles, source=SILENT_FILM, kit=KIT, **options):
    session = Session(id="rec1", profiles=list(profiles))
    recording = Recording(FOLDER.child("index.m3u8"), tuple(variants))
    return plan(session, recording, source, kit, dataclasses.replace(OPTIONS, **options))


def transcoded(asked, source=SILENT_FILM, **options):
    """The transcode of the one profile from a recording of one variant."""
    made = planned([variant("source")], asked, source=source, **options)
    [transcode] = [each for each in made.renditions if each.name == asked.name]
    assert isinstance(transcode, Transcode)
    assert transcode.variant == "source"
    return transcode


LADDER = (
    variant("low", 640, 360, 800_000, codecs=AVC),
    variant("hd", 1280, 720, 3_100_000, average_bandwidth=2_500_000, codecs=AVC),
    variant("hd-rich", 1280, 720, 6_000_000),
    variant("hd-again", 1280, 720, 6_000_000, codecs=AVC),
    variant("sound", bandwidth=9_000_000),
)


def test_the_source_is_the_best_variant_by_size_then_rate_then_order():
    made = planned(LADDER)
    assert made.renditions == (
        Copy("source", "hd-rich", "The best of 5 variants: 1280x720 at 6000000 bit/s."),
    )
    assert made.mp4 == "source"


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
    [rendition] = made.renditions[1:]
    assert made.not_made == ()
    assert rendition.name == wanted.name
    assert rendition.reason
    if found is None:
        assert isinstance(rendition, Transcode)
        assert rendition.variant == "hd-rich"
    else:
        assert isinstance(rendition, Copy)
        assert rendition.variant == found


@pytest.mark.parametrize(
    ("known", "asked", "copied"),
    [
        ({"codecs": AVC}, {}, True),
        ({"codecs": AVC}, {"encoder": "H.264"}, True),
        ({"codecs": AVC}, {"encoder": "HEVC"}, False),
        ({"codecs": ("hvc1.1.6.L93.B0",)}, {"encoder": "HEVC"}, True),
        ({"codecs": ("hev1.1.6.L93.B0",)}, {}, False),
        ({"codecs": ("dvh1.05.03",)}, {}, False),
        ({"codecs": ("vp09.00.30.08",)}, {"encoder": "VP9"}, True),
        ({"codecs": ("vp09.00.30.08",)}, {}, False),
        ({"codecs": ("av01.0.05M.08",)}, {}, False),
        ({"codecs": ("mp4a.40.2",)}, {}, False),
        ({}, {}, False),
        ({}, {"encoder": "HEVC"}, False),
        ({"codecs": AVC, "frame_rate": 60.0}, {"fps": 30}, False),
        ({"codecs": AVC, "frame_rate": 29.97}, {"fps": 30}, True),
        ({"codecs": AVC, "frame_rate": 29.97}, {"fps": 30_000, "fps_den": 1001}, True),
        ({"codecs": AVC, "frame_rate": 60.0}, {"fps": 0}, True),
        ({"codecs": AVC}, {"fps": 30}, True),
    ],
)
def test_a_variant_of_another_codec_or_frame_rate_or_of_none_that_is_known_is_not_meant(
    known, asked, copied
):
    variants = [variant("fhd", 1920, 1080, 9_000_000), variant("hd", 1280, 720, 3_000_000, **known)]
    assert isinstance(planned(variants, profile(**asked)).renditions[1], Copy) is copied
    named = planned(variants, profile("HD", **asked))
    assert isinstance(named.renditions[1], Copy)


@pytest.mark.parametrize(
    ("codec", "listed_codecs", "asked", "copied"),
    [
        ("h264", (), {}, True),
        ("h264", (), {"encoder": "HEVC"}, False),
        ("hevc", (), {}, False),
        ("hevc", (), {"encoder": "HEVC"}, True),
        ("hevc", AVC, {}, False),
        ("av1", (), {}, False),
        ("mpeg2video", (), {}, False),
    ],
)
def test_the_codec_of_the_best_variant_is_the_one_that_was_seen(
    codec, listed_codecs, asked, copied
):
    variants = [variant("hd", 1280, 720, 3_000_000, codecs=listed_codecs)]
    made = planned(variants, profile(**asked), source=media(codec=codec)).renditions
    assert isinstance(made[-1], Copy) is copied


def test_a_variant_of_unknown_size_has_the_size_that_was_seen():
    rotated = media(width=720, height=1280, rotation=90)
    variants = [variant("only", bandwidth=3_000_000)]
    [_, copied] = planned(variants, profile(), source=rotated).renditions
    assert copied.reason == (
        "The variant only has this size and bit rate: 1280x720 at 3000000 bit/s."
        " Comes out the same as source."
    )
    [_, other] = planned(variants, profile(bitrate=900_000), source=rotated).renditions
    assert isinstance(other, Transcode)
    [_, blind] = planned([variant("only")], profile(), source=rotated).renditions
    assert isinstance(blind, Transcode)


def encoded(**changes):
    """The encoding of the profile "wanted" from a 1080p source, changed."""
    fields = {
        "encoder": Encoder.H264,
        "implementation": "libx264",
        "preset": "fast",
        "width": 1280,
        "height": 720,
        "bitrate": 3_000_000,
        "nominal_rate": Fraction(30000, 1001),
        "constant_rate": False,
        "quality": None,
        "gop": 2.0,
        "profile": H264Profile.HIGH,
    }
    return VideoEncoding(**fields | changes)


HEVC = {"encoder": Encoder.HEVC, "implementation": "libx265", "profile": None}
VP9 = {"encoder": Encoder.VP9, "implementation": "libvpx-vp9", "profile": None}


@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        ({}, {}),
        ({"fps": 30, "fps_den": None}, {"nominal_rate": Fraction(30), "constant_rate": True}),
        (
            {"fps": 24_000, "fps_den": 1001},
            {"nominal_rate": Fraction(24000, 1001), "constant_rate": True},
        ),
        ({"fps": 0, "fps_den": 1001}, {}),
        ({"bitrate": 400}, {"bitrate": 400}),
        ({"quality": 23}, {"quality": 23}),
        ({"quality": 0}, {}),
        ({"gop": "intra"}, {"gop": 0.0}),
        ({"gop": "0"}, {"gop": None}),
        ({"gop": "0.0"}, {"gop": None}),
        ({"gop": "1.5"}, {"gop": 1.5}),
        ({"gop": 4}, {"gop": 4.0}),
        ({"gop": 900}, {"gop": 900.0}),
        ({"profile": "H264Baseline"}, {"profile": H264Profile.BASELINE}),
        ({"profile": "H264ConstrainedHigh"}, {"profile": H264Profile.CONSTRAINED_HIGH}),
        ({"encoder": "H.264"}, {}),
        ({"encoder": "HEVC"}, HEVC),
        ({"encoder": "hevc", "profile": "H264High"}, HEVC),
        ({"encoder": "VP9"}, VP9),
        ({"width": 854, "height": 480}, {"width": 854, "height": 480}),
        ({"width": 426, "height": 240}, {"width": 426, "height": 240}),
        ({"width": 4000, "height": 4000}, {"width": 1920, "height": 1080}),
    ],
)
def test_every_field_of_a_profile_is_told_to_the_encoder(asked, changes):
    transcode = transcoded(profile(**asked))
    assert transcode.video == encoded(**changes)
    assert transcode.encodes_audio is False


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ({"frame_rate": Fraction(0)}, {"nominal_rate": Fraction(30)}),
        ({"frame_rate": Fraction(24000, 1001)}, {"nominal_rate": Fraction(24000, 1001)}),
        ({"frame_rate": Fraction(1000)}, {"nominal_rate": Fraction(240)}),
        ({"frame_rate": Fraction(1, 10)}, {"nominal_rate": Fraction(1)}),
        ({"frame_rate": Fraction(2_500_001, 100_000)}, {"nominal_rate": Fraction(25)}),
        ({"interlaced": True}, {"deinterlace": True}),
        ({"colours": Colours(transfer="smpte2084")}, {"tone_map": True, "colours": BT709}),
        ({"colours": Colours(transfer="arib-std-b67")}, {"tone_map": True, "colours": BT709}),
        ({"colours": BT709}, {"colours": BT709}),
        ({"rotation": 90}, {"width": 720, "height": 1280}),
        (
            {"width": 720, "height": 576, "sample_aspect": Fraction(64, 45)},
            {"width": 1024, "height": 576},
        ),
        ({"width": 16, "height": 4000}, {"width": 16, "height": 1280}),
    ],
)
def test_an_encoding_follows_the_source(source, changes):
    assert transcoded(profile(), media(**source)).video == encoded(**changes)


@pytest.mark.parametrize(
    ("hardware", "encoder", "implementation"),
    [
        (None, "H.264", "libx264"),
        (Hardware.NVENC, "H.264", "h264_nvenc"),
        (Hardware.NVENC, "HEVC", "hevc_nvenc"),
        (Hardware.NVENC, "VP9", "libvpx-vp9"),
        (Hardware.QSV, "H.264", "libx264"),
    ],
)
def test_the_settings_choose_preset_and_hardware(hardware, encoder, implementation):
    made = transcoded(profile(encoder=encoder), hardware=hardware, preset="veryslow")
    assert (made.video.implementation, made.video.preset) == (implementation, "veryslow")


def test_a_transcode_says_from_what_and_to_what():
    assert transcoded(profile()).reason == (
        "No variant matches; transcoded from source (1920x1080) to 1280x720."
    )
    assert transcoded(profile(width=3840, height=2160)).reason == (
        "No variant matches; transcoded from source (1920x1080) to 1920x1080:"
        " 3840x2160 is larger than the source, and nothing is scaled up."
    )
    asked = profile(encoder="HEVC", profile="H264High")
    assert transcoded(asked, media(rotation=90, colours=Colours(transfer="smpte2084"))).reason == (
        "No variant matches; transcoded from source (1080x1920) to 720x1280."
        " Its HDR pictures become SDR. The H.264 profile H264High says nothing to HEVC."
    )


def test_transcodes_come_from_the_best_variant():
    [_, made] = planned(LADDER, profile(bitrate=1_000_000)).renditions
    assert made.variant == "hd-rich"
    assert "from hd-rich (1920x1080)" in made.reason


def test_profiles_that_come_out_the_same_are_all_made_and_say_so():
    asked = [
        profile("uhd", 3840, 2160, 5_000_000),
        profile("qhd", 2560, 1440, 5_000_000),
        profile("fhd", 1920, 1080, 5_000_000),
        profile("rich", 2560, 1440, 6_000_000),
        profile("film", 2560, 1440, 5_000_000, fps=24),
    ]
    reasons = {each.name: each.reason for each in planned([variant("source")], *asked).renditions}
    assert list(reasons) == ["source", "uhd", "qhd", "fhd", "rich", "film"]
    assert reasons["uhd"].endswith(" Comes out the same as qhd and fhd.")
    assert reasons["qhd"].endswith(" Comes out the same as uhd and fhd.")
    assert reasons["fhd"].endswith(" Comes out the same as uhd and qhd.")
    assert "the same" not in reasons["rich"] + reasons["film"] + reasons["source"]


def test_copies_that_come_out_the_same_say_so():
    asked = (profile("hd-rich"), profile("a", bitrate=6_000_000))
    [source, first, second] = planned(LADDER, *asked).renditions
    assert "the same" not in source.reason
    assert first.reason.endswith(" Comes out the same as source and a.")
    assert second.reason.endswith(" Comes out the same as source and hd-rich.")


def test_without_pictures_only_a_variant_of_that_name_is_made():
    made = planned([variant("source")], profile(), profile("720p0"), source=RADIO)
    assert [each.name for each in made.renditions] == ["source"]
    assert [missed.name for missed in made.not_made] == ["wanted", "720p0"]
    assert made.not_made[0].reason == "No variant matches, and the source has no pictures."
    named = planned([variant("source"), variant("wanted")], profile(), source=RADIO)
    assert [each.name for each in named.renditions] == ["source", "wanted"]


@pytest.mark.parametrize(
    ("sound", "encodes"),
    [
        ((), False),
        ((Codec.AAC,), False),
        ((Codec.AC3,), False),
        *(((codec,), False) for codec in (Codec.MP3, Codec.OPUS, Codec.EAC3, Codec.FLAC)),
        ((Codec.MP2,), True),
        ((Codec.AAC, Codec.MP2), True),
    ],
)
def test_sound_is_encoded_only_where_browsers_do_not_play_it(sound, encodes):
    transcode = transcoded(profile(), media(*sound))
    assert transcode.encodes_audio is encodes


WEB_HD = {"width": 1920, "height": 1080, "quality": 20, "bitrate": 9_321_878}


@pytest.mark.parametrize(
    ("source", "encoding", "encodes_audio", "odd"),
    [
        (media(Codec.AAC, codec="mpeg2video"), encoded(**WEB_HD), False, "MPEG-2 pictures"),
        (
            media(Codec.MP2, codec="mpeg2video"),
            encoded(**WEB_HD),
            True,
            "MPEG-2 pictures or MP2 sound",
        ),
        (
            media(Codec.AAC, pixel_format="yuv422p"),
            encoded(**WEB_HD),
            False,
            "H.264 pictures in yuv422p",
        ),
        (
            media(Codec.AAC, codec="hevc", pixel_format="yuv422p10le"),
            encoded(**WEB_HD),
            False,
            "HEVC pictures in yuv422p10le",
        ),
        (
            media(codec="vp9", pixel_format="yuv444p"),
            encoded(**WEB_HD),
            False,
            "VP9 pictures in yuv444p",
        ),
        (
            media(codec="av1", pixel_format="yuv420p12le"),
            encoded(**WEB_HD),
            False,
            "AV1 pictures in yuv420p12le",
        ),
        (
            media(pixel_format="yuv420p10le", colours=Colours(transfer="arib-std-b67")),
            encoded(**WEB_HD, tone_map=True, colours=BT709),
            False,
            "H.264 pictures in yuv420p10le",
        ),
        (
            media(codec="mpeg2video", interlaced=True),
            encoded(**WEB_HD, deinterlace=True),
            False,
            "MPEG-2 pictures",
        ),
        (
            media(
                codec="mpeg2video",
                width=720,
                height=576,
                sample_aspect=Fraction(64, 45),
                frame_rate=Fraction(25),
            ),
            encoded(
                width=1024,
                height=576,
                quality=20,
                bitrate=2_211_840,
                nominal_rate=Fraction(25),
            ),
            False,
            "MPEG-2 pictures",
        ),
        (media(Codec.MP2, Codec.AAC), None, True, "MP2 sound"),
        (SourceMedia(None, (Codec.MP2,)), None, True, "MP2 sound"),
    ],
)
def test_web_is_what_browsers_play_at_the_size_of_the_source(source, encoding, encodes_audio, odd):
    made = planned([variant("source")], source=source)
    [copy, web] = made.renditions
    assert isinstance(copy, Copy)
    assert (copy.name, made.mp4) == ("source", "web")
    assert (web.name, web.variant) == ("web", "source")
    assert (web.video, web.encodes_audio) == (encoding, encodes_audio)
    assert web.reason.startswith(f"Browsers do not play {odd}; transcoded ")
    assert ("pictures to H.264" in web.reason) is (encoding is not None)
    assert ("sound to AAC" in web.reason) is encodes_audio
    assert ("SDR" in web.reason) is bool(encoding and encoding.tone_map)


@pytest.mark.parametrize(
    "source",
    [
        media(Codec.AAC),
        media(Codec.AC3, interlaced=True),
        media(pixel_format="yuvj420p"),
        media(codec="hevc", pixel_format="yuv420p10le"),
        media(codec="av1", pixel_format="yuv420p10le", colours=Colours(transfer="smpte2084")),
        media(codec="vp9"),
        media(codec="vp9", pixel_format="yuv420p10le"),
        RADIO,
        SourceMedia(None, ()),
    ],
)
def test_what_browsers_play_needs_no_web(source):
    made = planned([variant("source")], source=source)
    assert [each.name for each in made.renditions] == ["source"]
    assert made.mp4 == "source"


FMP4_MP2 = SourceMedia(HD, (Codec.MP2,), Container.FMP4)
KEPT = " Its MP2 sound is copied, which browsers do not play: fragmented MP4 keeps its sound."


def test_fragmented_mp4_keeps_sound_that_browsers_do_not_play():
    poor = EncoderKit(KIT.encoders - {"aac"}, KIT.filters)
    made = planned([variant("source")], profile(), source=FMP4_MP2, kit=poor)
    [source, transcode] = made.renditions
    assert (made.mp4, made.not_made) == ("source", ())
    assert KEPT not in source.reason
    assert (transcode.video, transcode.encodes_audio) == (encoded(), False)
    assert transcode.reason.endswith("to 1280x720." + KEPT)


def test_web_out_of_fragmented_mp4_is_made_for_the_pictures():
    odd = dataclasses.replace(FMP4_MP2, video=dataclasses.replace(HD, pixel_format="yuv422p"))
    [_, web] = planned([variant("source")], source=odd).renditions
    assert (web.video, web.encodes_audio) == (encoded(**WEB_HD), False)
    assert web.reason == (
        "Browsers do not play H.264 pictures in yuv422p; transcoded pictures to H.264 at 1920x1080."
        + KEPT
    )


def test_hevc_needs_web_where_the_settings_say_so():
    hevc = media(codec="hevc", pixel_format="yuv420p10le", colours=Colours(transfer="smpte2084"))
    [_, web] = planned([variant("source")], source=hevc, web_for_hevc=True).renditions
    assert web.video == encoded(**WEB_HD, tone_map=True, colours=BT709)
    assert len(planned([variant("source")], web_for_hevc=True).renditions) == 1


@pytest.mark.parametrize(
    ("codec", "bandwidth", "bitrate"),
    [
        ("mpeg2video", 0, 9_321_878),
        ("mpeg2video", 5_000_000, 5_000_000),
        ("mpeg2video", 50_000_000, 9_321_878),
        ("mpeg2video", 100_000, 400_000),
        ("hevc", 3_000_000, 6_000_000),
        ("vp9", 3_000_000, 6_000_000),
    ],
)
def test_web_takes_no_more_bits_than_the_variant_has(codec, bandwidth, bitrate):
    variants = [variant("source", bandwidth=bandwidth)]
    [_, web] = planned(variants, source=media(codec=codec, pixel_format="yuv422p")).renditions
    assert web.video.bitrate == bitrate


def test_web_is_held_to_20_mbit_and_stands_before_the_profiles():
    huge = media(codec="mpeg2video", width=7680, height=4320)
    made = planned([variant("source")], profile(), source=huge)
    assert [each.name for each in made.renditions] == ["source", "web", "wanted"]
    assert made.renditions[1].video.bitrate == 20_000_000


@pytest.mark.parametrize(
    ("given", "setting", "names"),
    [
        ({}, True, ["240p0", "360p0", "480p0", "720p0"]),
        ({}, False, []),
        ({"profiles": None}, True, ["240p0", "360p0", "480p0", "720p0"]),
        ({"profiles": []}, True, []),
        ({"profiles": [profile("mine")]}, True, ["mine"]),
    ],
)
def test_the_default_ladder_is_for_sessions_that_do_not_say_what_they_want(given, setting, names):
    session = Session(id="rec1", **given)
    recording = Recording(FOLDER.child("index.m3u8"), (variant("source"),))
    options = dataclasses.replace(OPTIONS, default_ladder=setting)
    made = plan(session, recording, SILENT_FILM, KIT, options)
    assert [each.name for each in made.renditions] == ["source", *names]


@pytest.mark.parametrize(
    ("lacking", "asked", "source", "words"),
    [
        ("libx264", [profile()], SILENT_FILM, ["Profile wanted", "H.264", "libx264"]),
        ("libx265", [profile(encoder="HEVC")], SILENT_FILM, ["Profile wanted", "HEVC", "libx265"]),
        ("libvpx-vp9", [profile(encoder="VP9")], SILENT_FILM, ["Profile wanted", "libvpx-vp9"]),
        (
            "zscale",
            [profile()],
            media(colours=Colours(transfer="smpte2084")),
            ["Profile wanted", "zscale", "HDR"],
        ),
        ("bwdif", [profile()], media(interlaced=True), ["Profile wanted", "bwdif"]),
        ("aac", [profile()], media(Codec.MP2), ["Profile wanted", "AAC"]),
        ("aac", [], media(Codec.MP2), ["web", "AAC"]),
        ("libx264", [], media(codec="mpeg2video"), ["web", "libx264"]),
        (
            "tonemap",
            [],
            media(pixel_format="yuv420p10le", colours=Colours(transfer="smpte2084")),
            ["web", "tonemap"],
        ),
    ],
)
def test_what_this_ffmpeg_lacks_is_named_with_what_needs_it(lacking, asked, source, words):
    poor = EncoderKit(KIT.encoders - {lacking}, KIT.filters - {lacking})
    with pytest.raises(PermanentError) as refused:
        planned([variant("source")], *asked, source=source, kit=poor)
    assert refused.value.code is ErrorCode.ENCODER_MISSING
    assert all(word in refused.value.message for word in words)


def test_what_is_not_needed_may_lack():
    nothing = EncoderKit(frozenset(), frozenset())
    assert planned(
        LADDER, profile(), kit=nothing, source=media(Codec.AAC, interlaced=True)
    ).renditions


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
    ],
)
def test_what_cannot_be_read_whole_is_refused(changes, code):
    broken = variant("hd", 1280, 720, 3_000_000, codecs=AVC, **changes)
    with pytest.raises(PermanentError) as refused:
        planned([broken, variant("low", 640, 360)])
    assert refused.value.code is code
    with pytest.raises(PermanentError):
        planned([variant("4k", 3840, 2160), broken], profile())
    assert planned([variant("4k", 3840, 2160), broken]).renditions[0].variant == "4k"


@pytest.mark.parametrize(
    "changes",
    [
        {"audio": MUXED},
        {"audio": APART},
        {"playlists": (listed("hd", gap=True),)},
        {"playlists": (listed("hd", encryption=KEY),)},
    ],
    ids=["muxed sound", "sound apart", "gap", "encrypted"],
)
def test_what_can_be_packaged_is_no_obstacle(changes):
    assert planned([variant("hd", 1280, 720, **changes)]).renditions
