"""All playlists of a recording are read within one budget."""

import pytest

from pipelines import read_recording as reading
from pipelines.errors import ErrorCode, PermanentError
from pipelines.location import Location
from pipelines.read_recording import read_recording
from pipelines.store_errors import ObjectMissing

HOME = Location.parse("s3://recordings/rec1/index.m3u8")


class Source:
    """Playlists by name, in memory."""

    def __init__(self, **texts):
        self.bodies = {f"{name}.m3u8": text.encode() for name, text in texts.items()}

    def size(self, location):
        return len(self.read(location))

    def read(self, location, byte_range=None, allowed=None):
        name = location.path.rpartition("/")[2]
        if name not in self.bodies:
            raise ObjectMissing(location)
        return self.bodies[name]


def media(segments):
    return "#EXTM3U\n" + "".join(f"#EXTINF:2,\n{n}.ts\n" for n in range(segments))


def multivariant(*names):
    lines = [f"#EXT-X-STREAM-INF:BANDWIDTH=1\n{name}.m3u8" for name in names]
    return "\n".join(["#EXTM3U", *lines])


def test_all_variants_together_share_one_budget_of_segments(monkeypatch):
    monkeypatch.setattr(reading, "MAX_SEGMENTS", 6)
    index = multivariant("a", "b", "c")
    fits = Source(index=index, a=media(2), b=media(2), c=media(2))
    assert len(read_recording(fits, HOME, ()).variants) == 3
    with pytest.raises(PermanentError, match="more than 6 segments in all") as refused:
        read_recording(Source(index=index, a=media(2), b=media(2), c=media(3)), HOME, ())
    assert refused.value.code is ErrorCode.RECORDING_TOO_LONG


def test_a_playlist_named_twice_counts_once(monkeypatch):
    monkeypatch.setattr(reading, "MAX_SEGMENTS", 4)
    source = Source(index=multivariant("a", "a"), a=media(3))
    assert [len(each.segments) for each in read_recording(source, HOME, ()).variants] == [3, 3]


BESIDE = (
    '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="n",URI="sound.m3u8"\n'
    '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",NAME="n",URI="subs.m3u8"\n'
    '#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a",SUBTITLES="s"\nv.m3u8\n'
)


def test_playlists_of_sound_and_subtitles_are_read_within_the_same_budget(monkeypatch):
    monkeypatch.setattr(reading, "MAX_SEGMENTS", 6)
    read = read_recording(Source(index=BESIDE, v=media(2), sound=media(1), subs=media(3)), HOME, ())
    [variant] = read.variants
    assert len(variant.sound[0].playlist.segments) == 1
    assert len(variant.subtitles[0].playlist.segments) == 3
    with pytest.raises(PermanentError) as refused:
        read_recording(Source(index=BESIDE, v=media(2), sound=media(2), subs=media(3)), HOME, ())
    assert refused.value.code is ErrorCode.RECORDING_TOO_LONG


@pytest.mark.parametrize("subtitles", [{}, {"subs": "<html>"}], ids=["missing", "invalid"])
def test_a_recording_is_kept_without_its_subtitles(subtitles):
    read = read_recording(Source(index=BESIDE, v=media(2), sound=media(1), **subtitles), HOME, ())
    assert read.variants[0].subtitles[0].playlist is None


@pytest.mark.parametrize("sound", [{}, {"sound": "<html>"}], ids=["missing", "invalid"])
def test_a_recording_is_kept_without_its_sound(sound):
    read = read_recording(Source(index=BESIDE, v=media(2), subs=media(1), **sound), HOME, ())
    assert read.variants[0].sound[0].playlist is None


def test_there_is_no_recording_without_the_playlist_of_its_pictures():
    with pytest.raises(PermanentError) as refused:
        read_recording(Source(index=BESIDE, sound=media(2), subs=media(1)), HOME, ())
    assert refused.value.code is ErrorCode.PLAYLIST_MISSING
