"""Published scores as a Markdown table: a row a policy, for each set of twins the means over its victims."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from prune_env.tabular.registry import SPLITS

MARKERS = ("<!-- scores:start -->", "<!-- scores:end -->")
"""Lines between which README.md holds the table."""

_NOTE = (
    "Means over the victims of a set; scripts over ten seeds, random play over {episodes:,} episodes a victim. "
    "Regret is normalised on each victim, 0 = the best return that an episode can have on the search split, 1 = random "
    "play; certified regret judges the final mask on the sentences that no search has seen. LFR, that of the masked "
    "model, is a diagnosis. Each victim by itself: `prune-env tabular scores`."
)


def scores_markdown(content: dict[str, Any]) -> str:
    """Returns the table of a sheet that `prune_env.tabular.scores.sheet` made, and what its numbers mean.

    Args:
        content: The sheet; sets without a twin in it are left out.
    """
    groups: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for entry in content["twins"].values():
        for score in entry["scores"]:
            groups[entry["split"]][score["name"]].append(score)
    sets = [name for name in SPLITS if name in groups]
    policies = list(dict.fromkeys(name for one in sets for name in groups[one]))
    heads = [f"{name} ({len(groups[name][policies[0]])} victims)" for name in sets]
    shown = "return / regret / certified regret / LFR"
    lines = [
        f"**`{content['environment']}`**, its defaults: {shown}",
        "",
        f"| policy | {' | '.join(heads)} |",
        f"| --- |{' --- |' * len(sets)}",
    ]
    lines += [f"| {name} | {' | '.join(_cell(groups[one][name]) for one in sets)} |" for name in policies]
    return "\n".join([*lines, "", _NOTE.format(episodes=content["random_episodes"])])


def _cell(scores: list[dict[str, Any]]) -> str:
    """Returns the means of one policy over the victims of a set."""
    means = [np.mean([one[key] for one in scores]) for key in ("value", "regret", "certified_regret", "oracle_lfr")]
    return " / ".join(f"{mean:.2f}" for mean in means)
