"""Every command is there, and its help shows examples."""

from __future__ import annotations

import pytest

from prune_env.cli import main as program


def test_help_lists_every_command_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        program.main(["--help"])
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in program.COMMANDS)
    assert "examples:" in listed


@pytest.mark.parametrize("name", program.COMMANDS)
def test_each_command_has_help_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        program.main([name, "--help"])
    assert f"prune-env {name}" in capsys.readouterr().out.partition("xamples:")[2]
