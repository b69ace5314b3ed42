"""Sliced or not: the same pictures at the same times, whatever the source and its segments are."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from tests.framehash import packets
from tests.media import picture_numbers
from tests.packaging import Transcoder, small_encoding
from tests.sample_tables import movie_of

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]


def tables_of(made):
    """Presentation times of each track by its kind, in order, and how long its last sample is."""
    return {
        str(track.header.kind): (
            track.header.timescale,
            np.sort(track.pts).tolist(),
            track.header.edits,
        )
        for track in movie_of(made.header).tracks
    }


SOURCES = {
    "24": {"fps": "24"},
    "25-b-frames": {"fps": "25", "b_frames": 2},
    "29.97": {"fps": "30000/1001", "b_frames": 2},
    "50": {"fps": "50"},
    "59.94": {"fps": "60000/1001"},
    "open-gop": {"gop": 30, "b_frames": 2, "open_gop": True, "segment": 0.7, "split_by_time": True},
    "hevc-open-gop": {
        "video": "hevc", "gop": 30, "b_frames": 2, "open_gop": True, "segment": 0.7,
        "split_by_time": True,
    },
    "long-gop": {"gop": 150, "b_frames": 2, "segment": 1.0, "split_by_time": True},
    "wrap": {"start": 95_440.0, "b_frames": 2},
    "fmp4": {"container": "fmp4", "b_frames": 2},
    "fmp4-open-gop": {"container": "fmp4", "gop": 30, "b_frames": 2, "open_gop": True, "segment": 1},
    "fmp4-hevc-open-gop": {
        "video": "hevc", "container": "fmp4", "gop": 30, "b_frames": 2, "open_gop": True,
        "segment": 1,
    },
}  # fmt: skip


#: Of each kind there is another one among the sources.
MORE = ("24", "50", "59.94", "fmp4-hevc-open-gop")


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(spec, id=name, marks=pytest.mark.long if name in MORE else ())
        for name, spec in SOURCES.items()
    ],
)
def test_slicing_leaves_no_trace(spec, media, media_tools, transcoded):
    path = media.recording(duration=5.0, numbered=True, **spec)
    rate = Fraction(spec.get("fps", "30"))
    [(whole, whole_file)] = transcoded(path, v=small_encoding(nominal_rate=rate)).values()
    [(sliced, sliced_file)] = transcoded(path, 1.0, v=small_encoding(nominal_rate=rate)).values()
    assert tables_of(sliced) == tables_of(whole)
    numbers = picture_numbers(media_tools, whole_file)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) == -(-5 * rate // 1)
    assert picture_numbers(media_tools, sliced_file) == numbers


def cut_anywhere(path, pieces):
    """A recording's transport stream cut without regard for what lies at the cuts."""
    stream = b"".join(each.read_bytes() for each in sorted(path.parent.glob("*.ts")))
    edges = [round(n * len(stream) / 188 / pieces) * 188 for n in range(pieces + 1)]
    return [(stream[begin:end], "") for begin, end in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ({"b_frames": 2}, {}),
        ({"video": "hevc", "b_frames": 2, "audio": None}, {}),
        ({"b_frames": 2, "encoder_options": ("-flags", "+ildct+ilme")}, {"deinterlace": True}),
        ({"b_frames": 2}, {"constant_rate": True}),
    ],
    ids=["h264", "hevc", "deinterlaced", "constant-rate"],
)
def test_pictures_that_straddle_segments_and_slices_are_whole(
    spec, options, media, media_tools, transcoded, recording_of
):
    original = media.recording(duration=5.0, numbered=True, **spec)
    path = recording_of(*cut_anywhere(original, 9), seconds=5 / 9)
    [(whole, _)] = transcoded(original, v=small_encoding(**options)).values()
    [(sliced, file)] = transcoded(path, 1.0, v=small_encoding(**options)).values()
    assert tables_of(sliced) == tables_of(whole)
    assert picture_numbers(media_tools, file) == list(range(150))


def test_pictures_that_are_copied_beside_encoded_ones_are_whole_too(
    media, media_tools, transcoded, finalizer, recording_of, tmp_path
):
    original = media.recording(duration=5.0, numbered=True, b_frames=2, audio="ac3")
    path = recording_of(*cut_anywhere(original, 9), seconds=5 / 9)
    one = finalizer()
    one.finalize(original)
    copied = one.download(tmp_path / "copied.mp4")
    made = transcoded(path, 1.0, web=None, small=small_encoding())
    for stream in ("v:0", "a:0"):
        assert packets(media_tools, made["web"][1], stream) == packets(media_tools, copied, stream)
    assert picture_numbers(media_tools, made["small"][1]) == list(range(150))


def without_pictures(data):
    """A segment without the packets of its pictures."""
    cells = [data[at : at + 188] for at in range(0, len(data), 188)]
    return b"".join(cell for cell in cells if (cell[1] & 0x1F) << 8 | cell[2] != 256)


def with_a_gap(data):
    return [*data[:2], *data[3:]]


def with_a_head_of_sound(data):
    return [without_pictures(data[0]), *data[1:]]


def without_its_first_key_frame(data):
    return data[1:]


@pytest.mark.parametrize(
    ("change", "spec", "kept"),
    [
        (with_a_gap, {"audio": None}, [*range(60), *range(90, 180)]),
        (with_a_head_of_sound, {"b_frames": 2}, list(range(30, 180))),
        (without_its_first_key_frame, {"gop": 45, "split_by_time": True}, list(range(45, 180))),
        (
            without_its_first_key_frame,
            {"video": "hevc", "gop": 45, "split_by_time": True, "open_gop": True, "b_frames": 2},
            list(range(45, 180)),
        ),
    ],
    ids=["gap", "sound-first", "no-key", "no-closed-key"],
)
@pytest.mark.parametrize("rate", [None, Fraction(25)], ids=["source", "25"])
def test_what_a_recording_lacks_it_lacks_in_slices_too(
    change, spec, kept, rate, media, media_tools, transcoded, recording_of
):
    original = media.recording(**{"segment": 1.0, "gop": 30, "numbered": True, **spec})
    data = [each.read_bytes() for each in sorted(original.parent.glob("*.ts"))]
    path = recording_of(*((each, "") for each in change(data)), seconds=1.0)
    asked = small_encoding(**({"constant_rate": True, "nominal_rate": rate} if rate else {}))
    [(whole, whole_file)] = transcoded(path, v=asked).values()
    [(sliced, file)] = transcoded(path, 2.0, v=asked).values()
    assert tables_of(sliced) == tables_of(whole)
    numbers = picture_numbers(media_tools, file)
    assert numbers == picture_numbers(media_tools, whole_file)
    assert set(numbers) <= set(kept)
    if rate is None:
        assert numbers == kept


FOUND = {
    "ts-pts-wrap-33bit": 480,
    "ts-missing-dts": 120,
    "ts-missing-sei-and-pes-ts": 12,
    "ts-no-initial-keyframe": 15,
    "ts-negative-dts-bframes": 144,
    "cmaf-av1": 250,
    "fmp4-byterange-map": 250,
}


@pytest.mark.parametrize(("case", "count"), FOUND.items(), ids=FOUND)
def test_a_found_recording_shows_every_picture_that_can_be_decoded(
    case, count, corpus, transcoded, recording_of
):
    paths = [*(corpus / case).glob("*.m3u8")]
    path = next((path for path in paths if "#EXTINF" in path.read_text()), None)
    if path is None:
        [segment] = (corpus / case).glob("*.ts")
        path = recording_of((segment.read_bytes(), ""))
    [(whole, _)] = transcoded(path, v=small_encoding()).values()
    assert len(tables_of(whole)["video"][1]) == count
    if case in ("ts-pts-wrap-33bit", "cmaf-av1"):
        [(sliced, _)] = transcoded(path, 4.0, v=small_encoding()).values()
        assert tables_of(sliced) == tables_of(whole)


def shown_late(data, ticks):
    """A segment whose last picture is meant to be shown so much later (ISO/IEC 13818-1, 2.4.3.7)."""
    cells = [bytearray(data[at : at + 188]) for at in range(0, len(data), 188)]
    begins = [c for c in cells if (c[1] & 0x5F) << 8 | c[2] == 0x4100]
    cell = begins[-1]
    at = cell.index(b"\0\0\1\xe0") + 9
    bits = int.from_bytes(cell[at : at + 5], "big")
    pts = (bits >> 3 & 0x7 << 30) | (bits >> 2 & 0x7FFF << 15) | (bits >> 1 & 0x7FFF)
    pts += ticks
    marker = bits >> 36 << 36 | 1 << 32 | 1 << 16 | 1
    coded = marker | (pts >> 30 & 7) << 33 | (pts >> 15 & 0x7FFF) << 17 | (pts & 0x7FFF) << 1
    cell[at : at + 5] = coded.to_bytes(5, "big")
    return b"".join(cells)


@pytest.mark.parametrize("options", [{}, {"constant_rate": True}], ids=["source", "constant"])
def test_a_picture_that_no_slice_can_show_is_told_and_costs_nothing_else(
    options, media, s3, media_tools, recording_of, tmp_path
):
    original = media.recording(duration=6.0, numbered=True, b_frames=2)
    data = [each.read_bytes() for each in sorted(original.parent.glob("*.ts"))]
    data[1] = shown_late(data[1], 18_000)
    one = Transcoder(s3, media_tools, {"v": small_encoding(**options)}, 2.0)
    one.finalize(recording_of(*((each, "") for each in data)))
    rendition = one.renditions["v"]
    tables = [rendition.staging.tables(receipt) for receipt in rendition.receipts]
    [loss] = [loss for each in tables for loss in each.losses]
    assert (loss.sequence, loss.whole, loss.units) == (1, False, 1)
    assert "behind those of the next segment" in loss.detail
    numbers = picture_numbers(media_tools, rendition.download(tmp_path / "made.mp4"))
    # Decoded, it comes before the next picture, which a constant rate then takes for the older one.
    late = {118, 119} if options else {118}
    assert set(range(180)) - set(numbers) == late
