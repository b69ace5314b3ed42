"""Audio frames: several in one PES packet, over its border, over the segment's border."""

import pytest

from pipelines.media import Codec
from pipelines.mpegts.index import index_segment
from pipelines.segment_index import NO_TIME, TrackIndex
from tests.unit.mpegts_by_hand import AAC, AUDIO, MP3, Segment, adts, pes

FRAME = 1920  # ticks of 1024 samples at 48 kHz
#: MPEG-1 layer III, 128 kbit/s, 48 kHz, stereo: 384 bytes.
MP3_FRAME = b"\xff\xfb\x94\x00" + bytes(380)
MP2_FRAME = b"\xff\xfd\x84\x00" + bytes(380)
#: 48 kHz, 64 kbit/s, stereo: 256 bytes.
AC3_FRAME = b"\x0b\x77\0\0\x08\x40\x43" + bytes(249)
#: E-AC-3, 48 kHz, six blocks, 128 bytes: an independent substream and a dependent one.
EAC3_FRAME = b"\x0b\x77\x00\x3f\x34\x87\xc0" + bytes(121)
EAC3_DEPENDENT = b"\x0b\x77\x40\x3f\x34\x87\xc0" + bytes(121)


def track(*packets: tuple[bytes, int | None], kind: int = AAC, head: bytes = b"") -> TrackIndex:
    segment = Segment((kind, AUDIO)).add(AUDIO, head, start=False)
    for payload, pts in packets:
        segment.add(AUDIO, pes(payload, pts))
    (only,) = index_segment(segment.data).tracks
    return only


def test_frames_of_a_pes_packet_count_on_from_its_stamp():
    audio = track((adts() * 3, 1000), (adts() * 2, 50_000))
    assert audio.dts.tolist() == [1000, 1000 + FRAME, 1000 + 2 * FRAME, 50_000, 50_000 + FRAME]
    assert audio.pts.tolist() == audio.dts.tolist()
    assert audio.sync.all()
    assert audio.unit_duration == FRAME
    assert (audio.starts_clean, audio.continues_previous, audio.ends_unfinished) == (
        True,
        False,
        False,
    )


def test_a_frame_over_the_border_leaves_the_stamp_to_the_next():
    frames = adts(300) * 4
    audio = track((frames[:400], 0), (frames[400:], 9000))
    assert audio.dts.tolist() == [0, FRAME, 9000, 9000 + FRAME]


def test_without_a_stamp_frames_count_on_from_the_pes_packet_before():
    audio = track((adts() * 2, 500), (adts() * 2, None))
    assert audio.dts.tolist() == [500 + n * FRAME for n in range(4)]


def test_the_tail_of_a_frame_in_front_belongs_to_the_segment_before():
    frames = adts(300) * 4
    audio = track((frames[120:], 9000))
    assert len(audio) == 3
    assert audio.continues_previous
    assert audio.dts.tolist() == [9000, 9000 + FRAME, 9000 + 2 * FRAME]


def test_a_tail_that_looks_like_a_header_is_not_taken_for_a_frame():
    audio = track((b"\x00\xff\xf1\x50\x80\x10\x00\xfc" + bytes(40) + adts() * 6, 0))
    assert len(audio) == 6


def test_a_false_header_that_leads_out_of_the_stream_is_not_believed():
    audio = track((b"\x00\xff\xf1\x50\x83\xff\xff\xfc" + bytes(40) + adts() * 2, 0))
    assert len(audio) == 2


def test_frames_in_front_of_the_first_header_have_no_time():
    audio = track((adts() * 2, 700), head=adts() * 2)
    assert audio.dts.tolist() == [NO_TIME, NO_TIME, 700, 700 + FRAME]
    assert audio.headless == 2
    assert audio.continues_previous


@pytest.mark.parametrize("left", [1, 6, 7, 50])
def test_a_frame_that_is_cut_off_is_unfinished(left: int):
    audio = track((adts() * 3 + adts()[:left], 0))
    assert len(audio) == 4
    assert audio.ends_unfinished


def test_the_configuration_is_the_audio_specific_config():
    audio = track((adts(rate_index=4, channels=1) * 4, 0))
    assert audio.configuration is not None
    assert audio.configuration.parameter_sets == (("asc", bytes.fromhex("1208")),)
    facts = {"sample_rate": 44_100, "channels": 1, "object_type": 2}
    assert dict(audio.configuration.facts) == facts
    assert audio.unit_duration == 2090


def test_a_format_that_changes_inside_the_segment_is_told():
    audio = track((adts() * 4 + adts(rate_index=4) * 4, 0))
    assert audio.configuration_change == "sample_rate 48000 became 44100"


@pytest.mark.parametrize(
    ("kind", "frame", "codec", "ticks", "channels"),
    [
        (MP3, MP3_FRAME, Codec.MP3, 2160, 2),
        (MP3, MP2_FRAME, Codec.MP2, 2160, 2),
        (0x81, AC3_FRAME, Codec.AC3, 2880, 2),
        (0x87, EAC3_FRAME + EAC3_DEPENDENT, Codec.EAC3, 2880, 2),
    ],
)
def test_other_codecs_are_read_by_their_headers(
    kind: int, frame: bytes, codec: Codec, ticks: int, channels: int
):
    audio = track((frame * 5, 10), kind=kind)
    assert audio.codec is codec
    assert audio.dts.tolist() == [10 + n * ticks for n in range(5)]
    assert audio.configuration is not None
    assert dict(audio.configuration.facts) == {"channels": channels, "sample_rate": 48_000}
    assert audio.configuration_change is None


@pytest.mark.parametrize(
    ("kind", "frame", "units"),
    [(AAC, adts(), 7), (MP3, MP3_FRAME, 6), (0x81, AC3_FRAME, 6)],
    ids=["aac", "mp3", "ac3"],
)
def test_junk_between_frames_is_counted_as_ffmpeg_does(kind: int, frame: bytes, units: int):
    assert len(track((frame * 3 + b"junk" * 9 + frame * 3, 0), kind=kind)) == units
