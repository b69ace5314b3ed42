"""Hashes of payload: of pieces, of the samples in them, and of units as MP4 will hold them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.mpegts.nal import find_nal_units, sample_sizes
from pipelines.mpegts.unit_hashes import frame_hashes, picture_hashes
from pipelines.payload_hash import UNKNOWN_HASH, joined_hash, payload_hash, sample_hashes
from pipelines.segment_index import UNKNOWN_SIZE

#: What the catalogue of CRCs says of CRC-64/NVME.
CHECK = 0xAE8B14860A799888


def test_it_is_the_crc_that_stores_know():
    assert payload_hash(b"123456789") == CHECK
    assert payload_hash(b"6789", payload_hash(b"12345")) == CHECK


@given(st.lists(st.binary(max_size=40)))
def test_hashes_of_pieces_join_to_that_of_the_whole(pieces):
    joined = joined_hash((payload_hash(piece), len(piece)) for piece in pieces)
    assert joined == payload_hash(b"".join(pieces))


@given(st.lists(st.binary(max_size=40)))
def test_every_sample_has_its_own(samples):
    sizes = np.array([len(sample) for sample in samples], np.uint32)
    hashes = sample_hashes(memoryview(b"".join(samples)), sizes)
    assert hashes.tolist() == [payload_hash(sample) for sample in samples]


def pictures_of(data, begins):
    nals = find_nal_units(data)
    begins = np.array(begins)
    return picture_hashes(nals, begins, sample_sizes(nals, begins, np.empty(0, np.int64)))


def test_pictures_are_hashed_behind_lengths_instead_of_start_codes():
    data = b"\0\0\0\1\x09\xf0\0\0\1\x65picture\0\0\0\1\x09\xf0\0\0\0\1\x41next"
    first = b"\0\0\0\2\x09\xf0\0\0\0\x08\x65picture"
    second = b"\0\0\0\2\x09\xf0\0\0\0\5\x41next"
    assert pictures_of(data, [0, 2]).tolist() == [payload_hash(first), payload_hash(second)]


def test_a_picture_with_zeros_behind_it_is_not_told():
    data = b"\0\0\0\1\x65one\0\0\0\0\0\1\x41next"
    assert (pictures_of(data, [0, 1]) == UNKNOWN_HASH).tolist() == [True, False]


def test_frames_are_hashed_without_their_headers_and_not_when_cut():
    data = b"HHoneHHtwoHHth"
    starts, frames = np.array([0, 5, 10]), np.array([5, 5, 5])
    hashes = frame_hashes(data, starts, frames, frames - 2)
    assert hashes.tolist() == [payload_hash(b"one"), payload_hash(b"two"), UNKNOWN_HASH]
    unknown = np.array([3, UNKNOWN_SIZE, 3])
    assert frame_hashes(data, starts, frames, unknown)[1] == UNKNOWN_HASH
