"""The laws that every report of a finished recording keeps (docs/report.md), whatever was wrong."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema

from pipelines.report import schema_text

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds by which times that were rounded one by one may differ.
ROUNDED = 0.00001
#: Seconds by which what lies at the end of the movie may reach over it: a frame of sound, or two.
FRAMES = 0.1

_ENCODED = {"held", "silence"}


def broken_laws(report: dict[str, Any]) -> list[str]:
    """What contradicts itself in the report of a recording that became ready."""
    _form().validate(report)
    broken = [*_whole(report)]
    for each in report["renditions"]:
        if each["state"] == "ready":
            found = (*_sums(each), *_times(each), *_gaps(each), *_losses(each), *_made(each))
            broken += [f"{each['name']}: {law}" for law in found]
    return broken


@cache
def _form() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(schema_text()))


def _whole(report: dict[str, Any]) -> Iterator[str]:
    ready = [each for each in report["renditions"] if each["state"] == "ready"]
    lists = ("gaps", "repairs", "reencoded")
    for name in lists:
        there = [(each["name"], found) for each in ready for found in each[name]]
        told = [(each["rendition"], {**each}) for each in report[name]]
        for _, each in told:
            del each["rendition"]
        if told != there:
            yield f"{name} of the whole are not those of its renditions"
    if report["verdict"] == "complete" and any(report[name] for name in ("losses", "repairs")):
        yield "complete, with losses or repairs"
    missing = [gap for gap in report["gaps"] if gap["cause"] != "wall_clock"]
    dropped = any(track["dropped"] for each in ready for track in each["tracks"])
    window = report["window"] or {"neverListed": 0, "earlierRevisions": [], "forgotten": 0}
    unseen = window["neverListed"] or window["earlierRevisions"] or window["forgotten"]
    if (report["verdict"] == "partial") != bool(missing or report["losses"] or dropped or unseen):
        yield f"{report['verdict']}, with {len(missing)} gaps, losses or dropped units"
    if report["verdict"] != "complete" and not report["reasons"]:
        yield "no reason for its verdict"
    source = report["source"]
    if source is not None:
        numbers = source["lastSegment"] - source["firstSegment"] + 1
        if numbers != source["segments"] + window["neverListed"]:
            yield f"{source['segments']} segments have {numbers} numbers"
    run = report["run"]
    spent = [run["timings"][name] or 0.0 for name in ("assemble", "verify", "publish")]
    if not run["ffmpegVersion"] or not run["timings"]["sinceRunBegan"] >= max(spent) > 0:
        yield f"what did the work, or how long, is not told: {run}"


def _sums(rendition: dict[str, Any]) -> Iterator[str]:
    """Units of the source, and samples of the object, are accounted for."""
    repairs = rendition["repairs"]
    for track in rendition["tracks"]:
        name = track["name"]
        source = sum(track[each] for each in ("copied", "reEncoded", "dropped", "repeated"))
        if track["expected"] != source:
            yield f"{name}: {track['expected']} expected, {source} accounted for"
        dropped = sum(
            each["units"]
            for each in repairs
            if (each["kind"], each["track"]) == ("dropped_leading_samples", name)
        )
        if track["dropped"] != dropped and not rendition["repairsNotListed"]:
            yield f"{name}: {track['dropped']} dropped, {dropped} told"
        encoded = any(each["track"] == name for each in rendition["reencoded"])
        if rendition["kind"] == "copy" and not rendition["encodesAudio"]:
            if encoded != (track["reEncoded"] > 0):
                yield f"{name}: {track['reEncoded']} encoded anew, told {encoded}"
        elif name == "video" and track["copied"]:
            yield f"{name}: {track['copied']} copied of what is encoded"
        if track["inserted"] and not any(_silences(rendition, name)):
            yield f"{name}: {track['inserted']} inserted where nothing is missing"
    came_twice = sum(each["units"] for each in repairs if each["kind"] == "duplicate")
    repeated = sum(track["repeated"] for track in rendition["tracks"])
    if repeated > came_twice and not rendition["repairsNotListed"]:
        yield f"{repeated} repeated, {came_twice} told"


def _silences(rendition: dict[str, Any], track: str) -> Iterator[bool]:
    for gap in rendition["gaps"]:
        yield gap["track"] in (track, "all") and gap["done"] in _ENCODED
    for repair in rendition["repairs"]:
        yield (repair["kind"], repair["track"]) == ("period_filled", track)


def _times(rendition: dict[str, Any]) -> Iterator[str]:
    tracks = {track["name"]: track for track in rendition["tracks"]}
    longest = max(track["seconds"] for track in tracks.values())
    if longest > rendition["duration"] + ROUNDED:
        yield f"a track lasts {longest} s, all of it {rendition['duration']} s"
    if "video" in tracks and "audio" in tracks:
        longer = tracks["audio"]["seconds"] - tracks["video"]["seconds"]
        skews = rendition["endSkew"] - rendition["startSkew"]
        if abs(longer - skews) > ROUNDED:
            yield f"sound lasts {longer} s longer, its ends say {skews}"
    elif rendition["startSkew"] or rendition["endSkew"]:
        yield "a skew without two tracks"
    starts = [period["start"] for period in rendition["periods"]]
    if starts != sorted(starts) or starts[:1] != [0.0]:
        yield f"periods begin at {starts}"


def _gaps(rendition: dict[str, Any]) -> Iterator[str]:
    names = {"all", *(track["name"] for track in rendition["tracks"])}
    lost = {
        number: loss
        for loss in rendition["losses"]
        for number in range(loss["segment"], loss["lastSegment"] + 1)
    }
    before: dict[str, float] = {}
    for gap in rendition["gaps"]:
        words = f"gap of {gap['track']} at {gap['at']}"
        end = gap["at"] + gap["duration"]
        if gap["duration"] <= 0 or gap["at"] < 0:
            yield f"{words} lasts {gap['duration']} s"
        if gap["track"] not in names and not gap["track"].startswith('sound "'):
            yield f"{words}: there is no such track"
        if gap["cause"] == "wall_clock" and gap["done"] != "reported":
            yield f"{words}: {gap['done']} although nothing is missing"
        if gap["done"] in _ENCODED:
            if end > rendition["duration"] + FRAMES:
                yield f"{words} ends at {end}, the movie at {rendition['duration']}"
            if gap["at"] < before.get(gap["track"], 0.0) - ROUNDED:
                yield f"{words} begins before the last one ended"
            before[gap["track"]] = end
        named = gap["cause"] in ("segment_lost", "segment_damaged")
        if named and not (gap["segments"] and set(gap["segments"]) <= lost.keys()):
            yield f"{words} is told of {gap['segments']}, lost are {[*lost]}"


def _losses(rendition: dict[str, Any]) -> Iterator[str]:
    if rendition["lossesNotListed"]:
        return
    for loss in rendition["losses"]:
        if loss["segments"] != loss["lastSegment"] - loss["segment"] + 1:
            yield f"{loss['segments']} segments from {loss['segment']} to {loss['lastSegment']}"
    whole = sum(loss["segments"] for loss in rendition["losses"] if loss["whole"])
    if whole != rendition["sourceSegmentsLost"]:
        yield f"{rendition['sourceSegmentsLost']} segments lost, {whole} told"


def _made(rendition: dict[str, Any]) -> Iterator[str]:
    """What is told of the object, and of what was encoded anew."""
    if "CRC64NVME" not in {each["algorithm"] for each in rendition["checksums"]}:
        yield "no checksum of the whole object"
    apart = abs(rendition["duration"] - rendition["listedDuration"])
    if rendition["durationDiffers"] and apart < 1:
        yield f"durations are {apart} s apart, and said to differ"
    codecs = {track["name"]: track["codec"] for track in rendition["tracks"]}
    for each in rendition["reencoded"]:
        inside = 0 <= each["at"] <= each["at"] + each["seconds"] <= rendition["duration"] + FRAMES
        if not inside or not each["was"] or not each["made"].startswith(codecs[each["track"]]):
            yield f"encoded anew: {each}"
