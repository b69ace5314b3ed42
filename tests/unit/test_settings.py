"""The settings: what stops a start, and with which sentence."""

import pytest
from pydantic import ValidationError

from pipelines.location import Location
from pipelines.transcoding.kit import Hardware
from worker.settings import PREFIX, InvalidSettings, Settings, load, variables

REQUIRED = {
    "FINALIZER_SOURCE_URL": "s3://recordings/{id}/index.m3u8",
    "FINALIZER_OUTPUT_URL": "s3://vod/",
    "FINALIZER_PUBLIC_URL": "https://vod.example/",
}


def loaded(**values: str) -> Settings:
    return load({**REQUIRED, **{PREFIX + name: value for name, value in values.items()}})


def refusal(**values: str) -> str:
    with pytest.raises(InvalidSettings) as refused:
        loaded(**values)
    return str(refused.value)


def test_three_variables_are_enough_and_the_rest_follows_from_them():
    settings = load(REQUIRED)
    assert settings.broker_url == settings.redis_url == "redis://127.0.0.1:6379/0"
    assert settings.source_prefixes == ("s3://recordings/",)
    assert settings.permitted_sources == (Location.parse("s3://recordings/"),)
    assert settings.staging == Location.parse("s3://vod/.staging/")
    assert (settings.idle_timeout, settings.give_up_after) == (60, 86400)
    assert (settings.keep_old, settings.max_hole) == (604800, 600)


def test_every_missing_variable_is_named_at_once():
    with pytest.raises(InvalidSettings) as refused:
        load({})
    for name in REQUIRED:
        assert f"{name} is missing." in str(refused.value)


def test_an_unknown_variable_is_named_with_the_one_that_was_meant():
    message = refusal(IDLE_TIMEOT="5")
    assert "FINALIZER_IDLE_TIMEOT" in message
    assert "did you mean FINALIZER_IDLE_TIMEOUT?" in message


def test_variables_of_others_are_none_of_our_business():
    assert load({**REQUIRED, "FINALIZERS": "1", "AWS_REGION": "x", "PATH": "/"}) == load(REQUIRED)


def test_an_empty_variable_counts_as_unset():
    assert loaded(IDLE_TIMEOUT="", BROKER_URL=" ") == load(REQUIRED)


def test_values_are_read_with_their_units():
    settings = loaded(IDLE_TIMEOUT="2.5", API_TOKEN="one, two,", VOD="copy", VERIFY="full")
    assert settings.idle_timeout == 2.5
    assert [token.get_secret_value() for token in settings.api_token] == ["one", "two"]
    assert (settings.vod, settings.verify) == ("copy", "full")


def test_transcoding_is_in_software_and_asked_for_by_the_session_unless_settings_say_more():
    settings = load(REQUIRED)
    assert (settings.preset, settings.hardware) == ("fast", None)
    assert (settings.default_profiles, settings.web_for_hevc) == (False, False)
    settings = loaded(PRESET="slow", HARDWARE="nvenc", DEFAULT_PROFILES="1", WEB_FOR_HEVC="true")
    assert (settings.preset, settings.hardware) == ("slow", Hardware.NVENC)
    assert (settings.default_profiles, settings.web_for_hevc) == (True, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IDLE_TIMEOUT", "0"),
        ("IDLE_TIMEOUT", "-1"),
        ("LEASE", "nan"),
        ("KEEP_OLD", "inf"),
        ("GIVE_UP_AFTER", "a day"),
        ("VOD", "move"),
        ("VERIFY", "none"),
        ("PRESET", "warp"),
        ("HARDWARE", "cuda"),
        ("DEFAULT_PROFILES", "some"),
        ("GAP_POLICY", "ignore"),
        ("LOG_FORMAT", "xml"),
        ("REDIS_URL", "http://127.0.0.1"),
        ("BROKER_URL", "kafka://x"),
        ("OUTPUT_URL", "https://vod.example/"),
        ("OUTPUT_URL", "vod"),
        ("STAGING_URL", "s3://"),
        ("PUBLIC_URL", "s3://vod/"),
        ("PUBLIC_URL", "https://vod.example/?token=1"),
        ("PUBLIC_URL", "https://user:pw@vod.example/"),
        ("SOURCE_PREFIXES", "s3://a/,file:///etc/"),
        ("SOURCE_URL", "s3://recordings/index.m3u8"),
        ("SOURCE_URL", "s3://recordings/{name}/index.m3u8"),
        ("SOURCE_URL", "s3://{id}/index.m3u8"),
        ("SOURCE_URL", "s3://recordings/{id/index.m3u8"),
        ("SOURCE_URL", "file:///recordings/{id}/index.m3u8"),
    ],
)
def test_a_value_that_cannot_be_honored_stops_the_start_with_its_name(name, value):
    assert PREFIX + name in refusal(**{name: value})


def test_a_refused_value_is_not_repeated_for_it_may_be_a_secret():
    assert "hunter2" not in refusal(REDIS_URL="hunter2", BROKER_URL="x://:hunter2@host/")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OUTPUT_URL", "s3://recordings/"),
        ("OUTPUT_URL", "s3://recordings"),
        ("OUTPUT_URL", "s3://recordings/vod/"),
        ("STAGING_URL", "s3://recordings/staging/"),
        ("SOURCE_PREFIXES", "s3://elsewhere/,s3://vod/live/"),
    ],
)
def test_output_and_source_under_one_prefix_stop_the_start(name, value):
    assert "one prefix" in refusal(**{name: value})


def test_output_and_source_may_share_a_bucket_under_separate_prefixes():
    settings = loaded(SOURCE_URL="s3://media/live/{id}/index.m3u8", OUTPUT_URL="s3://media/vod/")
    assert settings.permitted_sources == (Location.parse("s3://media/live/"),)
    assert settings.staging == Location.parse("s3://media/.staging/vod/")


def test_the_default_prefix_is_the_folder_even_if_the_name_goes_on():
    settings = loaded(SOURCE_URL="s3://media/live-{id}/index.m3u8", SOURCE_PREFIXES="")
    assert settings.source_prefixes == ("s3://media/",)


def test_secrets_are_in_no_repr():
    settings = loaded(
        API_TOKEN="hunter2", WEBHOOK_SECRET="hunter3", REDIS_URL="redis://:hunter4@h/0"
    )
    assert "hunter" not in repr(settings)
    assert "hunter" not in str(settings)


def test_settings_are_frozen_and_made_from_their_arguments_alone(monkeypatch):
    monkeypatch.setenv("FINALIZER_IDLE_TIMEOUT", "1")
    settings = Settings(
        source_url="s3://recordings/{id}/index.m3u8",
        output_url="s3://vod/",
        public_url="https://vod.example/",
    )
    assert settings.idle_timeout == 60
    with pytest.raises(ValidationError, match="frozen"):
        settings.idle_timeout = 5


def test_every_setting_says_what_it_is():
    assert all(field.description for field in Settings.model_fields.values())
    assert "FINALIZER_SOURCE_PUBLIC_URL" in variables()


@pytest.mark.parametrize(
    ("told", "size"), [("512MiB", 512 << 20), ("2GB", 2_000_000_000), ("1048576", 1 << 20)]
)
def test_a_budget_of_memory_is_told_in_bytes_or_with_a_unit(told, size):
    assert loaded(MEMORY_BUDGET=told).memory_budget == size


@pytest.mark.parametrize("told", ["0", "-1", "much", "5 parsecs"])
def test_a_budget_that_is_no_size_is_refused(told):
    assert "FINALIZER_MEMORY_BUDGET" in refusal(MEMORY_BUDGET=told)
