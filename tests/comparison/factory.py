"""Trials that were never run, with numbers that can be checked by hand."""

from __future__ import annotations

from typing import Any

from prune_env.comparison.trials import Trial

BEFORE = {"victims": "family-train", "count": 16, "digest": "0" * 64, "steps": 1000, "on_violation": "terminate"}


def trial(contestant: str = "random", kind: str = "random", certified: float = 0.5, **fields: Any) -> Trial:
    """A trial that found a mask of this certified value with its last evaluation; the others are as given."""
    budget, episode = fields.get("budget", 10), fields.pop("episode", None)
    policy = None
    if episode is not None:
        evaluations, value = episode
        policy = {
            "mask": "10/11", "return": value, "evaluations": evaluations, "certified": value, "regret": 1 - value,
            "certified_regret": 1 - value, "oracle_lfr": 0.1,
        }  # fmt: skip
    whole: dict[str, Any] = {
        "experiment": "tabular",
        "victim": "one",
        "identity": "0" * 64,
        "contestant": contestant,
        "kind": kind,
        "settings": {"contestant": {}, **({"before": BEFORE} if kind == "trained" else {})},
        "budget": budget,
        "per_episode": False,
        "seed": 0,
        "evaluations": budget,
        "improvements": [[1, "11/11", 0.0, 0.0], [budget, "10/11", certified, certified]],
        "regret": 1 - certified,
        "certified_regret": 1 - certified,
        "oracle_lfr": 0.25,
        "policy": policy,
        "steps": 0,
        "scales": {"search": [1.0, 0.0], "certify": [1.0, 0.0]},
        "seconds": 0.5,
        "wall_seconds": 0.5,
        "versions": {"numpy": "2"},
        **fields,
    }
    return Trial(**whole)


def three(contestant: str, kind: str, *values: float, **fields: object) -> list[Trial]:
    """A trial a value, each with a seed of its own."""
    return [trial(contestant, kind, value, seed=seed, **fields) for seed, value in enumerate(values)]


def both(learned: tuple[float, ...], rival: tuple[float, ...]) -> list[Trial]:
    """A learned agent against random search, the scripts and a searcher, which find the same; each number twice."""
    kinds = {"random": "random", "scripts": "script", "annealing": "searcher"}
    rivals = [one for name, kind in kinds.items() for one in three(name, kind, *doubled(rival))]
    return three("ppo", "learner", *doubled(learned), episode=(3, 0.25)) + rivals


def doubled(values: tuple[float, ...]) -> list[float]:
    """The same numbers for the even seeds and the odd ones."""
    return [value for value in values for _ in range(2)]
