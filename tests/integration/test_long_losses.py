"""Long runs of lost segments, and what is lost with them of what comes behind."""

import shutil
from collections import Counter

import pytest

from pipelines.loss import LossCause
from pipelines.repair import RepairKind
from tests.media import picture_numbers

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

#: How often one object is asked for at most: by its own slice, as a neighbour, and when it is gone.
ASKED = 8


@pytest.fixture
def holed(tmp_path):
    """A copy of a recording without some of its segments, which stay listed."""

    def make(path, *missing):
        names = [f"segment{number:05}.ts" for number in missing]
        folder = tmp_path / "holed"
        shutil.copytree(path.parent, folder, ignore=shutil.ignore_patterns(*names))
        return folder / path.name

    return make


@pytest.fixture
def asked(monkeypatch):
    """How often each object was read."""

    def watch(reader):
        count = Counter()
        read = reader.read

        def counted(location, *args, **options):
            count[str(location)] += 1
            return read(location, *args, **options)

        monkeypatch.setattr(reader, "read", counted)
        return count

    return watch


@pytest.mark.parametrize("survivors", [1, pytest.param(50, marks=pytest.mark.long)])
def test_lost_segments_are_not_asked_for_again_for_each_other(
    survivors, media, finalizer, holed, asked
):
    path = media.recording(duration=60.0, segment=0.5, fps="10", gop=5, size="160x90")
    one = finalizer(slice_seconds=15.0)
    count = asked(one.reader)
    made, _ = one.finalize(holed(path, *range(survivors, 115)))
    assert {loss.cause for loss in made.losses} == {LossCause.SEGMENT_MISSING}
    assert sum(loss.whole for loss in made.losses) == 115 - survivors
    assert max(count.values()) <= ASKED


@pytest.mark.parametrize("lost", [1, pytest.param(2, marks=pytest.mark.long), 3])
def test_pictures_behind_a_loss_get_the_parameter_sets_from_before_it(
    lost, media, finalizer, holed, media_tools, tmp_path
):
    path = media.recording(
        duration=12.0, segment=1.0, fps="10", gop=10, size="160x90", numbered=True,
        b_frames=2, open_gop=True,
    )  # fmt: skip
    one = finalizer(slice_seconds=5.0)
    made, _ = one.finalize(holed(path, lost))
    assert [loss.sequence for loss in made.losses if loss.whole] == [lost]
    assert RepairKind.PARAMETER_SETS in {repair.kind for repair in made.repairs}
    shown = set(picture_numbers(media_tools, one.download(tmp_path / "made.mp4")))
    left = set(range(120)) - set(range(10 * lost - 2, 10 * lost + 13))
    assert left <= shown


def test_pictures_behind_a_loss_get_the_parameter_sets_of_their_own_encoder(
    media, finalizer, recording_of, media_tools, tmp_path
):
    spec = {"duration": 6.0, "segment": 1.0, "fps": "10", "gop": 10, "size": "160x90"}
    spec |= {"numbered": True, "b_frames": 2, "open_gop": True}
    others = ("-preset", "medium")  # has other parameter sets
    paths = [media.recording(**spec), media.recording(**spec, start=99.0, encoder_options=others)]
    data = [each.read_bytes() for path in paths for each in sorted(path.parent.glob("segment*"))]
    data[7] = b""  # behind the segment in which the other encoder told its own
    one = finalizer()
    one.finalize(recording_of(*((each, "") for each in data), seconds=1.0))
    shown = picture_numbers(media_tools, one.download(tmp_path / "made.mp4"))
    assert shown[-35:] == list(range(25, 60))
