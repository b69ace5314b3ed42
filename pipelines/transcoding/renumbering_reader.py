"""Reads encoded HEVC on its way from ffmpeg and gives its parameter sets ids of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.mp4.fragments import FragmentReader, Header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.mp4.hevc_sets import HevcRenumbering
    from pipelines.mp4.movie_fragment import Fragment, Run, TrackFragment

_HEVC = frozenset({"hvc1", "hev1"})


class RenumberingReader(FragmentReader):
    """A reader of fragmented MP4 that yields HEVC renumbered, everything else as it is."""

    def __init__(self, renumbering: HevcRenumbering) -> None:
        super().__init__()
        self._renumbering = renumbering
        self._numbered: set[int] = set()  # track_IDs

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Header | Fragment]:
        """As ``FragmentReader``; raises ``Mp4Error`` too for what cannot be renumbered."""
        for event in super().feed(data):
            if isinstance(event, Header):
                yield self._renumbered_header(event)
            else:
                yield self._renumbered_fragment(event)

    def _renumbered_header(self, header: Header) -> Header:
        tracks = []
        for track in header.movie.tracks:
            if track.four_cc in _HEVC:
                self._numbered.add(track.track_id)
                entry = self._renumbering.entry(track.sample_entry)
                tracks.append(replace(track, sample_entry=entry))
            else:
                tracks.append(track)
        return replace(header, movie=replace(header.movie, tracks=tuple(tracks)))

    def _renumbered_fragment(self, fragment: Fragment) -> Fragment:
        payload = bytearray()
        tracks = tuple(self._copied(each, fragment.payload, payload) for each in fragment.tracks)
        return replace(fragment, tracks=tracks, payload=memoryview(payload))

    def _copied(
        self, track: TrackFragment, source: memoryview, payload: bytearray
    ) -> TrackFragment:
        """Append the track's samples to ``payload``; the track as it lies there."""
        runs: list[Run] = []
        sizes: list[int] = []
        for run in track.runs:
            begin, at = len(payload), run.offset
            for size in track.sizes[run.first_sample : run.first_sample + run.count].tolist():
                sample = bytes(source[at : at + size])
                if track.track_id in self._numbered:
                    sample = self._renumbering.sample(sample)
                payload += sample
                sizes.append(len(sample))
                at += size
            runs.append(replace(run, offset=begin, size=len(payload) - begin))
        return replace(track, sizes=np.array(sizes, np.uint32), runs=tuple(runs))
