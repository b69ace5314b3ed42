"""Who may do what on the embedded S3 server, and a client to do it with."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Sequence

REGION = "us-east-1"
_CONNECT_S = 2.0


@dataclass(frozen=True)
class Credentials:
    """An access key for S3, with its secret kept out of every representation."""

    access_key: str
    secret_key: str = field(repr=False)

    @classmethod
    def random(cls) -> Credentials:
        """A pair that no other server accepts."""
        return cls(access_key=secrets.token_hex(10).upper(), secret_key=secrets.token_hex(20))


def s3_client(endpoint: str, credentials: Credentials, read_timeout: float) -> Any:
    """A boto3 client that tries once; ``read_timeout`` in seconds."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        config=Config(
            connect_timeout=_CONNECT_S,
            read_timeout=read_timeout,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            proxies={},
        ),
    )


def administrator(credentials: Credentials) -> dict[str, Any]:
    """The identity that may do everything, in the words of SeaweedFS' ``s3.json``."""
    return {
        "name": "admin",
        "credentials": [{"accessKey": credentials.access_key, "secretKey": credentials.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }


def anybody(public: Sequence[str]) -> dict[str, Any]:
    """The identity of those without credentials: they may read the objects of some buckets."""
    return {"name": "anonymous", "actions": [f"Read:{bucket}" for bucket in public]}
