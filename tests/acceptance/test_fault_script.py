"""``./scripts/faults``: recordings with faults through the product's real processes, and judged."""

import json
import subprocess

import pytest

from scripts.fault_kit import FAULTS
from tests.stack import ROOT, running_stack

pytestmark = [pytest.mark.acceptance, pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

#: A hole, a damage, a clock, another encoder, and tracks apart.
NAMES = ("missing-middle", "truncated", "reset-untagged", "other-size", "two-languages")
_RUN_S = 240


def faults(*arguments):
    """Run the script; what it exits with, and all that it says."""
    done = subprocess.run(
        [ROOT / "scripts" / "faults", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_RUN_S,
        check=False,
        text=True,
    )
    return done.returncode, done.stdout


@pytest.mark.long
def test_each_fault_becomes_an_mp4_that_is_true_to_its_source(tmp_path):
    with running_stack(tmp_path / "stack", FINALIZER_SWEEP_INTERVAL="0.2") as stack:
        code, said = faults("run", *NAMES, "--stack", str(stack.directory))
    assert code == 0, said
    assert said.count("✓") == len(NAMES)


def test_faults_are_listed_and_written_to_a_folder(tmp_path):
    code, said = faults("list")
    assert code == 0
    assert all(fault.name in said for fault in FAULTS)
    code, said = faults("make", "empty", "--dir", str(tmp_path))
    assert code == 0, said
    assert (tmp_path / "empty" / "index.m3u8").is_file()
    assert (tmp_path / "empty" / "s003.ts").stat().st_size == 0
    truth = json.loads((tmp_path / "empty" / "truth.json").read_text())
    assert len(truth["flashes"]) == 14


@pytest.mark.parametrize(
    "arguments", [["make", "no-such-fault"], ["run", "empty", "--stack", "/nowhere"]]
)
def test_what_cannot_be_done_is_said_in_a_sentence(arguments, tmp_path):
    code, said = faults(*arguments)
    assert code == 2
    assert "Traceback" not in said
    assert said.strip()
