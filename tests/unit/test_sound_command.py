"""The command that encodes sound, and what of a segment it is fed."""

from pipelines.indexed_segment import IndexedSegment
from pipelines.location import Location
from pipelines.media import Codec
from pipelines.mpegts.index import index_segment
from pipelines.playlist import Segment as ListedSegment
from pipelines.transcoding.sound import sound_argv
from pipelines.transcoding.sound_stretch import encoded_tracks, sound_packets
from tests.unit.mpegts_by_hand import H264, IDR, PPS, SPS, VIDEO, Segment, adts, pes, unit

MPEG1_AUDIO, ADTS = 0x03, 0x0F
STEREO, MONO, AAC = 0x101, 0x102, 0x103


def mp2(mode: int) -> bytes:
    """Three frames of layer II, 192 kbit/s at 48 kHz, in the given channel mode."""
    return (b"\xff\xfd\xa4" + bytes([mode << 6]) + bytes(572)) * 3


def segment() -> IndexedSegment:
    made = Segment((H264, VIDEO), (MPEG1_AUDIO, STEREO), (MPEG1_AUDIO, MONO), (ADTS, AAC))
    made.add(VIDEO, pes(unit(SPS, PPS, IDR), 0))
    made.add(STEREO, pes(mp2(0), 0)).add(MONO, pes(mp2(3), 0)).add(AAC, pes(adts() * 4, 0))
    listed = ListedSegment(0, Location.parse("s3://recordings/one/0.ts"), 2.0)
    return IndexedSegment(listed, made.data, index_segment(made.data))


def test_only_sound_that_browsers_do_not_play_is_encoded():
    assert encoded_tracks(segment().index.tracks).keys() == {STEREO, MONO}


def test_every_track_gets_64_kbits_for_each_channel():
    argv = sound_argv("ffmpeg", encoded_tracks(segment().index.tracks))
    assert argv[argv.index("-b:a:0") + 1] == "128000"
    assert argv[argv.index("-b:a:1") + 1] == "64000"
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "-map"] == [
        f"0:i:{STEREO}",
        f"0:i:{MONO}",
    ]


def test_ffmpeg_sees_nothing_but_pipes():
    argv = sound_argv("ffmpeg", encoded_tracks(segment().index.tracks))
    assert argv[argv.index("-i") + 1] == "pipe:0"
    assert argv[argv.index("-protocol_whitelist") + 1] == "pipe"
    assert [word for word in argv if word.startswith("pipe:")] == ["pipe:0", "pipe:1"]


def test_it_is_fed_the_tables_and_its_own_sound_alone():
    whole = segment()
    left = index_segment(sound_packets(whole, {STEREO}))
    (only,) = left.tracks
    assert (only.track, only.codec, len(only)) == (STEREO, Codec.MP2, 3)
    assert not left.findings
    assert set(left.silent) == {VIDEO, MONO, AAC}
