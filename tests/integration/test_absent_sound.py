"""Recordings of which a whole sound is missing, or all media: what is left, and what is told."""

import json

import pytest

from pipelines.errors import ErrorCode
from pipelines.location import Location
from pipelines.m3u8 import parse
from pipelines.run_report import Verdict
from pipelines.session import Phase
from tests.by_hand import ID
from tests.demuxed import Sound, demuxed_recording
from tests.packaging import upload_folder

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

SECONDS = 4.0
NAMES = {"en": "English", "es": "Español"}


@pytest.fixture
def bilingual(media, tmp_path):
    def made(**options):
        return media.recording(duration=SECONDS, **options)

    sounds = [
        Sound(NAMES["es"], "es", [made(video=None, encoder_options=("-filter:a", "volume=0.5"))]),
        Sound(NAMES["en"], "en", [made(video=None)], default=True),
    ]
    return demuxed_recording(tmp_path, [made(audio=None)], sounds)


def without_playlist(folder, language):
    (folder / f"{language}.m3u8").unlink()
    return "is not there"


def without_segments(folder, language):
    for segment in (folder / f"{language}-0").glob("segment*"):
        segment.unlink()
    return "segments of "


@pytest.mark.parametrize("damage", [without_playlist, without_segments])
@pytest.mark.parametrize("language", NAMES)
def test_sound_that_is_not_there_is_told_and_not_offered(damage, language, bilingual, worker):
    said = damage(bilingual.parent, language)
    made = worker()
    upload_folder(made.s3, bilingual.parent, "recordings", ID)
    made.put()
    made.finalize()
    assert made.record().phase is Phase.READY, made.record().error
    report = json.loads(made.runtime.sessions.report(ID))
    assert report["verdict"] == Verdict.PARTIAL
    [gap] = [each for each in report["gaps"] if each["rendition"] == "source"]
    assert (gap["track"], gap["at"]) == (f'sound "{NAMES[language]}"', 0.0)
    assert gap["duration"] == pytest.approx(SECONDS, abs=0.1)
    assert said in gap["detail"]
    tracks = [each["name"] for each in report["renditions"][0]["tracks"]]
    assert tracks == ["video", "audio"]
    body = made.s3.get_object(Bucket="vod", Key=f"{ID}/index.m3u8")["Body"].read()
    place = Location.parse(f"https://vod.example/{ID}/index.m3u8")
    [variant] = parse(body, place, allowed=[place.folder]).variants
    assert [each.name for each in variant.sound] == [
        name for other, name in NAMES.items() if other != language
    ]


def test_gaps_that_are_refused_are_refused_of_a_whole_sound_too(bilingual, worker):
    without_playlist(bilingual.parent, "es")
    made = worker(gap_policy="fail")
    upload_folder(made.s3, bilingual.parent, "recordings", ID)
    made.put()
    made.finalize()
    assert made.record().error.code == ErrorCode.GAP_REFUSED


@pytest.mark.parametrize(
    ("data", "said"), [(b"", "2 segment_empty"), (b"<html>" * 99, "2 segment_unreadable")]
)
def test_what_is_the_matter_with_all_segments_is_told(data, said, recording_of, worker):
    path = recording_of((data, ""), (data, ""))
    made = worker()
    upload_folder(made.s3, path.parent, "recordings", ID)
    made.put()
    made.finalize()
    error = made.record().error
    assert error.code == ErrorCode.SEGMENT_DAMAGED
    assert f"none of the 2 listed segments holds media for source: {said}" in error.message
