"""Figures of a bench: percentiles, rows for people and programs, beginnings of a recording, curves."""

import json

import pytest

from scripts.bench_findings import Findings
from scripts.bench_plot import Curves
from scripts.bench_probe import percentile
from scripts.recordings import Repeated, playlist


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([3.0], 50, 3.0), ([3.0, 1.0, 2.0], 50, 2.0), ([1.0, 2.0], 99, 2.0), (range(1, 101), 99, 99)],
)
def test_a_percentile_is_one_of_the_values(values, percent, expected):
    assert percentile(values, percent) == expected


def test_a_row_may_lack_a_figure():
    headings = {"name": "", "seconds": "s"}
    rows = [{"name": "fast", "seconds": 0.12345}, {"name": "left out"}]
    found = Findings("ready", "a bench", headings, rows, {"ratio": 2.00049}, ["a note"])
    assert json.loads(found.to_json()) == {
        "bench": "ready",
        "ratios": {"ratio": 2.0},
        "rows": [{"name": "fast", "seconds": 0.123}, {"name": "left out"}],
        "notes": ["a note"],
    }
    assert list(found.table().columns[1].cells) == ["0.12", "-"]


def test_curves_become_a_png(tmp_path):
    curves = Curves("ready", "minutes", "seconds", {"live": [(1, 2.0), (240, 3.0)]})
    found = Findings("ready", "a bench", {}, [], {}, curves=curves)
    assert found.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not Findings("sessions", "a bench", {}, [], {}).plot(tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize(("seconds", "segments"), [(1, 1), (4, 1), (4.1, 2), (10, 3), (99, 3)])
def test_the_beginning_of_a_recording_holds_what_it_reaches_into(seconds, segments):
    assert Repeated("a/index.m3u8", (4.0, 4.0, 2.0), 1000).first(seconds) == segments


@pytest.mark.parametrize(("ended", "kind"), [(True, "VOD"), (False, "EVENT")])
def test_a_playlist_that_may_grow_has_no_end(ended, kind):
    text = playlist((4.0, 4.2), ended=ended)
    assert f"#EXT-X-PLAYLIST-TYPE:{kind}" in text
    assert text.endswith("#EXT-X-ENDLIST\n") == ended
