"""Published scores are what is played, and hold together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import prune_env  # noqa: F401 - registers the ids
from prune_env.errors import ManifestError
from prune_env.markers import between
from prune_env.methods import PolicyContext, get_method
from prune_env.rollout import rollout
from prune_env.seeds import derive
from prune_env.tabular.environment import TABULAR_ID
from prune_env.tabular.registry import get_twin, list_twins
from prune_env.tabular.regret import yardstick_of
from prune_env.tabular.score_page import MARKERS, scores_markdown
from prune_env.tabular.scores import SCRIPTS, SEEDS, Score, read_scores, scores_on, sheet, write_scores
from prune_env.types import mask_from_text
from tests.tabular.twins import random_twin


def test_a_sample_of_the_shipped_scores_is_played_again() -> None:
    shipped = read_scores()
    assert set(shipped["twins"]) == set(list_twins())
    entry = shipped["twins"]["tiny-syntactic"]
    for score, wanted in zip(scores_on(yardstick_of("tiny-syntactic")), entry["scores"], strict=True):
        assert score.name == wanted["name"]
        for key, value in wanted.items():
            if isinstance(value, float):
                assert getattr(score, key) == pytest.approx(value, abs=1e-6), (score.name, key)


def test_every_shipped_score_holds_together() -> None:
    for name, entry in read_scores()["twins"].items():
        yardstick = yardstick_of(name)
        assert entry["task_sha256"] == yardstick.twin.meta["task_sha256"]
        scores = [Score(**score) for score in entry["scores"]]
        optimum, random, *scripts = scores
        assert optimum.value == pytest.approx(yardstick.plan.value)
        assert yardstick.certified_value(mask_from_text(entry["optimal_mask"])) == pytest.approx(optimum.certified)
        assert (optimum.regret, random.regret) == (0.0, 1.0)
        assert random.certified_regret == pytest.approx(1.0)
        assert [score.name for score in scripts] == list(SCRIPTS)
        for score in scores:
            assert score.value <= optimum.value + 1e-9
            assert score.certified <= entry["certified_optimum"] + 1e-9
            assert score.certified_regret >= -1e-12
            scale = optimum.value - random.value
            assert score.regret == pytest.approx((optimum.value - score.value) / scale)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_played_in_the_whole_environment_of_its_method(name: str) -> None:
    method, yardstick = get_method(name), yardstick_of("tiny-syntactic")
    assert method.policy is not None
    settings: dict[str, Any] = {"metrics": list(method.metrics), **method.environment}
    env: Any = gym.make(TABULAR_ID, victim="tiny-syntactic", **settings).unwrapped
    played = []
    for seed in SEEDS:
        policy = method.policy(PolicyContext(derive(seed, f"policy:{name}"), env.evaluator.layers, env.evaluator.heads))
        played.append(rollout(env, policy, seed=derive(seed, "episode")))
    (shipped,) = [one for one in read_scores()["twins"]["tiny-syntactic"]["scores"] if one["name"] == name]
    assert shipped["value"] == pytest.approx(np.mean([episode.episode_return for episode in played]))
    assert shipped["evaluations"] == pytest.approx(np.mean([episode.evaluations for episode in played]))
    assert shipped["regret"] == pytest.approx(yardstick.regret(shipped["value"]))


def test_a_sheet_is_written_and_read(tmp_path: Path) -> None:
    seen: list[str] = []
    full = get_twin("tiny-style").importance
    twin = random_twin(3, 3, 1, importance={name: scores[:3, :3] for name, scores in full.items()})
    content = sheet([twin], seen.append)
    assert seen == ["random"]
    path = tmp_path / "scores.json"
    write_scores(content, path)
    assert read_scores(path) == json.loads(json.dumps(content))
    for text in ("", "[]", '{"schema": 2}'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ManifestError, match="scores"):
            read_scores(path)


def test_the_readme_shows_the_scores_that_ship() -> None:
    readme = Path(__file__).parents[2] / "README.md"
    _, _, shown, _, _ = between(readme, MARKERS)
    content = read_scores()
    assert shown.strip() == scores_markdown(content), "prune-env tabular scores --update README.md"
    test = [entry for entry in content["twins"].values() if entry["split"] == "family-test"]
    gradient = [score for entry in test for score in entry["scores"] if score["name"] == "gradient"]
    assert len(gradient) == len(test) == 16
    mean = sum(score["regret"] for score in gradient) / len(gradient)
    row = next(line for line in shown.splitlines() if line.startswith("| gradient"))
    assert f"/ {mean:.2f} /" in row.split("|")[-2]
