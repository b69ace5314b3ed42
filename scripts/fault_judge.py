"""Whether finished MP4s, and the report on them, are true to a faulty recording; in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scripts.fault_base import FRAME_RATE
from scripts.flash_and_beep import WINDOWS_PER_SECOND, MediaFailedError, watch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.tools import MediaTools
    from scripts.fault_truth import DueGap, Truth
    from scripts.flash_and_beep import Showing

#: Seconds by which a flash may be off: one frame.
FLASH_TOLERANCE = 1 / FRAME_RATE
#: Seconds by which a beep may be off: one frame, and the window in which it is found.
BEEP_TOLERANCE = FLASH_TOLERANCE + 1 / WINDOWS_PER_SECOND
#: Seconds by which a gap may be told beside its place, and longer or shorter: its edges lie where
#: the last of two tracks ends, by a picture and by a frame of sound of 1024 at 44.1 kHz.
GAP_TOLERANCE = 1 / FRAME_RATE + 1024 / 44_100
#: Seconds by which a track may last longer or shorter: both of its ends lie beside their place.
TRACK_TOLERANCE = GAP_TOLERANCE + 1024 / 44_100
#: Seconds by which a silence is looked at later, and less long: a frame of sound may reach into it.
_SILENCE_EDGE = 0.1
#: What an encoder may leave of silence.
_SILENT = 0.02


def complaints(
    tools: MediaTools, report: Mapping[str, Any], media: Mapping[str, str], truth: Truth
) -> list[str]:
    """What is not as it should be: in a stored report, and in its MP4s (paths or URLs by the names
    of their renditions)."""
    verdict = report["verdict"]
    found = [] if verdict == truth.verdict else [f"the verdict is {verdict}, not {truth.verdict}"]
    for name, rendition in {each["name"]: each for each in report["renditions"]}.items():
        if rendition["state"] != "ready":
            found.append(f"{name} is {rendition['state']}: {rendition['reason']}")
            continue
        told = _told_losses(rendition, truth) + gap_complaints(rendition["gaps"], truth.gaps)
        told += track_complaints(rendition, truth)
        told += shown(tools, media[name], truth)
        found += [f"{name}: {complaint}" for complaint in told]
    return found


def shown(tools: MediaTools, path: str, truth: Truth) -> list[str]:
    """What is not as it should be in a finished MP4, judged by decoding it."""
    pictures = bool(truth.flashes)
    try:
        showing = watch(tools, path, pictures=pictures, sound=0 if truth.beeps else None)
    except MediaFailedError as error:
        return [str(error)]
    found = [f"a decoder says: {error}" for error in showing.errors]
    found += _off("flash", showing.flashes, truth.flashes, FLASH_TOLERANCE)
    found += _off("beep", showing.beeps, truth.beeps, BEEP_TOLERANCE)
    for gap in truth.gaps:
        found += _not_held(showing, gap)
    return found


def gap_complaints(told: Sequence[Mapping[str, Any]], due: Sequence[DueGap]) -> list[str]:
    """Every gap that is due must be told, and no other."""
    missing = [gap for gap in due if not any(_is(each, gap) for each in told)]
    surplus = [each for each in told if not any(_is(each, gap) for gap in due)]
    found = [f"{gap} is not told" for gap in missing]
    for each in surplus:
        words = "{track} at {at:.3f} s for {duration:.3f} s, {cause}, {done}".format(**each)
        found.append(f"a gap is told that is not due: {words}")
    return found


def track_complaints(rendition: Mapping[str, Any], truth: Truth) -> list[str]:
    """Tracks must last as long as they do, begin and end apart as they do, and be encoded anew
    where they are odd, and nowhere else."""
    due = {"video": truth.pictures, "audio": truth.sound}
    seconds = {track["name"]: track["seconds"] for track in rendition["tracks"]}
    found = [f"there is no {name}" for name, span in due.items() if span and name not in seconds]
    for name, told in seconds.items():
        begin, end = due["video" if name == "video" else "audio"] or (0.0, 0.0)
        found += _differs(f"{name} lasts", told, end - begin, TRACK_TOLERANCE)
    if truth.pictures and truth.sound:
        for edge, name in enumerate(("startSkew", "endSkew")):
            skew = truth.sound[edge] - truth.pictures[edge]
            found += _differs(name, rendition[name], skew, GAP_TOLERANCE)
    encoded = sorted({each["track"] for each in rendition["reencoded"]})
    if rendition["kind"] == "copy" and encoded != sorted(truth.reencoded):
        found.append(f"encoded anew are {encoded}, not {sorted(truth.reencoded)}")
    return found


def _differs(what: str, told: float, due: float, tolerance: float) -> list[str]:
    off = abs(told - due) > tolerance
    return [f"{what} {told:.3f} s, not {due:.3f} s"] if off else []


def _not_held(showing: Showing, gap: DueGap) -> list[str]:
    begin, end = gap.at, gap.at + gap.seconds
    where, found = f"from {begin:.3f} to {end:.3f} s", []
    if gap.is_silent:
        peak = showing.loudest(begin + _SILENCE_EDGE, end - _SILENCE_EDGE)
        found += [f"{where} there is no silence ({peak:.2f})"] if peak > _SILENT else []
    if gap.is_held:
        times = showing.pictures
        inside = times[(times > begin + GAP_TOLERANCE) & (times < end - GAP_TOLERANCE)]
        found += [f"{where} {len(inside)} pictures begin to show"] if len(inside) else []
    return found


def _off(what: str, found: list[float], due: tuple[float, ...], tolerance: float) -> list[str]:
    """Each event that is due must be found at its time, and nothing besides."""
    missing = [at for at in due if all(abs(at - seen) > tolerance for seen in found)]
    surplus = [seen for seen in found if all(abs(at - seen) > tolerance for at in due)]
    told = [f"no {what} at {at:.3f} s" for at in missing]
    return [*told, *(f"a {what} at {seen:.3f} s that is not due" for seen in surplus)]


def _is(told: Mapping[str, Any], due: DueGap) -> bool:
    return (
        (told["track"], told["cause"], told["done"]) == (due.track, due.cause, due.done)
        and abs(told["at"] - due.at) < GAP_TOLERANCE
        and abs(told["duration"] - due.seconds) < GAP_TOLERANCE
    )


def _told_losses(rendition: Mapping[str, Any], truth: Truth) -> list[str]:
    told = [
        (each["cause"], each["segment"], each["segments"], each["whole"])
        for each in rendition["losses"]
    ]
    due = [(each.cause, each.segment, each.segments, each.whole) for each in truth.losses]
    return [] if told == due else [f"the losses are {told}, not {due}"]
