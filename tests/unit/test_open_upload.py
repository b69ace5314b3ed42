"""How the record of an open upload is kept, also for workers of an earlier version of ours."""

import json

from pipelines.assemble import OpenUpload
from pipelines.part_scheme import uniform_scheme
from pipelines.slices import COPY_LENGTHS

SCHEME = uniform_scheme(750_000, COPY_LENGTHS, 100)


def test_an_open_upload_is_read_back_as_it_was_written():
    upload = OpenUpload("an-id", "a-nonce", 1_763_794_800_000, SCHEME)
    assert OpenUpload.from_json(upload.to_json()) == upload


def test_the_record_of_an_earlier_version_is_read():
    assert OpenUpload.from_json('["an-id","a-nonce"]') == OpenUpload("an-id", "a-nonce")


def test_an_earlier_version_finds_the_id_and_the_nonce():
    upload = OpenUpload("an-id", "a-nonce", 1_763_794_800_000, SCHEME)
    assert OpenUpload(*json.loads(upload.to_json())) == OpenUpload("an-id", "a-nonce")
