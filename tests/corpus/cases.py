"""The recordings of the corpus, and what is true of each: told by ffprobe and ffmpeg of its segments."""

import math
from dataclasses import dataclass

from scripts.fault_truth import COMPLETE, PARTIAL, REPAIRED, DueGap


@dataclass(frozen=True)
class Case:
    """One recording.

    ``entry`` is its playlist, or a single segment that needs one. ``pictures`` and ``sounds`` are
    the packets that ffprobe counts in the segments, by track; ``made`` says that more sound is
    in the result than in the source: silence, or what was encoded at another rate. ``seconds`` is
    how long the result lasts, gaps among it. ``gaps`` are all that the report may tell. ``decoded``
    are files whose pictures, one after the other, are those of the result. ``heard`` are, for each
    track of sound, the files whose frames are in it (of ``decoded`` unless it is said); ``encoded``
    is a file whose sound is encoded anew, and the media time at which it begins. ``unplayable`` is
    what Debian's Chromium has no decoder for; ``decodes_until`` is the media time of pictures
    that are damaged in the segments themselves: ffmpeg conceals that, and Chromium stops.
    """

    name: str
    entry: str
    pictures: int = 0
    sounds: tuple[int, ...] = ()
    seconds: float = 0.0
    verdict: str = COMPLETE
    gaps: tuple[DueGap, ...] = ()
    made: bool = False
    decoded: tuple[str, ...] = ()
    heard: tuple[tuple[str, ...], ...] = ()
    encoded: tuple[str, float] | None = None
    unplayable: str = ""
    decodes_until: float = math.inf

    @property
    def sources_of_sound(self) -> tuple[tuple[str, ...], ...]:
        """For each track of sound, the files whose frames are in it."""
        return self.heard or (self.decoded,) * len(self.sounds)


@dataclass(frozen=True)
class Refusal:
    """One recording that cannot be finalized, and the code that says why."""

    name: str
    entry: str
    code: str


def _numbered(pattern: str, *numbers: int) -> tuple[str, ...]:
    return tuple(pattern.format(number) for number in numbers)


#: Of `ts-internal-holes-422`: where ffprobe finds a frame of sound later than the one before ends.
_FRAMES_OF_SOUND_LACK = tuple(
    DueGap("audio", at, seconds, "track_absent", "silence")
    for at, seconds in (
        (2.0215, 0.0235), (2.1612, 0.2088), (2.3932, 0.1738), (2.6369, 0.1041), (3.2057, 0.1043),
        (3.3332, 0.0348), (3.3912, 0.2098), (3.6822, 0.0228), (4.2744, 0.5686), (4.8662, 0.0928),
        (5.1329, 0.2441), (5.4002, 0.4298), (6.0037, 0.0703), (6.4681, 0.0469), (6.7586, 0.0234),
        (7.1187, 0.0343), (7.5828, 0.0462), (7.8034, 0.0816), (7.9082, 0.1858), (8.1172, 0.0808),
        (8.3954, 0.0236),
    )
)  # fmt: skip

CASES = (
    Case(
        "ts-basic-3seg", "tiny.m3u8", 900, (1407,), 30.03,
        decoded=_numbered("seg-{}.ts", 0, 1, 2),
    ),
    Case(
        "ts-live-no-endlist", "output_playlist.m3u8", 250, (), 10.0,
        decoded=_numbered("video_segment_{:03}.ts", 0, 1, 2),
    ),
    Case(
        "ts-pts-wrap-33bit", "playlist.m3u8", 480, (937,), 20.0,
        decoded=_numbered("360p30_h264_48k_160_aac_ts-{:010}.ts", *range(24, 34)),
    ),
    Case(
        "ts-discontinuity-pts-reset", "index.m3u8", 205, (394,), 8.58, REPAIRED, made=True,
        decoded=_numbered("video-{:03}.ts", *range(69, 74)),
    ),
    Case(
        "ts-gap-tag-missing-files", "playlist.m3u8", 1440, (), 28.03, PARTIAL,
        gaps=(
            DueGap("all", 0.0, 4.004, "segment_lost", "reported"),
            DueGap("all", 12.012, 4.004, "segment_lost"),
        ),
        decoded=_numbered("{}.ts", 2, 3, 4, 6, 7, 8),
    ),
    Case(
        "ts-internal-holes-422", "test.ts", 217, (179,), 8.69, PARTIAL, made=True,
        gaps=(DueGap("all", 0.7214, 0.9806, "not_in_source"), *_FRAMES_OF_SOUND_LACK),
        decoded=("test.ts",),
    ),
    Case("ts-missing-dts", "missing-dts.ts", 120, (), 2.0, decoded=("missing-dts.ts",)),
    Case(
        "ts-missing-sei-and-pes-ts", "missing-sei-and-pes.ts", 12, (), 1.2,
        decoded=("missing-sei-and-pes.ts",),
    ),
    Case("ts-negative-dts-bframes", "playlist.m3u8", 144, (), 5.76, decoded=("1.ts",)),
    Case("ts-zero-frame-video", "zero-frame.ts", 0, (72,), 1.67, heard=(("zero-frame.ts",),)),
    Case(
        "ts-audio-only-head-then-av", "index.m3u8", 600, (72 + 938,), 21.68,
        PARTIAL, (DueGap("video", 0.0, 1.672, "track_absent", "reported"),), made=True,
        decoded=_numbered("seg-{}.ts", 0, 1), encoded=("zero-frame.ts", 0.0),
    ),
    Case(
        "ts-pmt-audio-but-no-packets", "test-no-audio-segment.ts", 134, (), 8.93,
        decoded=("test-no-audio-segment.ts",),
    ),
    Case(
        "ts-no-initial-keyframe", "no-initial-keyframe.ts", 78 - 63, (57,), 2.64, PARTIAL,
        (DueGap("video", 0.0, 2.134, "segment_damaged", "reported"),),
        heard=(("no-initial-keyframe.ts",),),
    ),
    Case(
        "ts-mid-pat-pmt", "test-middle-pat-pmt.ts", 15, (28,), 0.65, heard=(("test-middle-pat-pmt.ts",),),
    ),
    Case(
        "ts-hevc-main10", "hevc.m3u8", 360, (), 12.0, REPAIRED, decoded=("0.ts",),
        unplayable="HEVC",
    ),
    Case(
        "ts-mp3-bframes-id3", "index.m3u8", 423, (541,), 14.18, PARTIAL,
        (DueGap("all", 14.13, 20.621, "segment_lost", "reported"),),
        decoded=_numbered("seg-{}-v1-a1.ts", 1, 2, 3, 4),
    ),
    Case(
        "ts-cea608", "manifest.m3u8", 58, (114,), 2.5, decoded=("sd-hls0000000000.ts",),
    ),
    Case("ts-odd-size-16x4000", "vertical-sample.ts", 30, (), 1.0, decoded=("vertical-sample.ts",)),
    Case("ts-portrait-720x1280", "portrait.ts", 30, (), 1.0, decoded=("portrait.ts",)),
    Case(
        "ts-alt-audio-alt-video", "master.m3u8", 120, (174, 174, 174), 4.07,
        heard=(("original_128k.ts",), ("high_pitch_128k.ts",), ("low_pitch_128k.ts",)),
    ),
    Case(
        "raw-aac-id3", "manifest.m3u8", 0, (861,), 39.98,
        heard=(_numbered("fileSequence{}.aac", *range(4)),),
    ),
    # ffprobe takes the ID3 tag before each segment's 187 frames for another packet.
    Case(
        "raw-ec3", "prog_index.m3u8", 0, (4 * 187,), 23.94, PARTIAL,
        (DueGap("all", 23.936, 23.936, "segment_lost", "reported"),),
        heard=(_numbered("fileSequence{}.ec3", *range(4)),), unplayable="E-AC-3",
    ),
    Case(
        "fmp4-muxed-single", "output.m3u8", 250, (432,), 10.03,
        decoded=("init.mp4", "fileSequence0.m4s"),
    ),
    Case("fmp4-byterange-map", "output.m3u8", 250, (), 10.0, decoded=("output.m4s",)),
    Case("fmp4-late-start-chunk", "hls.m3u8", 60, (47,), 1.0, decoded=("init.mp4", "hls11.m4s")),
    Case(
        "cmaf-demuxed-abr-missing-first-audio", "index.m3u8", 812, (1337,), 32.5,
        PARTIAL, (DueGap("audio", 0.0, 1.397, "track_absent", "silence"),), made=True,
        decodes_until=31.0,
        heard=(
            (
                "audio_header_audio_track_part_0.mp4",
                *_numbered("audio_segment_{}_audio_track.m4s", *range(1, 17)),
            ),
        ),
    ),
    Case(
        "cmaf-av1", "index.m3u8", 250, (469,), 10.0,
        decoded=("av1/init.mp4", *_numbered("av1/{}.m4s", *range(1, 6))),
        heard=(("A48/init.mp4", *_numbered("A48/{}.m4s", *range(1, 6))),),
    ),
    Case(
        "fmp4-interstitials-daterange", "main.m3u8", 500, (), 20.0,
        decoded=("init.mp4", *_numbered("s{}.mp4", *range(1, 6))),
    ),
    Case(
        "composed-ts-encoder-reconnect", "index.m3u8", 554, (931,), 20.02, REPAIRED, made=True,
        heard=(("seg-0.ts", "n_2_0_0.ts", "obs_hevc_aac.ts"),), encoded=("test_0p0046.ts", 10.01),
    ),
)  # fmt: skip

REFUSALS = (
    Refusal("fmp4-iframe-only", "media.m3u8", "playlist_invalid"),
    Refusal("fmp4-aes256-refuse", "media.m3u8", "encryption_unsupported"),
    Refusal("fmp4-sample-aes-ctr-refuse", "index.m3u8", "encryption_unsupported"),
)

#: Damaged beyond what a single figure could say: the first has a few frames between broken
#: packets, the second never has parameter sets, so that only its sound can be kept.
WRECKS = (("ts-broken-pes", "broken.ts"), ("ts-non-existing-pps-truncated", "non-existing-pps.ts"))
