"""MPEG-2 pictures and MP2 sound: browsers do not play them, but their copy is as true as any."""

from fractions import Fraction

import pytest

from pipelines.media import Codec
from tests.framehash import differences, from_zero, packets
from tests.media import beep_times, flash_times

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

MPEG2 = ("-c:v", "mpeg2video")
MP2 = ("-c:a", "mp2", "-b:a", "128k")
CLOSED = ("-flags", "+cgop", "-sc_threshold", "1000000000")
CASES = {
    "no-b": {"encoder_options": (*MPEG2, *MP2)},
    "open-gop": {"b_frames": 2, "encoder_options": (*MPEG2, *MP2)},
    "closed-gop": {"b_frames": 2, "encoder_options": (*MPEG2, *CLOSED, *MP2)},
    "interlaced": {"b_frames": 2, "encoder_options": (*MPEG2, "-flags", "+ilme+ildct", *MP2)},
    "away-from-key-frames": {
        "split_by_time": True, "gop": 15, "b_frames": 2, "encoder_options": (*MPEG2, *MP2),
    },
    "clock-wraps": {"start": 95440.5, "b_frames": 2, "encoder_options": (*MPEG2, *MP2)},
    "mpeg1": {"b_frames": 2, "encoder_options": ("-c:v", "mpeg1video", *MP2)},
    "beside-aac": {"b_frames": 2, "encoder_options": MPEG2},
    "beside-h264": {"b_frames": 2, "encoder_options": (*MP2, "-ar", "44100")},
    "mono": {"encoder_options": (*MP2, "-ac", "1", "-ar", "24000", "-b:a", "64k")},
    "audio-only": {"video": None, "encoder_options": MP2},
    "video-only": {"audio": None, "b_frames": 2, "encoder_options": MPEG2},
}  # fmt: skip
ROUNDING = Fraction(1, 5000)
STREAMS = {"video": "v:0", "audio": "a:0"}


def whole(path, target):
    """The recording's segments one after the other."""
    target.write_bytes(b"".join(each.read_bytes() for each in sorted(path.parent.glob("*.ts"))))
    return target


@pytest.mark.parametrize("slice_seconds", [None, 2.0], ids=["one-slice", "sliced"])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
def test_every_packet_is_that_of_the_source(
    options, slice_seconds, media, finalizer, media_tools, tmp_path
):
    path = media.recording(**options)
    one = finalizer(slice_seconds=slice_seconds)
    made, proof = one.finalize(path)
    ours, source = one.download(tmp_path / "ours.mp4"), whole(path, tmp_path / "whole.ts")
    tracks = [name for name in STREAMS if options.get(name, True)]
    assert [each.name for each in proof.tracks] == tracks
    assert all((made.tables.expected[name].sizes > 0).all() for name in tracks)
    theirs = {name: packets(media_tools, source, STREAMS[name]) for name in tracks}
    zero = min(packet.pts for each in theirs.values() for packet in each)
    same_bytes = [
        each.name for each in proof.tracks if each.codec in (Codec.MPEG2_VIDEO, Codec.MP2)
    ]
    for name in same_bytes:
        mine = from_zero(packets(media_tools, ours, STREAMS[name]), Fraction(0))
        assert differences(mine, from_zero(theirs[name], zero), ROUNDING) == [], name


@pytest.mark.parametrize("name", ["open-gop", "beside-h264"])
def test_the_proof_names_the_codec_and_every_flash_and_beep_is_there(
    name, media, finalizer, media_tools, tmp_path
):
    one = finalizer(slice_seconds=2.0)
    _, proof = one.finalize(media.recording(**CASES[name]))
    codecs = {"open-gop": Codec.MPEG2_VIDEO, "beside-h264": Codec.H264}
    assert [each.codec for each in proof.tracks] == [codecs[name], Codec.MP2]
    ours = one.download(tmp_path / "ours.mp4")
    flashes, beeps = flash_times(media_tools, ours), beep_times(media_tools, ours)
    assert len(flashes) == len(beeps) == 6
    assert beeps == pytest.approx(flashes, abs=1 / 25)
