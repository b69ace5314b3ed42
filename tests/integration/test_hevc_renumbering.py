"""Parameter sets of HEVC under other ids: what ffmpeg decodes of it is the same, picture by picture."""

import struct

import pytest

from pipelines.errors import ErrorCode, ToolError
from pipelines.mp4.hevc_sets import PPS, SPS, VPS, HevcRecord, HevcRenumbering
from pipelines.mp4.parameter_sets import merged_entry
from pipelines.mp4.sample_entry import read_sample_entry
from tests.media import run
from tests.sample_tables import movie_of

pytestmark = pytest.mark.ffmpeg


@pytest.fixture(scope="module")
def encoded(media_tools, tmp_path_factory):
    """A sample entry and samples of x265, of 30 pictures that move in another way each time."""

    def make(*options, source="testsrc2"):
        path = tmp_path_factory.mktemp("hevc") / "made.mp4"
        picture = f"{source}=size=256x256:rate=30"
        quiet = "log-level=error:pools=none:info=0:open-gop=0:bframes=2:keyint=10"
        parameters = ":".join([quiet, *options])
        run(
            media_tools.ffmpeg, "-v", "error", "-f", "lavfi", "-t", "1", "-i", picture, "-pix_fmt", "yuv420p",
            "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", parameters,
            "-tag:v", "hvc1", "-movflags", "+faststart", str(path),
        )  # fmt: skip
        data = path.read_bytes()
        [track] = movie_of(data).tracks
        return track.header.sample_entry, samples(data, track)

    return make


def samples(data, track):
    """The bytes of every sample of a file with one track."""
    found = []
    at = data.index(b"mdat") + 4
    for size in track.sizes.tolist():
        found.append(data[at : at + size])
        at += size
    return found


@pytest.fixture
def decoded(media_tools, tmp_path):
    """Hashes of the pictures of samples behind the parameter sets of an entry."""

    def decode(entry, found):
        path = tmp_path / "stream.hevc"
        record = HevcRecord.of(entry)
        sets = [unit for kind in (VPS, SPS, PPS) for unit in record.units(kind)]
        units = [*sets, *(unit for sample in found for unit in nal_units(sample))]
        path.write_bytes(b"".join(b"\0\0\0\1" + unit for unit in units))
        lines = run(
            media_tools.ffmpeg, "-v", "error", "-xerror", "-f", "hevc", "-i", str(path),
            "-f", "framehash", "-",
        ).decode().splitlines()  # fmt: skip
        return [line.rpartition(",")[2].strip() for line in lines if line[:1] != "#"]

    return decode


def nal_units(sample):
    at = 0
    while at < len(sample):
        (size,) = struct.unpack_from(">I", sample, at)
        yield sample[at + 4 : at + 4 + size]
        at += 4 + size


@pytest.mark.parametrize("options", [(), ("bframes=0", "ref=1"), ("amp=1", "rect=1", "ctu=16")])
def test_pictures_of_two_encoders_decode_behind_one_entry(options, encoded, decoded):
    main, its = encoded()
    odd, others = encoded(*options, source="mandelbrot")
    numbers = HevcRenumbering.beside(main)
    renumbered = numbers.entry(odd)
    changed = [numbers.sample(each) for each in others]
    entry = merged_entry(main, [renumbered])
    record = HevcRecord.of(entry)
    assert record.ids(VPS) == {0, numbers.vps}
    assert record.ids(SPS) == {0, numbers.sps}
    assert record.ids(PPS) == {0, numbers.pps}
    alone = [decoded(main, its), decoded(odd, others)]
    assert [len(each) for each in alone] == [30, 30]
    assert decoded(entry, [*its, *changed, *its]) == [*alone[0], *alone[1], *alone[0]]


def test_the_merged_entry_tells_what_the_main_one_does(encoded):
    main, _ = encoded()
    odd, _ = encoded("level-idc=51", source="mandelbrot")
    renumbered = HevcRenumbering.beside(main).entry(odd)
    entry = merged_entry(main, [renumbered])
    facts = [dict(read_sample_entry(each).configuration.facts) for each in (main, entry)]
    assert facts[0] == facts[1]
    levels = [HevcRecord.of(each).head[12] for each in (main, odd, entry)]
    assert levels[2] == max(levels[:2])


def test_sets_of_one_id_that_differ_are_refused(encoded):
    main, _ = encoded()
    odd, _ = encoded("ctu=16", source="mandelbrot")
    with pytest.raises(ToolError) as error:
        merged_entry(main, [odd])
    assert error.value.code is ErrorCode.VERIFICATION_FAILED
