"""Locations are read strictly, resolved as RFC 3986 says, and compared by path segment."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ErrorCode, PermanentError
from pipelines.location import Location, allowed, redact, source_location
from pipelines.session import Session

TEMPLATE = "s3://recordings/{id}/index.m3u8"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://b-1/rec/index.m3u8", "s3://b-1/rec/index.m3u8"),
        ("S3://b-1/rec", "s3://b-1/rec"),
        ("s3://b-1", "s3://b-1/"),
        ("https://Host.Example:443/a", "https://host.example/a"),
        ("http://host:8080/a b/ü.ts", "http://host:8080/a%20b/%C3%BC.ts"),
        ("https://[::1]:8333/a", "https://[::1]:8333/a"),
        ("https://host/a/./b/../c", "https://host/a/c"),
        ("https://host/a/%2e%2e/c", "https://host/c"),
        ("https://host/../../c", "https://host/c"),
        ("https://host/100%.ts", "https://host/100%25.ts"),
        ("https://host/a//b", "https://host/a//b"),
    ],
)
def test_a_location_is_normalized(url, shown):
    assert str(Location.parse(url)) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "index.m3u8",
        "/etc/passwd",
        "file:///etc/passwd",
        "data:text/plain;base64,AAAA",
        "gopher://host/x",
        "concat:https://host/a|https://host/b",
        "s3:///key",
        "s3://b!/key",
        "s3://b:80/key",
        "s3://b1/key?x=1",
        "https://user:secret@host/a",
        "https://user@host/a",
        "https:///a",
        "https://host:port/a",
        "https://ho st/a",
        "https://höst/a",
        "https://host/a#part",
        "https://host/a\nb",
        "https://host/a%0Ab",
        "https://host/a\\b",
        "https://host/a%5Cb",
        "https://host/a%2Fb",
        "https://host/%ff",
        "https://host/\ud800",
        "https://host/" + "a" * 9000,
        "s3://b1/" + "a" * 1025,
    ],
)
def test_anything_else_is_refused(url):
    with pytest.raises(PermanentError) as refused:
        Location.parse(url)
    assert refused.value.code is ErrorCode.URI_REFUSED


def test_neither_query_nor_password_is_shown():
    signed = Location.parse("https://host/a.ts?X-Signature=hush")
    assert signed.url == "https://host/a.ts?X-Signature=hush"
    assert "hush" not in f"{signed} {signed!r}"
    for url in ("https://me:hu@sh@host/a?hush#hush", "data:hush", "file:///a?hush"):
        with pytest.raises(PermanentError) as refused:
            Location.parse(url)
        assert "hush" not in str(refused.value)
        assert "sh@" not in str(refused.value)
    assert redact("x" * 1000) == "x" * 200 + "…"


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ("7.ts", "https://host/a/7.ts"),
        ("source/7.ts", "https://host/a/source/7.ts"),
        ("../b/7.ts", "https://host/b/7.ts"),
        ("../../../7.ts", "https://host/7.ts"),
        ("..", "https://host/"),
        ("./", "https://host/a/"),
        ("/7.ts", "https://host/7.ts"),
        ("//other/7.ts", "https://other/7.ts"),
        ("http://other/7.ts", "http://other/7.ts"),
        ("s3://b1/7.ts?x=1", "s3://b1/7.ts"),
        ("7.ts?t=1", "https://host/a/7.ts?t=1"),
        ("?t=1", "https://host/a/index.m3u8?t=1"),
        ("", "https://host/a/index.m3u8?old=1"),
        ("a b.ts", "https://host/a/a%20b.ts"),
        ("a:7.ts", None),
        ("file:7.ts", None),
        ("7.ts#x", None),
        ("%2e%2e%2f7.ts", None),
    ],
)
def test_references_resolve_as_in_rfc_3986(reference, target):
    playlist = Location.parse("https://host/a/index.m3u8?old=1")
    if target is None:
        with pytest.raises(PermanentError, match="uri_refused"):
            playlist.resolve(reference)
    else:
        assert playlist.resolve(reference).url == target


def test_a_query_means_nothing_to_s3_and_names_are_decoded_into_keys():
    playlist = Location.parse("s3://b1/rec/index.m3u8")
    segment = playlist.resolve("a%20b+c.ts?token=1")
    assert (segment.bucket, segment.key, segment.query) == ("b1", "rec/a b+c.ts", "")
    assert playlist.resolve("//other-bucket/x").bucket == "other-bucket"
    with pytest.raises(PermanentError, match="not an s3 location"):
        _ = Location.parse("https://host/x").bucket


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40))
def test_a_key_that_a_store_listed_is_kept_exactly(key):
    assert Location.parse("s3://b1/").with_key(key).key == key


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["a", "b", "..", ".", "/", "%2e", "%252e", "%20", "?q", "é"]), max_size=12
    )
)
def test_resolving_what_was_resolved_changes_nothing(parts):
    base = Location.parse("https://host/x/y/z")
    try:
        once = base.resolve("".join(parts))
    except PermanentError:
        return
    assert base.resolve(once.url) == once
    assert ".." not in once.path.split("/")


def test_rec10_does_not_lie_within_rec1():
    rec1 = Location.parse("s3://b1/rec1/")
    assert Location.parse("s3://b1/rec1/0.ts").is_within(rec1)
    assert Location.parse("s3://b1/rec1").is_within(rec1)
    assert Location.parse("s3://b1/re%631/0.ts").is_within(rec1)
    assert Location.parse("s3://b1/rec1").overlaps(Location.parse("s3://b1/"))
    for outside in (
        "s3://b1/rec10/0.ts",
        "s3://b1/rec1/../rec2",
        "s3://b2/rec1/",
        "https://b1/rec1/",
    ):
        assert not Location.parse(outside).is_within(rec1)
        assert not allowed(Location.parse(outside), [rec1])
    assert not Location.parse("s3://b1/rec1").overlaps(Location.parse("s3://b1/rec10"))


def test_a_child_stays_below_its_folder():
    folder = Location.parse("s3://b1/out")
    assert str(folder.child("r1/720p 0.mp4")) == "s3://b1/out/r1/720p%200.mp4"
    assert folder.child("100%.mp4").key == "out/100%.mp4"
    assert folder.child("a").folder == Location.parse("s3://b1/out/")
    for name in ("../x", "a/../../x", "a\nb"):
        with pytest.raises(PermanentError, match="uri_refused"):
            folder.child(name)


def test_the_source_is_where_the_template_says():
    session = Session(id="s-1", playback_id="play+1", parent_id="p")
    template = "https://host/{parent_id}/{playback_id}/{id}/output.m3u8"
    assert str(source_location(template, session)) == "https://host/p/play+1/s-1/output.m3u8"


@pytest.mark.parametrize(
    ("session", "code"),
    [
        (Session(id="a"), ErrorCode.PLAYLIST_MISSING),
        (Session(id="a", playback_id="../b"), ErrorCode.URI_REFUSED),
        (Session(id="a", playback_id=".."), ErrorCode.URI_REFUSED),
        (Session(id="a", playback_id="%2e%2e"), ErrorCode.URI_REFUSED),
    ],
)
def test_a_template_takes_plain_values_only(session, code):
    with pytest.raises(PermanentError) as refused:
        source_location("s3://b1/{playback_id}/index.m3u8", session)
    assert refused.value.code is code


def test_a_session_may_name_its_own_source_below_the_permitted_prefixes():
    session = Session(id="a", source_url="s3://other/a/index.m3u8")
    prefixes = [Location.parse("s3://other/")]
    assert source_location(TEMPLATE, session, prefixes) == Location.parse(session.source_url)
    with pytest.raises(PermanentError, match="outside the permitted"):
        source_location(TEMPLATE, session)
