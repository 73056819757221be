"""What long work says: at once that it begins, what an earlier run did, and the time to go by its own pace."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from prune_env.cli import terminal
from prune_env.cli.terminal import long_work

Capture = pytest.CaptureFixture[str]

_WITHOUT_TORCH = """
import sys
class Stop:
    def find_spec(self, name, *_):
        if name == "torch":
            raise SystemExit(7)
sys.meta_path.insert(0, Stop())
from prune_env.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("command", [("bench",), ("table", "--preset", "paper-embedded")])
def test_commands_say_that_they_load_before_they_do(command: tuple[str, ...], tmp_path: Path) -> None:
    arguments = [*command, "--out", str(tmp_path / "out")]
    ended = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, *arguments], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (7, "loading torch and transformers ...\n")


def test_lines_say_what_an_earlier_run_did_and_what_comes(capsys: Capture) -> None:
    with long_work("looking") as report:
        for label, done in (("next is a", 3), ("a", 4), ("b", 5)):
            report(label, done, 5)
    said = capsys.readouterr().err.splitlines()
    assert said == ["looking ...", "3 of 5 done already", "3 of 5: next is a", "4 of 5: a", "5 of 5: b"]


def test_a_fresh_run_has_nothing_done_already(capsys: Capture) -> None:
    with long_work("looking") as report:
        report("next is a", 0, 2)
        report("a", 1, 2)
    assert capsys.readouterr().err.splitlines() == ["looking ...", "0 of 2: next is a", "1 of 2: a"]


@pytest.mark.parametrize("earlier", [0, 90])
def test_the_time_to_go_counts_this_runs_steps_alone(earlier: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    bar = Progress(
        console=Console(file=io.StringIO(), force_terminal=True), get_time=lambda: now, speed_estimate_period=1e6
    )
    monkeypatch.setattr(terminal, "progress", lambda: bar)
    with long_work("looking") as report:
        (task,) = bar.tasks
        assert task.description == "looking"
        now = 500.0
        report("next is a", earlier, 100)
        assert task.description == ("90 of 100 done already; next is a" if earlier else "next is a")
        assert task.time_remaining is None, "no step tells yet"
        for step in (1, 2):
            now += 60.0
            report("a", earlier + step, 100)
        assert task.time_remaining == 60 * (98 - earlier)
