"""How sample entries are called in CODECS attributes (RFC 6381; RFC 8216, 4.3.4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.media import Codec
from pipelines.mp4.boxes import Fields, Mp4Error
from pipelines.mp4.sample_entry import inner_box, read_sample_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pipelines.media import Configuration

_FIXED = {
    Codec.MP2: "mp4a.40.33",
    Codec.MP3: "mp4a.40.34",
    Codec.AC3: "ac-3",
    Codec.EAC3: "ec-3",
    Codec.OPUS: "Opus",
    Codec.FLAC: "fLaC",
}


def codec_names(tracks: Iterable[tuple[Codec, bytes]]) -> tuple[str, ...]:
    """The names of all tracks, told by codec and sample entry; () when one has none.

    A list that leaves a codec out would be worse than none: players trust it. The entry alone
    does not do: those of MPEG audio are silent about the layer.
    """
    names = [_name(codec, entry) for codec, entry in tracks]
    known = tuple(name for name in names if name is not None)
    return known if len(known) == len(names) else ()


def _name(codec: Codec, entry: bytes) -> str | None:
    configuration = read_sample_entry(entry).configuration
    if configuration is None:
        return None
    if codec in _BY_BOX:
        box_name, name_of = _BY_BOX[codec]
        try:
            return name_of(Fields(memoryview(inner_box(entry, box_name)), box_name.decode()))
        except Mp4Error:  # cut off: it says too little
            return None
    if codec is Codec.H264:
        return _avc(configuration)
    if codec is Codec.AAC:
        kind = configuration.fact("object_type")
        return f"mp4a.40.{kind}" if kind else None
    return _FIXED.get(codec)


def _avc(configuration: Configuration) -> str | None:
    sps = dict(configuration.parameter_sets).get("sps0", b"")
    return f"avc1.{sps[1:4].hex()}" if len(sps) >= 4 else None


def _hevc(hvcc: Fields) -> str:
    """ISO/IEC 14496-15, E.3: profile, compatibility with its bits reversed, tier, constraints."""
    _, profile, compatibility = hvcc.take(1), hvcc.unsigned(1), hvcc.unsigned(4)
    constraints, level = bytes(hvcc.take(6)).rstrip(b"\0"), hvcc.unsigned(1)
    space, tier = ("", "A", "B", "C")[profile >> 6], "H" if profile >> 5 & 1 else "L"
    reversed_bits = int(f"{compatibility:032b}"[::-1], 2)
    fields = [f"hvc1.{space}{profile & 31}", f"{reversed_bits:X}", f"{tier}{level}"]
    return ".".join([*fields, *(f"{byte:X}" for byte in constraints)])


def _av1(av1c: Fields) -> str:
    """AV1 Codec ISO Media File Format Binding, section 5."""
    _, levels, flags = av1c.take(1), av1c.unsigned(1), av1c.unsigned(1)
    depth = 8 + 2 * (flags >> 6 & 1) + 2 * (flags >> 6 & flags >> 5 & 1)
    return f"av01.{levels >> 5}.{levels & 31:02}{'H' if flags >> 7 else 'M'}.{depth:02}"


def _vp9(vpcc: Fields) -> str:
    """VP Codec ISO Media File Format Binding: profile, level, bit depth."""
    vpcc.version()
    profile, level, depth = vpcc.unsigned(1), vpcc.unsigned(1), vpcc.unsigned(1) >> 4
    return f"vp09.{profile:02}.{level:02}.{depth:02}"


#: Codecs whose name is made of the box that configures their decoder.
_BY_BOX: Mapping[Codec, tuple[bytes, Callable[[Fields], str]]] = {
    Codec.HEVC: (b"hvcC", _hevc),
    Codec.AV1: (b"av1C", _av1),
    Codec.VP9: (b"vpcC", _vp9),
}
