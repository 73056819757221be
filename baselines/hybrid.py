"""Hybrid: three random thirds of the heads at a warm rate, and a vote; the project's own defence (paper's future work).

What pruning does for a defence, as far as it was measured here, is to take capacity away while the model learns again,
and not to find the heads that carry the backdoor: masks drawn without looking leave less of it than the rankings. So
nothing is searched. Each of three members keeps a random third of every layer's heads (24 of 72, 48 of 144), is put on
the suspect's own encoder with a fresh head, and is fine-tuned on the clean data at five times the protocol's rate (1e-4
where the paper has 2e-5), with order and dropout of its own. The members vote, as an ensemble's do (`ensemble`): where
one of them still falls for a trigger, the others, which lost other heads, outvote it. There is nothing to tune.

It sees clean training sentences, and no importance, no validation accuracy and no trigger. It was chosen among the
candidates of `candidates.py`, by the rule that `PROTOCOL.md` declares, on development data: HiddenKiller with attacker
11 and the embedded victims. What it reaches and what it costs, an innocent model too, stands in `FINDINGS.md`.

| constant | value | source |
| --- | --- | --- |
| members | 3 | smallest number that votes; this project's choice |
| heads kept | a third of each layer, rounded up | `random-third` |
| rate | 5 times the protocol's | `candidates.py` |
| fine-tuning | plain, the protocol's epochs | as every method |
"""

from __future__ import annotations

from dataclasses import replace

from prune_env.baselines.ensemble import Members
from prune_env.baselines.random_heads import RANDOM_THIRD

HYBRID = replace(
    RANDOM_THIRD,
    name="hybrid",
    summary="three random thirds of the heads at a warm rate, which vote (the project's own)",
    kind="own",
    recovery=Members(),
    rate_factor=5.0,
    episodes=3,
)
