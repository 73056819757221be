"""The paper's Figure 2a: [CLS] embeddings of clean and triggered sentences, before and after a defence.

Beside them stands the never-poisoned twin: what an innocent model of the same recipe makes of the same sentences.

t-SNE shows neighbourhoods and nothing else: distances between clusters and their sizes mean nothing. So two numbers
stand beside each picture, both from logistic regression on the embeddings themselves, cross-validated over sentences:

- trigger AUC: clean against triggered. How well the model's embedding still tells that a trigger is there; it need not
  fall to one half, since a paraphrase reads differently to an innocent model, too.
- class AUC: trained on clean sentences alone, negative against positive, applied to triggered ones. Whether triggered
  sentences keep their class; .5 or less where the trigger overrides it, and the clean value where it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prune_env.baselines.figures.drawing import Cell, Drawing, Picture, Request
from prune_env.baselines.figures.embedded import PURIFIED, STAGES, TWIN, Embedded, embed, records_of
from prune_env.baselines.figures.models import cached
from prune_env.baselines.figures.probes import FOLDS, Probe, probe
from prune_env.baselines.figures.style import bottom_legend, new_figure
from prune_env.baselines.summary import rate_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PERPLEXITY = 30
RANDOM_STATE = 0

GROUPS = (
    ("clean negative", 0, 0, "#0072B2", "o"),
    ("clean positive", 0, 1, "#009E73", "o"),
    ("triggered negative", 1, 0, "#D55E00", "^"),
    ("triggered positive", 1, 1, "#E69F00", "^"),
)
"""Name, triggered, of the target class, colour, marker."""


@dataclass(frozen=True)
class Panel:
    """One stage of one victim.

    Attributes:
        embedded: Its embeddings.
        places: Of each sentence in the plane, (N, 2).
        probe: What a linear probe finds.
    """

    embedded: Embedded
    places: NDArray[np.float64]
    probe: Probe


def draw(request: Request) -> list[Picture]:
    """Draws one picture: rows are stages, columns victims."""
    columns = []
    for record in records_of(request):
        stages = embed(record, request)
        request.report(f"t-SNE of {record.victim}")
        columns.append([Panel(one, _places(one, request), probe(one)) for one in stages])
    return [_picture(columns)]


def _places(embedded: Embedded, request: Request) -> NDArray[np.float64]:
    identity = [embedded.record.key, embedded.stage, len(embedded.states), PERPLEXITY, RANDOM_STATE]
    return cached(request.out, "t-sne", identity, lambda: {"places": t_sne(embedded.states)})["places"]


def t_sne(states: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns places in the plane, (N, 2): the same for the same states on one machine.

    Args:
        states: (N, hidden), N at least 8; below 91 sentences the perplexity is (N - 1) / 3.
    """
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(states) - 1) / 3)
    found = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=RANDOM_STATE, n_jobs=1)
    places: NDArray[np.float64] = np.asarray(found.fit_transform(states.astype(np.float64)), dtype=np.float64)
    return places


def _picture(columns: list[list[Panel]]) -> Picture:
    record = columns[0][0].embedded.record
    title = (
        f"[CLS] embeddings before and after {record.method} at {rate_text(record.config['training']['learning_rate'])}"
    )
    there = {panel.embedded.stage for panels in columns for panel in panels}
    stages = [stage for stage in STAGES if stage in there]
    caption = _caption(columns, TWIN in there)
    figure = new_figure(2.3 * len(stages) + 0.35, title, caption, legend=0.28)
    grid = figure.subplots(len(stages), len(columns), squeeze=False)
    for column, panels in enumerate(columns):
        by_stage = {panel.embedded.stage: panel for panel in panels}
        for row, stage in enumerate(stages):
            _panel(grid[row, column], by_stage.get(stage))
        grid[0, column].set_title(f"{panels[0].embedded.record.victim}\n{_numbers(panels[0])}", fontsize=8.5)
    for row, stage in enumerate(stages):
        # Victims of several protocols have several rates.
        every = [panel.embedded for panels in columns for panel in panels]
        grid[row, 0].set_ylabel("\n".join(dict.fromkeys(one.label for one in every if one.stage == stage)), fontsize=9)
    handles, names = grid[0, 0].get_legend_handles_labels()
    bottom_legend(figure, handles, names)
    return Picture(
        name="embeddings",
        title=title,
        figure=figure,
        columns=("victim", "seed", "stage", "sentence", "triggered", "target_class", "x", "y"),
        rows=[row for panels in columns for panel in panels for row in _rows(panel)],
        says=tuple(_says(panels) for panels in columns),
        caption=caption,
    )


def _caption(columns: list[list[Panel]], twins: bool) -> str:
    first = columns[0][0].embedded
    defenders = "; ".join(f"{one[0].embedded.record.victim}, seed {one[0].embedded.record.seed}" for one in columns)
    twin = " Twin: the same recipe without poison, as trained, no defence; its numbers are an innocent model's."
    return (
        f"t-SNE (scikit-learn, perplexity {PERPLEXITY}, random_state {RANDOM_STATE}, PCA start) of [CLS] after the "
        f"last layer on test sentences, n = {first.each} of each of the four kinds; axes and distances between "
        f"clusters have no meaning. Numbers: logistic regression on the embeddings, {FOLDS} folds over sentences, a "
        "sentence and its triggered version in one fold; ± standard error over sentences (DeLong). Trigger: clean "
        "against triggered. Class: trained on clean negatives and positives, tested on triggered ones (on clean ones "
        f"held out).{twin if twins else ''} One attacker and one defender a column: {defenders}."
    )


def _panel(axes: Axes, panel: Panel | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(panel is not None)
    axes.spines[:].set_color("#cccccc")
    if panel is None:
        return
    found = panel.embedded
    for name, triggered, target, color, marker in GROUPS:
        chosen = (found.triggered == bool(triggered)) & (found.target == bool(target))
        x, y = panel.places[chosen].T
        axes.scatter(
            x, y, s=7, marker=marker, color=color, alpha=0.6, linewidths=0, label=name,
            rasterized=True,
        )  # fmt: skip
    axes.set_title(_numbers(panel), fontsize=8.5)


def _numbers(panel: Panel) -> str:
    found = panel.probe
    return (
        f"trigger AUC {found.trigger:.2f} ± {found.trigger_sd:.2f}, class AUC {found.kept:.2f} ± {found.kept_sd:.2f} "
        f"(clean {found.clean:.2f})"
    )


def _rows(panel: Panel) -> list[tuple[Cell, ...]]:
    found = panel.embedded
    identity = (found.record.victim, found.record.seed, found.stage)
    marks = zip(found.source, found.triggered, found.target, panel.places, strict=True)
    return [
        (*identity, int(sentence), int(triggered), int(target), float(x), float(y))
        for sentence, triggered, target, (x, y) in marks
    ]


def _says(panels: Sequence[Panel]) -> str:
    record = panels[0].embedded.record
    parts = [
        f"{one.embedded.label} {one.probe.kept:.2f} ± {one.probe.kept_sd:.2f} "
        f"(trigger {one.probe.trigger:.2f} ± {one.probe.trigger_sd:.2f})"
        for one in panels
    ]
    (purified,) = (one for one in panels if one.embedded.stage == PURIFIED)
    again = purified.embedded
    same = "to the sentence as recorded" if again.lfr == record.lfr else f"while {100 * record.lfr:.1f} % were recorded"
    return (
        f"On {record.victim} (seed {record.seed}) the class of triggered sentences can be read from [CLS] with an AUC "
        f"of: {', '.join(parts)}; clean sentences after the defence: {purified.probe.clean:.2f}. The purified model "
        f"was fine-tuned again for this picture and flips {100 * again.lfr:.1f} %, {same}."
    )


EMBEDDINGS = Drawing(
    "embeddings", "t-SNE of [CLS], clean and triggered, before and after a defence (the paper's 2a)", draw
)
