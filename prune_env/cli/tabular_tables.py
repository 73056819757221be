"""Tables that `prune-env tabular` prints."""

from __future__ import annotations

from typing import Any

from rich.table import Column, Table


def name_column() -> Column:
    """Returns the column of the names, which stay whole: they are what the next command is given."""
    return Column("twin", no_wrap=True, min_width=27)


def scores_table(content: dict[str, Any]) -> Table:
    """Returns a sheet of scores as a table."""
    rule = "certified = the final mask's value on other sentences; asked = evaluations; LFR is a diagnosis"
    title = f"{content['environment']}: {rule}"
    columns = (
        name_column(),
        Column("policy", no_wrap=True, min_width=14),
        "return",
        "regret",
        "certified",
        "certified regret",
        "pruned",
        "asked",
        "LFR",
    )
    table = Table(*columns, title=title)
    for name, entry in content["twins"].items():
        for score in entry["scores"]:
            asked = score["evaluations"]
            values = [score[key] for key in ("value", "regret", "certified", "certified_regret", "pruned_fraction")]
            shown = [f"{value:.3f}" for value in values]
            asked = "" if asked is None else f"{asked:.1f}"
            table.add_row(name, score["name"], *shown, asked, f"{score['oracle_lfr']:.3f}")
            name = ""  # noqa: PLW2901  # once a twin
        table.add_section()
    return table
