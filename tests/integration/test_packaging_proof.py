"""The proof has teeth: each seeded fault is found, whatever wrote the object."""

import dataclasses

import pytest

from pipelines import packaged_slice
from pipelines.assemble import MP4
from pipelines.errors import ErrorCode, FinalizerError
from pipelines.staging import SliceLost
from pipelines.verify import Thoroughness, Verification
from tests.packaging import never_cancelled

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]


@pytest.fixture
def packaged(media, finalizer):
    """A finalizer after packaging three slices."""
    one = finalizer(slice_seconds=1.0)
    one.package(one.playlist(media.recording(b_frames=2)))
    assert len(one.receipts) == 3
    return one


def refused(one, made=None, thoroughness=Thoroughness.FULL):
    """The refusal of the proof."""
    with pytest.raises(FinalizerError) as caught:
        Verification(
            one.store, made or one.assemble(), one.tools.ffmpeg, thoroughness, never_cancelled
        ).prove()
    assert caught.value.code == ErrorCode.VERIFICATION_FAILED
    return caught.value.message


def rewrite(one, made, edit):
    """Change bytes of the finished object behind everyone's back.

    Gives what was made with a checksum that fits the changed bytes: as if they had been sent so.
    """
    data = bytearray(one.store.read(made.location))
    edit(data)
    part = one.store.write(made.location, data, MP4)
    return dataclasses.replace(made, parts=(part,))


def change_track(one, number, kind, change):
    """Stage slice ``number`` again with one of its tracks changed."""
    tables = one.staging.tables(one.receipts[number])
    [run] = tables.runs
    tracks = tuple(change(each) if each.kind == kind else each for each in run.tracks)
    tables = dataclasses.replace(tables, runs=(dataclasses.replace(run, tracks=tracks),))
    one.store.write(staged_object(one, number, "tables"), packaged_slice.encode(tables), MP4)


def staged_object(one, number, what):
    """Where the staged tables or payload of a slice lie."""
    name = f"{one.receipts[number].name}.{what}"
    [found] = [each for each in one.store.list(one.staging._folder) if each.key.endswith(name)]
    return found


def with_samples(track, change):
    return dataclasses.replace(track, samples=change(track.samples))


def test_an_untouched_object_is_proven_whole_and_by_samples(packaged):
    made = packaged.assemble()
    for thoroughness in Thoroughness:
        check = Verification(
            packaged.store, made, packaged.tools.ffmpeg, thoroughness, never_cancelled
        )
        assert [track.copied for track in check.prove().tracks] == [180, 283]


@pytest.mark.parametrize("share", [0.0, 0.37, 0.999])
def test_one_wrong_byte_of_payload_is_found(packaged, share):
    made = packaged.assemble()
    at = len(made.header) + int(share * (made.size - len(made.header) - 1))

    def flip(data):
        data[at] ^= 0xFF

    made = rewrite(packaged, made, flip)
    assert "not those that were packaged" in refused(packaged, made)


def test_a_checksum_that_is_not_that_of_what_was_sent_is_found(packaged):
    made = packaged.assemble()
    rewrite(packaged, made, lambda data: data.reverse())
    assert "checksum" in refused(packaged, made)


@pytest.mark.parametrize("thoroughness", Thoroughness)
def test_a_wrong_byte_of_the_header_is_found(packaged, thoroughness):
    made = packaged.assemble()

    def flip(data):
        data[len(made.header) // 2] ^= 1

    made = rewrite(packaged, made, flip)
    assert "header" in refused(packaged, made, thoroughness)


@pytest.mark.parametrize("thoroughness", Thoroughness)
def test_an_object_cut_short_is_found(packaged, thoroughness):
    made = packaged.assemble()
    made = rewrite(packaged, made, lambda data: data.pop())
    assert "bytes instead of" in refused(packaged, made, thoroughness)


def test_sampling_finds_a_slice_that_is_overwritten(packaged):
    made = packaged.assemble()

    def zero(data):
        begin = len(made.header) + made.layout.offsets[1]
        data[begin : begin + 5000] = bytes(5000)

    made = rewrite(packaged, made, zero)
    refused(packaged, made, Thoroughness.SAMPLED)


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_a_dropped_sample_is_found(packaged, kind):
    def drop(track):
        samples, placement = track.samples, track.placement
        counts = placement.counts.copy()
        counts[-1] -= 1
        kept = dataclasses.replace(
            samples, dts=samples.dts[:-1], composition=samples.composition[:-1],
            sizes=samples.sizes[:-1], sync=samples.sync[:-1],
        )  # fmt: skip
        placement = dataclasses.replace(placement, counts=counts)
        return dataclasses.replace(track, samples=kept, placement=placement)

    change_track(packaged, 1, kind, drop)
    assert "samples are expected" in refused(packaged)


@pytest.mark.parametrize("kind", ["video", "audio"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_track_that_is_shifted_by_40_ms_is_found(packaged, kind, number):
    def shift(track):
        by = track.timescale * 40 // 1000
        return with_samples(track, lambda s: dataclasses.replace(s, dts=s.dts + by))

    change_track(packaged, number, kind, shift)
    assert "from its source time" in refused(packaged)


def test_a_wrong_composition_offset_is_found(packaged):
    def bend(track):
        composition = track.samples.composition.copy()
        composition[5] += 3000
        return with_samples(track, lambda s: dataclasses.replace(s, composition=composition))

    change_track(packaged, 1, "video", bend)
    assert "from its source time" in refused(packaged)


def test_a_wrong_key_flag_is_found(packaged):
    def flag(track):
        sync, pts = track.samples.sync.copy(), track.samples.pts
        shown_next = (at for at in range(len(pts)) if pts[at] <= pts[at:].min() and not sync[at])
        sync[next(shown_next)] = True  # others are no places to begin, whatever is said of them
        return with_samples(track, lambda s: dataclasses.replace(s, sync=sync))

    change_track(packaged, 1, "video", flag)
    assert "key flag" in refused(packaged)


def test_sizes_that_are_off_by_one_are_found(packaged):
    def move(track):
        sizes = track.samples.sizes.copy()
        sizes[0] += 1
        sizes[1] -= 1
        return with_samples(track, lambda s: dataclasses.replace(s, sizes=sizes))

    change_track(packaged, 1, "video", move)
    assert "its unit in the source" in refused(packaged)


def test_the_payload_of_another_slice_is_packaged_again(packaged):
    first, second = (staged_object(packaged, number, "payload") for number in (0, 1))
    own, other = packaged.store.read(first), packaged.store.read(second)
    packaged.store.write(first, (other + own)[: len(own)], MP4)
    with pytest.raises(SliceLost):
        packaged.assemble()


def test_the_tables_of_another_slice_are_not_taken(packaged):
    first, second = (staged_object(packaged, number, "tables") for number in (0, 1))
    packaged.store.write(first, packaged.store.read(second), MP4)
    with pytest.raises(SliceLost):
        packaged.assemble()


@pytest.mark.parametrize("thoroughness", Thoroughness)
@pytest.mark.parametrize("track", [0, 1], ids=["pictures", "sound"])
def test_a_chunk_that_is_told_to_lie_elsewhere_is_found(packaged, track, thoroughness):
    """In the middle of a slice, where nothing is played and no place is sampled."""
    made = packaged.assemble()
    header = bytearray(made.header)
    table = -1
    for _ in range(track + 1):
        table = header.index(b"stco", table + 1)
    chunk = table + 4 + 8 + 4 * (int.from_bytes(header[table + 8 : table + 12]) // 2)
    offset = int.from_bytes(header[chunk : chunk + 4])
    header[chunk : chunk + 4] = (offset + 7).to_bytes(4)

    def move(data):
        data[: len(header)] = header

    told = dataclasses.replace(rewrite(packaged, made, move), header=bytes(header))
    assert "lies where none was packaged" in refused(packaged, told, thoroughness)
