"""The main configuration of a rendition: what every track is like in all of its file.

One sample description per track, always: Chromium and Apple's players stop at a second one. So the
configuration with most media time is the track's, and periods that differ are conformed to it.
"""

from __future__ import annotations

import bisect
import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipelines.media import Codec, TrackKind
from pipelines.mp4.movie_header import UNITY_MATRIX
from pipelines.transcoding.encoding import VideoEncoding

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class TrackLayout:
    """One track of the movie as it is where most of its media lies."""

    name: str  #: ``video``, ``audio``, ``audio2`` …
    codec: Codec
    timescale: int
    sample_entry: bytes
    language: str
    width: int = 0  #: pixels as shown; 0 for sound
    height: int = 0
    video: VideoEncoding | None = None  #: how pictures of another configuration are encoded
    matrix: bytes = UNITY_MATRIX  #: by which players turn the pictures (tkhd, 36 bytes)

    @property
    def kind(self) -> TrackKind:
        """Pictures or sound."""
        return self.codec.kind


@dataclass(frozen=True)
class OddRun:
    """A run that lacks a track, or has one in another configuration.

    A run is known by the media sequence and the piece of the segment that it begins with; ``until``
    is that of what comes behind it: another run, or the next slice.
    ``names`` says which of its tracks (PID or track_ID) is which track of the layout; ``odd`` names
    those that are conformed; ``absent`` the tracks of sound that it lacks, which are silent there.
    ``was`` says for people what the odd ones are like in the source, by name.
    """

    sequence: int
    piece: int
    names: Mapping[int, str]
    odd: tuple[str, ...]
    absent: tuple[str, ...]
    was: Mapping[str, str] = field(default_factory=dict, compare=False)
    until: tuple[int, int] | None = None


@dataclass(frozen=True)
class RenditionLayout:
    """The tracks of a rendition, and by slice number the runs that must be conformed to them."""

    tracks: tuple[TrackLayout, ...]
    slices: Mapping[int, tuple[OddRun, ...]]

    def track(self, name: str) -> TrackLayout:
        """The track of that name; raises ``KeyError``."""
        return next(track for track in self.tracks if track.name == name)

    def run_at(self, sequence: int, piece: int) -> OddRun | None:
        """The odd run that begins there; None when that is as the layout.

        What begins within an odd run is the rest of it, behind a segment that was given up since.
        """
        at = sequence, piece
        position = bisect.bisect(self._starts, at) - 1
        if position < 0:
            return None
        run = self._runs[position]
        if run.until is not None and at >= run.until:
            return None
        return replace(run, sequence=sequence, piece=piece)

    @cached_property
    def _runs(self) -> list[OddRun]:
        """All of them in order."""
        runs = (run for each in self.slices.values() for run in each)
        return sorted(runs, key=lambda run: (run.sequence, run.piece))

    @cached_property
    def _starts(self) -> list[tuple[int, int]]:
        return [(run.sequence, run.piece) for run in self._runs]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all of it: slices conformed to another layout do not fit."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The stored form."""
        data = {
            "tracks": [_track_json(track) for track in self.tracks],
            "slices": {
                str(number): [
                    [run.sequence, run.piece, {str(k): v for k, v in run.names.items()},
                     list(run.odd), list(run.absent), dict(run.was), run.until]
                    for run in runs
                ]
                for number, runs in sorted(self.slices.items())
            },
        }  # fmt: skip
        return json.dumps(data, separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> RenditionLayout:
        """The inverse of ``to_json``."""
        data: dict[str, Any] = json.loads(text)
        slices = {
            int(number): tuple(
                OddRun(run[0], run[1], {int(k): v for k, v in run[2].items()},
                       tuple(run[3]), tuple(run[4]), run[5],
                       (run[6][0], run[6][1]) if run[6] else None)
                for run in runs
            )
            for number, runs in data["slices"].items()
        }  # fmt: skip
        return cls(tuple(_track(each) for each in data["tracks"]), slices)


def _track_json(track: TrackLayout) -> dict[str, Any]:
    return {
        "name": track.name,
        "codec": track.codec,
        "timescale": track.timescale,
        "sampleEntry": track.sample_entry.hex(),
        "language": track.language,
        "width": track.width,
        "height": track.height,
        "video": track.video.to_json() if track.video else None,
        "matrix": track.matrix.hex(),
    }


def _track(data: Mapping[str, Any]) -> TrackLayout:
    return TrackLayout(
        name=data["name"],
        codec=Codec(data["codec"]),
        timescale=data["timescale"],
        sample_entry=bytes.fromhex(data["sampleEntry"]),
        language=data["language"],
        width=data["width"],
        height=data["height"],
        video=VideoEncoding.from_json(data["video"]) if data["video"] else None,
        matrix=bytes.fromhex(data["matrix"]),
    )
