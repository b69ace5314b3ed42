"""The faults that recordings have, each put into a flash-and-beep recording of sixteen seconds."""

from __future__ import annotations

from scripts.fault_clocks import CLOCKS
from scripts.fault_packaging import PACKAGINGS
from scripts.fault_segments import SEGMENTS
from scripts.fault_tracks import TRACKS

FAULTS = (*SEGMENTS, *CLOCKS, *TRACKS, *PACKAGINGS)
BY_NAME = {fault.name: fault for fault in FAULTS}
