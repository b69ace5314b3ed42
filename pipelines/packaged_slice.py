"""The result of packaging one slice: sample tables, parts and the index's expectation, as staged."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pipelines.loss import Loss, LossCause
from pipelines.media import Codec, TrackKind
from pipelines.mp4.movie_header import UNITY_MATRIX
from pipelines.object_store import UploadedPart
from pipelines.repair import Repair, RepairKind
from pipelines.segment_index import NO_TIME, Container

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from fractions import Fraction

#: Raised by one whenever the meaning of a field changes; an unknown one is packaged again.
FORMAT_VERSION = 7

_MAGIC = b"RFSL"
_PREFIX = struct.Struct(">4sHI")
_Read = TypeVar("_Read")


class TrackMade(StrEnum):
    """Where the samples of a track come from."""

    COPIED = "copied"  #: the source's own, unchanged
    ENCODED = "encoded"  #: decoded and encoded anew
    SILENCE = "silence"  #: there is nothing to hear in the source: encoded silence


class UnknownFormat(Exception):
    """Raised when a staged result is damaged, or of a version that this one cannot read."""


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of one track of one run, in decode order, as ffmpeg (or the source) gave them."""

    dts: np.ndarray  #: int64[n], track timescale, the source's own clock
    composition: np.ndarray  #: int32[n], pts − dts
    sizes: np.ndarray  #: uint32[n], bytes
    sync: np.ndarray  #: bool[n]
    last_duration: int  #: ticks that the last sample lasts, as far as its run can tell; of sound
    #: from MPEG-TS the length of every frame, as its codec has it

    def __len__(self) -> int:
        return len(self.dts)

    @property
    def pts(self) -> np.ndarray:
        """Presentation times, int64[n]."""
        pts: np.ndarray = self.dts + self.composition
        return pts


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a track's samples lie in the slice's payload, in groups of neighbours."""

    offsets: np.ndarray  #: int64[k], bytes from the start of the slice's payload
    counts: np.ndarray  #: uint32[k], samples in the group
    hashes: np.ndarray  #: uint64[k], CRC-64/NVME of the group's bytes, taken at packaging


@dataclass(frozen=True, eq=False)
class Expectation:
    """What the index of the source's own bytes says of the same track: the proof's yardstick."""

    timescale: int
    dts: np.ndarray  #: int64[n]
    pts: np.ndarray  #: int64[n], NO_TIME where the source carries none
    sync: np.ndarray  #: bool[n]
    sizes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  #: int64[n], bytes as
    #: MP4 holds them, UNKNOWN_SIZE where that cannot be told; int64[0] where none is told
    hashes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))  #: uint64[n],
    #: CRC-64/NVME of those bytes, UNKNOWN_HASH where they cannot be told; uint64[0] where none are

    def __len__(self) -> int:
        return len(self.dts)

    def moved(self, by: Fraction) -> Expectation:
        """The same ``by`` seconds later, to the nearest tick; what has no time stays without."""
        ticks = round(by * self.timescale)
        dts = np.where(self.dts == NO_TIME, NO_TIME, self.dts + ticks)
        pts = np.where(self.pts == NO_TIME, NO_TIME, self.pts + ticks)
        return replace(self, dts=dts, pts=pts)


@dataclass(frozen=True, eq=False)
class PackagedTrack:
    """One track of one run."""

    track: int  #: PID in MPEG-TS, track_ID in fMP4
    codec: Codec
    timescale: int
    sample_entry: bytes
    language: str
    width: int  #: pixels as shown (tkhd); 0 for sound
    height: int
    edit_start: int | None  #: time before which the source's edit list shows nothing; None: no list
    samples: Samples
    placement: Placement
    expected: Expectation
    matrix: bytes = UNITY_MATRIX  #: by which players turn the pictures (tkhd, 36 bytes)
    made: TrackMade = TrackMade.COPIED
    #: From when to when, in seconds of the run's clock, pictures at a constant rate repeat one,
    #: since the source has none there.
    repeats: tuple[tuple[float, float], ...] = ()
    pause: float = 0.0  #: seconds that one of the source's may last, of which it repeats slow ones

    @property
    def kind(self) -> TrackKind:
        """Pictures or sound."""
        return self.codec.kind


@dataclass(frozen=True, eq=False)
class PackagedRun:
    """Samples of one clock, one set of tracks and one configuration: what one ffmpeg run made."""

    container: Container
    tagged: bool  #: EXT-X-DISCONTINUITY before its first segment
    starts_clean: bool  #: begins with parameter sets and a closed key frame
    first_sequence: int
    tracks: tuple[PackagedTrack, ...]
    piece: int = 0  #: which part of that segment it begins with, when its clock changes inside it;
    #: negative for sound of a playlist of its own of which there are no pictures
    broken: bool = False  #: media before it is lost, which its first pictures may refer to
    wall_clock: float | None = None  #: Unix seconds of its first sample (EXT-X-PROGRAM-DATE-TIME)
    sequences: tuple[int, ...] = ()  #: media sequence of every segment whose units it holds, those
    #: that lie in playlists of their own left out
    begins: tuple[tuple[int, float], ...] = ()  #: of those that have any, when their first unit is
    #: decoded: media sequence, and seconds of the run's clock


@dataclass(frozen=True, eq=False)
class PackagedSlice:
    """Everything that assembly needs of a slice; its payload is in parts, or staged beside it."""

    number: int
    identity: str
    runs: tuple[PackagedRun, ...]
    payload_bytes: int
    staged_bytes: int  #: bytes at the start of the payload that are staged, not uploaded
    parts: tuple[UploadedPart, ...]
    source_bytes: int
    source_segments: int
    listed_seconds: float  #: sum of EXTINF
    losses: tuple[Loss, ...] = ()
    repairs: tuple[Repair, ...] = ()
    last_sequence: int | None = (
        None  #: media sequence of the last segment; None: it matters to none
    )


class _ArrayWriter:
    """Collects arrays behind the JSON header: each compressed, referred to by position."""

    def __init__(self) -> None:
        self.blobs: list[bytes] = []

    def add(self, values: np.ndarray, kind: str) -> int:
        self.blobs.append(zlib.compress(np.ascontiguousarray(values, dtype=kind).tobytes(), 1))
        return len(self.blobs) - 1

    def add_times(self, values: np.ndarray) -> int:
        """Times as second differences: a constant frame rate compresses to nothing."""
        return self.add(np.diff(np.diff(values, prepend=0), prepend=0), "<i8")


class _ArrayReader:
    def __init__(self, blobs: list[memoryview]) -> None:
        self._blobs = blobs

    def get(self, position: int, kind: str) -> np.ndarray:
        return np.frombuffer(zlib.decompress(self._blobs[position]), dtype=kind)

    def get_times(self, position: int) -> np.ndarray:
        return np.cumsum(np.cumsum(self.get(position, "<i8")))


def encode(packaged: PackagedSlice) -> bytes:
    """The staged form: magic, version, JSON header, then compressed arrays."""
    arrays = _ArrayWriter()
    header = {
        "number": packaged.number,
        "identity": packaged.identity,
        "payloadBytes": packaged.payload_bytes,
        "stagedBytes": packaged.staged_bytes,
        "parts": [[p.number, p.size, p.etag, p.crc32] for p in packaged.parts],
        "sourceBytes": packaged.source_bytes,
        "sourceSegments": packaged.source_segments,
        "listedSeconds": packaged.listed_seconds,
        "lastSequence": packaged.last_sequence,
        "losses": [asdict(loss) for loss in packaged.losses],
        "repairs": [asdict(repair) for repair in packaged.repairs],
        "runs": [_run_header(run, arrays) for run in packaged.runs],
    }
    header["blobs"] = [len(blob) for blob in arrays.blobs]
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join((_PREFIX.pack(_MAGIC, FORMAT_VERSION, len(text)), text, *arrays.blobs))


def decode(data: bytes) -> PackagedSlice:
    """The inverse of ``encode``; raises ``UnknownFormat`` for what this version never wrote."""
    return _understood(data, _decoded)


def decode_losses(data: bytes) -> tuple[Loss, ...]:
    """The losses alone of what ``encode`` wrote, without its tables; raises as ``decode`` does."""
    return _understood(data, lambda header, _data, _at: _losses(header))


def _understood(data: bytes, read: Callable[[Mapping[str, Any], bytes, int], _Read]) -> _Read:
    """What ``read`` makes of the header, all data, and the place where the arrays begin."""
    if len(data) < _PREFIX.size:
        raise UnknownFormat("shorter than its own header")
    magic, version, length = _PREFIX.unpack_from(data)
    if magic != _MAGIC or version != FORMAT_VERSION:
        raise UnknownFormat(f"format version {version}")
    at = _PREFIX.size + length
    try:
        return read(json.loads(data[_PREFIX.size : at]), data, at)
    except (KeyError, IndexError, TypeError, ValueError, zlib.error) as error:
        raise UnknownFormat(f"damaged ({type(error).__name__})") from error


def _decoded(header: Mapping[str, Any], data: bytes, at: int) -> PackagedSlice:
    view, blobs = memoryview(data), []
    for size in header["blobs"]:
        blobs.append(view[at : at + size])
        at += size
    arrays = _ArrayReader(blobs)
    return PackagedSlice(
        number=header["number"],
        identity=header["identity"],
        runs=tuple(_run(run, arrays) for run in header["runs"]),
        payload_bytes=header["payloadBytes"],
        staged_bytes=header["stagedBytes"],
        parts=tuple(UploadedPart(*part) for part in header["parts"]),
        source_bytes=header["sourceBytes"],
        source_segments=header["sourceSegments"],
        listed_seconds=header["listedSeconds"],
        last_sequence=header["lastSequence"],
        losses=_losses(header),
        repairs=tuple(map(_repair, header["repairs"])),
    )


def _repair(told: Mapping[str, Any]) -> Repair:
    by_track = tuple((number, units) for number, units in told["by_track"])
    return Repair(**{**told, "kind": RepairKind(told["kind"]), "by_track": by_track})


def _losses(header: Mapping[str, Any]) -> tuple[Loss, ...]:
    return tuple(Loss(**{**loss, "cause": LossCause(loss["cause"])}) for loss in header["losses"])


def _run_header(run: PackagedRun, arrays: _ArrayWriter) -> dict[str, Any]:
    return {
        "container": run.container,
        "tagged": run.tagged,
        "startsClean": run.starts_clean,
        "firstSequence": run.first_sequence,
        "piece": run.piece,
        "broken": run.broken,
        "wallClock": run.wall_clock,
        "sequences": run.sequences,
        "begins": run.begins,
        "tracks": [_track_header(track, arrays) for track in run.tracks],
    }


def _track_header(track: PackagedTrack, arrays: _ArrayWriter) -> dict[str, Any]:
    samples, placement, expected = track.samples, track.placement, track.expected
    return {
        "track": track.track,
        "codec": track.codec,
        "timescale": track.timescale,
        "sampleEntry": track.sample_entry.hex(),
        "language": track.language,
        "width": track.width,
        "height": track.height,
        "editStart": track.edit_start,
        "lastDuration": samples.last_duration,
        "dts": arrays.add_times(samples.dts),
        "composition": arrays.add(samples.composition, "<i4"),
        "sizes": arrays.add(samples.sizes, "<u4"),
        "sync": arrays.add(np.packbits(samples.sync), "u1"),
        "offsets": arrays.add_times(placement.offsets),
        "counts": arrays.add(placement.counts, "<u4"),
        "hashes": arrays.add(placement.hashes, "<u8"),
        "expectedTimescale": expected.timescale,
        "expectedUnits": len(expected.dts),
        "expectedDts": arrays.add_times(expected.dts),
        "expectedPts": arrays.add_times(expected.pts),
        "expectedSync": arrays.add(np.packbits(expected.sync), "u1"),
        "expectedSizes": arrays.add(expected.sizes, "<i8"),
        "expectedHashes": arrays.add(expected.hashes, "<u8"),
        "matrix": track.matrix.hex(),
        "made": track.made,
        "repeats": track.repeats,
        "pause": track.pause,
    }


def _run(header: Mapping[str, Any], arrays: _ArrayReader) -> PackagedRun:
    return PackagedRun(
        container=Container(header["container"]),
        tagged=header["tagged"],
        starts_clean=header["startsClean"],
        first_sequence=header["firstSequence"],
        tracks=tuple(_track(track, arrays) for track in header["tracks"]),
        piece=header["piece"],
        broken=header["broken"],
        wall_clock=header["wallClock"],
        sequences=tuple(header["sequences"]),
        begins=tuple((sequence, at) for sequence, at in header["begins"]),
    )


def _bits(arrays: _ArrayReader, position: int, count: int) -> np.ndarray:
    return np.unpackbits(arrays.get(position, "u1"), count=count).astype(bool)


def _track(header: Mapping[str, Any], arrays: _ArrayReader) -> PackagedTrack:
    dts = arrays.get_times(header["dts"])
    return PackagedTrack(
        track=header["track"],
        codec=Codec(header["codec"]),
        timescale=header["timescale"],
        sample_entry=bytes.fromhex(header["sampleEntry"]),
        language=header["language"],
        width=header["width"],
        height=header["height"],
        edit_start=header["editStart"],
        samples=Samples(
            dts=dts,
            composition=arrays.get(header["composition"], "<i4"),
            sizes=arrays.get(header["sizes"], "<u4"),
            sync=_bits(arrays, header["sync"], len(dts)),
            last_duration=header["lastDuration"],
        ),
        placement=Placement(
            offsets=arrays.get_times(header["offsets"]),
            counts=arrays.get(header["counts"], "<u4"),
            hashes=arrays.get(header["hashes"], "<u8"),
        ),
        expected=Expectation(
            timescale=header["expectedTimescale"],
            dts=arrays.get_times(header["expectedDts"]),
            pts=arrays.get_times(header["expectedPts"]),
            sync=_bits(arrays, header["expectedSync"], header["expectedUnits"]),
            sizes=arrays.get(header["expectedSizes"], "<i8"),
            hashes=arrays.get(header["expectedHashes"], "<u8"),
        ),
        matrix=bytes.fromhex(header["matrix"]),
        made=TrackMade(header["made"]),
        repeats=tuple((begin, end) for begin, end in header["repeats"]),
        pause=header["pause"],
    )
