"""ffmpeg is found where the settings say, else in the packages, else on PATH."""

import stat

import pytest

from pipelines import tools
from pipelines.errors import ToolError


def test_the_packages_programs_are_found_and_say_their_version(media_tools):
    assert tools.release_of(media_tools.version()) >= (5, 1)


def test_a_setting_wins_over_the_packages(tmp_path):
    program = tmp_path / "my-ffmpeg"
    program.write_text("#!/bin/sh\necho 'ffmpeg version 7.1.1-static'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    found = tools.locate(ffmpeg=str(program))
    assert found.ffmpeg == str(program)
    assert found.version() == "7.1.1-static"


def test_a_setting_that_names_no_program_is_an_error_and_not_a_fallback(tmp_path):
    with pytest.raises(ToolError, match="FINALIZER_FFPROBE names"):
        tools.locate(ffprobe=str(tmp_path / "nothing"))


def test_a_program_that_is_not_ffmpeg_is_refused():
    with pytest.raises(ToolError, match="not an ffmpeg build"):
        tools.tool_version("/bin/true")


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("5.1.9-0+deb12u1", (5, 1)),
        ("n8.0-23-g123", (8, 0)),
        ("9.0.2-essentials", (9, 0)),
        ("N-117000-gabc", None),
        ("2026-01-04-git-abc", None),
    ],
)
def test_releases_are_read_from_the_versions_of_real_builds(version, release):
    assert tools.release_of(version) == release


def test_words_that_are_no_version_are_refused():
    with pytest.raises(ValueError, match="not a version"):
        tools.release_of("latest")
