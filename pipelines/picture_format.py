"""The format of coded pictures: what their samples are, as a codec configuration tells it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.colours import UNTOLD, Colours
from pipelines.media import Codec, Configuration
from pipelines.mp4.boxes import Fields, Mp4Error
from pipelines.mp4.codec_boxes import read_esds
from pipelines.mp4.sample_entry import inner_box, read_sample_entry
from pipelines.mpegts.h264 import sps_facts as h264_facts
from pipelines.mpegts.hevc import sps_facts as hevc_facts
from pipelines.mpegts.vui import h264_vui, hevc_vui
from pipelines.sequence_header import chroma_format, colour_codes

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.mpegts.vui import Vui

#: Chroma in ffmpeg's words by chroma_format_idc (ITU-T H.264, table 6-1).
_CHROMA = {1: "yuv420p", 2: "yuv422p", 3: "yuv444p"}
_GREY = "gray"


@dataclass(frozen=True)
class PictureFormat:
    """How pictures are stored, and what that means on a screen."""

    chroma: int = 1  #: chroma_format_idc: 0 none, 1 4:2:0, 2 4:2:2, 3 4:4:4
    bit_depth: int = 8
    sample_aspect: Fraction | None = None  #: width of a pixel by its height; None: not told
    colours: Colours = UNTOLD

    @property
    def pixel_format(self) -> str:
        """ffmpeg's name of the samples."""
        name = _CHROMA.get(self.chroma, _GREY)
        return name if self.bit_depth == 8 else f"{name}{self.bit_depth}le"


#: What most pictures are.
PLAIN = PictureFormat()


def configured_format(configuration: Configuration) -> PictureFormat:
    """The format of pictures of a configuration, as far as it tells: all of it for H.264 and HEVC,
    nothing but 8 bits in 4:2:0 for MPEG-2."""
    read = _READERS.get(configuration.codec)
    return read(configuration) if read else PLAIN


def entry_format(entry: bytes) -> PictureFormat:
    """The format of the pictures of a sample entry; raises ``Mp4Error`` for one that is damaged.

    Colours that the stream itself does not tell are those of ``colr`` (ISO/IEC 14496-12, 12.1.5),
    and the shape of pixels is that of ``pasp`` (12.1.4.2).
    """
    configuration = read_sample_entry(entry).configuration
    told = configured_format(configuration) if configuration else PLAIN
    if configuration and configuration.codec is Codec.MPEG2_VIDEO:
        told = _from_sequence(read_esds(memoryview(inner_box(entry, b"esds")))[1])
    return replace(
        told,
        sample_aspect=_pixel_aspect(entry) or told.sample_aspect,
        colours=told.colours.or_else(_colour_information(entry)),
    )


def _from_sets(
    configuration: Configuration,
    facts_of: Callable[[bytes], tuple[tuple[str, int], ...]],
    vui_of: Callable[[bytes], Vui],
) -> PictureFormat:
    sps = next((unit for name, unit in configuration.parameter_sets if name[:3] == "sps"), b"")
    facts, vui = dict(facts_of(sps)), vui_of(sps)
    return PictureFormat(
        facts.get("chroma", 1), facts.get("bit_depth", 8), vui.sample_aspect, vui.colours
    )


def _from_h264(configuration: Configuration) -> PictureFormat:
    return _from_sets(configuration, h264_facts, h264_vui)


def _from_hevc(configuration: Configuration) -> PictureFormat:
    return _from_sets(configuration, hevc_facts, hevc_vui)


def _from_vp9(configuration: Configuration) -> PictureFormat:
    """VPCodecConfigurationRecord (VP Codec ISO Media File Format Binding)."""
    fields = Fields(memoryview(_record(configuration)), "'vpcC'")
    fields.take(6)
    packed = fields.unsigned(1)
    codes = fields.unsigned(1), fields.unsigned(1), fields.unsigned(1)
    chroma = max(1, packed >> 1 & 7)
    colours = Colours.of_codes(codes, full_range=bool(packed & 1))
    return PictureFormat(chroma, packed >> 4, None, colours)


def _from_av1(configuration: Configuration) -> PictureFormat:
    """AV1CodecConfigurationRecord (AV1 Codec ISO Media File Format Binding, 2.3)."""
    packed = _record(configuration)[2]
    monochrome, across, down = packed >> 4 & 1, packed >> 3 & 1, packed >> 2 & 1
    chroma = 0 if monochrome else 3 - across - (across & down)
    return PictureFormat(chroma, configuration.fact("bit_depth") or 8)


def _from_sequence(headers: bytes) -> PictureFormat:
    """The headers of an MPEG-2 sequence, as an ``esds`` has them."""
    codes = colour_codes(headers)
    return PictureFormat(
        chroma_format(headers), colours=Colours.of_codes(codes) if codes else UNTOLD
    )


def _record(configuration: Configuration) -> bytes:
    [(_, record)] = configuration.parameter_sets
    return record


_READERS: dict[Codec, Callable[[Configuration], PictureFormat]] = {
    Codec.H264: _from_h264,
    Codec.HEVC: _from_hevc,
    Codec.VP9: _from_vp9,
    Codec.AV1: _from_av1,
}


def _colour_information(entry: bytes) -> Colours:
    try:
        fields = Fields(memoryview(inner_box(entry, b"colr")), "'colr'")
        if bytes(fields.take(4)) != b"nclx":
            return UNTOLD
        codes = fields.unsigned(2), fields.unsigned(2), fields.unsigned(2)
        return Colours.of_codes(codes, full_range=bool(fields.unsigned(1) & 0x80))
    except Mp4Error:
        return UNTOLD


def _pixel_aspect(entry: bytes) -> Fraction | None:
    try:
        fields = Fields(memoryview(inner_box(entry, b"pasp")), "'pasp'")
        across, down = fields.unsigned(4), fields.unsigned(4)
    except Mp4Error:
        return None
    return Fraction(across, down) if across and down else None
