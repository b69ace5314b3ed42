"""The recordings of the corpus, and what is true of each: told by ffprobe and ffmpeg of its segments."""

from dataclasses import dataclass

COMPLETE, REPAIRED, PARTIAL = ("complete",), ("repaired",), ("partial",)
WHOLE = (*COMPLETE, *REPAIRED)


@dataclass(frozen=True)
class Case:
    """One recording.

    ``entry`` is its playlist, or a single segment that needs one. ``pictures`` and ``sounds`` are
    the packets that ffprobe counts in the segments, by track; ``made`` says that more sound is
    in the result than in the source: silence, or what was encoded at another rate. ``seconds`` is
    how long the result lasts, gaps among it. ``gaps`` are media time and length of those that are
    held. ``decoded`` are files whose pictures, one after the other, are those of the result.
    """

    name: str
    entry: str
    pictures: int = 0
    sounds: tuple[int, ...] = ()
    seconds: float = 0.0
    verdicts: tuple[str, ...] = COMPLETE
    gaps: tuple[tuple[float, float], ...] = ()
    made: bool = False
    decoded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """One recording that cannot be finalized, and the code that says why."""

    name: str
    entry: str
    code: str


def _numbered(pattern: str, *numbers: int) -> tuple[str, ...]:
    return tuple(pattern.format(number) for number in numbers)


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
        "ts-discontinuity-pts-reset", "index.m3u8", 205, (394,), 8.58, WHOLE, made=True,
        decoded=_numbered("video-{:03}.ts", *range(69, 74)),
    ),
    Case(
        "ts-gap-tag-missing-files", "playlist.m3u8", 1440, (), 28.03, PARTIAL,
        gaps=((12.012, 4.004),), decoded=_numbered("{}.ts", 2, 3, 4, 6, 7, 8),
    ),
    Case(
        "ts-internal-holes-422", "test.ts", 217, (179,), 8.69, PARTIAL, made=True,
        decoded=("test.ts",),
    ),
    Case("ts-missing-dts", "missing-dts.ts", 120, (), 2.0, WHOLE, decoded=("missing-dts.ts",)),
    Case(
        "ts-missing-sei-and-pes-ts", "missing-sei-and-pes.ts", 12, (), 1.2, WHOLE,
        decoded=("missing-sei-and-pes.ts",),
    ),
    Case("ts-negative-dts-bframes", "playlist.m3u8", 144, (), 5.76, decoded=("1.ts",)),
    Case("ts-zero-frame-video", "zero-frame.ts", 0, (72,), 1.67, (*WHOLE, *PARTIAL)),
    Case(
        "ts-audio-only-head-then-av", "index.m3u8", 600, (72 + 938,), 21.68,
        (*REPAIRED, *PARTIAL), made=True, decoded=_numbered("seg-{}.ts", 0, 1),
    ),
    Case(
        "ts-pmt-audio-but-no-packets", "test-no-audio-segment.ts", 134, (), 8.93,
        (*WHOLE, *PARTIAL), decoded=("test-no-audio-segment.ts",),
    ),
    Case("ts-no-initial-keyframe", "no-initial-keyframe.ts", 78 - 63, (57,), 2.64, PARTIAL),
    Case("ts-mid-pat-pmt", "test-middle-pat-pmt.ts", 15, (28,), 0.65, WHOLE),
    Case("ts-hevc-main10", "hevc.m3u8", 360, (), 12.0, REPAIRED, decoded=("0.ts",)),
    Case(
        "ts-mp3-bframes-id3", "index.m3u8", 423, (541,), 14.18, PARTIAL,
        decoded=_numbered("seg-{}-v1-a1.ts", 1, 2, 3, 4),
    ),
    Case(
        "ts-cea608", "manifest.m3u8", 58, (114,), 2.5, decoded=("sd-hls0000000000.ts",),
    ),
    Case("ts-odd-size-16x4000", "vertical-sample.ts", 30, (), 1.0, decoded=("vertical-sample.ts",)),
    Case("ts-portrait-720x1280", "portrait.ts", 30, (), 1.0, decoded=("portrait.ts",)),
    Case("ts-alt-audio-alt-video", "master.m3u8", 120, (174, 174, 174), 4.07),
    Case("raw-aac-id3", "manifest.m3u8", 0, (861,), 39.98),
    # ffprobe takes the ID3 tag before each segment's 187 frames for another packet.
    Case("raw-ec3", "prog_index.m3u8", 0, (4 * 187,), 23.94, PARTIAL),
    Case(
        "fmp4-muxed-single", "output.m3u8", 250, (432,), 10.03,
        decoded=("init.mp4", "fileSequence0.m4s"),
    ),
    Case("fmp4-byterange-map", "output.m3u8", 250, (), 10.0, decoded=("output.m4s",)),
    Case("fmp4-late-start-chunk", "hls.m3u8", 60, (47,), 1.0, decoded=("init.mp4", "hls11.m4s")),
    Case(
        "cmaf-demuxed-abr-missing-first-audio", "index.m3u8", 812, (1337,), 32.5,
        (*WHOLE, *PARTIAL), made=True,
    ),
    Case(
        "cmaf-av1", "index.m3u8", 250, (469,), 10.0,
        decoded=("av1/init.mp4", *_numbered("av1/{}.m4s", *range(1, 6))),
    ),
    Case(
        "fmp4-interstitials-daterange", "main.m3u8", 500, (), 20.0,
        decoded=("init.mp4", *_numbered("s{}.mp4", *range(1, 6))),
    ),
    Case(
        "composed-ts-encoder-reconnect", "index.m3u8", 554, (931,), 20.02, REPAIRED, made=True,
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
