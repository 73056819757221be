"""What each contestant's settings were tuned on: all that is known of it, and no claim beyond."""

from __future__ import annotations

from collections.abc import Iterable

from prune_env.comparison.rows import place

_NOTHING = "nothing to set"
_HEADS = "defaults of `heads`, chosen on the embedded twins"
_FAMILY = (
    "metrics, one head a step, noise, steps and network chosen in 18 trainings on `family-train`, the later "
    "9 by seven of its attackers held out; 5 early ones also showed their regret on `family-test` "
    "(`agents/results/family-tuning.jsonl`)"
)
_LINEAR = "discount chosen on random synthetic tables; the rest set by hand, not tuned"
_UNKNOWN = "not recorded"
_METHOD = "the method's own constants, see its file; none tuned for this comparison"

TUNING: dict[str, str] = {
    "random": _NOTHING,
    "random-uniform": _NOTHING,
    "random-layers": _NOTHING,
    "greedy": _NOTHING,
    "annealing": "temperatures 1.0 to 0.1 set by hand, not tuned",
    "evolution": "first mean 0.6 and spread 0.4 set by hand, not tuned",
    "scripts": "as each script",
    "script-gradient": _METHOD,
    "script-layer-wise": _METHOD,
    "script-bayesian": _METHOD,
    "script-anp": "epochs of its metric chosen on `tiny-syntactic`, by its gates alone; the rest as its file says",
    "script-pure": _METHOD,
    "script-epsilon-greedy": _METHOD,
    "linear": _LINEAR,
    "linear-slots": _LINEAR,
    "ppo": _HEADS,
    "ppo-mlp": _UNKNOWN,
    "maskable-ppo": f"{_HEADS}; those of `mlp` on synthetic tables",
    "a2c": _HEADS,
    "dqn": _HEADS,
    "trained-linear": f"{_LINEAR}; metrics as of the others",
    "trained-ppo": _FAMILY,
    "trained-maskable-ppo": _FAMILY,
    "trained-dqn": f"{_FAMILY}, of PPO; nothing of DQN itself",
}
"""Contestant -> what its settings were chosen on. Who changes a default by looking at victims says here at which."""


def tuning_table(contestants: Iterable[str]) -> str:
    """Returns a Markdown table of what these contestants were tuned on, in the registry's order."""
    lines = ["| contestant | its settings were tuned on |", "| --- | --- |"]
    lines += [f"| {name} | {TUNING.get(name, _UNKNOWN)} |" for name in sorted(set(contestants), key=place)]
    return "\n".join(lines)
