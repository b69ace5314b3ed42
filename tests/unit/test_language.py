"""Languages of playlists in the codes of MP4."""

import pytest

from pipelines.language import iso_639_2


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("en", "eng"),
        ("en-US", "eng"),
        ("pt_BR", "por"),
        ("DE", "deu"),
        ("zh-Hant-TW", "zho"),
        ("eng", "eng"),
        ("fre", "fra"),
        ("ger", "deu"),
        ("gsw", "gsw"),
        ("xx", "und"),
        ("english", "und"),
        ("", "und"),
        ("é", "und"),
        (None, "und"),
    ],
)
def test_the_code_of_a_tag(tag, code):
    assert iso_639_2(tag) == code
