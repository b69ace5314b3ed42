"""The preflight of the object stores: every call that the work will make, made once."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from pipelines.location import Location
from pipelines.object_store import connect
from worker.finding import Finding, Level, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.settings import Settings

_ADVICE = {
    "404": "no such bucket: create it, or correct the setting",
    "NoSuchBucket": "no such bucket: create it, or correct the setting",
    "403": "access denied: grant the permission to these credentials",
    "AccessDenied": "access denied: grant the permission to these credentials",
    "InvalidAccessKeyId": "unknown access key: check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "wrong secret: check AWS_SECRET_ACCESS_KEY",
}


def tried(subject: str, what: str, call: Callable[..., Any], **arguments: Any) -> Finding:
    """``ok`` with the claim ``what`` when the store does as asked, else ``fail`` with its reason."""
    try:
        call(**arguments)
    except (BotoCoreError, ClientError) as error:
        return fail(subject, f"not so: {what} ({_reason(error)})")
    return ok(subject, what)


def _reason(error: BotoCoreError | ClientError) -> str:
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", "?"))
        return _ADVICE.get(code, code)
    return f"no answer, {type(error).__name__}: check AWS_ENDPOINT_URL_S3 and the credentials"


def source_findings(settings: Settings) -> Iterator[Finding]:
    """Whether recordings can be found and read."""
    template = Location.parse(settings.source_url.partition("{")[0])
    prefixes = dict.fromkeys([template.folder, *settings.permitted_sources])
    client = connect(settings.source_profile)
    for prefix in prefixes:
        if not prefix.is_s3:
            yield ok("source", f"{prefix} is read over HTTP when a recording asks for it")
            continue
        try:
            yield from _readable(client, prefix)
        except (BotoCoreError, ClientError) as error:
            yield fail("source", f"{prefix} cannot be read ({_reason(error)})")


def _readable(client: Any, prefix: Location) -> Iterator[Finding]:
    listed = client.list_objects_v2(Bucket=prefix.bucket, Prefix=prefix.key, MaxKeys=1)
    yield _missing_is_told(client, prefix)
    for item in listed.get("Contents", []):
        client.head_object(Bucket=prefix.bucket, Key=item["Key"])
        yield ok("source", f"{prefix} can be listed and read")
        return
    yield ok("source", f"{prefix} can be listed; nothing lies there to be read yet")


def _missing_is_told(client: Any, prefix: Location) -> Finding:
    """Whether a playlist that is not there can be told from a store that does not let us read."""
    absent = prefix.child(f".check/{secrets.token_hex(8)}")
    status = 200
    try:
        client.head_object(Bucket=absent.bucket, Key=absent.key)
    except ClientError as error:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return missing_finding(prefix, status)


def missing_finding(prefix: Location, status: int) -> Finding:
    """What the status of a HEAD for an object that is not there means; S3 says 404 to those who may
    list the bucket, and 403 to all others."""
    if status == 404:
        return ok("source", f"{prefix} answers 404 for what is not there")
    advice = (
        "grant s3:GetObject on its objects, and s3:ListBucket on the bucket without a condition on"
        " the prefix"
        if status == 403
        else "correct the endpoint, or what stands before it"
    )
    return fail(
        "source",
        f"{prefix} answers {status}, not 404, for what is not there: a missing recording would"
        f" look like an outage; {advice}",
    )


def output_findings(settings: Settings) -> Iterator[Finding]:
    """Whether results can be uploaded as the work does it, and nothing stays behind."""
    client = connect(settings.output_profile)
    yield from _writable(client, "staging", settings.staging)
    if settings.output.bucket != settings.staging.bucket:
        yield from _writable(client, "output", settings.output)
    yield _lifecycle(client, settings.output)


def _writable(client: Any, subject: str, folder: Location) -> Iterator[Finding]:
    """Do once what the work does, with a key that no session can have (ids hold no dot)."""
    probe = folder.child(f".check/{secrets.token_hex(8)}")
    place = {"Bucket": probe.bucket, "Key": probe.key}
    written = tried(subject, f"{folder} can be written", client.put_object, **place, Body=b"probe")
    yield written
    if written.level is Level.FAIL:
        return
    listing = {"Bucket": probe.bucket, "Prefix": probe.key}
    yield tried(subject, f"{folder} can be listed", client.list_objects_v2, **listing)
    yield tried(
        subject, f"{folder} takes multipart uploads", _upload_and_abort, client=client, place=place
    )
    yield tried(subject, f"{folder} can be cleaned", client.delete_object, **place)


def _upload_and_abort(client: Any, place: dict[str, str]) -> None:
    upload = client.create_multipart_upload(**place)["UploadId"]
    try:
        client.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"probe")
        client.list_parts(**place, UploadId=upload)
    finally:
        client.abort_multipart_upload(**place, UploadId=upload)


def _lifecycle(client: Any, output: Location) -> Finding:
    advice = (
        f"bucket {output.bucket} has no lifecycle rule AbortIncompleteMultipartUpload: "
        "the parts of uploads that nobody finishes are kept, and paid for, for ever. Add one."
    )
    try:
        rules = client.get_bucket_lifecycle_configuration(Bucket=output.bucket).get("Rules", [])
    except ClientError as error:
        missing = error.response.get("Error", {}).get("Code") == "NoSuchLifecycleConfiguration"
        return warn(
            "output", advice if missing else f"its lifecycle cannot be read ({_reason(error)})"
        )
    except BotoCoreError as error:
        return warn("output", f"its lifecycle cannot be read ({_reason(error)})")
    if any(_aborts_uploads(rule, output.key) for rule in rules):
        return ok("output", f"bucket {output.bucket} aborts unfinished uploads by itself")
    return warn("output", advice)


def _aborts_uploads(rule: dict[str, Any], key: str) -> bool:
    prefix = str(rule.get("Filter", {}).get("Prefix", rule.get("Prefix", "")))
    return (
        rule.get("Status") == "Enabled"
        and "AbortIncompleteMultipartUpload" in rule
        and key.startswith(prefix)
    )
