"""docker-compose.yml cannot be run here; everything about it that can be checked is."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from worker import settings
from worker.dispatch import CONTROL, PACKAGING, TRANSCODING

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"

#: Services that run our own code.
OURS = ("api", "worker", "transcode", "control")


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load(COMPOSE.read_text())["services"]


def test_the_file_follows_the_compose_schema():
    run = subprocess.run(
        [
            sys.executable, "-m", "check_jsonschema",
            "--builtin-schema", "vendor.compose-spec", str(COMPOSE),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_one_that_the_settings_know_and_accept(services, name):
    given = {
        variable: _interpolated(value)
        for variable, value in services[name]["environment"].items()
        if variable.startswith(settings.PREFIX)
    }
    assert given.keys() <= set(settings.variables())
    loaded = settings.load(given)
    assert bool(loaded.api_token) == (name == "api")


def test_secrets_have_no_default(services):
    text = COMPOSE.read_text()
    for variable in ("API_TOKEN", "WEBHOOK_SECRET", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        for expression in re.findall(r"\$\{(\w+" + variable + r"[^}]*)\}", text):
            assert re.fullmatch(r"\w+(:\?set it)?", expression), expression


def test_ports_are_published_on_the_loopback_interface_alone(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_redis_keeps_its_data_and_drops_none(services):
    command = " ".join(services["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert services["redis"]["volumes"] == ["redis:/data"]


@pytest.mark.parametrize(
    ("name", "expected"), [("worker", "3"), ("transcode", "1"), ("control", "2")]
)
def test_a_process_takes_no_more_messages_than_it_has_threads(services, name, expected):
    threads = _after(services[name]["command"], "--threads")
    assert services[name]["environment"]["dramatiq_queue_prefetch"] == threads == expected


def test_every_queue_has_a_process_of_its_own(services):
    queues = {name: _after(services[name]["command"], "--queues") for name in OURS[1:]}
    assert queues == {"worker": PACKAGING, "transcode": TRANSCODING, "control": CONTROL}


def test_the_s3_identities_are_json_and_staging_is_private():
    configs = yaml.safe_load(COMPOSE.read_text())["configs"]
    identities = json.loads(_interpolated(configs["s3-identities"]["content"]))["identities"]
    anonymous = next(one for one in identities if one["name"] == "anonymous")
    assert anonymous["actions"] == ["Read:recordings", "Read:vod"]


def test_the_image_copies_what_the_processes_import_and_runs_as_nobody_special():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [shlex.split(line)[1] for line in lines if line.startswith("COPY")]
    assert set(copied) == {"requirements-image.txt", "pipelines", "worker"}
    assert all((ROOT / name).exists() for name in copied)
    assert "USER finalizer" in lines


def _after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def _interpolated(text: str) -> str:
    """What Compose makes of ``${NAME:-default}`` and ``${NAME:?message}`` when all are set."""
    with_defaults = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    return re.sub(r"\$\{\w+[^}]*\}", "given", with_defaults)
