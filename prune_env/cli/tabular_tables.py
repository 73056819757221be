"""Tables that `prune-env tabular` prints: whole at 80 columns, where a value is folded before it is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Column, Table

from prune_env.tabular.twin import TabularTwin


def twins_table(twins: Sequence[TabularTwin]) -> Table:
    """Returns where twins come from, how large they are, and what a mask has to hold on them."""
    table = _table("twin", "set", "kind", "heads", "sentences", "holds")
    for twin in twins:
        sizes = "/".join(str(part.sentences) for part in (twin.search, twin.certify, twin.oracle_lfr))
        ((constraint, value),) = twin.constraint.items()
        held = f"{value:g}" if constraint == "threshold" else f"-{value:g}"
        table.add_row(
            twin.name,
            *(str(twin.meta[name]) for name in ("split", "kind")),
            f"{twin.layers} x {twin.heads}",
            sizes,
            held,
        )
    return table


TWINS_LEGEND = (
    "sentences: search/certify/triggered; holds: accuracy a mask has to reach, -0.02 = that of all heads less .02"
)


def scores_tables(content: dict[str, Any]) -> Group:
    """Returns a sheet of scores as a table a twin."""
    rule = "cert. = the final mask's value on other sentences; asked = evaluations; LFR is a diagnosis"
    return Group(
        f"{content['environment']}: {rule}",
        *(_scores(name, entry["scores"]) for name, entry in content["twins"].items()),
    )


def _scores(twin: str, scores: Sequence[dict[str, Any]]) -> Table:
    table = _table("policy", "return", "regret", "cert.", "cert. regret", "pruned", "asked", "LFR", numbers=7)
    table.title = f"\n{twin}"
    for score in scores:
        asked = score["evaluations"]
        values = [score[key] for key in ("value", "regret", "certified", "certified_regret", "pruned_fraction")]
        shown = [f"{value:.3f}" for value in values]
        shown.append("" if asked is None else f"{asked:.1f}")
        table.add_row(score["name"], *shown, f"{score['oracle_lfr']:.3f}")
    return table


def _table(*names: str, numbers: int = 0) -> Table:
    """Returns a table whose last `numbers` columns stand right; names stay whole, since the next command gets them."""
    columns = [Column(name, overflow="fold", no_wrap=place == 0) for place, name in enumerate(names)]
    for column in columns[len(names) - numbers :]:
        column.justify = "right"
    return Table(
        *columns, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, title_justify="left", title_style="bold"
    )
