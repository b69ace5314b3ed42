"""Two clocks in one recording: every packet is there, the second period starts where the first ended."""

import itertools

import pytest

from tests.sample_tables import movie_of, sample_tables

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

TAG = "#EXT-X-DISCONTINUITY"


def segments(path):
    return [each.read_bytes() for each in sorted(path.parent.glob("*.ts"))]


def joined(*recordings):
    """Segments of several recordings, a tag between them."""
    found = []
    for number, path in enumerate(recordings):
        data = segments(path)
        found += [(data[0], TAG if number else ""), *((each, "") for each in data[1:])]
    return found


def counts(proof):
    return {track.name: track.copied for track in proof.tracks}


def spans(made):
    """Media seconds from the first to the end of the last sample of each track, decode times."""
    return {t.header.kind: t.dts / t.header.timescale for t in movie_of(made.header).tracks}


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        (({"b_frames": 2, "start": 5000.0}, {"b_frames": 2}), {"video": 360, "audio": 566}),
        (({"b_frames": 2}, {"b_frames": 2, "start": 5000.0}), {"video": 360, "audio": 566}),
        (({"video": None, "start": 300.0}, {"video": None}), {"audio": 566}),
    ],
    ids=["clock-back", "clock-forward", "sound-alone"],
)
@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "many"])
def test_the_second_period_starts_where_the_first_ended(
    specs, expected, seconds, media, finalizer, recording_of
):
    paths = [media.recording(**spec) for spec in specs]
    made, proof = finalizer(slice_seconds=seconds).finalize(recording_of(*joined(*paths)))
    assert counts(proof) == expected
    assert [period.tagged for period in made.tables.periods] == [False, True]
    assert made.tables.periods[1].start == pytest.approx(6.0, abs=0.1)
    assert made.tables.gaps == []
    for times in spans(made).values():
        steps = [after - before for before, after in itertools.pairwise(times.tolist())]
        assert min(steps) > 0
        assert max(steps) < 0.1


def test_one_slice_and_many_agree_across_a_discontinuity(media, finalizer, recording_of):
    specs = ({"b_frames": 2, "start": 5000.0}, {"b_frames": 2})
    path = recording_of(*joined(*(media.recording(**spec) for spec in specs)))
    whole, _ = finalizer().finalize(path)
    many, _ = finalizer(slice_seconds=1.0).finalize(path)
    assert sample_tables(many.header) == sample_tables(whole.header)


def test_a_clock_that_starts_again_without_a_tag_is_noticed(media, finalizer, recording_of):
    paths = [media.recording(b_frames=2, start=start) for start in (5000.0, 0.0)]
    untagged = [(data, "") for path in paths for data in segments(path)]
    made, proof = finalizer().finalize(recording_of(*untagged))
    assert counts(proof) == {"video": 360, "audio": 566}
    assert [period.tagged for period in made.tables.periods] == [False, False]


def test_a_tag_in_the_middle_of_one_clock_changes_nothing(media, finalizer, recording_of):
    data = segments(media.recording(b_frames=2))
    plain, _ = finalizer().finalize(recording_of(*((each, "") for each in data), name="plain"))
    tags = ["", TAG, ""]
    tagged, _ = finalizer().finalize(recording_of(*zip(data, tags, strict=True), name="tagged"))
    assert len(tagged.tables.periods) == 2
    assert sample_tables(tagged.header) == sample_tables(plain.header)


@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "many"])
def test_pictures_that_were_never_listed_leave_a_gap_of_their_length(
    seconds, media, finalizer, recording_of
):
    data = segments(media.recording(audio=None, b_frames=2))
    path = recording_of((data[0], ""), (data[2], ""))
    made, proof = finalizer(slice_seconds=seconds).finalize(path)
    assert counts(proof) == {"video": 120}
    assert proof.duration == pytest.approx(6.0, abs=0.1)
    [gap] = made.tables.gaps
    assert (gap.at, gap.duration) == (pytest.approx(2.0, abs=0.1), pytest.approx(2.0, abs=0.1))


@pytest.mark.parametrize(
    ("case", "entry", "expected"),
    [
        ("ts-basic-3seg", "tiny.m3u8", {"video": 900, "audio": 1407}),
        ("ts-pts-wrap-33bit", None, {"video": 480, "audio": 937}),
        ("fmp4-muxed-single", "output.m3u8", {"video": 250, "audio": 432}),
        ("fmp4-byterange-map", "output.m3u8", {"video": 250}),
        ("ts-negative-dts-bframes", "playlist.m3u8", {"video": 144}),
    ],
)
def test_a_found_recording_keeps_every_packet(case, entry, expected, corpus, finalizer):
    path = corpus / case / entry if entry else next((corpus / case).glob("*.m3u8"))
    whole, proof = finalizer().finalize(path)
    many, proof_of_many = finalizer(slice_seconds=1.0).finalize(path)
    assert counts(proof) == counts(proof_of_many) == expected
    assert sample_tables(many.header) == sample_tables(whole.header)
    assert whole.tables.gaps == []


@pytest.mark.parametrize(
    ("case", "expected", "dropped"),
    [
        ("ts-no-initial-keyframe", {"video": 15, "audio": 57}, 63),
        ("ts-mid-pat-pmt", {"video": 15, "audio": 28}, 0),
        ("ts-missing-dts", {"video": 120}, 0),
    ],
)
def test_an_odd_segment_is_packaged_and_what_is_left_out_is_told(
    case, expected, dropped, corpus, finalizer, recording_of
):
    [segment] = (corpus / case).glob("*.ts")
    made, proof = finalizer().finalize(recording_of((segment.read_bytes(), "")))
    assert counts(proof) == expected
    left_out = [each.samples for each in made.tables.dropped]
    left_out += [loss.units for loss in made.losses]
    assert sum(left_out) == dropped


@pytest.mark.parametrize(
    ("tag", "seconds"), [("", 1.0), (TAG, None)], ids=["untagged-many", "tagged-one-slice"]
)
@pytest.mark.parametrize(
    ("other", "track"),
    [
        ({"size": "256x144"}, "video"),
        ({"encoder_options": ("-ar", "44100")}, "audio"),
        ({"video": "hevc"}, "video"),
    ],
    ids=["size", "sample-rate", "codec"],
)
def test_a_part_of_another_configuration_alone_is_encoded_anew(
    other, track, tag, seconds, media, finalizer, recording_of
):
    data = segments(media.recording())
    second = segments(media.recording(**other))[1]
    path = recording_of((data[0], ""), (second, tag), (data[2], ""))
    _, proof = finalizer(slice_seconds=seconds).finalize(path)
    encoded = {each.name: each.encoded for each in proof.tracks}
    rate = {"video": 30, "audio": 48_000 / 1024}[track]
    assert encoded.pop(track) == pytest.approx(2 * rate, abs=2)
    assert set(encoded.values()) == {0}
