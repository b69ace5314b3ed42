"""The lock files name exact, hashed packages and nothing of the machine they were made on."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
IMAGE, RUN, BENCH, TEST = (
    ROOT / f"requirements{use}.txt" for use in ("-image", "", "-bench", "-test")
)

_PIN = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)(\[[a-z0-9,_-]+\])?==(?P<version>[^ ;]+)")


def entries(path: Path) -> list[str]:
    """The requirements of a lock file, each with its hashes, on one line."""
    return [line for line in path.read_text().replace("\\\n", " ").splitlines() if line.strip()]


def pins(path: Path) -> dict[str, str]:
    """Version by normalized name."""
    found = (_PIN.match(entry) for entry in entries(path))
    return {canonicalize_name(pin["name"]): pin["version"] for pin in found if pin}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("path", [IMAGE, RUN, BENCH, TEST], ids=lambda path: path.name)
def test_every_requirement_is_an_exact_version_with_its_hashes(path):
    for entry in entries(path):
        assert _PIN.match(entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


@pytest.mark.parametrize("path", [IMAGE, RUN, BENCH, TEST], ids=lambda path: path.name)
def test_no_host_and_no_path_of_a_machine_is_named(path):
    text = path.read_text()
    assert not re.search(r"https?:|file:|index-url|find-links|trusted-host|(^|\s)/", text)


def test_what_the_project_depends_on_is_pinned_within_its_bounds(project):
    for path, extras in ((IMAGE, []), *((each, ["embedded"]) for each in (RUN, BENCH, TEST))):
        pinned = pins(path)
        asked = project["dependencies"] + [
            line for extra in extras for line in project["optional-dependencies"][extra]
        ]
        for requirement in map(Requirement, asked):
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])


@pytest.mark.parametrize(("asked_in", "path"), [("test", TEST), ("bench", BENCH)])
def test_what_the_tests_and_the_benches_ask_for_is_pinned(asked_in, path):
    lines = (ROOT / f"requirements-{asked_in}.in").read_text().splitlines()
    asked = [Requirement(line) for line in lines if line and not line.startswith(("#", "-r "))]
    assert {canonicalize_name(requirement.name) for requirement in asked} <= pins(path).keys()


def test_the_image_has_none_of_the_embedded_servers(project):
    embedded = map(Requirement, project["optional-dependencies"]["embedded"])
    assert not {canonicalize_name(one.name) for one in embedded} & pins(IMAGE).keys()


def test_the_files_agree_on_every_version():
    everything = pins(TEST)
    assert pins(IMAGE).items() <= pins(RUN).items() <= pins(BENCH).items() <= everything.items()
