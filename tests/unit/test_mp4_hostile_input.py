"""Damaged and hostile bytes end in ``Mp4Error`` or in a result, in bounded time and memory."""

import random
import struct
import tracemalloc

import pytest

from pipelines.mp4.boxes import Mp4Error, box
from pipelines.mp4.fragments import FragmentReader, read_header_section
from pipelines.mp4.media_segment import read_segment
from pipelines.mp4.movie_fragment import Fragment
from pipelines.mp4.movie_reader import read_movie
from pipelines.mp4.sample_entry import configuration_fingerprint, read_sample_entry
from tests.unit.mp4_by_hand import (
    audio_entry,
    avcc,
    esds,
    mdat,
    moof,
    moov,
    sized_moof,
    tfhd,
    trak,
    trex,
    trun,
    visual_entry,
)
from tests.unit.test_mp4_movie import make_track, moov_of, write

MOVIE = moov(
    trak(1, visual_entry(avcc())),
    trak(2, audio_entry(esds()), handler=b"soun", timescale=48_000),
    trex=trex(1) + trex(2, size=4),
)
BY_HAND = MOVIE + (sized_moof([30, 20, 10]) + mdat(bytes(60))) * 3
ROUNDS = 1500


def _mutated(data: bytes, seed: int) -> bytes:
    """A few bytes changed, removed, repeated or set to the extremes that parsers trip over."""
    choice = random.Random(seed)
    mutated = bytearray(data)
    for _ in range(choice.randint(1, 6)):
        at = choice.randrange(len(mutated))
        match choice.randrange(5):
            case 0:
                mutated[at] = choice.randrange(256)
            case 1:
                mutated[at : at + 4] = choice.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"])
            case 2:
                del mutated[at : at + choice.randint(1, 40)]
            case 3:
                mutated[at:at] = mutated[at : at + choice.randint(1, 60)]
            case _:
                mutated[at] ^= 1 << choice.randrange(8)
        if not mutated:
            return b""
    return bytes(mutated)


def _read_all(data: bytes, piece: int) -> None:
    reader = FragmentReader()
    for at in range(0, len(data), piece):
        for _ in reader.feed(data[at : at + piece]):
            pass
    reader.close()


def _survives(read, data: bytes, rounds: int = ROUNDS) -> int:
    """How many mutations were refused; anything but ``Mp4Error`` fails the test."""
    refused = 0
    for seed in range(rounds):
        try:
            read(_mutated(data, seed))
        except Mp4Error:
            refused += 1
    return refused


def test_mutated_fragments_are_read_or_refused():
    assert _survives(lambda data: _read_all(data, 97), BY_HAND) > ROUNDS // 2


def test_mutated_fragments_of_a_real_encoder_are_read_or_refused(corpus):
    data = (corpus / "fmp4-byterange-map" / "output.m4s").read_bytes()
    refused = _survives(lambda data: _read_all(data, 1 << 20), data[:4000], 300)
    assert refused > 200  # the payload is cut off, so hardly one is whole


def test_what_is_kept_of_mutated_segments_lies_inside_of_them():
    movie = read_header_section(MOVIE)
    segment = BY_HAND[len(MOVIE) :]
    damaged = 0
    for seed in range(ROUNDS):
        read = read_segment(movie, _mutated(segment, seed))
        damaged += read.damage is not None
        for fragment in read.fragments:
            for track in fragment.tracks:
                assert all(run.offset + run.size <= len(fragment.payload) for run in track.runs)
                assert sum(run.count for run in track.runs) == len(track)
                assert sum(run.size for run in track.runs) == track.byte_count
    assert damaged > ROUNDS // 2


def test_segments_made_to_be_searched_without_end_are_given_up():
    movie = read_header_section(MOVIE)
    head = box(b"moof", box(b"mfhd", bytes(8)), box(b"traf"))[:-8]
    assert read_segment(movie, head * 100_000).fragments == ()


def test_mutated_movies_are_read_or_refused():
    assert _survives(read_movie, moov_of(write(make_track(sizes=range(1, 50))))) > ROUNDS // 2


@pytest.mark.parametrize("entry", [visual_entry(avcc()), audio_entry(esds())])
def test_mutated_sample_entries_are_read_or_refused(entry):
    def read(data: bytes) -> None:
        read_sample_entry(data)
        configuration_fingerprint(data)

    assert _survives(read, entry) > 0


def test_claims_of_millions_of_samples_cost_no_memory():
    claims = [
        trun(2**32 - 1, 0),
        trun(2**32 - 1, 0xF00),
        trun((1 << 20) - 1, 0xF00, bytes(64)),
    ]
    tracemalloc.start()
    for claim in claims:
        with pytest.raises(Mp4Error):
            _read_all(
                MOVIE + box(b"moof", box(b"mfhd", bytes(8)), box(b"traf", tfhd(), claim)), 999
            )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("size", "media", "times"),
    [(0, b"", 100), (1, bytes(1 << 20), 3)],
    ids=["samples-of-no-bytes", "samples-of-one-byte"],
)
def test_a_segment_of_few_bytes_cannot_claim_endless_samples(size, media, times):
    track = trak(1, audio_entry(esds()), handler=b"soun")
    movie = read_header_section(moov(track, trex=trex(1, size=size)))
    claim = trun(1 << 20, 1, struct.pack(">i", 8 + 16 + 8 + 16 + 20 + 8))
    fragment = moof(box(b"traf", tfhd(), claim))
    read = read_segment(movie, (fragment + mdat(media)) * times)
    assert "claims more" in read.damage
    assert sum(len(track) for each in read.fragments for track in each.tracks) <= 1 << 20


def test_a_stream_may_hold_more_samples_than_one_segment():
    sizes = [1] * 300_000
    reader = FragmentReader()
    fragments = [
        event
        for data in (MOVIE, *[sized_moof(sizes) + mdat(bytes(len(sizes)))] * 5)
        for event in reader.feed(data)
        if isinstance(event, Fragment)
    ]
    assert sum(len(track) for each in fragments for track in each.tracks) == 1_500_000


def test_a_few_samples_of_no_bytes_are_read():
    movie = read_header_section(MOVIE)
    (fragment,) = read_segment(
        movie, sized_moof([0, 0, 7, 0]) + mdat(bytes(3) + b"\3" + bytes(3))
    ).fragments
    assert fragment.tracks[0].sizes.tolist() == [0, 0, 7, 0]


def test_deep_nesting_is_not_followed():
    nested = b""
    for _ in range(5000):
        nested = box(b"moov", nested)
    with pytest.raises(Mp4Error, match="mvhd"):
        _read_all(nested, 1 << 20)
