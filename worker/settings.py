"""What an operator can set: every ``FINALIZER_`` variable, its unit, its default, its limits."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pipelines.errors import PermanentError
from pipelines.gap_policy import GapPolicy
from pipelines.location import Location
from pipelines.transcoding.kit import Hardware

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What every variable of ours starts with; credentials of the stores are boto3's own (``AWS_*``).
PREFIX = "FINALIZER_"

_PLACEHOLDERS = frozenset({"id", "playback_id", "parent_id"})
_REDIS_URL = re.compile(r"(rediss?|unix)://.+")
_BROKER_URL = re.compile(r"(rediss?|unix|amqps?)://.+")


class InvalidSettings(Exception):
    """The environment cannot be used; the message has one sentence per variable at fault."""


def _comma_list(value: Any) -> Any:
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _matching(pattern: re.Pattern[str], expected: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"must be {expected}")
        return value

    return AfterValidator(check)


def _location(url: str) -> str:
    try:
        Location.parse(url)
    except PermanentError as error:
        raise ValueError(error.message) from None
    return url


def _of_scheme(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        location = Location.parse(url)
        if location.scheme not in schemes or location.query:
            raise ValueError(f"must be a {':// or '.join(schemes)}:// address without a query")
        return url

    return AfterValidator(check)


def _template(url: str) -> str:
    names = re.findall(r"\{([^{}]*)\}", url)
    if not names or set(names) - _PLACEHOLDERS or "{" in url.partition("://")[2].partition("/")[0]:
        known = ", ".join(f"{{{name}}}" for name in sorted(_PLACEHOLDERS))
        raise ValueError(f"must hold {known} or several of them, and only after the bucket or host")
    _location(url.replace("{", "").replace("}", ""))
    return url


def _folder_before_first_brace(data: dict[str, Any]) -> tuple[str, ...]:
    fixed = str(data["source_url"]).partition("{")[0]
    return (fixed[: fixed.rindex("/") + 1],)


def _beside_output(data: dict[str, Any]) -> str:
    output = Location.parse(data["output_url"])
    return str(replace(output, path=f"/.staging{output.path}"))


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Url = Annotated[str, AfterValidator(_location)]
StoreUrl = Annotated[Url, _of_scheme("s3")]
SourceUrl = Annotated[Url, _of_scheme("s3", "https", "http")]
HttpUrl = Annotated[Url, _of_scheme("https", "http")]
SourceTemplate = Annotated[str, AfterValidator(_template)]
Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"
]
Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_comma_list)]


class Settings(BaseSettings):
    """One frozen value, read once at start; every field is the variable of the same name.

    Durations are seconds. ``Settings(...)`` takes its fields from the call alone (tests);
    ``load`` takes them from the environment.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    redis_url: Annotated[str, _matching(_REDIS_URL, "a redis:// address")] = Field(
        "redis://127.0.0.1:6379/0",
        repr=False,
        description="Redis (or Valkey) that keeps the sessions.",
    )
    broker_url: Annotated[str, _matching(_BROKER_URL, "a redis:// or amqp:// address")] = Field(
        default_factory=lambda data: data["redis_url"],
        repr=False,
        description="Queue: a Redis or an `amqp://` (RabbitMQ) URL. Default: the Redis URL.",
    )
    redis_prefix: str = Field(
        "finalizer:", description="What every key in Redis starts with; one per deployment."
    )
    source_url: SourceTemplate = Field(
        description="Where a session's playlist lies: a template with `{id}`, `{playback_id}`, "
        "`{parent_id}`, such as `s3://recordings/{id}/index.m3u8`. Required.",
    )
    source_prefixes: Annotated[tuple[SourceUrl, ...], BeforeValidator(_comma_list)] = Field(
        default_factory=_folder_before_first_brace,
        min_length=1,
        description="Comma list of `s3://` and `https://` prefixes under which `sourceUrl`, "
        "segments and keys may lie. Default: the folder of `SOURCE_URL` before its first `{`.",
    )
    source_public_url: HttpUrl | None = Field(
        None, description="Where the source is readable over HTTP; needed for `VOD=reference`."
    )
    output_url: StoreUrl = Field(
        description="Where MP4s, VOD playlists and reports go, such as `s3://vod/`. Required."
    )
    staging_url: StoreUrl = Field(
        default_factory=_beside_output,
        description="Where unfinished work lies. Default: `.staging/` in the output bucket.",
    )
    public_url: HttpUrl = Field(
        description="Where the output is readable over HTTP: the base of `mp4Url` and "
        "`recordingUrl`. Required."
    )
    vod: Literal["reference", "copy"] = Field(
        "reference", description="VOD playlists point at the source's segments, or at a copy."
    )
    verify: Literal["sampled", "full"] = Field(
        "sampled", description="How much of the payload is read back before a commit."
    )
    keep_old: Seconds = Field(
        7 * 86400, description="Seconds that a replaced revision stays readable."
    )
    give_up_after: Seconds = Field(
        86400, description="Seconds of outage after which a session fails."
    )
    api_token: Secrets = Field(
        (), description="Comma list of bearer tokens; any of them opens the API."
    )
    webhook_secret: Secrets = Field(
        (), description="Comma list of secrets that inbound webhooks may be signed with."
    )
    idle_timeout: Seconds = Field(60, description="Seconds without a heartbeat that end a session.")
    package_live: bool = Field(
        True,
        description="Whether slices are packaged while the session is live, as soon as they are "
        "settled. At its end only assembly and proof are left then.",
    )
    eager_max_age: Seconds = Field(
        72000,
        description="Seconds after which an open multipart upload ends packaging while live: stores "
        "expire open uploads, some after 24 hours.",
    )
    sweep_interval: Seconds = Field(
        2, description="Seconds between two looks for due sessions at most."
    )
    missing_grace: Seconds = Field(
        120,
        description="Seconds that an idle session's playlist may be late; as long after the last "
        "sign of life, a listed segment that is not there is waited for.",
    )
    abandon_after: Seconds = Field(
        86400,
        description="Seconds without a sign of life after which a session without a playlist is not "
        "waited for any more, whatever `IDLE_TIMEOUT`, `MISSING_GRACE` and `GIVE_UP_AFTER` say.",
    )
    lease: Seconds = Field(60, description="Seconds after which a silent worker loses its slice.")
    max_hole: Seconds = Field(
        600,
        description="Seconds; a longer forward jump of the clock starts a new period, and a longer "
        "gap is told and not held.",
    )
    gap_policy: GapPolicy = Field(
        GapPolicy.HOLD,
        description="What becomes of missing media: `hold` (the last picture lasts, sound becomes "
        "silence), `collapse` (what follows moves up), `fail` (the session ends as `failed`, also "
        "for lost segments and samples that leave no gap).",
    )
    slice_seconds: Seconds | None = Field(
        None,
        description="Seconds of media that one message copies or transcodes; for tests and tuning. "
        "Default: 180 for copies; 60, from slice 300 on 180 for transcodes; 900 from slice 600 on.",
    )
    uniform_parts: bool = Field(
        False,
        description="Whether all parts of an upload but the last are made equal, as Cloudflare R2 "
        "wants them: payload and header are filled up, by a few percent.",
    )
    memory_budget: Annotated[ByteSize, Field(gt=0)] = Field(
        ByteSize(1 << 30),
        description="Bytes, also such as `512MiB`, that the slices which a process works on may take "
        "together, ffmpeg included: a slice waits for room, a larger one is alone. Default: `1GiB`.",
    )
    default_profiles: bool = Field(
        False, description="Whether sessions without `profiles` get the default ladder."
    )
    preset: Preset = Field("fast", description="Speed of the software encoders, in x264's words.")
    hardware: Hardware | None = Field(
        None,
        description="Hardware that encodes: `nvenc`, `vaapi` or `qsv`. What it cannot do, and "
        "everything once it fails, is encoded in software. Default: software alone.",
    )
    web_for_hevc: bool = Field(
        False, description="Whether an HEVC source gets a `web.mp4` in H.264 beside it."
    )
    ffmpeg: str | None = Field(None, description="Path of ffmpeg. Default: found on the machine.")
    ffprobe: str | None = Field(None, description="Path of ffprobe. Default: found beside ffmpeg.")
    api_url: HttpUrl = Field("http://127.0.0.1:8000", description="Where the scripts find the API.")
    source_profile: str | None = Field(
        None, description="Named AWS profile for the source, when the two stores differ."
    )
    output_profile: str | None = Field(
        None, description="Named AWS profile for the output, when the two stores differ."
    )
    log_format: Literal["json", "console"] = Field("json", description="Form of the log lines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severity that is logged."
    )

    @property
    def silence(self) -> float:
        """Seconds without a sign of life after which something may have to be done."""
        return min(self.idle_timeout, self.abandon_after)

    @property
    def output(self) -> Location:
        """The folder that holds every published object."""
        return Location.parse(self.output_url)

    @property
    def staging(self) -> Location:
        """The folder that holds unfinished work."""
        return Location.parse(self.staging_url)

    @property
    def permitted_sources(self) -> tuple[Location, ...]:
        """The folders out of which sources may be read."""
        return tuple(Location.parse(prefix) for prefix in self.source_prefixes)

    @property
    def session_sources(self) -> tuple[Location, ...]:
        """The folders in which a session's ``sourceUrl`` may lie: the permitted ones, and that of
        ``SOURCE_URL``, so that what GET shows can be PUT back."""
        template = Location.parse(self.source_url.partition("{")[0]).folder
        return (*self.permitted_sources, template)

    @model_validator(mode="after")
    def _output_cannot_overwrite_a_recording(self) -> Self:
        template = Location.parse(self.source_url.partition("{")[0])
        for source in (template.folder, *self.permitted_sources):
            for name, ours in (("OUTPUT_URL", self.output), ("STAGING_URL", self.staging)):
                if source.overlaps(ours):
                    raise ValueError(
                        f"{PREFIX}{name} ({ours}) and the source ({source}) lie under one prefix: "
                        "an output could overwrite a recording. Give them separate ones."
                    )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the call's values alone: ``load`` reads the environment, where it also checks it."""
        return (init_settings,)


def variables() -> tuple[str, ...]:
    """Every variable that ``load`` reads, in the order of the fields."""
    return tuple(PREFIX + name.upper() for name in Settings.model_fields)


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; an empty variable counts as unset (compose files set such).

    Raises InvalidSettings when a variable is unknown, missing, or has a value we cannot honor.
    """
    ours = {name.removeprefix(PREFIX): environ[name] for name in environ if name.startswith(PREFIX)}
    ours = {name: value for name, value in ours.items() if value.strip()}
    known = {name.upper() for name in Settings.model_fields}
    problems = [_unknown(name, known) for name in sorted(ours.keys() - known)]
    if problems:
        raise InvalidSettings("\n".join(problems))
    try:
        return Settings.model_validate(
            {name.lower(): ours[name].strip() for name in ours.keys() & known}
        )
    except ValidationError as error:
        raise InvalidSettings("\n".join(_sentences(error))) from None


def _unknown(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    hint = f"; did you mean {PREFIX}{close[0]}?" if close else "."
    return f"{PREFIX}{name} is not a setting{hint}"


def _sentences(error: ValidationError) -> list[str]:
    sentences = []
    for fault in error.errors(include_url=False, include_input=False):
        if fault["type"] == "default_factory_not_called":
            continue
        name = PREFIX + str(fault["loc"][0]).upper() if fault["loc"] else ""
        message = fault["msg"].removeprefix("Value error, ")
        sentences.append(
            f"{name} is missing." if fault["type"] == "missing" else f"{name} {message}".strip()
        )
    return sentences
