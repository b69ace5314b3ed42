"""Every fault of the kit: what the source has flashes and beeps at its time, and silence is silent."""

import pytest

from scripts.fault_kit import FAULTS
from scripts.fault_truth import differences

pytestmark = [pytest.mark.s3, pytest.mark.redis, pytest.mark.ffmpeg]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_the_source_has_is_at_its_time(fault, bases, finalized, media_tools, tmp_path):
    recording = fault.make(bases)
    made = finalized(recording.write(tmp_path / fault.name))
    assert made.mp4 is not None, made.record.error
    assert differences(media_tools, str(made.mp4), recording.truth) == []
    assert made.report["verdict"] in recording.truth.verdicts
