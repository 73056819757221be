"""The class docstring is the documentation page: its tables are held to what the environment does."""

from __future__ import annotations

import inspect
import re
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

import prune_env  # noqa: F401 - registers the id
from prune_env.env import BertHeadPruneEnv
from prune_env.vector import BertHeadPruneVectorEnv
from tests.env.fakes import action, small_env

PAGE = inspect.cleandoc(BertHeadPruneEnv.__doc__ or "")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))


def rows(section: str) -> dict[str, list[str]]:
    """The rows of a section's table by the code in their first cell."""
    cells = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in SECTIONS[section].splitlines()
        if line.startswith("| `")
    ]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_sections_are_gymnasiums() -> None:
    assert list(SECTIONS) == [
        "Description", "Action Space", "Observation Space", "Rewards", "Starting State", "Episode End", "Information",
        "Arguments", "Vector Environment", "Version History",
    ]  # fmt: skip


def test_observations() -> None:
    env = small_env()
    documented = rows("Observation Space")
    column = documented.pop("importance_<metric>")
    documented |= {"importance_gradient": column, "importance_variance": column}
    space: Any = env.observation_space
    assert set(documented) == set(space)
    for key, (shape, dtype, bounds, _) in documented.items():
        part = space[key]
        assert part.shape == ((12,) if shape == "(n,)" else (int(shape.strip("(,)")),)), key
        assert part.dtype == np.dtype(dtype), key
        low, high = (part.low.min(), part.high.max()) if isinstance(part, spaces.Box) else (0, 1)
        assert [low, high] == [float(bound) for bound in bounds.strip("[]").split(", ")], key


def test_info() -> None:
    documented = rows("Information")
    env = small_env(diagnostics=True)
    _, start = env.reset(seed=0)
    *_, info = env.step(action(env, 0))
    terms = {key for key in info if key.startswith("reward_")}
    assert terms
    assert set(documented) - {"reward_<term>"} == set(start) == set(info) - terms
    kinds = {"float": float, "bool": bool, "int": int, "list of int": list, "bool (layers, heads)": np.ndarray}
    for key in start:
        assert type(info[key]) is type(start[key]) is kinds[documented[key][0]], key
    assert "oracle_lfr" not in small_env().reset(seed=0)[1]


def test_arguments() -> None:
    assert list(rows("Arguments")) == list(inspect.signature(BertHeadPruneEnv).parameters)


def test_vector_environment() -> None:
    text = SECTIONS["Vector Environment"]
    parameters = set(inspect.signature(BertHeadPruneVectorEnv).parameters)
    assert parameters - set(rows("Arguments")) == {"num_envs", "max_episode_steps"} <= set(re.findall(r"`(\w+)`", text))
    assert f"`{BertHeadPruneVectorEnv.__module__}.{BertHeadPruneVectorEnv.__name__}`" in text
    assert f"`{BertHeadPruneVectorEnv.metadata['autoreset_mode'].name}`" in text
    single = small_env(max_steps=1)
    env = BertHeadPruneVectorEnv(single.evaluator, single.importance, single.config, num_envs=2)
    env.reset(seed=[3, 1], options={"reset_mask": np.array([True, True])})
    assert env.action_masks().shape == (2, 2 * (12 + 1))
    *_, infos = env.step(np.zeros((2, 13), dtype=np.int8))
    final = {name for name in infos if name.startswith("final_")}
    assert final == {"final_obs", "final_info"} <= set(re.findall(r"`(\w+)`", text))


def test_the_versions_are_registered() -> None:
    documented = re.findall(r"^\* (v\d+):", SECTIONS["Version History"], re.MULTILINE)
    assert [f"BertHeadPrune-{version}" for version in documented] == [
        name for name in gym.registry if name.startswith("BertHeadPrune-")
    ]


def test_reset_options() -> None:
    assert re.findall(r'"(\w+)": \.\.\.', SECTIONS["Starting State"]) == ["mask", "threshold"]


def test_step_fits_on_a_screen() -> None:
    assert len(inspect.getsource(BertHeadPruneEnv.step).splitlines()) <= 40
