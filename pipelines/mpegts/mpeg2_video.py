"""MPEG-1 and MPEG-2 video: pictures, key frames and the sequence header (ISO/IEC 13818-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import Codec, Configuration
from pipelines.mpegts.nal import NalUnits, find_nal_units, unit_starts
from pipelines.mpegts.units import Units, no_units
from pipelines.segment_index import UNKNOWN_SIZE

if TYPE_CHECKING:
    from pipelines.mpegts.packets import Bytes, Flags, Offsets
    from pipelines.mpegts.pes import ElementaryStream

PICTURE, EXTENSION, SEQUENCE, GROUP = 0x00, 0xB5, 0xB3, 0xB8
#: extension_start_code_identifier of a picture coding extension (6.3.1), and a whole frame in it.
PICTURE_CODING, WHOLE_FRAME = 8, 3
INTRA = 1


def index_mpeg2_video(stream: ElementaryStream) -> Units:
    """Find the pictures as ffmpeg's parser does: the two fields of a frame are one unit."""
    codes = find_nal_units(stream.data)
    events = np.flatnonzero(np.isin(codes.first, (PICTURE, SEQUENCE, GROUP)))
    kinds = codes.first[events]
    second = _second_fields(codes, events, kinds)
    events, kinds = events[~second], kinds[~second]
    picture = kinds == PICTURE
    starts = unit_starts(picture, np.ones(len(events), np.bool_))
    if not len(events):
        return no_units(Codec.MPEG2_VIDEO)
    unit = np.cumsum(starts) - 1
    octets = np.frombuffer(stream.data, np.uint8)
    coding = octets[np.minimum(codes.codes[events] + 5, len(octets) - 1)] >> 3 & 7
    sync = np.zeros(int(unit[-1]) + 1, np.bool_)
    sync[unit[picture]] = coding[picture] == INTRA
    begins = events[starts]
    configuration = _configuration(codes, events[kinds == SEQUENCE])
    return Units(
        codec=Codec.MPEG2_VIDEO,
        starts=codes.codes[begins],
        stamped_at=codes.codes[begins] + 3,
        sync=sync,
        sizes=np.full(len(sync), UNKNOWN_SIZE, np.int64),
        configuration=configuration,
        starts_clean=bool(kinds[0] == SEQUENCE) and bool(sync[0]),
        ends_unfinished=stream.unfinished or not bool(picture[-1]),
        limited=codes.limited,
    )


def _second_fields(codes: NalUnits, events: Offsets, kinds: Bytes) -> Flags:
    """Picture headers that belong to the second field of the frame before."""
    octets = np.frombuffer(codes.data, np.uint8)
    coding = np.flatnonzero((codes.first == EXTENSION) & (codes.second >> 4 == PICTURE_CODING))
    structure = octets[np.minimum(codes.codes[coding] + 6, max(len(octets) - 1, 0))] & 3
    fields = np.zeros(len(codes.codes) + 1, np.bool_)
    fields[coding] = structure != WHOLE_FRAME
    # The extension follows its picture header.
    is_field = (kinds == PICTURE) & fields[np.minimum(events + 1, len(codes.codes))]
    second = np.zeros(len(events), np.bool_)
    for event in np.flatnonzero(is_field[1:] & is_field[:-1]).tolist():
        second[event + 1] = not second[event]
    return second


def _configuration(codes: NalUnits, sequences: Offsets) -> Configuration | None:
    for index in sequences.tolist():
        header = codes.payload(int(index))
        if len(header) >= 4:
            width, height = header[1] << 4 | header[2] >> 4, (header[2] & 0x0F) << 8 | header[3]
            facts = (("width", width), ("height", height))
            return Configuration(Codec.MPEG2_VIDEO, (), facts)
    return None
