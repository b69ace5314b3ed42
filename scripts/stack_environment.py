"""What the parts of a stack, and everybody who drives them, must know of it: its environment."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from scripts.ports import LOOPBACK
from scripts.s3_access import REGION
from worker import settings
from worker.broker import is_rabbitmq

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.stack_directory import Identity

#: What the caller's environment may not decide: it is what makes this stack this stack.
_OURS = frozenset(
    f"FINALIZER_{name}"
    for name in (
        "REDIS_URL", "BROKER_URL", "SOURCE_URL", "SOURCE_PUBLIC_URL", "OUTPUT_URL", "STAGING_URL",
        "PUBLIC_URL", "API_URL", "SOURCE_PROFILE", "OUTPUT_PROFILE",
    )
)  # fmt: skip


def stack_environment(
    identity: Identity, caller: Mapping[str, str], through: str | None = None
) -> dict[str, str]:
    """Settings and credentials of the stack with this identity.

    A ``FINALIZER_`` variable of the caller wins, unless it would lead away from this stack; a
    RabbitMQ that the caller names is used, and may serve several stacks.
    ``through`` is where the processes reach the S3 server, if not directly.
    """
    s3 = f"http://{LOOPBACK}:{identity.s3_port}"
    defaults = {
        "FINALIZER_API_TOKEN": identity.api_token,
        "FINALIZER_WEBHOOK_SECRET": identity.webhook_secret,
        "FINALIZER_IDLE_TIMEOUT": "60",
    }
    chosen = {
        name: value
        for name, value in caller.items()
        if name.startswith(settings.PREFIX) and name not in _OURS and value.strip()
    }
    fixed = {
        "FINALIZER_REDIS_URL": f"redis://{LOOPBACK}:{identity.redis_port}/0",
        "FINALIZER_BROKER_URL": f"redis://{LOOPBACK}:{identity.redis_port}/0",
        "FINALIZER_SOURCE_URL": "s3://recordings/{id}/index.m3u8",
        "FINALIZER_SOURCE_PUBLIC_URL": f"{s3}/recordings/",
        "FINALIZER_OUTPUT_URL": "s3://vod/",
        "FINALIZER_STAGING_URL": "s3://staging/",
        "FINALIZER_PUBLIC_URL": f"{s3}/vod/",
        "FINALIZER_API_URL": f"http://{LOOPBACK}:{identity.api_port}",
        "AWS_ACCESS_KEY_ID": identity.access_key,
        "AWS_SECRET_ACCESS_KEY": identity.secret_key,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL_S3": through or s3,
    }
    broker = caller.get("FINALIZER_BROKER_URL", "").strip()
    if is_rabbitmq(broker):
        fixed["FINALIZER_BROKER_URL"] = broker
        defaults["FINALIZER_REDIS_PREFIX"] = f"stack-{_fingerprint(identity.access_key)}:"
    return defaults | chosen | fixed


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
