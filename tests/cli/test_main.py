"""The program's exit codes and messages, with planted commands."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from prune_env import __version__
from prune_env.cli import main as program
from prune_env.errors import InterruptedRunError, MaskError


class Planted:
    """A command that raises what it was made with."""

    HELP = "planted"

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.epilog = "examples: none"
        parser.add_argument("--code", type=int, default=0)

    def run(self, args: argparse.Namespace) -> int:
        if self.error is not None:
            raise self.error
        return int(args.code)


def _plant(monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None) -> None:
    monkeypatch.setattr(program, "COMMANDS", ("planted",))
    monkeypatch.setattr(program, "_load", lambda name: Planted(error))


def test_returns_the_exit_code_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    _plant(monkeypatch)
    assert program.main(["planted"]) == 0
    assert program.main(["planted", "--code", "3"]) == 3


def test_an_error_of_the_user_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _plant(monkeypatch, MaskError("expected a mask,\n  got none; give one"))
    assert program.main(["planted"]) == 2
    assert capsys.readouterr().err == "prune-env: error: expected a mask, got none; give one\n"


def test_debug_shows_the_traceback_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    _plant(monkeypatch, MaskError("bad mask"))
    for arguments in (["--debug", "planted"], ["planted", "--debug"]):
        with pytest.raises(MaskError, match="bad mask"):
            program.main(arguments)


def test_a_full_disk_is_no_traceback_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _plant(monkeypatch, OSError(28, "No space left on device"))
    assert program.main(["planted"]) == 2
    assert "No space left" in capsys.readouterr().err


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    _plant(monkeypatch, ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError, match="ours"):
        program.main(["planted"])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InterruptedRunError("stopped; the same command goes on")])
def test_an_interruption_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    _plant(monkeypatch, error)
    assert program.main(["planted"]) == 130
    assert "goes on" in capsys.readouterr().err


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["bnch"]) == 2
    assert "unknown command 'bnch': did you mean 'bench'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "program_name", "complaint"),
    [
        (["planted", "--code", "many"], "prune-env planted", "invalid int value: 'many'"),
        (["planted", "--cude", "1"], "prune-env planted", "unrecognized arguments: --cude 1; did you mean '--code'"),
        (["planted", "--cod", "1"], "prune-env planted", "unrecognized arguments: --cod 1; did you mean '--code'"),
        (["planted", "one"], "prune-env planted", "unrecognized arguments: one;"),
        ([], "prune-env", "COMMAND"),
        (["--verison"], "prune-env", "COMMAND"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    program_name: str,
    complaint: str,
) -> None:
    _plant(monkeypatch)
    with pytest.raises(SystemExit, match="2"):
        program.main(arguments)
    error = capsys.readouterr().err
    assert error.startswith(f"{program_name}: error: ") and complaint in error
    assert error.endswith(f"; see {program_name} --help\n")
    assert error.count("\n") == 1


def test_python_m_and_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prune_env", "data", "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, "--version belongs before the command"
    done = subprocess.run([sys.executable, "-m", "prune_env", "--version"], capture_output=True, text=True, check=False)
    assert done.stdout == f"prune-env {__version__}\n"
