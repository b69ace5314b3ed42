"""What a recording lacks: listed segments, or parts of them, that cannot be packaged, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: How the detail of a loss ends, behind its location, when an object that the segment needs lacks.
NOT_THERE = "is not there"


class LossCause(StrEnum):
    """Why media of a listed segment is not there."""

    GAP_TAG = "gap_tag"  #: EXT-X-GAP says so
    SEGMENT_MISSING = "segment_missing"  #: listed, and not in the store
    SEGMENT_EMPTY = "segment_empty"  #: an object without bytes, or without a single unit of media
    SEGMENT_UNREADABLE = "segment_unreadable"  #: not media, or its byte range is not in its object
    NOT_DECRYPTED = "not_decrypted"  #: its key is missing, or is not its key
    SEGMENT_DAMAGED = "segment_damaged"  #: units inside it were damaged and are left out
    INIT_MISSING = "init_missing"  #: its initialization section is missing or unreadable


@dataclass(frozen=True, slots=True)
class Loss:
    """A listed segment of which nothing, or not all, could be packaged.

    ``location`` never holds a query; ``seconds`` is what EXTINF says of a segment that is lost
    ``whole``; of another one, by how much what is kept of it is shorter, which is lost at its start
    (``at_start``) or at its end: what is lost inside it, its clock tells. ``units`` counts access
    units that were left out, as far as they can be counted. A cause of ``SEGMENT_MISSING`` is
    looked at again before the commit, as is what ``NOT_THERE`` says: it may have come late. ``rendition`` is the name of
    the sound (EXT-X-MEDIA) whose own playlist lists the segment, "" for the variant's playlist.
    """

    sequence: int
    location: str
    cause: LossCause
    detail: str
    whole: bool
    seconds: float = 0.0
    units: int = 0
    rendition: str = ""
    at_start: bool = False
