"""All playlists of a recording are read within one budget."""

import pytest

from pipelines import read_recording as reading
from pipelines.errors import ErrorCode, PermanentError
from pipelines.location import Location
from pipelines.read_recording import read_recording

HOME = Location.parse("s3://recordings/rec1/index.m3u8")


class Source:
    """Playlists by name, in memory."""

    def __init__(self, **texts):
        self.bodies = {f"{name}.m3u8": text.encode() for name, text in texts.items()}

    def size(self, location):
        return len(self.bodies[location.path.rpartition("/")[2]])

    def read(self, location, byte_range=None, allowed=None):
        return self.bodies[location.path.rpartition("/")[2]]


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
