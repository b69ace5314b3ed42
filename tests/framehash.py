"""Every packet of a file as ffmpeg sees it: when it is shown, how large it is, and a hash of its bytes."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from pipelines.tools import MediaTools
from tests.media import run


@dataclass(frozen=True)
class Packet:
    """One packet; times in seconds."""

    dts: Fraction
    pts: Fraction
    size: int
    digest: str


def packets(
    tools: MediaTools, path: Path | str, stream: str, *options: str, filters: str | None = None
) -> list[Packet]:
    """The packets of one stream (``v:0``, ``a:0`` …), copied, in decode order.

    Parameter sets inside the samples and framing differ between containers; ``filters`` is a
    chain of bitstream filters that makes them alike. ``options`` go before the input.
    """
    chain = [f"-bsf:{stream[0]}", filters] if filters else []
    text = run(
        tools.ffmpeg, "-v", "error", "-copyts", *options, "-i", str(path), "-map", f"0:{stream}",
        "-c", "copy", "-copyinkf", *chain, "-f", "framehash", "-hash", "md5", "-",
    ).decode()  # fmt: skip
    base = next(line for line in text.splitlines() if line.startswith("#tb 0:"))
    return [_packet(line, Fraction(base.split(":")[1].strip())) for line in _rows(text)]


def from_zero(found: list[Packet], zero: Fraction | None = None) -> list[Packet]:
    """The same packets with times counted from ``zero``, or else from the first one shown."""
    start = min(packet.pts for packet in found) if zero is None else zero
    return [Packet(p.dts - start, p.pts - start, p.size, p.digest) for p in found]


def differences(ours: list[Packet], theirs: list[Packet], tolerance: Fraction) -> list[str]:
    """What differs between two lists of packets, in words; times may by ``tolerance`` seconds."""
    if len(ours) != len(theirs):
        return [f"{len(ours)} packets instead of {len(theirs)}"]
    found = []
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if (mine.size, mine.digest) != (other.size, other.digest):
            found.append(f"packet {number} has other bytes ({mine.size}, {other.size})")
        if abs(mine.pts - other.pts) > tolerance:
            off = float(mine.pts - other.pts) * 1000
            found.append(f"packet {number} is shown {off:.3f} ms off")
    return found


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _packet(row: str, base: Fraction) -> Packet:
    _, dts, pts, _, size, digest = (field.strip() for field in row.split(",")[:6])
    return Packet(int(dts) * base, int(pts) * base, int(size), digest)
