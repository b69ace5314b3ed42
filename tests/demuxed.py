"""Recordings whose sound lies in playlists of its own, put together from recordings of one kind."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TAG = "#EXT-X-DISCONTINUITY"


@dataclass(frozen=True)
class Sound:
    """One audio rendition: its name, its language, and the playlists of its periods."""

    name: str
    language: str
    playlists: Sequence[Path]
    default: bool = False


def demuxed_recording(folder: Path, pictures: Sequence[Path], sounds: Sequence[Sound]) -> Path:
    """Copy the periods of pictures and of each sound into ``folder``; the multivariant playlist."""
    join_periods(folder, "pictures", pictures)
    lines = ["#EXTM3U"]
    for sound in sounds:
        join_periods(folder, sound.language, sound.playlists)
        default = "YES" if sound.default else "NO"
        lines.append(
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="{sound.name}",LANGUAGE="{sound.language}",'
            f'DEFAULT={default},URI="{sound.language}.m3u8"'
        )
    lines += ['#EXT-X-STREAM-INF:BANDWIDTH=500000,AUDIO="a"', "pictures.m3u8", ""]
    index = folder / "index.m3u8"
    index.write_text("\n".join(lines))
    return index


def join_periods(folder: Path, name: str, playlists: Sequence[Path]) -> Path:
    """One media playlist of several recordings, a tagged discontinuity between them."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:10"]
    for number, playlist in enumerate(playlists):
        target = folder / f"{name}-{number}"
        shutil.copytree(playlist.parent, target)
        text = re.sub(r'URI="', f'URI="{target.name}/', playlist.read_text())
        lines += [TAG] if number else []
        for line in text.splitlines():
            if line.startswith(("#EXTINF", "#EXT-X-MAP")):
                lines.append(line)
            elif line and not line.startswith("#"):
                lines.append(f"{target.name}/{line}")
    joined = folder / f"{name}.m3u8"
    joined.write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    return joined
