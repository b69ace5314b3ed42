"""One renderer for every log line, ours and the libraries', that lets no secret through.

Ids are bound once with ``structlog.contextvars.bound_contextvars(session_id=…, generation=…)``;
an event is a sentence, with a stable machine word in ``action``.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO
from urllib.parse import unquote, urlsplit

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from structlog.typing import Processor

    from worker.settings import Settings

REDACTED: Final = "[redacted]"

#: Libraries whose lines below WARNING carry headers, signatures or whole payloads.
_QUIET = ("asyncio", "boto3", "botocore", "s3transfer", "urllib3")
#: Loggers that come with handlers of their own; theirs are removed so that ours renders the line.
_UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access")
#: Dramatiq's consumers, and how often they may tell the same.
_CONSUMERS, _REPEATED_SECONDS = "dramatiq.worker.ConsumerThread", 600.0
#: Credentials that boto3 takes from the environment.
_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

_SECRET_KEY = re.compile(
    r"authorization|cookie|secret|passw|signature|credential|^(api[_-])?tokens?$|^x-amz-",
    re.IGNORECASE,
)
_USER_IN_URL = re.compile(r"(?<=://)[^\s/?#@\"'<>]*@")
_URL_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?#\"'<>]*)[?#][^\s\"'<>]*", re.IGNORECASE)
_BARE_QUERY = re.compile(r"(/[^\s?\"'<>]*)\?[^\s\"'<>]*|\?[^\s?\"'<>]*=[^\s\"'<>]*")
_SECRET_HEADER = re.compile(
    r"\b((?:proxy-)?authorization|x-amz-[a-z0-9-]+|livepeer-signature|set-cookie|cookie)\b"
    r"([\"']?\s*[:=]\s*[b\"']*)[^\"'\r\n&]+",
    re.IGNORECASE,
)
_CREDENTIAL = re.compile(r"\b(Bearer|AWS4-HMAC-SHA256)\s+[^\"'\r\n]+", re.IGNORECASE)


class Unrepeated(logging.Filter):
    """Lets a line of the loggers below ``name`` pass once in ``seconds``: Dramatiq's consumers tell
    of a queue that is away or full every three seconds, with a traceback."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__()
        self._name = name
        self._seconds = seconds
        self._told: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is told."""
        if not record.name.startswith(self._name):
            return True
        line = record.name, str(record.msg)
        last = self._told.get(line)
        if last is not None and record.created - last < self._seconds:
            return False
        self._told[line] = record.created
        return True


class Redactor:
    """A structlog processor that removes what no log may hold, in values of any shape.

    URLs and request lines lose their query strings and user names; the values of secret headers
    and fields, and the ``secrets`` themselves wherever they stand, become ``[redacted]``.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(
        self, logger: Any, method: str, event_dict: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        for key, value in event_dict.items():
            event_dict[key] = self._field(key, value)
        return event_dict

    def text(self, text: str) -> str:
        """The text without secrets, query strings and user names in URLs."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        text = _URL_QUERY.sub(r"\1", text)
        text = _BARE_QUERY.sub(r"\1", text)
        text = _USER_IN_URL.sub("", text)
        text = _SECRET_HEADER.sub(rf"\1\2{REDACTED}", text)
        return _CREDENTIAL.sub(rf"\1 {REDACTED}", text)

    def _field(self, key: str, value: Any) -> Any:
        return REDACTED if _SECRET_KEY.search(key) else self._value(value)

    def _value(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {str(key): self._field(str(key), item) for key, item in value.items()}
        if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
            return [self._value(item) for item in value]
        return self.text(str(value))


def known_secrets(settings: Settings, environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Every secret that this process was configured with."""
    found = {part.get_secret_value() for part in (*settings.api_token, *settings.webhook_secret)}
    for url in (settings.redis_url, settings.broker_url):
        password = urlsplit(url).password
        if password:
            found |= {password, unquote(password)}
    found |= {environ[name] for name in _SECRET_VARIABLES if environ.get(name)}
    return frozenset(found)


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Route structlog and the standard library's logging to ``stream`` (default: stderr).

    Meant to be called once, when a process starts; a second call replaces the first.
    """
    redactor = Redactor(known_secrets(settings))
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(Unrepeated(_CONSUMERS, _REPEATED_SECONDS))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_preparation(), structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _without_color,
                redactor,
                _renderer(settings.log_format),
            ],
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_preparation(),
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    _take_over_standard_logging(handler, settings.log_level.upper())


def _without_color(
    logger: Any, method: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """uvicorn sends its sentences twice, the second time with terminal codes."""
    event_dict.pop("color_message", None)
    return event_dict


def _preparation() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
    ]


def _renderer(log_format: str) -> Processor:
    if log_format == "console":
        return structlog.dev.ConsoleRenderer(
            colors=False, timestamp_key="at", exception_formatter=structlog.dev.plain_traceback
        )
    return structlog.processors.JSONRenderer()


def _take_over_standard_logging(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in _UVICORN:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
