"""Whatever is killed, stopped, lost or doubled: every recording becomes ready, bit by bit the same."""

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

ROOT = Path(__file__).parents[2]
SECONDS = 45
SESSIONS = 3


@pytest.mark.timeout(600)
def test_chaos_harms_nothing(pytestconfig, tmp_path):
    """A few of each kind of strike; ``--chaos-seed`` draws others than those of every day."""
    seed = pytestconfig.getoption("--chaos-seed")
    done = subprocess.run(
        [
            str(ROOT / "scripts" / "chaos"), "--seconds", str(SECONDS),
            "--sessions", str(SESSIONS), "--seed", str(seed),
        ],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [*tmp_path.iterdir()], "what was not harmed is removed"
    assert f"nothing was harmed: seed {seed}" in done.stdout
