"""What there is to compare with: the optimum, random play and scripts on each twin, in its environment's defaults."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.cache import write_text
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ManifestError
from prune_env.methods import PolicyContext, get_method
from prune_env.rollout import rollout
from prune_env.seeds import derive
from prune_env.tabular.environment import TABULAR_ID, importance_of
from prune_env.tabular.play import EPISODES, SEED
from prune_env.tabular.registry import TWINS
from prune_env.tabular.regret import Yardstick
from prune_env.tabular.twin import TabularTwin
from prune_env.types import HeadMask, mask_to_text

SCHEMA = 1
SCORES = TWINS / "scores.json"
"""The scores that ship, of every twin that ships."""

SCRIPTS = ("gradient", "layer-wise", "bayesian", "anp", "pure", "epsilon-greedy")
"""Methods whose policies are played, each in its own environment: how violations are treated, heads a step."""

SEEDS = tuple(range(10))
"""Of a script's policy and episode; scripts without chance play the same ten times."""


@dataclass(frozen=True)
class Score:
    """What a policy comes to on one twin: means over its episodes.

    Attributes:
        name: "optimum", "random", or a method's.
        value: Return of an episode, on the search table.
        regret: Normalised, 0 = optimal, 1 = as good as random.
        certified: Value of the final mask on `certify`, as `prune_env.tabular.regret` says.
        certified_regret: Normalised in the same way.
        pruned_fraction: Of the final mask.
        evaluations: Distinct masks asked for; those of random play are not counted.
        oracle_lfr: A diagnosis: label flip rate of the final mask.
    """

    name: str
    value: float
    regret: float
    certified: float
    certified_regret: float
    pruned_fraction: float
    evaluations: float | None
    oracle_lfr: float


def scores_on(yardstick: Yardstick) -> list[Score]:
    """Plays everyone on a twin: the optimal policy first, then random play, then the scripts."""
    plan, random = yardstick.plan, yardstick.random
    scores = [
        _score("optimum", yardstick, [plan.value], [plan.masks[-1]], len(plan.masks)),
        _score("random", yardstick, random.returns.tolist(), list(random.masks), None),
    ]
    return scores + [_script(name, yardstick) for name in SCRIPTS]


def _script(name: str, yardstick: Yardstick) -> Score:
    method, twin = get_method(name), yardstick.twin
    if method.policy is None:
        raise ManifestError(f"expected a script with a policy, {name!r} has none; leave it out of SCRIPTS")
    env = BertHeadPruneEnv(twin.search, importance_of(twin, method.metrics), twin.config(**method.environment))
    episodes = []
    for seed in SEEDS:
        context = PolicyContext(derive(seed, f"policy:{name}"), twin.layers, twin.heads)
        episodes.append(rollout(env, method.policy(context), seed=derive(seed, "episode")))
    evaluations = float(np.mean([episode.evaluations for episode in episodes]))
    returns = [episode.episode_return for episode in episodes]
    return _score(name, yardstick, returns, [episode.mask for episode in episodes], evaluations)


def _score(
    name: str, yardstick: Yardstick, returns: list[float], masks: list[HeadMask], evaluations: float | None
) -> Score:
    ends = np.stack(masks)
    value, certified = float(np.mean(returns)), float(yardstick.certified_values(ends).mean())
    return Score(
        name=name,
        value=value,
        regret=yardstick.regret(value),
        certified=certified,
        certified_regret=yardstick.certified_scale.regret(certified),
        pruned_fraction=float(1.0 - ends.mean()),
        evaluations=evaluations,
        oracle_lfr=float(yardstick.twin.oracle_lfr.accuracy(ends).mean()),
    )


def sheet(twins: Iterable[TabularTwin], report: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Returns the scores of twins as a JSON object, with everything that decides them."""
    found: dict[str, Any] = {}
    for twin in twins:
        if report is not None:
            report(twin.name)
        yardstick = Yardstick(twin, twin.config())
        found[twin.name] = {
            "split": twin.meta["split"],
            "kind": twin.meta["kind"],
            "task_sha256": twin.meta["task_sha256"],
            "optimal_mask": mask_to_text(yardstick.plan.masks[-1]),
            "certified_optimum": yardstick.certified_scale.optimum,
            "scores": [asdict(score) for score in scores_on(yardstick)],
        }
    return {
        "schema": SCHEMA,
        "environment": TABULAR_ID,
        "random_episodes": EPISODES,
        "random_seed": SEED,
        "script_seeds": list(SEEDS),
        "twins": found,
    }


def write_scores(content: dict[str, Any], path: Path) -> None:
    """Writes a sheet of scores in one step."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_scores(path: Path = SCORES) -> dict[str, Any]:
    """Reads a sheet of scores: the one that ships, unless told otherwise.

    Raises:
        ManifestError: No such file, or none of this version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ManifestError(
            f"expected scores in {path}, got: {error}; write them with `tabular scores --out`"
        ) from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ManifestError(
            f"expected scores of schema {SCHEMA} in {path}; write them anew with `tabular scores --out`"
        )
    return content
