"""The checksum of a whole object, put together of the hashes that were taken when it was packaged."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np

from pipelines.payload_hash import joined_hash, payload_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipelines.payload_groups import PayloadGroups


def crc64nvme(header: bytes, groups: Iterable[PayloadGroups], payload_size: int) -> str:
    """CRC-64/NVME of header and payload in the form of S3 (``x-amz-checksum-crc64nvme``).

    ``groups`` are those of all tracks; what no group covers is padding, which is zeros. Nothing
    of the object is read.
    """
    pieces = _pieces([*groups], payload_size)
    value = joined_hash([(payload_hash(header), len(header)), *pieces])
    return base64.b64encode(value.to_bytes(8, "big")).decode("ascii")


def _pieces(groups: Sequence[PayloadGroups], end: int) -> Iterator[tuple[int, int]]:
    """Hash and size of all pieces of the payload in their order, padding between them.

    Silence that lies before it is part of the header.
    """
    offsets = np.concatenate([each.offsets for each in groups] or [np.zeros(0, np.int64)])
    sizes = np.concatenate([each.sizes for each in groups] or [np.zeros(0, np.int64)])
    hashes = np.concatenate([each.hashes for each in groups] or [np.zeros(0, np.uint64)])
    done = 0
    order = np.argsort(offsets, kind="stable")
    for at in order[offsets[order] >= 0].tolist():
        if offsets[at] > done:
            yield _zeros(int(offsets[at]) - done)
        yield int(hashes[at]), int(sizes[at])
        done = int(offsets[at] + sizes[at])
    if done < end:
        yield _zeros(end - done)


def _zeros(size: int) -> tuple[int, int]:
    return payload_hash(bytes(size)), size
