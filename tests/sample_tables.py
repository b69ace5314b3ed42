"""What the header of a finished MP4 says of every sample, so that two can be compared."""

from typing import Any

from pipelines.mp4.movie_reader import ParsedMovie, read_movie, top_level_boxes
from pipelines.mp4.sample_entry import configuration_fingerprint


def movie_of(header: bytes) -> ParsedMovie:
    """The movie whose ``moov`` lies in the first bytes of an object."""
    moov = next(box for box in top_level_boxes(header) if box.name == "moov")
    return read_movie(header[moov.offset : moov.end])


def sample_tables(header: bytes) -> list[dict[str, Any]]:
    """Every track in plain values; where its bytes lie in the file is left out."""
    return [
        {
            "kind": track.header.kind,
            "timescale": track.header.timescale,
            "edits": track.header.edits,
            "configuration": configuration_fingerprint(track.header.sample_entry),
            "durations": track.durations.tolist(),
            "pts": track.pts.tolist(),
            "sync": track.sync.tolist(),
            "sizes": track.sizes.tolist(),
        }
        for track in movie_of(header).tracks
    ]
