"""The environment is Gymnasium over an evaluator: no torch, no transformers, and matplotlib only to draw."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import {modules}
heavy = sorted({{name.partition(".")[0] for name in sys.modules}} & {heavy})
sys.exit(f"loaded {{', '.join(heavy)}}" if heavy else 0)
"""


@pytest.mark.parametrize(
    "modules",
    ["prune_env", *(f"prune_env.{name}" for name in ("env", "vector", "wrappers", "rollout", "rewards", "render"))],
)
def test_nothing_heavy_is_loaded(modules: str) -> None:
    heavy = {"torch", "transformers", "datasets", "stable_baselines3", "matplotlib", "sklearn", "scipy", "rich"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(modules=modules, heavy=heavy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_id_is_registered_as_a_string() -> None:
    import gymnasium as gym

    import prune_env

    assert gym.registry["BertHeadPrune-v0"].entry_point == "prune_env.registration:make_env"
    assert gym.registry["BertHeadPrune-v0"].vector_entry_point == "prune_env.registration:make_vector_env"
    assert prune_env.__version__
