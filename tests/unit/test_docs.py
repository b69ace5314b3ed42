"""README, docs and CHANGELOG say what the code does: settings, codes, fields, links and names."""

import ast
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import jsonschema
import pytest
from pydantic.fields import FieldInfo

import worker
from pipelines.errors import ErrorCode
from pipelines.gap import GapCause
from pipelines.loss import LossCause
from pipelines.rendition_report import DROPPED
from pipelines.repair import RepairKind
from pipelines.report import REPORT_VERSION, Verdict, encoding_view, schema_text
from pipelines.session import Phase, RecordingStatus
from tests.unit.plans_by_hand import H264
from worker import http_errors
from worker.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
README, CHANGELOG = ROOT / "README.md", ROOT / "CHANGELOG.md"
ERRORS, REPORT, DESIGN, SCALE = (
    ROOT / "docs" / f"{name}.md" for name in ("errors", "report", "design", "scale")
)
PAGES = [README, CHANGELOG, ERRORS, REPORT, DESIGN, SCALE]

#: Hosts that a reader may be sent to, and those of examples.
HOSTS = {"127.0.0.1", "keepachangelog.com", "semver.org", "vod.example"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


# -- settings --------------------------------------------------------------------------------


def settings_table() -> str:
    """README's table of the settings, as the fields say it."""
    rows = [_settings_row(name, field) for name, field in Settings.model_fields.items()]
    return "\n".join(["| Variable | Default | Meaning |", "| --- | --- | --- |", *rows])


def _settings_row(name: str, field: FieldInfo) -> str:
    meaning, _, said = (field.description or "").partition(" Default: ")
    meaning = meaning.removesuffix(" Required.")
    if get_origin(field.annotation) is Literal:
        meaning += f" One of {', '.join(f'`{value}`' for value in get_args(field.annotation))}."
    return f"| `{PREFIX}{name.upper()}` | {_default(field, said.rstrip('.'))} | {meaning} |"


def _default(field: FieldInfo, said: str) -> str:
    if field.is_required():
        return "required"
    if said:
        return said
    assert field.default_factory is None, "a computed default needs a sentence: Default: …"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return "none" if field.default in (None, ()) else f"`{field.default}`"


def test_readme_lists_every_setting_with_its_default_and_meaning():
    table = settings_table()
    found = re.search(r"<!-- settings: .*?-->\n(.*?)\n<!-- end", README.read_text(), re.DOTALL)
    assert found, "README has lost the marks around the table of settings"
    assert found[1] == table, f"README must hold this table:\n\n{table}\n"


@each_page
def test_every_variable_named_is_one_that_the_settings_know(page: Path):
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {"FINALIZER_TEST_COMPLETE"}
    assert set(re.findall(r"\bFINALIZER_\w+", page.read_text())) <= known | {PREFIX}


# -- codes -----------------------------------------------------------------------------------


def table_rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of all rows of the tables below a heading, without the row of titles."""
    section = page.read_text().partition(f"\n{heading}\n")[2]
    section = re.split(r"\n#+ ", section)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows[1:] if not row[0].startswith("---")]


def _api_codes() -> set[tuple[str, str]]:
    """(status, code) of every answer that is no success, as the sources give them."""
    found = {(str(status), code) for status, code in http_errors._CODES.items()}
    for path in (ROOT / "worker").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call):
                continue
            match ast.unparse(call.func), call.args:
                case "ApiError" | "answer", [
                    ast.Constant(int(status)),
                    ast.Constant(str(code)),
                    *_,
                ]:
                    found.add((str(status), code))
                case "_CODES.get", [_, ast.Constant(str(code))]:
                    found.add(("4xx", code))
    return found


def test_every_code_of_a_recording_is_explained_once():
    explained = [row[0].strip("`") for row in table_rows(ERRORS, "## Of a recording")]
    assert sorted(explained) == sorted(code.value for code in ErrorCode)


def test_only_codes_that_nothing_gives_are_said_to_be_unused():
    sources = [path for folder in ("pipelines", "worker") for path in (ROOT / folder).rglob("*.py")]
    text = "\n".join(path.read_text() for path in sources if path.name != "errors.py")
    unused = {code.value for code in ErrorCode if f"ErrorCode.{code.name}" not in text}
    unused -= {ErrorCode.INTERRUPTED.value, ErrorCode.STORE_UNAVAILABLE.value}  # by their classes
    rows = table_rows(ERRORS, "## Of a recording")
    assert {row[0].strip("`") for row in rows if "Not given in this version" in row[1]} == unused


def test_every_code_of_the_api_is_explained_with_its_status():
    explained = [(row[0], row[1].strip("`")) for row in table_rows(ERRORS, "## Of the API")]
    assert sorted(explained) == sorted(_api_codes())


def test_codes_in_readme_are_codes_of_a_recording():
    named = set(re.findall(r"`failed`, ((?:`\w+`(?:, | or )?)+)", README.read_text()))
    codes = {code for group in named for code in re.findall(r"`(\w+)`", group)}
    assert codes
    assert codes <= {code.value for code in ErrorCode}


# -- states, report, version -----------------------------------------------------------------


def test_readme_explains_every_phase_with_its_status():
    rows = table_rows(README, "### States of a session")
    assert [row[0].strip("`") for row in rows] == [phase.value for phase in Phase]
    assert {row[1].strip("`") for row in rows} == {status.value for status in RecordingStatus}


def test_every_verdict_is_explained():
    text = README.read_text()
    assert all(f"| `{verdict.value}` |" in text for verdict in Verdict)
    assert all(f"`{verdict.value}`" in REPORT.read_text() for verdict in Verdict)


def _names_of(schema: dict[str, Any]) -> set[str]:
    """Every name of a field in a JSON Schema."""
    forms = [schema, *schema["$defs"].values()]
    return {name for form in forms for name in form.get("properties", ())}


def _example() -> dict[str, Any]:
    return json.loads(REPORT.read_text().partition("```json\n")[2].partition("\n```")[0])


def test_every_field_of_a_report_is_explained():
    text = REPORT.read_text().partition("## Top level")[2]
    explained = set(re.findall(r"`(\w+)`", text))
    assert _names_of(json.loads(schema_text())) - explained == set()


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("## Gaps", GapCause),
        ("## Losses", LossCause),
        ("## Repairs", [*RepairKind, "audio_clock_step", DROPPED]),
    ],
)
def test_every_word_for_what_was_found_is_explained(heading, words):
    explained = [row[0].strip("`") for row in table_rows(REPORT, heading)]
    assert {str(word) for word in words} <= set(explained)


def test_the_example_report_has_the_form_that_is_written_now():
    example = _example()
    assert example["version"] == REPORT_VERSION
    jsonschema.validate(example, json.loads(schema_text()))
    assert [each["kind"] for each in example["renditions"]] == ["copy", "transcode"]
    assert set(example["renditions"][1]["encoding"]) == set(encoding_view(H264))


def test_the_newest_entry_of_the_changelog_is_this_version():
    newest = re.search(r"^## \[(\S+)\] - \d{4}-\d{2}-\d{2}$", CHANGELOG.read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert newest
    assert newest[1] == worker.__version__ == project["version"]


# -- names, links and places -----------------------------------------------------------------


def _anchors(page: Path) -> set[str]:
    """The fragments that a page's headings answer to."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@each_page
def test_internal_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if urlsplit(target).scheme:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.is_file(), target
        assert not anchor or anchor in _anchors(linked), target


@each_page
def test_every_script_named_is_there_and_can_be_run(page: Path):
    for name in set(re.findall(r"\./scripts/([\w-]+)", page.read_text())):
        script = ROOT / "scripts" / name
        assert script.is_file(), name
        assert os.access(script, os.X_OK), name


@each_page
def test_every_file_of_ours_that_is_named_is_there(page: Path):
    named = re.findall(r"\b(?:pipelines|worker|scripts|tests|docs)/[\w./-]*\w", page.read_text())
    for name in set(named):
        assert (ROOT / name).exists(), name


def test_every_key_in_redis_that_is_named_is_one_that_the_worker_uses():
    sources = "\n".join(path.read_text() for path in (ROOT / "worker").glob("*.py"))
    cells = [row[0] for row in table_rows(DESIGN, "## Redis")]
    for key in [key for cell in cells for key in re.findall(r"`([^`]+)`", cell)]:
        word = re.match(r"\w+:?", key)[0]
        word = word.rstrip(":") if word == "queue:" else word
        assert re.search(rf"[\"}}]{word}(?=[\"{{])", sources), key


@each_page
def test_no_page_names_a_machine_or_a_registry(page: Path):
    text = page.read_text()
    assert not re.search(r"(?<![\w.}])/(?:home|root|work|tmp|Users|mnt|opt)/", text)
    hosts = {urlsplit(url).hostname for url in re.findall(r"https?://[^\s)`\"'<>]+", text)}
    assert hosts <= HOSTS
