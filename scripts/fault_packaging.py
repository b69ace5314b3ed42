"""Recordings that are whole and packaged in other ways: fragments, ranges, keys, tracks apart."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from scripts.fault_entries import ALL, END, Fault, listed
from scripts.fault_recording import (
    DISCONTINUITY,
    INDEX,
    INIT,
    MAP,
    Entry,
    FaultyRecording,
    entries_of,
    files_of,
    media_playlist,
)
from scripts.fault_truth import PARTIAL, REPAIRED, DueGap, DueLoss, Kept, truth_of
from scripts.ts_clocks import CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.fault_base import Base, Bases

#: The owner of the ID3 frame that gives packed audio its time (RFC 8216, 3.4).
_TIME_OWNER = b"com.apple.streaming.transportStreamTimestamp\x00"
_RUN_TIMEOUT_S = 60


def _fragments(**options: object) -> Callable[[Bases], FaultyRecording]:
    def make(bases: Bases) -> FaultyRecording:
        base = bases.get(container="fmp4", **options)
        return listed(entries_of(base), base.zero, init=base.init)

    return make


def _other_map(bases: Bases) -> FaultyRecording:
    base, other = bases.get(container="fmp4"), bases.get(container="fmp4", size="320x180")
    entries = [*entries_of(base)[:5], *entries_of(other, "o")[5:]]
    entries[0] = replace(entries[0], tags=(MAP.format(INIT),))
    entries[5] = replace(entries[5], tags=(DISCONTINUITY, MAP.format("other.mp4")))
    files = files_of(entries, media_playlist(entries))
    files |= {INIT: base.init, "other.mp4": other.init}
    return FaultyRecording(files, truth_of(ALL, base.zero, verdict=REPAIRED, reencoded=["video"]))


def _truncated_fragment(bases: Bases) -> FaultyRecording:
    base = bases.get(container="fmp4")
    entries = entries_of(base)
    segment = base.segments[3]
    cut = segment.offset_of(base.spec.start + 7.0) + 100  # the sound of a fragment lies behind
    entries[3] = replace(entries[3], data=segment.data[:cut])
    kept = (Kept(0, 6), Kept(6, 7, sound=False), Kept(8, END))
    gaps = [
        DueGap("audio", 6.0, 1.0, "segment_damaged", "silence"),
        DueGap("all", 7.0, 1.0, "segment_damaged"),
    ]
    losses = [DueLoss("segment_damaged", 3, whole=False)]
    return listed(entries, base.zero, kept, PARTIAL, gaps, losses, init=base.init)


def _byte_ranges(bases: Bases) -> FaultyRecording:
    base = bases.get()
    entries, offset = [], 0
    for entry in entries_of(base):
        assert entry.data is not None
        tag = f"#EXT-X-BYTERANGE:{len(entry.data)}" + ("@0" if offset == 0 else "")
        entries.append(Entry("all.ts", entry.seconds, None, (tag,)))
        offset += len(entry.data)
    whole = b"".join(segment.data for segment in base.segments)
    files = {"all.ts": whole, INDEX: media_playlist(entries)}
    return FaultyRecording(files, truth_of(ALL, base.zero))


def _encrypted(
    *, explicit: bool = False, rotated: bool = False
) -> Callable[[Bases], FaultyRecording]:
    """AES-128 with the sequence number or a given value as IV; ``rotated``: two keys."""

    def make(bases: Bases) -> FaultyRecording:
        base = bases.get()
        keys = {"a.key": bytes(range(16)), "b.key": bytes(range(16, 32))}
        entries, before = [], ""
        for number, entry in enumerate(entries_of(base)):
            assert entry.data is not None
            name = "b.key" if rotated and number >= 4 else "a.key"
            vector = 77_000 + number if explicit else number
            given = f",IV=0x{vector:032x}" if explicit else ""
            tag = f'#EXT-X-KEY:METHOD=AES-128,URI="{name}"{given}'
            data = _aes_128(entry.data, keys[name], vector)
            entries.append(replace(entry, data=data, tags=(tag,) if tag != before else ()))
            before = tag
        files = files_of(entries, media_playlist(entries)) | keys
        return FaultyRecording(files, truth_of(ALL, base.zero))

    return make


def _aes_128(data: bytes, key: bytes, vector: int) -> bytes:
    """A segment encrypted whole: AES-128 in CBC mode with PKCS #7 padding (RFC 8216, 4.3.2.4)."""
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(vector.to_bytes(16, "big"))).encryptor()
    return encryptor.update(padder.update(data) + padder.finalize()) + encryptor.finalize()


def _two_languages(bases: Bases) -> FaultyRecording:
    """Sound in playlists of its own, in MPEG-TS, whose segments end elsewhere than the pictures'."""
    pictures = bases.get(audio=None)
    sounds = {"eng": bases.get(video=None), "deu": bases.get(video=None, pitch=600)}
    lines = ["#EXTM3U"]
    files = _in_folder("video", entries_of(pictures))
    for language, sound in sounds.items():
        default = "YES" if language == "eng" else "NO"
        lines.append(
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="{language}",LANGUAGE="{language}",'
            f'DEFAULT={default},AUTOSELECT=YES,URI="{language}/index.m3u8"'
        )
        files |= _in_folder(language, entries_of(sound))
    lines.append('#EXT-X-STREAM-INF:BANDWIDTH=600000,RESOLUTION=160x90,AUDIO="a"')
    files[INDEX] = "\n".join([*lines, "video/index.m3u8", ""]).encode()
    zero = min(pictures.zero, sounds["eng"].zero)
    return FaultyRecording(files, truth_of(ALL, zero))


def _subtitles(bases: Bases) -> FaultyRecording:
    base = bases.get()
    ticks = round(base.spec.start * CLOCK)
    cues = f"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{ticks},LOCAL:00:00:00.000\n\n"
    cues += "\n".join(
        f"00:00:{second:02}.500 --> 00:00:{second + 1:02}.000\nflash {second}\n"
        for second in range(16)
    )
    files = _in_folder("video", entries_of(base))
    files |= _in_folder("text", [Entry("all.vtt", END, cues.encode())])
    files[INDEX] = (
        b'#EXTM3U\n#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",NAME="English",LANGUAGE="en",'
        b'DEFAULT=YES,AUTOSELECT=YES,URI="text/index.m3u8"\n'
        b'#EXT-X-STREAM-INF:BANDWIDTH=600000,RESOLUTION=160x90,SUBTITLES="s"\nvideo/index.m3u8\n'
    )
    return FaultyRecording(files, truth_of(ALL, base.zero))


def _in_folder(folder: str, entries: list[Entry]) -> dict[str, bytes]:
    target = max(2, round(max(entry.seconds for entry in entries)))
    files = files_of(entries, media_playlist(entries, target=str(target)))
    return {f"{folder}/{name}": data for name, data in files.items()}


def _packed_sound(codec: str, suffix: str, container: str) -> Callable[[Bases], FaultyRecording]:
    def make(bases: Bases) -> FaultyRecording:
        base = bases.get(video=None, audio=codec)
        entries = [
            Entry(f"a{number:03}.{suffix}", segment.seconds, _packed(base, number, container))
            for number, segment in enumerate(base.segments)
        ]
        truth = truth_of([Kept(0, END, pictures=False)], base.zero)
        return FaultyRecording(files_of(entries, media_playlist(entries, target="3")), truth)

    return make


def _packed(base: Base, number: int, container: str) -> bytes:
    """A segment's frames behind an ID3 tag with the time of the first one."""
    segment = base.segments[number]
    frames = subprocess.run(
        [
            base.tools.ffmpeg, "-v", "error", "-f", "mpegts", "-i", "pipe:0", "-c", "copy",
            "-f", container, *(["-write_xing", "0"] if container == "mp3" else []), "pipe:1",
        ],
        input=segment.data,
        stdout=subprocess.PIPE,
        timeout=_RUN_TIMEOUT_S,
        check=True,
    ).stdout  # fmt: skip
    first = segment.first(video=False)
    assert first is not None
    time = _TIME_OWNER + round(first * CLOCK).to_bytes(8, "big")
    frame = b"PRIV" + len(time).to_bytes(4, "big") + b"\x00\x00" + time
    return b"ID3\x04\x00\x00\x00\x00\x00" + bytes([len(frame)]) + frame + frames


def _written_oddly(bases: Bases) -> FaultyRecording:
    """A byte order mark, CR LF, a fraction as target duration, and no end."""
    base = bases.get()
    entries = entries_of(base)
    playlist = media_playlist(entries, target="2.000", ended=False).replace(b"\n", b"\r\n")
    return FaultyRecording(files_of(entries, b"\xef\xbb\xbf" + playlist), truth_of(ALL, base.zero))


PACKAGINGS = (
    Fault("fmp4", "fragmented MP4 with B-frames", _fragments(b_frames=2)),
    Fault("vp9-opus", "VP9 and Opus in fragmented MP4", _fragments(video="vp9", audio="opus")),
    Fault("fmp4-other-map", "another encoder, with another EXT-X-MAP", _other_map),
    Fault("fmp4-truncated", "a segment of fragmented MP4 is cut", _truncated_fragment),
    Fault("byte-ranges", "all segments are byte ranges of one file", _byte_ranges),
    Fault("aes-implicit", "AES-128, the sequence number as IV, another key from the middle on", _encrypted(rotated=True)),
    Fault("aes-explicit", "AES-128 with an IV for each segment", _encrypted(explicit=True)),
    Fault("two-languages", "sound in playlists of its own, in two languages", _two_languages),
    Fault("packed-sound", "sound alone: AAC in ADTS behind ID3 times", _packed_sound("aac", "aac", "adts")),
    Fault("packed-mp3", "sound alone: MP3 behind ID3 times", _packed_sound("mp3", "mp3", "mp3")),
    Fault("packed-ac3", "sound alone: AC-3 behind ID3 times", _packed_sound("ac3", "ac3", "ac3")),
    Fault("subtitles", "WebVTT in a playlist of its own", _subtitles),
    Fault("odd-playlist", "a byte order mark, CR LF, a fraction as target duration, no end", _written_oddly),
)  # fmt: skip
