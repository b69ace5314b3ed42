"""AES-128 encryption of whole segments: keys are read once, and bytes are in the clear from then on.

What EXT-X-KEY says is RFC 8216, 4.3.2.4; how a segment is encrypted is its section 5.2.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.location import Location
    from pipelines.playlist import Encryption

#: Bytes of a key, of an initialization vector, and of a block.
BLOCK = 16
#: Keys that are remembered: those of a few recordings that rotate theirs.
KEPT_KEYS = 256

_TS_PACKET = 188
_BOXES = frozenset(
    (b"styp", b"ftyp", b"moof", b"moov", b"sidx", b"emsg", b"prft", b"free", b"mdat")
)
_OTHER_MEDIA = (b"ID3", b"\xff\xf1", b"\xff\xf9", b"\x0b\x77", b"WEBVTT", b"\xef\xbb\xbfWEBVTT")


class NotDecrypted(Exception):
    """Raised when bytes cannot be decrypted; says why, and never holds a key."""


class Keys:
    """Decrypts with the keys of recordings, each read once as long as it fits.

    ``read`` gives the bytes of a key's object, and raises ``ObjectMissing`` when it is not there;
    that, and every outage, comes through. Safe to share between threads: some may read a new key
    at once.
    """

    def __init__(self, read: Callable[[Location], bytes]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._kept: OrderedDict[Location, bytes] = OrderedDict()

    def whole(self, data: bytes, encryption: Encryption, sequence: int) -> bytes:
        """A whole segment, or byte range of one, in the clear.

        One that was cut off has no padding left: what there is of it is decrypted all the same.
        Raises ``NotDecrypted`` when the key, or what comes out, cannot be right.
        """
        clear = self._decrypted(data, encryption, sequence)
        unpadded = None if len(data) % BLOCK else _unpadded(clear)
        if unpadded is None and not _is_media(clear):
            self._forget(encryption.location)
            raise NotDecrypted("it does not decrypt: the key or its IV is wrong")
        return clear if unpadded is None else unpadded

    def beginning(self, data: bytes, encryption: Encryption, sequence: int) -> bytes:
        """The beginning of a segment in the clear, in whole blocks."""
        return self._decrypted(data, encryption, sequence)

    def init_section(self, data: bytes, encryption: Encryption) -> bytes:
        """A media initialization section in the clear; many are written so, whatever is said.

        Raises ``NotDecrypted``, also for a key without the IV that RFC 8216, 4.3.2.5 demands.
        """
        if _is_media(data):
            return data
        if encryption.iv is None:
            raise NotDecrypted("it is encrypted, and its EXT-X-KEY has no IV")
        return self.whole(data, encryption, 0)

    def _decrypted(self, data: bytes, encryption: Encryption, sequence: int) -> bytes:
        vector = encryption.iv or sequence.to_bytes(BLOCK, "big")
        cipher = Cipher(algorithms.AES(self._key(encryption.location)), modes.CBC(vector))
        return cipher.decryptor().update(memoryview(data)[: len(data) // BLOCK * BLOCK])

    def _key(self, location: Location) -> bytes:
        with self._lock:
            if location in self._kept:
                self._kept.move_to_end(location)
                return self._kept[location]
        key = self._read(location)
        if len(key) != BLOCK:
            raise NotDecrypted(f"its key {location} is not {BLOCK} bytes long")
        with self._lock:
            self._kept[location] = key
            if len(self._kept) > KEPT_KEYS:
                self._kept.popitem(last=False)
        return key

    def _forget(self, location: Location) -> None:
        """A key that was wrong may be put right by its owner."""
        with self._lock:
            self._kept.pop(location, None)


def _unpadded(clear: bytes) -> bytes | None:
    """Without the padding of PKCS #7 (RFC 5652, 6.3); None where there is none."""
    padding = clear[-1] if clear else 0
    if not 1 <= padding <= BLOCK or not clear.endswith(bytes([padding]) * padding):
        return None
    return clear[:-padding]


def _is_media(data: bytes) -> bool:
    """Whether bytes begin as segments of any kind do: the wrong key gives noise."""
    packets = data[0:1] == b"\x47" and data[_TS_PACKET : _TS_PACKET + 1] in (b"\x47", b"")
    return packets or data[4:8] in _BOXES or data.startswith(_OTHER_MEDIA)
