"""How sample entries are called in CODECS attributes (RFC 6381; RFC 8216, 4.3.4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.media import Codec
from pipelines.mp4.sample_entry import read_sample_entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.media import Configuration

_FIXED = {
    Codec.MP2: "mp4a.40.33",
    Codec.MP3: "mp4a.40.34",
    Codec.AC3: "ac-3",
    Codec.EAC3: "ec-3",
    Codec.OPUS: "Opus",
}


def codec_names(tracks: Iterable[tuple[Codec, bytes]]) -> tuple[str, ...]:
    """The names of all tracks, told by codec and sample entry; () when one has none.

    A list that leaves a codec out would be worse than none: players trust it. The entry alone
    does not do: those of MPEG audio are silent about the layer.
    """
    names = [_name(codec, read_sample_entry(entry).configuration) for codec, entry in tracks]
    known = tuple(name for name in names if name is not None)
    return known if len(known) == len(names) else ()


def _name(codec: Codec, configuration: Configuration | None) -> str | None:
    if configuration is None:
        return None
    if codec is Codec.H264:
        sps = dict(configuration.parameter_sets).get("sps0", b"")
        return f"avc1.{sps[1:4].hex()}" if len(sps) >= 4 else None
    if codec is Codec.AAC:
        kind = configuration.fact("object_type")
        return f"mp4a.40.{kind}" if kind else None
    return _FIXED.get(codec)
