"""What ffmpeg wrote is read without loss, and ffmpeg reads what we wrote as if it were its own."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipelines.media import Codec, TrackKind
from pipelines.mp4.fragments import FragmentReader, Header, read_header_section
from pipelines.mp4.media_segment import read_segment
from pipelines.mp4.movie import Movie, MovieTrack, write_header
from pipelines.mp4.movie_header import Edit
from pipelines.mp4.movie_reader import read_movie, top_level_boxes
from pipelines.mp4.samples import concatenate, run_lengths
from tests.media import run

pytestmark = pytest.mark.ffmpeg

TIMESCALE = 90_000
PIECE = 65_536
#: fMP4 recordings of the corpus: the initialization section, and a pattern of its segments.
RECORDINGS = [
    ("cmaf-av1/av1", "init.mp4", "*.m4s"),
    ("cmaf-av1/A48", "init.mp4", "*.m4s"),
    (
        "cmaf-demuxed-abr-missing-first-audio",
        "video_header_video_480x270_part_0.mp4",
        "video_segment_*_480x270.m4s",
    ),
    (
        "cmaf-demuxed-abr-missing-first-audio",
        "audio_header_audio_track_part_0.mp4",
        "audio_segment_*.m4s",
    ),
    ("fmp4-muxed-single", "init.mp4", "*.m4s"),
    ("fmp4-late-start-chunk", "init.mp4", "*.m4s"),
    ("fmp4-interstitials-daterange", "init.mp4", "s?.mp4"),
    ("fmp4-interstitials-daterange", "ad-init.mp4", "ad-s1.mp4"),
    ("fmp4-sample-aes-ctr-refuse", "", "video.mp4"),
    ("fmp4-byterange-map", "", "output.m4s"),
]


@pytest.fixture(scope="module")
def transport_stream(media_tools, tmp_path_factory) -> Path:
    """Ten seconds of H.264 with B-frames and AAC."""
    path = tmp_path_factory.mktemp("source") / "in.ts"
    run(
        media_tools.ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=30:d=10",
        "-f", "lavfi", "-i", "sine=f=440:r=48000:d=10", "-c:v", "libx264", "-preset", "veryfast",
        "-pix_fmt", "yuv420p", "-g", "60", "-bf", "3", "-c:a", "aac", "-ac", "2", str(path),
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def fragmented(media_tools, transport_stream) -> bytes:
    """The stream as ffmpeg packages a slice: the command of the design, section 4."""
    done = subprocess.run(
        [
            media_tools.ffmpeg, "-v", "warning", "-protocol_whitelist", "pipe", "-copyts",
            "-f", "mpegts", "-i", "pipe:0", "-map", "0:i:0x100", "-map", "0:i:0x101",
            "-c", "copy", "-copyinkf", "-bsf:a", "aac_adtstoasc",
            "-avoid_negative_ts", "disabled", "-use_editlist", "0", "-write_btrt", "0",
            "-movflags", "+delay_moov+default_base_moof+frag_discont",
            "-frag_duration", "2000000", "-f", "mp4", "pipe:1",
        ],
        input=transport_stream.read_bytes(), capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == b""
    return done.stdout


def test_ffmpeg_finds_in_our_movie_the_packets_of_its_own(
    media_tools, transport_stream, fragmented, tmp_path
):
    ours, reference = tmp_path / "ours.mp4", tmp_path / "reference.mp4"
    ours.write_bytes(_progressive(fragmented))
    run(
        media_tools.ffmpeg, "-v", "error", "-i", str(transport_stream), "-c", "copy", str(reference)
    )

    found, expected = (_packets(media_tools, path) for path in (ours, reference))

    assert found.keys() == expected.keys() == {0, 1}
    starts = []
    for stream, (rate, rows) in found.items():
        reference_rate, reference_rows = expected[stream]
        assert rate == reference_rate
        assert _times_from_start(rows) == _times_from_start(reference_rows)
        assert [row[3:] for row in rows] == [row[3:] for row in reference_rows]
        starts.append((rows[0][2] / rate, reference_rows[0][2] / reference_rate))
    ours_apart, reference_apart = (video - audio for video, audio in zip(*starts, strict=True))
    assert ours_apart == pytest.approx(reference_apart, abs=0.001)  # ffmpeg's edits count in ms


def test_our_movie_is_faststart_and_plays_without_a_warning(media_tools, fragmented, tmp_path):
    path = tmp_path / "ours.mp4"
    path.write_bytes(_progressive(fragmented))

    boxes = top_level_boxes(path.read_bytes()[:4096])
    assert [box.name for box in boxes][:2] == ["ftyp", "moov"]
    end_of_file = top_level_boxes(path.read_bytes())[-1]
    assert (end_of_file.name, end_of_file.end) == ("mdat", path.stat().st_size)
    assert _stderr(media_tools.ffprobe, "-v", "warning", "-show_streams", str(path)) == b""
    decode = ("-v", "error", "-xerror", "-i", str(path), "-f", "null", "-")
    assert _stderr(media_tools.ffmpeg, *decode) == b""


def test_our_movie_tells_what_the_source_is(media_tools, fragmented, tmp_path):
    path = tmp_path / "ours.mp4"
    path.write_bytes(_progressive(fragmented))

    probe = json.loads(
        run(
            media_tools.ffprobe,
            "-v",
            "error",
            "-show_format",
            "-show_streams",
            "-of",
            "json",
            str(path),
        )
    )

    video, audio = probe["streams"]
    assert (video["codec_name"], video["width"], video["height"]) == ("h264", 320, 180)
    assert (audio["codec_name"], audio["sample_rate"], audio["channels"]) == ("aac", "48000", 2)
    assert float(probe["format"]["start_time"]) == 0
    assert float(probe["format"]["duration"]) == pytest.approx(10, abs=0.1)
    assert probe["format"]["tags"]["creation_time"].startswith("2026-02-03T04:05:06")
    assert (video["nb_frames"], video["r_frame_rate"]) == ("300", "30/1")


def test_our_movie_read_back_is_what_was_written(fragmented):
    movie, payload = _movie(fragmented)
    header = write_header(movie, len(payload))

    boxes = {box.name: box for box in top_level_boxes(header)}
    moov = boxes["moov"]
    parsed = read_movie(header[moov.offset : moov.end])

    assert boxes["mdat"].offset + 16 == len(header)
    for written, read in zip(movie.tracks, parsed.tracks, strict=True):
        assert read.header.edits == written.edits
        assert read.header.sample_entry == written.sample_entry
        assert np.array_equal(read.sizes, written.sizes)
        assert np.array_equal(read.durations, written.time_deltas.repeat(written.time_counts))
        placed = np.repeat(written.chunk_offsets, written.chunk_samples)
        assert (read.offsets - len(header) >= placed).all()
        assert int(read.offsets[-1] + read.sizes[-1]) <= len(header) + len(payload)


@pytest.mark.parametrize("piece", [1, 7, 4096, 10**9])
def test_fragments_do_not_depend_on_how_the_stream_is_cut(fragmented, piece):
    first_payload = next(box for box in top_level_boxes(fragmented) if box.name == "mdat")
    stream = fragmented[: first_payload.end] if piece == 1 else fragmented
    cut = _read([stream[at : at + piece] for at in range(0, len(stream), piece)])
    whole = _read([stream])

    assert [event.sequence for event in cut[1:]] == [event.sequence for event in whole[1:]]
    for ours, theirs in zip(cut[1:], whole[1:], strict=True):
        assert bytes(ours.payload) == bytes(theirs.payload)
        for one, other in zip(ours.tracks, theirs.tracks, strict=True):
            assert (one.base_decode_time, one.runs) == (other.base_decode_time, other.runs)
            assert np.array_equal(one.sizes, other.sizes)


def test_the_header_of_ffmpegs_output_names_codecs_and_configurations(fragmented):
    video, audio = _read([fragmented])[0].movie.tracks

    assert (video.kind, video.codec, video.timescale) == (TrackKind.VIDEO, Codec.H264, 90_000)
    assert (audio.kind, audio.codec, audio.timescale) == (TrackKind.AUDIO, Codec.AAC, 48_000)
    assert (video.configuration.fact("width"), video.configuration.fact("height")) == (320, 180)
    assert audio.configuration.fact("sample_rate") == 48_000
    assert audio.configuration.fact("channels") == 2
    assert {name for name, _ in video.configuration.parameter_sets} == {"sps0", "pps0"}
    assert (video.encrypted, video.language) == (False, "und")


@pytest.mark.parametrize(("recording", "init", "pattern"), RECORDINGS)
def test_as_many_samples_are_read_as_ffprobe_reads_packets(
    corpus, media_tools, recording, init, pattern, tmp_path
):
    folder = corpus / recording
    segments = [path.read_bytes() for path in sorted(folder.glob(pattern))]
    section = (folder / init).read_bytes() if init else b""
    whole = tmp_path / "whole.mp4"
    whole.write_bytes(section + b"".join(segments))

    if init:
        movie = read_header_section(section)
        read = [read_segment(movie, data) for data in segments]
        assert [segment.damage for segment in read] == [None] * len(read)
        fragments = [fragment for segment in read for fragment in segment.fragments]
    else:
        header, *fragments = _read(segments)
        movie = header.movie

    found = {
        track.track_id: sum(
            len(part) for fragment in fragments for part in fragment.tracks
            if part.track_id == track.track_id
        )
        for track in movie.tracks
    }  # fmt: skip
    probe = json.loads(
        run(
            media_tools.ffprobe, "-v", "error", "-count_packets", "-show_entries",
            "stream=id,nb_read_packets,codec_name", "-of", "json", str(whole),
        )
    )  # fmt: skip
    expected = {int(s["id"], 16): int(s["nb_read_packets"]) for s in probe["streams"]}
    assert found == expected
    codecs = {int(s["id"], 16): s["codec_name"] for s in probe["streams"]}
    assert {track.track_id: track.codec for track in movie.tracks} == codecs


@pytest.mark.parametrize(
    ("source", "encoder", "codec", "facts"),
    [
        ("picture", "libx265", Codec.HEVC, {"width": 64, "height": 48, "bit_depth": 8}),
        ("picture", "libvpx-vp9", Codec.VP9, {"width": 64, "height": 48, "bit_depth": 8}),
        ("picture", "mpeg2video", Codec.MPEG2_VIDEO, {"width": 64, "height": 48}),
        ("tone", "aac", Codec.AAC, {"sample_rate": 44100, "channels": 1, "object_type": 2}),
        ("tone", "libmp3lame", Codec.MP3, {"sample_rate": 44100, "channels": 1}),
        ("tone", "ac3", Codec.AC3, {"sample_rate": 44100, "channels": 1}),
        ("tone", "eac3", Codec.EAC3, {"sample_rate": 44100, "channels": 1}),
        ("tone", "libopus", Codec.OPUS, {"sample_rate": 48000, "channels": 1}),
        ("tone", "flac", Codec.FLAC, {"sample_rate": 44100, "channels": 1}),
    ],
)
def test_the_configuration_of_every_codec_is_read_from_ffmpegs_own(
    media_tools, source, encoder, codec, facts
):
    inputs = {"picture": "testsrc2=s=64x48:d=0.3,format=yuv420p", "tone": "sine=r=44100:d=0.3"}
    stream = run(
        media_tools.ffmpeg, "-v", "error", "-f", "lavfi", "-i", inputs[source], "-c", encoder,
        "-movflags", "+delay_moov+default_base_moof", "-f", "mp4", "pipe:1",
    )  # fmt: skip

    (track,) = _read([stream])[0].movie.tracks

    assert track.codec is codec
    assert {name: track.configuration.fact(name) for name in facts} == facts


def test_a_segment_whose_byte_range_ends_inside_its_media_keeps_its_whole_pictures(corpus):
    folder = corpus / "fmp4-iframe-only"
    movie = read_header_section((folder / "media.mp4").read_bytes())
    for segment in sorted(folder.glob("segment*.mp4")):
        read = read_segment(movie, segment.read_bytes())
        assert read.damage == "it ends inside its media data"
        [fragment] = read.fragments
        assert [len(track) for track in fragment.tracks] == [1]  # the key frame that it was cut for
        assert read.ends_broken


def test_a_protected_track_says_so(corpus):
    path = corpus / "fmp4-sample-aes-ctr-refuse" / "video.mp4"
    (track,) = _read([path.read_bytes()])[0].movie.tracks
    assert (track.encrypted, track.codec, track.four_cc) == (True, Codec.H264, "encv")


def _read(pieces):
    reader = FragmentReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    reader.close()
    assert isinstance(events[0], Header)
    return events


def _progressive(fragmented: bytes) -> bytes:
    movie, payload = _movie(fragmented)
    return write_header(movie, len(payload)) + payload


def _movie(fragmented: bytes) -> tuple[Movie, bytes]:
    """The merge in its simplest form: one run, one period, no gaps."""
    header, *fragments = _read(
        [fragmented[at : at + PIECE] for at in range(0, len(fragmented), PIECE)]
    )
    bases = np.cumsum([0, *(len(fragment.payload) for fragment in fragments)])
    tracks = [
        (track, [(int(base), part) for base, fragment in zip(bases, fragments, strict=False)
                 for part in fragment.tracks if part.track_id == track.track_id])
        for track in header.movie.tracks
    ]  # fmt: skip
    start = min(_first_time(track, parts) for track, parts in tracks)
    movie = Movie(
        tuple(_track(track, parts, start) for track, parts in tracks),
        TIMESCALE,
        datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC),
    )
    return movie, b"".join(fragment.payload for fragment in fragments)


def _first_time(track, parts):
    _, first = parts[0]
    return (first.base_decode_time + int(first.composition[0])) / track.timescale


def _track(track, parts, start) -> MovieTrack:
    table = concatenate(part for _, part in parts)
    ends = [part.base_decode_time + part.duration for _, part in parts]
    begins = [part.base_decode_time for _, part in parts]
    assert ends[:-1] == begins[1:]  # one run: nothing is missing between fragments
    time_counts, time_deltas = run_lengths(table.durations)
    counts, offsets = run_lengths(table.composition)
    wait = round((_first_time(track, parts) - start) * TIMESCALE)
    shown = table.duration * TIMESCALE // track.timescale
    edits = [Edit(wait, -1)] if wait else []
    return MovieTrack(
        kind=track.kind,
        timescale=track.timescale,
        sample_entry=track.sample_entry,
        language=track.language,
        enabled=True,
        width=track.width,
        height=track.height,
        duration=table.duration,
        time_counts=time_counts,
        time_deltas=time_deltas,
        composition_counts=counts if table.composition.any() else None,
        composition_offsets=offsets if table.composition.any() else None,
        sync_samples=None if table.sync.all() else table.sync_numbers,
        sizes=table.sizes,
        chunk_offsets=np.array([base + run.offset for base, part in parts for run in part.runs]),
        chunk_samples=np.array([run.count for _, part in parts for run in part.runs]),
        edits=(*edits, Edit(shown, int(table.composition[0]))),
    )


def _packets(media_tools, path) -> dict[int, tuple[int, list[tuple]]]:
    """Rate, and (stream, dts, pts, duration, size, hash) of every packet, by stream."""
    text = run(
        media_tools.ffmpeg, "-v", "error", "-i", str(path), "-c", "copy", "-f", "framehash", "-"
    )
    packets: dict[int, tuple[int, list[tuple]]] = {}
    for line in text.decode().splitlines():
        if line.startswith("#tb"):
            stream, rate = line[4:].split(":")
            packets[int(stream)] = (int(rate.split("/")[1]), [])
        elif not line.startswith("#"):
            *numbers, digest = (field.strip() for field in line.split(",")[:6])
            row = (*map(int, numbers), digest)
            packets[row[0]][1].append(row)
    return packets


def _times_from_start(rows):
    return [(dts - rows[0][1], pts - rows[0][1]) for _, dts, pts, *_ in rows]


def _stderr(*argv: str) -> bytes:
    return subprocess.run(argv, capture_output=True, check=True, timeout=60).stderr
