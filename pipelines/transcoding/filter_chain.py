"""What happens to pictures between decoder and encoder, and which of them are a slice's own."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from pipelines.colours import BT709, UNKNOWN, Colours
from pipelines.transcoding.encoder_options import upload_format
from pipelines.transcoding.frame_size import LARGEST_SIDE, MIN_SIDE
from pipelines.transcoding.picture_grid import PictureGrid
from pipelines.transcoding.turning import lies_sideways, undoing

if TYPE_CHECKING:
    from pipelines.transcoding.encoding import VideoEncoding

#: Share of a side by which pictures may be stretched, and pixels to which sizes are rounded.
STRETCH, ROUNDED = 0.01, 2
#: Width by height as displayed, in the words of ffmpeg's ``scale``; pixels of a shape that would
#: make the picture absurdly wide or narrow are taken for square.
_DISPLAYED = f"if(between(iw*sar,1,{LARGEST_SIDE}),dar,a)"
#: Brightness in cd/m2 that tone mapping takes for white: that of BT.709 screens.
TONE_MAP_NITS = 100
#: That of white on SDR screens, among HDR pictures (ITU-R BT.2408, 2.1).
WHITE_NITS = 203
#: What HDR pictures have where they do not say (ITU-R BT.2100).
_BT2100 = Colours("bt2020", "smpte2084", "bt2020nc")
#: Matrices that ``scale`` knows, in its words.
_SCALE_MATRICES = {
    "bt709": "bt709", "fcc": "fcc", "bt470bg": "bt470", "smpte170m": "smpte170m",
    "smpte240m": "smpte240m", "bt2020nc": "bt2020", "bt2020c": "bt2020",
}  # fmt: skip


@dataclass(frozen=True)
class PictureWindow:
    """Presentation times that are a slice's own, ticks of the source: first <= t < end.

    None: no bound on that side. Times are those that ffmpeg counts with ``-copyts``. ``anchor`` is
    a time, anywhere, at which constant rates show a picture.
    """

    first: int | None
    end: int | None
    anchor: int = 0

    def moved(self, ticks: int) -> PictureWindow:
        """The same bounds on another clock."""
        first, end = (None if bound is None else bound + ticks for bound in (self.first, self.end))
        return PictureWindow(first, end, self.anchor + ticks)


def grid(encoding: VideoEncoding, source_timescale: int, anchor: int) -> PictureGrid | None:
    """The grid on which the pictures are shown; None when they keep the source's times."""
    if not encoding.constant_rate:
        return None
    return PictureGrid(encoding.nominal_rate, source_timescale, anchor)


def video_timescale(encoding: VideoEncoding, source_timescale: int) -> int:
    """Ticks/s of an output's video track: the source's, those asked for, or such that the grid is
    exact."""
    on_grid = grid(encoding, source_timescale, 0)
    return on_grid.timescale if on_grid else encoding.timescale or source_timescale


def time_base(encoding: VideoEncoding, source_timescale: int) -> Fraction:
    """Seconds per tick in which the encoder counts: the track's, or one step of the grid."""
    if encoding.constant_rate:
        return 1 / encoding.nominal_rate
    return Fraction(1, video_timescale(encoding, source_timescale))


def deinterlaced(pictures: Any) -> Any:
    """One picture for each that is flagged as interlaced, where that was; others untouched.

    ``bwdif`` counts in half ticks even where it adds no pictures; whole ones follow.
    """
    return pictures.filter("bwdif", mode="send_frame", deint="interlaced")


def filtered(
    pictures: Any,
    encoding: VideoEncoding,
    window: PictureWindow,
    source_timescale: int,
    source_colours: Colours,
) -> Any:
    """ffmpeg-python's stream of the window's pictures as the encoder wants them.

    All that they say of themselves is as the encoding has it: encoders write that down.
    """
    on_grid = grid(encoding, source_timescale, window.anchor)
    if on_grid:
        pictures = pictures.filter("settb", f"1/{on_grid.timescale}")
        pictures, window = _steady(pictures, on_grid, window)
        pictures = _own(pictures, window)
    else:
        pictures = _own(pictures.filter("settb", f"1/{source_timescale}"), window)
        if encoding.timescale:
            pictures = pictures.filter("settb", f"1/{encoding.timescale}")
    pictures = _coloured(pictures, encoding, source_colours)
    width, height = _upright(encoding)
    pictures = pictures.filter("format", encoding.pixel_format).filter(
        "pad", width, height, "(ow-iw)/2", "(oh-ih)/2"
    )
    for name, *arguments in undoing(encoding.matrix):
        pictures = pictures.filter(name, *arguments)
    pictures = _described(
        pictures.filter("setsar", _ratio(encoding.sample_aspect)), encoding.colours
    )
    for name, *arguments in upload_format(encoding.implementation):
        pictures = pictures.filter(name, *arguments)
    return pictures


def _upright(encoding: VideoEncoding) -> tuple[int, int]:
    """Width and height of the pictures before they are turned to how they are stored."""
    sides = encoding.width, encoding.height
    return sides[::-1] if lies_sideways(encoding.matrix) else sides


def _described(pictures: Any, colours: Colours) -> Any:
    """The pictures, which say just that of their colours.

    Nor do they tell of the screen on which the source was mastered: others lie among them.
    """
    for kind in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"):
        pictures = pictures.filter("sidedata", mode="delete", type=kind)
    return pictures.filter("setparams", **_parameters(colours), range=_range(colours))


def _parameters(colours: Colours) -> dict[str, str]:
    """Colours in the words of ``setparams``, without their range."""
    return {
        "color_primaries": colours.primaries,
        "color_trc": colours.transfer,
        "colorspace": colours.matrix,
    }


def _coloured(pictures: Any, encoding: VideoEncoding, source: Colours) -> Any:
    """The pictures in their size, square pixels, and the encoding's colours.

    What is not known of colours on either side is taken to be alike.
    """
    target = encoding.colours
    shown_as_hdr = encoding.tone_map if source.transfer == UNKNOWN else source.hdr
    other_hdr = target.hdr and source.transfer not in (UNKNOWN, target.transfer)
    graded = shown_as_hdr is not target.hdr or other_hdr
    options = {} if graded else _matrices(source, target)
    pictures = pictures.filter(
        "scale",
        *_fitted(encoding),
        flags="bicubic",
        out_range="tv" if graded else _range(target),
        **options,
    ).filter("setsar", "1")
    if not graded:
        return pictures
    if shown_as_hdr and not target.hdr:
        return _tone_mapped(pictures, target)
    return _graded(pictures, source.or_else(_BT2100 if shown_as_hdr else BT709), target)


def _matrices(source: Colours, target: Colours) -> dict[str, str]:
    """Options of ``scale`` that bring luma and chroma to another matrix, where both are known."""
    known = [_SCALE_MATRICES.get(colours.matrix) for colours in (source, target)]
    if None in known or known[0] == known[1]:
        return {}
    return {"in_color_matrix": str(known[0]), "out_color_matrix": str(known[1])}


def _range(colours: Colours) -> str:
    return "pc" if colours.full_range else "tv"


def _fitted(encoding: VideoEncoding) -> tuple[str, str]:
    """Width and height, as expressions, to which pictures are scaled: those that are encoded, or
    less on one side where that would distort what is displayed.

    The encoding was made for the pictures with which a recording begins; others may come. A size
    that is off by ``STRETCH``, or by rounding, is made to fit.
    """
    width, height = _upright(encoding)
    turned = lies_sideways(encoding.matrix)
    aspect = 1 / encoding.sample_aspect if turned else encoding.sample_aspect
    shown = f"st(0,({_DISPLAYED})/({_ratio(aspect)}));"
    across, down = (side - max(ROUNDED, STRETCH * side) for side in (width, height))
    return (
        f"{shown}if(gte({height}*ld(0),{across}),{width},{_even(f'{height}*ld(0)')})",
        f"{shown}if(gte({width}/ld(0),{down}),{height},{_even(f'{width}/ld(0)')})",
    )


def _ratio(fraction: Fraction) -> str:
    return f"{fraction.numerator}/{fraction.denominator}"


def _even(length: str) -> str:
    return f"max({MIN_SIDE},2*round({length}/2))"


def _steady(
    pictures: Any, on_grid: PictureGrid, window: PictureWindow
) -> tuple[Any, PictureWindow]:
    """A picture at every point of the grid, timed by its number; the window in such numbers."""
    rate = on_grid.rate
    pictures = pictures.filter("setpts", f"PTS{-on_grid.subtracted:+}")
    pictures = pictures.filter("fps", f"{rate.numerator}/{rate.denominator}", round="near")
    first, end = (
        None if bound is None else on_grid.number(bound) for bound in (window.first, window.end)
    )
    window = PictureWindow(first, end)
    return _held(pictures, window), window


def _held(pictures: Any, window: PictureWindow) -> Any:
    """The last picture again and again, so that it lasts until the window ends.

    ``fps`` lets it last for as long as the decoder says, which is not when the next one comes.
    """
    if window.first is None or window.end is None:
        return pictures
    return pictures.filter("tpad", stop=window.end - window.first, stop_mode="clone")


def _own(pictures: Any, window: PictureWindow) -> Any:
    """The pictures inside the window.

    Not ``trim``: it ends the stream at the window's end, and ffmpeg stops reading its input then.
    """
    bounds = []
    if window.first is not None:
        bounds.append(f"gte(pts,{window.first})")
    if window.end is not None:
        bounds.append(f"lt(pts,{window.end})")
    return pictures.filter("select", "*".join(bounds)) if bounds else pictures


def _tone_mapped(pictures: Any, target: Colours) -> Any:
    """HDR pictures (PQ or HLG) brought down to SDR, to BT.709 where the ``target`` is not known.

    What they do not say of their colours is as ITU-R BT.2100 has it, which is what PQ and HLG are
    for; ``zscale`` refuses to guess.
    """
    target = target.or_else(BT709)
    return (
        pictures.filter("setparams", color_primaries="bt2020", colorspace="bt2020nc")
        .filter("zscale", transfer="linear", npl=TONE_MAP_NITS)
        .filter("format", "gbrpf32le")
        .filter("zscale", primaries=target.primaries)
        .filter("tonemap", "hable", desat=0)
        .filter("zscale", transfer=target.transfer, matrix=target.matrix, range=_range(target))
    )


def _graded(pictures: Any, source: Colours, target: Colours) -> Any:
    """Pictures brought to HDR of another transfer function: white as on SDR screens."""
    target = target.or_else(_BT2100)
    return (
        pictures.filter("setparams", **_parameters(source), range="tv")
        .filter("zscale", transfer="linear", npl=WHITE_NITS)
        .filter("format", "gbrpf32le")
        .filter(
            "zscale",
            primaries=target.primaries,
            transfer=target.transfer,
            matrix=target.matrix,
            range=_range(target),
            npl=WHITE_NITS,
        )
    )
