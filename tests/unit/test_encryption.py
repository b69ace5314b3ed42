"""AES-128 segments come out in the clear; what does not decrypt says so, and no key is ever shown."""

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pipelines.encryption import KEPT_KEYS, Keys, NotDecrypted
from pipelines.location import Location
from pipelines.mp4.boxes import box
from pipelines.playlist import Encryption
from pipelines.store_errors import ObjectMissing

KEY = bytes(range(16))
IV = bytes(range(100, 116))
AT = Location.parse("https://keys.example/one.key?signature=secret")
SEGMENT = (b"\x47" + bytes(187)) * 3
MP4 = box(b"styp", b"msdh") + box(b"moof", bytes(40)) + box(b"mdat", bytes(100))


def encrypted(data, key=KEY, iv=IV):
    padding = 16 - len(data) % 16
    return ciphered(data + bytes([padding]) * padding, key, iv)


def ciphered(blocks, key=KEY, iv=IV):
    return Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor().update(blocks)


class Store:
    """Keys by location; counts how often each is read."""

    def __init__(self, keys):
        self.keys = keys
        self.reads = []

    def __call__(self, location):
        self.reads.append(location)
        if location not in self.keys:
            raise ObjectMissing(location)
        return self.keys[location]


def keys(key=KEY):
    return Keys(Store({AT: key}))


@pytest.mark.parametrize("data", [SEGMENT, MP4, SEGMENT[:-5], b"ID3" + bytes(29)])
def test_a_segment_is_decrypted_with_the_iv_that_is_given(data):
    assert keys().whole(encrypted(data), Encryption("AES-128", AT, IV), 7) == data


def test_without_an_iv_it_is_the_media_sequence():
    data = encrypted(SEGMENT, iv=bytes(14) + b"\x01\x07")
    assert keys().whole(data, Encryption("AES-128", AT), 263) == SEGMENT
    zero = encrypted(SEGMENT, iv=bytes(16))
    assert keys().whole(zero, Encryption("AES-128", AT, bytes(16)), 263) == SEGMENT


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 100, 180])
def test_of_a_segment_that_is_cut_off_what_there_is_comes_out(cut):
    clear = keys().whole(encrypted(SEGMENT)[:-cut], Encryption("AES-128", AT, IV), 7)
    assert clear
    assert SEGMENT.startswith(clear)
    assert len(SEGMENT) - len(clear) < cut + 16


def test_the_beginning_of_a_segment_comes_out_alone():
    head = encrypted(SEGMENT)[:192]
    assert keys().beginning(head, Encryption("AES-128", AT, IV), 7) == SEGMENT[:192]


@pytest.mark.parametrize("key", [KEY[::-1], KEY[:15], KEY + b"\n", b"", b"<html>no key</html>"])
def test_a_wrong_key_is_told_and_not_shown(key):
    with pytest.raises(NotDecrypted) as refused:
        keys(key).whole(encrypted(SEGMENT), Encryption("AES-128", AT, IV), 7)
    assert "secret" not in str(refused.value)
    assert repr(key)[2:-1][:4] not in str(refused.value) or not key


def test_a_key_is_read_once_and_again_when_it_was_wrong():
    store = Store({AT: KEY})
    reader = Keys(store)
    encryption = Encryption("AES-128", AT, IV)
    for _ in range(3):
        reader.whole(encrypted(SEGMENT), encryption, 1)
    assert store.reads == [AT]
    with pytest.raises(NotDecrypted):
        reader.whole(encrypted(SEGMENT, key=IV), encryption, 1)
    store.keys[AT] = IV
    assert reader.whole(encrypted(SEGMENT, key=IV), encryption, 1) == SEGMENT


def test_keys_that_rotate_are_not_all_remembered():
    places = [AT.resolve(f"{number}.key") for number in range(KEPT_KEYS + 1)]
    store = Store(dict.fromkeys(places, KEY))
    reader = Keys(store)
    for place in (*places, places[-1], places[0]):
        reader.whole(encrypted(SEGMENT), Encryption("AES-128", place, IV), 1)
    assert store.reads == [*places, places[0]]


def test_a_missing_key_is_missed():
    with pytest.raises(ObjectMissing):
        Keys(Store({})).whole(encrypted(SEGMENT), Encryption("AES-128", AT, IV), 1)


def test_an_initialization_section_is_decrypted_or_was_clear():
    section = box(b"ftyp", b"isom") + box(b"moov", bytes(99))
    assert keys().init_section(section, Encryption("AES-128", AT)) == section
    assert keys().init_section(encrypted(section), Encryption("AES-128", AT, IV)) == section
    with pytest.raises(NotDecrypted, match="no IV"):
        keys().init_section(encrypted(section, iv=bytes(16)), Encryption("AES-128", AT))
