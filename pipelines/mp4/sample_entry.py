"""Sample entries: the one description of a track's samples, as bytes and as ``Configuration``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.media import Codec, Configuration, TrackKind
from pipelines.mp4.boxes import Box, Fields, Mp4Error, box, find, printable, walk
from pipelines.mp4.codec_boxes import CODEC_BOXES, read_audio_specific_config, read_esds
from pipelines.sequence_header import sequence_facts

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Bytes of a VisualSampleEntry and of an AudioSampleEntry before their boxes
#: (ISO/IEC 14496-12, 12.1.3 and 12.2.3).
_FIXED_SIZES = {TrackKind.VIDEO: 78, TrackKind.AUDIO: 28}
_CODECS = {
    b"avc1": Codec.H264,
    b"avc3": Codec.H264,
    b"hvc1": Codec.HEVC,
    b"hev1": Codec.HEVC,
    b"av01": Codec.AV1,
    b"vp09": Codec.VP9,
    b"ac-3": Codec.AC3,
    b"ec-3": Codec.EAC3,
    b"Opus": Codec.OPUS,
    b"fLaC": Codec.FLAC,
    b".mp3": Codec.MP3,
}
#: Entries whose codec stands in the object type of their ``esds``.
_DESCRIBED = {b"mp4v": TrackKind.VIDEO, b"mp4a": TrackKind.AUDIO}
#: Entries of samples that are encrypted (ISO/IEC 14496-12, 8.12).
ENCRYPTED = {b"encv": TrackKind.VIDEO, b"enca": TrackKind.AUDIO}
#: Object types (mp4ra.org). 0x69 and 0x6B stand for all layers of MPEG audio: taken as MP3.
#: 0x6A is MPEG-1 video, which MPEG-TS does not tell from MPEG-2's either.
_OBJECT_TYPES = {
    **dict.fromkeys((*range(0x60, 0x66), 0x6A), Codec.MPEG2_VIDEO),
    **dict.fromkeys((0x40, 0x66, 0x67, 0x68), Codec.AAC),
    **dict.fromkeys((0x69, 0x6B), Codec.MP3),
    0xA5: Codec.AC3,
    0xA6: Codec.EAC3,
}


@dataclass(frozen=True)
class SampleEntry:
    """What a sample entry says; ``codec`` is None when it is none that we can carry."""

    four_cc: str
    codec: Codec | None
    configuration: Configuration | None
    encrypted: bool


def read_sample_entry(entry: bytes) -> SampleEntry:
    """Read one entry of ``stsd`` (ISO/IEC 14496-12, 8.5.2); ``Mp4Error`` when it is damaged."""
    whole = _whole(entry)
    four_cc = printable(whole.name)
    kind = _kind(whole.name)
    if kind is None:
        return SampleEntry(four_cc, None, None, encrypted=False)
    boxes = _boxes(whole, kind)
    name = whole.name
    if name in ENCRYPTED:
        frma = find(boxes[b"sinf"], b"frma") if b"sinf" in boxes else None
        name = bytes(frma.body) if frma else b""
    configuration = _configuration(name, boxes, _entry_facts(whole.body, kind))
    codec = configuration.codec if configuration else None
    if codec is not None and codec.kind is not kind:
        raise Mp4Error(f"sample entry {four_cc!r} describes {codec}, which is no {kind}")
    return SampleEntry(four_cc, codec, configuration, encrypted=whole.name in ENCRYPTED)


def told_codec(codec: Codec) -> Codec:
    """The codec as a sample entry tells it: entries of MPEG audio are silent about the layer."""
    return Codec.MP3 if codec is Codec.MP2 else codec


def nal_length_size(entry: bytes) -> int:
    """Bytes of the length before each NAL unit in samples (ISO/IEC 14496-15, 5.3.3.1.2).

    Raises ``Mp4Error`` for an entry whose samples are not made of NAL units.
    """
    described = read_sample_entry(entry)
    size = described.configuration and described.configuration.fact("nal_length_size")
    if not size:
        raise Mp4Error(f"samples of {described.four_cc!r} are not made of NAL units")
    return size


def without_bit_rate(entry: bytes) -> bytes:
    """The entry without its ``btrt`` boxes, which differ from slice to slice of one encoder."""
    whole = _whole(entry)
    kind = _kind(whole.name)
    if kind is None:
        return bytes(entry)
    kept = [child.extent for child in _children(whole, kind) if child.name != b"btrt"]
    return box(whole.name, bytes(whole.body[: _FIXED_SIZES[kind]]), *map(bytes, kept))


def configuration_fingerprint(entry: bytes) -> str:
    """A digest of what a decoder and a renderer are told: equal when one entry can serve both.

    Covers the format, parameter sets or decoder configuration, size, pixel shape, sample rate and
    channels. Bit rates and buffer sizes (``esds``, ``btrt``, ``dac3``, ``dec3``), compressor names
    and the like differ between slices of one encoder, and are left out.
    """
    described = read_sample_entry(entry)
    whole = _whole(entry)
    kind = _kind(whole.name)
    if described.configuration is None or kind is None:
        return hashlib.sha256(without_bit_rate(entry)).hexdigest()
    shape = bytes(_boxes(whole, kind).get(b"pasp", b""))
    sets = sorted(described.configuration.parameter_sets)
    facts = sorted(described.configuration.facts)
    parts = (described.four_cc, str(described.codec), sets, facts, shape)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def inner_box(entry: bytes, name: bytes) -> bytes:
    """The body of one box inside an entry; raises ``Mp4Error`` when it is not there."""
    whole = _whole(entry)
    kind = _kind(whole.name)
    body = _boxes(whole, kind).get(name) if kind else None
    if body is None:
        raise Mp4Error(f"sample entry {printable(whole.name)!r} lacks its {printable(name)!r}")
    return bytes(body)


def with_inner_box(entry: bytes, name: bytes, body: bytes) -> bytes:
    """The entry with another ``body`` of the box that ``inner_box`` reads."""
    inner_box(entry, name)
    whole = _whole(entry)
    kind = _kind(whole.name) or TrackKind.VIDEO
    kept = [
        box(name, body) if child.name == name else bytes(child.extent)
        for child in _children(whole, kind)
    ]
    return box(whole.name, bytes(whole.body[: _FIXED_SIZES[kind]]), *kept)


def _whole(entry: bytes) -> Box:
    boxes = [*walk(memoryview(entry))]
    if len(boxes) != 1:
        raise Mp4Error(f"a sample entry is one box, not {len(boxes)}")
    return boxes[0]


def _kind(name: bytes) -> TrackKind | None:
    if name in _CODECS:
        return _CODECS[name].kind
    return _DESCRIBED.get(name) or ENCRYPTED.get(name)


def _children(entry: Box, kind: TrackKind) -> list[Box]:
    fields = Fields(entry.body, f"sample entry {printable(entry.name)!r}")
    fields.take(_FIXED_SIZES[kind])
    return [*walk(fields.rest(), zero_ended=True)]


def _boxes(entry: Box, kind: TrackKind) -> Mapping[bytes, memoryview]:
    boxes: dict[bytes, memoryview] = {}
    for child in _children(entry, kind):
        boxes.setdefault(child.name, child.body)
    return boxes


def _entry_facts(body: memoryview, kind: TrackKind) -> dict[str, int]:
    """What the fixed fields say; a 0 says nothing (rates above 65535 Hz do not fit)."""
    fields = Fields(body, "sample entry")
    if kind is TrackKind.VIDEO:
        fields.take(24)
        facts = {"width": fields.unsigned(2), "height": fields.unsigned(2)}
    else:
        fields.take(16)
        channels, _ = fields.unsigned(2), fields.take(6)
        facts = {"sample_rate": fields.unsigned(4) >> 16, "channels": channels}
    return {name: value for name, value in facts.items() if value}


def _configuration(
    name: bytes, boxes: Mapping[bytes, memoryview], facts: dict[str, int]
) -> Configuration | None:
    """The configuration of a (decrypted) format; None when its codec is not supported."""
    if name in _DESCRIBED:
        return _described_configuration(boxes, facts)
    codec = _CODECS.get(name)
    if codec is None or codec not in CODEC_BOXES:
        return Configuration(codec, (), tuple(facts.items())) if codec else None
    box_name, read = CODEC_BOXES[codec]
    if box_name not in boxes:
        raise Mp4Error(f"sample entry {printable(name)!r} lacks its {printable(box_name)!r}")
    sets, more = read(boxes[box_name])
    return Configuration(codec, sets, tuple({**facts, **more}.items()))


def _described_configuration(
    boxes: Mapping[bytes, memoryview], facts: dict[str, int]
) -> Configuration | None:
    if b"esds" not in boxes:
        raise Mp4Error("sample entry lacks its 'esds'")
    object_type, specific = read_esds(boxes[b"esds"])
    codec = _OBJECT_TYPES.get(object_type)
    if codec is None:
        return None
    if codec is Codec.MPEG2_VIDEO:
        return Configuration(codec, (), tuple({**facts, **sequence_facts(specific)}.items()))
    if codec is not Codec.AAC:
        sets = (("specific", specific),) if specific else ()
        return Configuration(codec, sets, tuple(facts.items()))
    return Configuration(
        codec,
        (("asc", specific),),
        tuple({**facts, **read_audio_specific_config(specific)}.items()),
    )
