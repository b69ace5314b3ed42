"""Sound that browsers do not play, encoded once over all slices: what a slice's share of it holds."""

import shlex
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from pipelines.errors import ErrorCode, FinalizerError
from pipelines.media import Codec
from pipelines.mp4.sample_entry import read_sample_entry
from pipelines.package import package_slice
from pipelines.transcoding import sound_stretch
from pipelines.transcoding.sound import FRAME, encode_sound
from tests.framehash import packets
from tests.media import run
from tests.packaging import never_cancelled

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

MP2 = ("-c:a", "mp2", "-b:a", "192k")
ODD = {
    "48000-hz": {},
    "44100-hz": {"encoder_options": (*MP2, "-ar", "44100")},
    "mono": {"encoder_options": (*MP2, "-ac", "1", "-ar", "24000", "-b:a", "96k")},
    "clock-wraps": {"start": 95440.5},
    "units-straddle": {"split_by_time": True, "gop": 15, "b_frames": 2},
    "audio-only": {"video": None},
    "beside-mpeg2": {"encoder_options": ("-c:v", "mpeg2video", *MP2)},
}
MP2_SAMPLES = 1152
LOUD = 0.15
SECOND = 48_000


def encode(one, path):
    """The slices of a recording, and the sound of each."""
    slices, staged = one.slices(one.playlist(path)), []
    encode_sound(slices, one.packager, staged.append, never_cancelled)
    return slices, staged


def finish(one, path, target):
    """An MP4 of the encoded sound alone, assembled and proven as every rendition is."""
    for packaged in encode(one, path)[1]:
        one.stage(packaged)
    proof = one.verify(one.assemble())
    assert all(track.encoded and not track.copied for track in proof.tracks)
    return one.download(target)


@pytest.fixture
def odd(media):
    """Makes recordings with MP2 sound; options as of ``RecordingSpec``."""
    return lambda **options: media.recording(**{"encoder_options": MP2, **options})


def segments(path):
    return [each.read_bytes() for each in sorted(path.parent.glob("*.ts"))]


@pytest.mark.parametrize("options", ODD.values(), ids=ODD.keys())
def test_slices_share_one_encoding_on_one_grid(options, odd, finalizer, media_tools, tmp_path):
    path = odd(**options)
    whole = finish(finalizer(), path, tmp_path / "whole.mp4")
    sliced = finish(finalizer(slice_seconds=1.0), path, tmp_path / "sliced.mp4")
    ours, theirs = packets(media_tools, sliced, "a:0"), packets(media_tools, whole, "a:0")
    assert [(p.size, p.digest) for p in ours] == [(p.size, p.digest) for p in theirs]
    probe = run(
        media_tools.ffprobe, "-v", "error", "-show_entries",
        "stream=codec_name,profile,sample_rate,channels,time_base", "-of", "csv=p=0", str(sliced),
    ).decode().split()[0].split(",")  # fmt: skip
    source = run(
        media_tools.ffprobe, "-v", "error", "-select_streams", "a", "-show_entries",
        "stream=sample_rate,channels", "-of", "csv=p=0", str(path),
    ).decode().split()[0].split(",")[:2]  # fmt: skip
    assert probe[:4] == ["aac", "LC", *source]
    assert {b.pts - a.pts for a, b in pairwise(ours)} == {Fraction(FRAME, int(source[0]))}


def onsets(tools, path, starts):
    """When the beeps set in, to the sample; ``starts``: sample number -> seconds."""
    raw = run(
        tools.ffmpeg, "-v", "error", "-i", str(path), "-map", "0:a:0", "-ac", "1", "-f", "f32le", "-"
    )  # fmt: skip
    loud = np.flatnonzero(np.abs(np.frombuffer(raw, np.float32)) > LOUD)
    return starts(loud[np.diff(loud, prepend=-SECOND) > SECOND // 2])


CLOCKS = {
    "steady": "PTS",
    "fast": "PTS*0.9998",
    "slow": "PTS*1.0002",
    "jitters": "PTS+24*(mod(N\\,3)-1)",
    "hole": "PTS+if(gte(N\\,400)\\,1440\\,0)",
    "overlap": "PTS-if(gte(N\\,400)\\,720\\,0)",
}


@pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS.keys())
def test_every_beep_is_within_a_millisecond_of_the_source(
    clock, odd, finalizer, media_tools, tmp_path
):
    stamped = ("-bsf:a", f"setts=pts={clock}:dts={clock}")
    path = odd(duration=40.0, video=None, encoder_options=(*MP2, *stamped))
    made = finish(finalizer(slice_seconds=5.0), path, tmp_path / "made.mp4")
    source = tmp_path / "source.ts"
    source.write_bytes(b"".join(segments(path)))
    times = np.array([float(each.pts) for each in packets(media_tools, source, "a:0")])
    expected = onsets(
        media_tools, source, lambda n: times[n // MP2_SAMPLES] + n % MP2_SAMPLES / SECOND
    )
    heard = onsets(media_tools, made, lambda n: n / SECOND + times[0])
    assert len(expected) == 40
    assert heard == pytest.approx(expected, abs=0.001)


def test_frames_that_lie_across_segments_are_heard_once(
    odd, finalizer, recording_of, media_tools, tmp_path
):
    path = odd(b_frames=2)
    whole = b"".join(segments(path))
    cuts = [0, *(188 * (len(whole) * part // (188 * 7) + 3) for part in range(1, 7)), len(whole)]
    pieces = [whole[begin:end] for begin, end in pairwise(cuts)]
    across = recording_of(*((piece, "") for piece in pieces), seconds=1.0)
    plain = finish(finalizer(), path, tmp_path / "plain.mp4")
    cut_anywhere = finish(finalizer(slice_seconds=1.0), across, tmp_path / "across.mp4")
    assert packets(media_tools, cut_anywhere, "a:0") == packets(media_tools, plain, "a:0")


def test_a_very_long_stretch_goes_on_as_another(odd, finalizer, media_tools, tmp_path, monkeypatch):
    monkeypatch.setattr(sound_stretch, "LONGEST_STRETCH", 1.5)
    made = finish(finalizer(slice_seconds=1.0), odd(), tmp_path / "made.mp4")
    steps = [b.pts - a.pts for a, b in pairwise(packets(media_tools, made, "a:0"))]
    odd_steps = [step for step in steps if step != Fraction(FRAME, SECOND)]
    assert odd_steps
    assert all(0 < step < 2 * Fraction(FRAME, SECOND) for step in odd_steps)


def shape(runs):
    return [(each.first_sequence, each.tagged) for each in runs]


@pytest.mark.parametrize("seconds", [None, 2.0], ids=["one-slice", "sliced"])
@pytest.mark.parametrize("tag", ["", "#EXT-X-DISCONTINUITY"], ids=["reset", "tagged"])
def test_runs_are_those_of_the_copy(seconds, tag, odd, finalizer, recording_of):
    before, after = segments(odd(start=500.0)), segments(odd(start=20.0, b_frames=2))
    path = recording_of(*((data, "") for data in before), (after[0], tag), (after[1], ""))
    one = finalizer(slice_seconds=seconds)
    for work, packaged in zip(*encode(one, path), strict=True):
        copied = package_slice(work, one.packager, one.upload, never_cancelled).tables
        tables = packaged.tables
        assert (tables.number, tables.identity) == (work.number, work.identity)
        assert (tables.payload_bytes, tables.parts) == (len(packaged.staged), ())
        assert shape(tables.runs) == shape(copied.runs)
        for ours, theirs in zip(tables.runs, copied.runs, strict=True):
            (sound,) = ours.tracks
            (units,) = (track for track in theirs.tracks if track.track == sound.track)
            late = sound.samples.dts[0] / sound.timescale - units.samples.dts[0] / units.timescale
            assert -1 / sound.timescale <= late < FRAME / sound.timescale


def test_each_period_begins_with_its_first_unit_and_lasts_as_long(odd, finalizer, recording_of):
    data = segments(odd(start=500.0))
    path = recording_of((data[0], ""), (data[2], "#EXT-X-DISCONTINUITY"))
    _, (packaged,) = encode(finalizer(), path)
    first, second = (each.tracks[0] for each in packaged.tables.runs)
    for track in (first, second):
        assert np.diff(track.samples.dts).tolist() == [FRAME] * (len(track.samples) - 1)
        assert len(track.samples) * FRAME / track.timescale == pytest.approx(2.0, abs=0.05)
        assert np.array_equal(track.expected.dts, track.samples.dts)
        assert np.array_equal(track.expected.sizes, track.samples.sizes)


def test_only_sound_that_browsers_do_not_play_is_encoded(media, finalizer):
    both = ("-map", "0:v", "-map", "1:a", "-map", "1:a", "-c:a:0", "aac", "-c:a:1", "mp2")
    one = finalizer(slice_seconds=2.0)
    for work, packaged in zip(*encode(one, media.recording(encoder_options=both)), strict=True):
        copied = package_slice(work, one.packager, one.upload, never_cancelled).tables
        mp2 = [track.track for track in copied.runs[0].tracks if track.codec is Codec.MP2]
        assert [(t.track, t.codec) for t in packaged.tables.runs[0].tracks] == [(*mp2, Codec.AAC)]


def test_two_tracks_are_encoded_side_by_side(media, finalizer):
    both = ("-map", "0:v", "-map", "1:a", "-map", "1:a", "-c:a", "mp2")
    _, staged = encode(finalizer(slice_seconds=2.0), media.recording(encoder_options=both))
    assert len(staged) == 3
    for packaged in staged:
        first, second = packaged.tables.runs[0].tracks
        assert first.track != second.track
        sizes = [int(track.samples.sizes.sum()) for track in (first, second)]
        assert sum(sizes) == len(packaged.staged)
        assert np.array_equal(first.samples.dts, second.samples.dts)


def with_program(one, program):
    """The finalizer, its ffmpeg another program."""
    one.tools = replace(one.tools, ffmpeg=str(program))
    return one


def test_without_such_sound_every_slice_is_empty_and_nothing_is_run(media, finalizer, tmp_path):
    one = with_program(finalizer(slice_seconds=2.0), tmp_path / "no such program")
    slices, staged = encode(one, media.recording())
    assert [each.tables.number for each in staged] == [work.number for work in slices]
    assert all(not each.staged and not each.tables.runs[0].tracks for each in staged)


def refusal(one, path):
    with pytest.raises(FinalizerError) as caught:
        encode(one, path)
    return caught.value.code


@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "sliced"])
def test_a_hole_is_filled_with_silence(seconds, odd, finalizer):
    late = "PTS+if(gte(N\\,100)\\,40000\\,0)"
    holed = odd(encoder_options=(*MP2, "-bsf:a", f"setts=pts={late}:dts={late}"))
    _, staged = encode(finalizer(slice_seconds=seconds), holed)
    tracks = [track for each in staged for run in each.tables.runs for track in run.tracks]
    times = np.concatenate([track.samples.dts for track in tracks])
    assert set(np.diff(times).tolist()) == {FRAME}
    assert len(times) * FRAME == pytest.approx(6 * SECOND + 40_000, abs=2 * FRAME)


def test_sound_that_is_not_there_for_a_segment_ends_a_run(odd, finalizer, recording_of):
    data, silent = segments(odd()), segments(odd(audio=None, encoder_options=()))
    path = recording_of((data[0], ""), (silent[1], ""), (data[2], ""))
    [staged] = encode(finalizer(), path)[1]
    assert [len(run.tracks) for run in staged.tables.runs] == [1, 0, 1]
    assert [run.first_sequence for run in staged.tables.runs] == [0, 1, 2]


def test_another_configuration_is_encoded_by_itself(odd, finalizer, recording_of):
    data = segments(odd()), segments(odd(encoder_options=(*MP2, "-ac", "1")))
    path = recording_of((data[0][0], ""), (data[1][1], ""))
    _, staged = encode(finalizer(slice_seconds=2.0), path)
    entries = [each.tables.runs[0].tracks[0].sample_entry for each in staged]
    told = [read_sample_entry(entry).configuration.fact("channels") for entry in entries]
    assert told == [2, 1]


@pytest.mark.parametrize("data", [b"", b"no media" * 99], ids=["empty", "garbage"])
def test_every_slice_has_its_sound_though_one_is_lost(data, odd, finalizer, recording_of):
    first, _, last = segments(odd())
    path = recording_of((first, ""), (data, ""), (last, ""))
    slices, staged = encode(finalizer(slice_seconds=2.0), path)
    assert [each.tables.number for each in staged] == [work.number for work in slices]
    assert [len(each.tables.runs) for each in staged] == [1, 0, 1]


def test_fragmented_mp4_keeps_its_sound(odd, media, finalizer, tmp_path):
    """Behind MPEG-TS whose sound is encoded: each slice has what is to be encoded of it."""
    fragmented = media.recording(container="fmp4", start=100.0).parent
    listed = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:2"]
    for number, data in enumerate(segments(odd())):
        (tmp_path / f"{number}.ts").write_bytes(data)
        listed += ["#EXTINF:2,", f"{number}.ts"]
    listed += ["#EXT-X-DISCONTINUITY", '#EXT-X-MAP:URI="init.mp4"']
    for each in sorted(fragmented.glob("*.m4s")):
        listed += ["#EXTINF:2,", each.name]
    for each in (fragmented / "init.mp4", *fragmented.glob("*.m4s")):
        (tmp_path / each.name).write_bytes(each.read_bytes())
    path = tmp_path / "index.m3u8"
    path.write_text("\n".join([*listed, "#EXT-X-ENDLIST", ""]))
    _, staged = encode(finalizer(slice_seconds=4.0), path)
    assert [[len(run.tracks) for run in each.tables.runs] for each in staged] == [[1], [1], []]


def test_sound_that_gets_lost_in_ffmpeg_is_found_out(odd, finalizer, media_tools, tmp_path):
    program = tmp_path / "ffmpeg"
    real = shlex.quote(media_tools.ffmpeg)
    program.write_text(f'#!/bin/sh\n{{ head -c 60000; cat > /dev/null; }} | {real} "$@"\n')
    program.chmod(0o755)
    assert refusal(with_program(finalizer(), program), odd()) is ErrorCode.VERIFICATION_FAILED
