"""The fault kit: what it does to packets, and what it says to be true of the recording."""

from dataclasses import replace

import pytest

from pipelines.mpegts.packets import read_packets
from pipelines.mpegts.tables import announced_streams
from scripts.fault_bytes import (
    PRIVATE,
    SCTE_35,
    TIMED_ID3,
    pes_packet,
    splice_section,
    with_stamps,
    with_streams,
    without_pid,
)
from scripts.fault_judge import gap_complaints, track_complaints
from scripts.fault_kit import BY_NAME, FAULTS
from scripts.fault_truth import PARTIAL, DueGap, DueLoss, Kept, Truth, truth_of
from tests.unit.mpegts_by_hand import AAC, AUDIO, H264, VIDEO, adts, packet, pat, pes, pmt


def test_faults_have_names_that_can_be_told_apart():
    assert len(BY_NAME) == len(FAULTS)
    assert all(fault.name == fault.name.lower() and fault.what for fault in FAULTS)


def test_what_comes_once_a_second_is_where_the_recording_has_it():
    kept = [Kept(0, 2), Kept(2, 4, sound=False), Kept(6, 7.5, moved=3)]
    gap, loss = DueGap("all", 4.0, 2.0, "segment_lost"), DueLoss("gap_tag", 3)
    truth = truth_of(kept, -0.25, verdict=PARTIAL, gaps=[gap], losses=[loss], reencoded=["video"])
    assert truth.flashes == (0.75, 1.75, 2.75, 3.75, 9.75)
    assert truth.beeps == (0.75, 1.75, 9.75)
    assert truth.gaps == (replace(gap, at=4.25),)
    assert truth.pictures == truth.sound == (0.25, 10.75)
    assert Truth.from_json(truth.to_json()) == truth


def test_an_event_at_the_end_of_what_is_kept_is_not_in_it():
    assert truth_of([Kept(0, 0.5)], 0).flashes == ()
    assert truth_of([Kept(0.5, 1)], 0).flashes == (0.5,)


TOLD = {"track": "all", "at": 4.0, "duration": 2.0, "cause": "segment_lost", "done": "held"}


@pytest.mark.parametrize(
    ("changed", "told"),
    [({}, 0), ({"at": 4.05, "duration": 1.95}, 0)]
    + [({name: wrong}, 2) for name, wrong in [
        ("track", "audio"), ("at", 4.06), ("duration", 2.06), ("cause", "gap_tag"),
        ("done", "collapsed"),
    ]],
)  # fmt: skip
def test_a_gap_is_told_as_it_is_and_no_other_one(changed, told):
    due = [DueGap("all", 4.0, 2.0, "segment_lost")]
    assert len(gap_complaints([TOLD | changed], due)) == told
    assert len(gap_complaints([], due)) == len(gap_complaints([TOLD], [])) == 1


def test_pictures_that_begin_late_and_sound_that_is_filled_up_last_as_long_as_they_do():
    late = DueGap("video", 0.0, 0.5, "segment_damaged", "reported")
    filled = DueGap("audio", 3.0, 1.0, "track_absent", "silence")
    kept = [Kept(0, 3), Kept(3, 4, sound=False)]
    truth = truth_of(kept, -0.25, gaps=[late, filled])
    assert truth.pictures == (0.75, 4.25)
    assert truth.sound == (0.25, 4.25)
    assert truth_of([Kept(0, 3, sound=False)], 0).sound is None


RENDITION = {
    "kind": "copy", "startSkew": -0.5, "endSkew": 0.0, "reencoded": [{"track": "audio"}],
    "tracks": [{"name": "video", "seconds": 3.5}, {"name": "audio", "seconds": 4.0}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, 0),
        ({"startSkew": 0.5}, 1),
        ({"endSkew": 0.06}, 1),
        ({"reencoded": []}, 1),
        ({"reencoded": [{"track": "audio"}, {"track": "video"}]}, 1),
        ({"kind": "transcode", "reencoded": []}, 0),
        ({"tracks": RENDITION["tracks"][:1]}, 1),
        ({"tracks": [{"name": "video", "seconds": 3.4}, RENDITION["tracks"][1]]}, 1),
    ],
)
def test_tracks_last_begin_and_are_made_as_they_are_due(changed, told):
    truth = Truth((), (), PARTIAL, pictures=(0.5, 4.0), sound=(0.0, 4.0), reencoded=("audio",))
    assert len(track_complaints(RENDITION | changed, truth)) == told


def small_segment():
    """Tables, and a PES packet of each track."""
    return b"".join(
        (
            packet(0, pat(), start=True),
            packet(0x1000, pmt([(H264, VIDEO), (AAC, AUDIO)]).ljust(184, b"\xff"), start=True),
            packet(VIDEO, pes(b"\0\0\1\x09\xf0", pts=9000, dts=6000), start=True),
            packet(AUDIO, pes(adts(), pts=9000), start=True),
        )
    )


def test_further_streams_are_announced_and_nothing_else_changes():
    before = small_segment()
    streams = [
        (0x1F0, TIMED_ID3, pes_packet(0xBD, 9000, b"ID3")),
        (0x1F1, SCTE_35, splice_section()),
        (0x1F2, PRIVATE, pes_packet(0xBD, 9000, b"?")),
    ]
    packets, findings = read_packets(with_streams(before, streams))
    assert not findings
    announced = [(stream.pid, stream.stream_type) for stream in announced_streams(packets)]
    assert announced == [(VIDEO, H264), (AUDIO, AAC), *((pid, kind) for pid, kind, _ in streams)]
    after = packets.rows.tobytes()
    assert without_pid(without_pid(without_pid(after, 0x1F0), 0x1F1), 0x1F2)[376:] == before[376:]


def test_time_stamps_are_set_anew_or_taken_away():
    def moved(number, pts, dts):
        assert (number, pts, dts) == (0, 9000, 6000)
        return 2**33 + 1, 5

    changed = with_stamps(small_segment(), VIDEO, moved)
    assert with_stamps(changed, VIDEO, lambda *told: told[1:]) == changed
    seen = []
    bare = with_stamps(changed, VIDEO, lambda *told: seen.append(told))
    assert seen == [(0, 1, 5)]
    assert with_stamps(bare, VIDEO, lambda *told: seen.append(told)) == bare
    assert len(seen) == 1


def test_a_unit_of_sound_has_one_time_stamp():
    changed = with_stamps(small_segment(), AUDIO, lambda _, pts, dts: (pts + 7, 0))
    seen = []
    assert with_stamps(changed, AUDIO, lambda *told: seen.append(told) or told[1:]) == changed
    assert seen == [(0, 9007, 9007)]
