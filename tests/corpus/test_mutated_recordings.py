"""Recordings in which one segment is mutated: each ends with a report, never with our own failure."""

from dataclasses import replace

import pytest

from pipelines.session import Phase
from scripts.fault_recording import entries_of, files_of, media_playlist
from tests.mutations import first_examples, mutated

pytestmark = [pytest.mark.s3, pytest.mark.redis, pytest.mark.ffmpeg]

SPECS = {
    "ts": {"seconds": 8},
    "b-frames": {"seconds": 8, "b_frames": 2},
    "hevc": {"seconds": 8, "video": "hevc", "audio": "ac3"},
    "fmp4": {"seconds": 8, "container": "fmp4", "b_frames": 2},
}
MUTATIONS = 4


@pytest.mark.parametrize("number", range(MUTATIONS))
@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.alike(2)
def test_a_mutated_segment_costs_no_more_than_itself(kind, number, bases, finalized, tmp_path):
    base = bases.get(**SPECS[kind])
    entries = entries_of(base)
    wrong = first_examples(mutated([entries[1].data]), MUTATIONS)[number]
    entries[1] = replace(entries[1], data=wrong)
    head = ['#EXT-X-MAP:URI="init.mp4"'] if base.init else []
    files = files_of(entries, media_playlist(entries, head=head))
    for name, data in (files | {"init.mp4": base.init}).items():
        (tmp_path / name).write_bytes(data)
    made = finalized(tmp_path / "index.m3u8", slice_seconds=4)
    assert made.record.phase is Phase.READY, made.record.error
    assert made.report["verdict"] in ("complete", "repaired", "partial")
    assert made.report["renditions"][0]["duration"] > 5.5
