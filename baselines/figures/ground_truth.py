"""Where the truth is known: do metrics rank the heads that carry a routed backdoor lowest, and do masks remove them?

Victims such as tiny-syntactic had their backdoor routed through named heads on purpose. A metric's AUC is the chance
that a carrier scores below another head, so that a search that prunes lowest first takes it first: 1 is perfect, .5
chance. A mask's AUC is the same of "pruned": the mean of the share of carriers pruned and of other heads kept.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prune_env.baselines.figures.drawing import Cell, Drawing, Picture, Request
from prune_env.baselines.figures.heads import one_a_mask
from prune_env.baselines.figures.matching import Pair, masks_of, one_constraint, pairs, searched
from prune_env.baselines.figures.models import Defender, defenders, importance, victims_at_hand
from prune_env.baselines.figures.style import INK, KIND_COLORS, light_grid, new_figure, order
from prune_env.baselines.study.ground_truth import mask_auc, metric_auc
from prune_env.baselines.summary import kind_of
from prune_env.errors import FigureError
from prune_env.importance import METRICS
from prune_env.types import HeadMask
from prune_env.victims.diagnosis import open_diagnosis

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Hit:
    """One metric on one scoring model, or one method's mask, against the carriers.

    Attributes:
        name: The metric's or method's.
        victim: The victim's.
        seed: The defender's.
        auc: 1 perfect, .5 chance, 0 the reverse.
        carriers: Share of the carriers pruned; None of a metric.
        others: Share of the other heads pruned; None of a metric.
    """

    name: str
    victim: str
    seed: int
    auc: float
    carriers: float | None = None
    others: float | None = None


def mask_hit(pair: Pair, carriers: HeadMask) -> Hit:
    """Holds a record's mask, of an ensemble its members' mean, against the carriers."""
    masks = masks_of(pair.record)
    hit = statistics.fmean(float((~mask)[carriers].mean()) for mask in masks)
    other = statistics.fmean(float((~mask)[~carriers].mean()) for mask in masks)
    record = pair.record
    area = statistics.fmean(mask_auc(mask, carriers) for mask in masks)
    return Hit(record.method, record.victim, record.seed, area, hit, other)


def draw(request: Request) -> list[Picture]:
    """Draws one picture: metrics at the left, masks at the right."""
    victims = victims_at_hand(request)
    truth = {
        sha: carriers for sha, victim in victims.items() if (carriers := open_diagnosis(victim).carriers) is not None
    }
    if not truth:
        raise FigureError(
            "none of the victims has a known ground truth; run prune-env bench --victim tiny-syntactic tiny-style "
            "--out RUN"
        )
    found = defenders(request, {sha: victims[sha] for sha in truth})
    ranked = [
        hit for defender in found for hit in _metric_hits(defender, request, truth[defender.victim.manifest.sha256])
    ]
    own = [pair for pair in pairs(request.records) if pair.record.victim_sha256 in truth]
    kept, left_out = one_constraint(one_a_mask(searched(own)))
    masked = [mask_hit(pair, truth[pair.record.victim_sha256]) for pair in kept]
    return [_picture(ranked, masked, left_out)]


def _metric_hits(defender: Defender, request: Request, carriers: HeadMask) -> list[Hit]:
    scores = importance(defender, request)
    return [Hit(name, defender.victim.name, defender.seed, metric_auc(scores[name], carriers)) for name in METRICS]


def _picture(ranked: list[Hit], masked: list[Hit], left_out: str) -> Picture:
    victims = sorted({hit.victim for hit in ranked})
    seeds = sorted({hit.seed for hit in ranked})
    methods = order([hit.name for hit in masked])
    caption = (
        f"Dots: one scoring model or mask each ({', '.join(victims)}; defender's seeds {', '.join(map(str, seeds))}); "
        "bars: their mean, no interval. Left: chance that a head carrying the routed backdoor scores below another, "
        "so that lowest-first takes it first. Right: mean of the share of carriers pruned and of others kept; behind "
        f"the names, the shares of carriers and of others pruned. Dashed: chance. {left_out}"
    ).strip()
    tallest = max(len(METRICS), len(methods))
    figure = new_figure(0.27 * tallest + 1.0, "Do metrics and masks find the heads that carry the backdoor?", caption)
    left, right = figure.subplots(1, 2)
    _panel(left, "metric", ranked, list(METRICS))
    _panel(right, "mask of method", masked, methods)
    return Picture(
        name="ground-truth",
        title="Metrics and masks against the heads that carry the backdoor",
        figure=figure,
        columns=("what", "name", "victim", "seed", "auc", "carriers_pruned", "others_pruned"),
        rows=[_row("metric", hit) for hit in ranked] + [_row("mask", hit) for hit in masked],
        says=_says(ranked, masked),
        caption=caption,
    )


def _panel(axes: Axes, title: str, hits: Sequence[Hit], names: Sequence[str]) -> None:
    by_name = _by_name(hits)
    axes.axvline(0.5, color=INK, linewidth=1, linestyle="--")
    for place, name in enumerate(names):
        values = [hit.auc for hit in by_name[name]]
        color = KIND_COLORS[kind_of(name)] if by_name[name][0].carriers is not None else KIND_COLORS["strategy"]
        axes.plot([statistics.fmean(values)] * 2, [place - 0.32, place + 0.32], color=color, linewidth=2.5)
        axes.plot(values, [place] * len(values), "o", color=color, alpha=0.55, markersize=5, markeredgewidth=0)
    axes.set_yticks(range(len(names)), [_label(name, by_name[name]) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(-0.04, 1.04)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    light_grid(axes, "x")
    axes.set_title(title)
    axes.set_xlabel("AUC against the carriers")


def _label(name: str, hits: Sequence[Hit]) -> str:
    shares = [(hit.carriers, hit.others) for hit in hits if hit.carriers is not None and hit.others is not None]
    if not shares:
        return name
    carriers, others = (statistics.fmean(values) for values in zip(*shares, strict=True))
    return f"{name} ({100 * carriers:.0f} / {100 * others:.0f} %)"


def _by_name(hits: Sequence[Hit]) -> dict[str, list[Hit]]:
    found: dict[str, list[Hit]] = defaultdict(list)
    for hit in hits:
        found[hit.name].append(hit)
    return found


def _row(what: str, hit: Hit) -> tuple[Cell, ...]:
    return (what, hit.name, hit.victim, hit.seed, hit.auc, hit.carriers, hit.others)


def _says(ranked: Sequence[Hit], masked: Sequence[Hit]) -> tuple[str, ...]:
    said = []
    for hits, noun in ((ranked, "metric"), (masked, "mask")):
        means = {name: statistics.fmean(hit.auc for hit in group) for name, group in _by_name(hits).items()}
        if means:
            best, worst = max(means, key=lambda one: means[one]), min(means, key=lambda one: means[one])
            above = sum(value > 0.5 for value in means.values())
            said.append(
                f"{above} of {len(means)} {noun}s have a mean AUC above one half, which is chance (n = "
                f"{len(_by_name(hits)[best])} each, no interval): the best is {best} with {means[best]:.2f}, "
                f"the worst {worst} with {means[worst]:.2f}."
            )
    return tuple(said)


GROUND_TRUTH = Drawing("ground-truth", "metrics and masks against the heads that carry a routed backdoor", draw)
