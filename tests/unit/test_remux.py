"""The command that copies a run of MPEG-TS sees nothing but its pipes."""

from pipelines.media import Codec
from pipelines.remux import RemuxInput, remux_argv
from tests.unit.mpegts_by_hand import VIDEO
from tests.unit.test_sound_command import index
