"""Fragmented MP4 made by hand, box by box, so that tests can bend every field."""

import struct

from pipelines.mp4.boxes import box, full_box

ASC = bytes.fromhex("1190")  # AAC-LC, 48 kHz, stereo


def u32(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def avcc(sps: bytes = b"\x67sps", pps: bytes = b"\x68pps", profile: int = 77) -> bytes:
    head = bytes([1, profile, 0, 30, 0xFF, 0xE1])
    sets = struct.pack(">H", len(sps)) + sps + b"\1" + struct.pack(">H", len(pps)) + pps
    return box(b"avcC", head + sets)


def visual_entry(*children: bytes, name: bytes = b"avc1", width: int = 320, height: int = 180):
    fixed = bytes(6) + b"\0\1" + bytes(16) + struct.pack(">HH", width, height) + bytes(50)
    return box(name, fixed, *children)


def audio_entry(*children: bytes, name: bytes = b"mp4a", channels: int = 2, rate: int = 48000):
    fixed = bytes(6) + b"\0\1" + bytes(8) + struct.pack(">HHI", channels, 16, 0)
    return box(name, fixed + struct.pack(">I", rate << 16), *children)


def esds(specific: bytes = ASC, object_type: int = 0x40, bit_rate: int = 128_000, buffer: int = 0):
    decoder = bytes([object_type, 0x15]) + buffer.to_bytes(3, "big") + u32(bit_rate, bit_rate)
    decoder += _descriptor(5, specific) if specific else b""
    return full_box(b"esds", 0, 0, _descriptor(3, b"\0\1\0" + _descriptor(4, decoder)))


def _descriptor(tag: int, body: bytes) -> bytes:
    return bytes([tag, 0x80, 0x80, 0x80, len(body)]) + body


def trak(
    track_id: int,
    *entries: bytes,
    handler: bytes = b"vide",
    timescale: int = 90_000,
    edits: bytes = b"",
    language: int = 0x55C4,
) -> bytes:
    tkhd = full_box(b"tkhd", 0, 3, u32(0, 0, track_id, 0, 0), bytes(52), u32(320 << 16, 180 << 16))
    mdhd = full_box(b"mdhd", 0, 0, u32(0, 0, timescale, 0), struct.pack(">HH", language, 0))
    hdlr = full_box(b"hdlr", 0, 0, bytes(4), handler, bytes(13))
    stsd = full_box(b"stsd", 0, 0, u32(len(entries)), *entries)
    mdia = box(b"mdia", mdhd, hdlr, box(b"minf", box(b"stbl", stsd)))
    return box(b"trak", tkhd, edits, mdia)


def moov(*traks: bytes, trex: bytes = b"") -> bytes:
    mvhd = full_box(b"mvhd", 0, 0, u32(0, 0, 1000, 0), bytes(80))
    return box(b"moov", mvhd, *traks, box(b"mvex", trex))


def video_moov(trex: bytes = b"") -> bytes:
    return moov(trak(1, visual_entry(avcc())), trex=trex)


def trex(track_id: int = 1, duration: int = 0, size: int = 0, flags: int = 0) -> bytes:
    return full_box(b"trex", 0, 0, u32(track_id, 1, duration, size, flags))


def tfhd(track_id: int = 1, flags: int = 0x020000, *fields: bytes) -> bytes:
    return full_box(b"tfhd", 0, flags, u32(track_id), *fields)


def tfdt(time: int) -> bytes:
    return full_box(b"tfdt", 1, 0, struct.pack(">q", time))


def trun(count: int, flags: int, *fields: bytes, version: int = 0) -> bytes:
    return full_box(b"trun", version, flags, u32(count), *fields)


def moof(*trafs: bytes, sequence: int = 1) -> bytes:
    return box(b"moof", full_box(b"mfhd", 0, 0, u32(sequence)), *trafs)


def sized_moof(sizes: list[int], time: int = 0, sequence: int = 1) -> bytes:
    """A fragment of one run, whose payload follows in the next box."""
    rows = b"".join(u32(3000, size) for size in sizes)

    def made(offset: int) -> bytes:
        run = trun(len(sizes), 0x301, struct.pack(">i", offset), rows)
        return moof(box(b"traf", tfhd(), tfdt(time), run), sequence=sequence)

    return made(len(made(0)) + 8)


def mdat(payload: bytes) -> bytes:
    return box(b"mdat", payload)
