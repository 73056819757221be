"""What is imported before it is needed costs everyone seconds: the cheap modules stay cheap."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "datasets", "stable_baselines3", "matplotlib", "tensorboard", "pandas", "scipy")


def _loaded(statement: str) -> set[str]:
    """Returns the heavy libraries that a fresh interpreter has loaded after `statement`."""
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(HEAVY) & set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "module",
    ["prune_env", "prune_env.config", "prune_env.rewards", "prune_env.env", "prune_env.agents", "prune_env.cli.main"],
)
def test_importing_loads_no_heavy_library(module: str) -> None:
    assert _loaded(f"import {module}") == set()


def test_listing_the_commands_loads_no_heavy_library() -> None:
    help_text = "from prune_env.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert _loaded(help_text) == set()


def test_a_mistyped_method_is_refused_before_any_heavy_library_is_loaded() -> None:
    words = ["purify", "--model", "m", "--train", "t.tsv", "--valid", "v.tsv", "--out", "o", "--method", "gradiant"]
    assert _loaded(f"from prune_env.cli.main import main\nassert main({words}) == 2") == set()


def test_a_heavy_import_is_seen() -> None:
    assert _loaded("import matplotlib") == {"matplotlib"}
