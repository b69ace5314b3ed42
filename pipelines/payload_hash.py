"""Hashes of payload bytes (CRC-64/NVME): of units in the source, of samples, of what is uploaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from awscrt import checksums

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Stands in hash arrays where the bytes of a unit cannot be told. A unit that happens to have this
#: hash (one of 2^64) is not compared.
UNKNOWN_HASH = 0


def payload_hash(data: bytes | bytearray | memoryview, before: int = 0) -> int:
    """CRC-64/NVME of bytes, or of them behind others whose hash is ``before``."""
    value: int = checksums.crc64nvme(data, before)
    return value


def joined_hash(pieces: Iterable[tuple[int, int]]) -> int:
    """The hash of pieces that lie one behind the other, each given by its hash and its bytes."""
    joined = 0
    for value, size in pieces:
        joined = checksums.combine_crc64nvme(joined, value, size)
    return joined


def sample_hashes(data: memoryview, sizes: np.ndarray) -> np.ndarray:
    """The hash of each of the samples that ``data`` holds one behind the other, uint64[n]."""
    ends = np.cumsum(sizes, dtype=np.int64).tolist()
    hash_of = checksums.crc64nvme
    hashes = [hash_of(data[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]
    return np.array(hashes, np.uint64)
