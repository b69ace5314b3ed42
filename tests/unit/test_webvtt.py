"""WebVTT: what hostile texts become, and cues that are moved, joined and written again."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import webvtt
from pipelines.webvtt import Cue, WebVttError, joined, parse, write

HELLO = b"WEBVTT\n\n00:01.000 --> 00:02.500\nHello\n"


def cues(text):
    return parse(b"WEBVTT\n\n" + text.encode()).cues


def test_a_cue_is_read_with_its_times_text_and_settings():
    text = "id 7\n01:00:01.000 --> 100:00:02.500 align:start line:-1 region:x\ntwo\nlines\n"
    assert cues(text) == (Cue(3601.0, 360002.5, "two\nlines", "align:start line:-1"),)


@pytest.mark.parametrize("text", [b"", b"WEBVTTX\n", b"<html></html>", b"\x47\x40\x00", b"\n" * 9])
def test_what_does_not_begin_as_webvtt_is_refused(text):
    with pytest.raises(WebVttError, match="does not begin"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        HELLO,
        b"\xef\xbb\xbf" + HELLO,
        HELLO.replace(b"\n", b"\r\n"),
        HELLO.replace(b"\n", b"\r"),
        HELLO.removesuffix(b"\n"),
        HELLO.replace(b"WEBVTT", b"WEBVTT - a title"),
        HELLO.replace(b"\n\n", b"\n\nNOTE nothing\nto see\n\nSTYLE\n::cue { color: red }\n\n"),
    ],
)
def test_the_same_text_in_its_many_forms(text):
    assert parse(text).cues == (Cue(1.0, 2.5, "Hello"),)


@pytest.mark.parametrize(
    ("header", "clock"),
    [
        ("", None),
        ("X-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n", 10.0),
        ("X-TIMESTAMP-MAP=LOCAL:01:00:00.000,MPEGTS:324000000\n", 0.0),
        ("X-TIMESTAMP-MAP=LOCAL:00:02.000,MPEGTS:900000\n", 8.0),
        ("X-TIMESTAMP-MAP=MPEGTS:abc,LOCAL:x\n", 0.0),
    ],
)
def test_the_map_tells_the_media_clock_at_time_zero(header, clock):
    text = f"WEBVTT\n{header}\n00:01.000 --> 00:02.000\nx\n"
    assert parse(text.encode()).clock == clock


@pytest.mark.parametrize(
    "timing",
    [
        "00:02.000 --> 00:01.000",
        "00:01.000 --> 00:01.000",
        "00:61.000 --> 00:62.000",
        "00:01,000 --> 00:02,000",
        "9999999999:00:01.000 --> 9999999999:00:02.000",
        "soon --> later",
        "-00:01.000 --> 00:02.000",
    ],
)
def test_times_that_make_no_sense_are_left_out_and_counted(timing):
    read = parse(f"WEBVTT\n\n{timing}\nbad\n\n00:01.000 --> 00:02.000\ngood\n".encode())
    assert [cue.text for cue in read.cues] == ["good"]
    assert read.left_out == 1


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("<b>bold</b> & <i.loud>x</i>", "<b>bold</b> & <i.loud>x</i>"),
        ("<v Mary Ann>hi", "<v Mary Ann>hi"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ('<v "x" onclick="y">z', '&lt;v "x" onclick="y"&gt;z'),
        ("a < b", "a &lt; b"),
        ("nul\0", "nul�"),
    ],
)
def test_only_the_tags_of_webvtt_are_tags(text, harmless):
    (cue,) = cues(f"00:01.000 --> 00:02.000\n{text}\n")
    assert cue.text == harmless
    (again,) = parse(write([cue]).encode()).cues
    assert again == cue


def test_too_much_is_cut_or_refused(monkeypatch):
    (cue,) = cues(f"00:01.000 --> 00:02.000\n{'x' * 100_000}\n")
    assert len(cue.text) == webvtt.MAX_TEXT
    monkeypatch.setattr(webvtt, "MAX_CUES", 2)
    with pytest.raises(WebVttError, match="more than 2 cues"):
        parse(HELLO + HELLO[6:] * 2)


def test_a_cue_moves_with_the_times_inside_it():
    cue = Cue(1.0, 3.0, "<00:00:01.500>one <00:00:02.000><c>two</c>")
    assert cue.moved(10.0) == Cue(11.0, 13.0, "<00:00:11.500>one <00:00:12.000><c>two</c>")


def test_cutting_keeps_what_lies_between_two_times():
    cue = Cue(1.0, 3.0, "x")
    assert cue.cut(0.0, 2.0) == Cue(1.0, 2.0, "x")
    assert cue.cut(2.0, 9.0) == Cue(2.0, 3.0, "x")
    assert cue.cut(3.0, 9.0) is None


def test_what_stands_on_both_sides_of_a_border_is_one_cue():
    over, before, after = Cue(1.0, 3.0, "over"), Cue(0.0, 2.0, "cut"), Cue(2.0, 2.5, "cut")
    assert joined([[before, over], [after, over]]) == [Cue(0.0, 2.5, "cut"), over]


def test_the_same_words_later_or_in_one_segment_are_two_cues():
    first, later = Cue(0.0, 1.0, "no"), Cue(1.5, 2.0, "no")
    assert joined([[first], [later]]) == [first, later]
    assert joined([[first, dataclasses.replace(first)]]) == [first, first]


def test_a_map_to_the_clock_is_written_in_its_own_round():
    text = write([Cue(-0.5, 1.0, "x")], 95_443.7177 + 1.0)
    assert text.startswith("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:90001,LOCAL:00:00:00.000\n")
    assert "00:00:00.000 --> 00:00:01.000\nx\n" in text
    assert write([]) == "WEBVTT\n"


TEXTS = st.text("ab<>/&-\n\r\0 \"'=:.0123456789cuivNOTE", max_size=60)


@given(st.lists(TEXTS, max_size=6), st.binary(max_size=40))
def test_whatever_is_read_is_written_and_read_back_as_it_was(texts, noise):
    body = "\n\n".join(f"00:0{n}.000 --> 00:09.000\n{text}" for n, text in enumerate(texts))
    read = parse(b"WEBVTT\n\n" + body.encode() + noise)
    again = parse(write(read.cues).encode())
    assert again.cues == read.cues
    assert again.left_out == 0
