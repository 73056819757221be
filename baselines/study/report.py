"""The study's page: what foretells the LFR that matters, as Markdown, from the tables that ship."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prune_env.baselines.study.correlations import OTHER_SEED, correlation, predictors, sample
from prune_env.baselines.study.ground_truth import metric_auc
from prune_env.baselines.study.table import Rows, Table, read_tables
from prune_env.errors import RecordError
from prune_env.metrics import Interval

SHIPPED = Path(__file__).parents[1] / "results" / "study"

NOT_SHIPPED = (
    "the table of the mask study is not shipped yet; run `prune-env study --out RUN` (days of one core), then "
    "`prune-env study --out RUN --ship TABLES`, and name that folder by"
)
"""What to do without the study's own table; the flag that names a folder follows."""

_DIGITS = 2
_AFFORDED = 0.005
"""Points of ACC that a mask may cost against the full mask, in the comparison with the best mask."""

_HEAD = """\
# Is the environment's objective the right one?

Every mask below was put on a routed tiny victim and fine-tuned by the victim's own protocol, with each of the
defender's seeds that are named. A line says how well a number known before fine-tuning ranks masks by the LFR after it:
Spearman's correlation, the mean over seeds, with a 95 % interval over resampled masks. **Negative is good**: the higher
the number, the less of the backdoor is left. "At equal size" compares masks that keep equally many heads only.
The intervals are over masks; there are one attacker a victim and one seed or a few, none of which is in them.
`python -m prune_env study --report` makes this page of the tables in this folder.
"""


def shipped() -> list[Table]:
    """Reads the tables that ship.

    Raises:
        RecordError: None ship yet; or one that is not what a study wrote.
    """
    if not any(SHIPPED.glob("*.csv")):
        raise RecordError(f"{NOT_SHIPPED} --table TABLES")
    return read_tables(SHIPPED)


def markdown(tables: Sequence[Table]) -> str:
    """Returns the page.

    Args:
        tables: At least one victim's.
    """
    everything = [(table, seed) for table in tables for seed in table.rows]
    pages = [_HEAD]
    if len(tables) > 1:
        pages.append(_correlations("All victims and seeds", everything))
    for table in tables:
        groups = [(table, seed) for seed in table.rows]
        pages += [_correlations(table.victim, groups), _choices(table)]
        if table.carriers is not None:
            pages.append(_ground_truth(table))
    return "\n".join(pages)


def _correlations(title: str, groups: list[tuple[Table, int]]) -> str:
    found = sample(groups)
    single = len({table.victim for table, _ in groups}) == 1
    alone = [(f"seed {seed}", sample([(table, seed)])) for table, seed in groups] if single and len(groups) > 1 else []
    head = ["known beforehand", "all", "at equal size", *(label for label, _ in alone)]
    lines = [f"## {title}: {len(found.kept)} masks, {_named(groups)}", "", _row(head), _row(["---"] * len(head))]
    for name in [*_common(groups), OTHER_SEED]:
        cells = [_cell(correlation(found, name)), _cell(correlation(found, name, equal_size=True))]
        cells += [_cell(correlation(one, name)) for _, one in alone]
        lines.append(_row([name, *cells]))
    return "\n".join([*lines, ""])


def _common(groups: list[tuple[Table, int]]) -> list[str]:
    """Returns the predictors that all groups have: victims without carriers know no ground truth."""
    first, *others = ([*predictors(table, seed)] for table, seed in groups)
    return [name for name in first if all(name in known for known in others)]


def _choices(table: Table) -> str:
    """Says what LFR different ways to choose among these masks would have left."""
    head = ["seed", "masks", "full mask (FT)", "mean of all", "highest return", "lowest"]
    head.append(f"lowest with ACC within {100 * _AFFORDED:.1f} of FT")
    lines = [f"### {table.victim}: LFR after fine-tuning of masks chosen by ..., with ACC", ""]
    lines += [_row(head), _row(["---"] * len(head))]
    lines += [_row([str(seed), str(len(rows.masks)), *_chosen(rows)]) for seed, rows in table.rows.items()]
    return "\n".join([*lines, ""])


def _chosen(rows: Rows) -> list[str]:
    lfr, acc, full = rows.values["lfr"], rows.values["acc"], rows.masks.all((1, 2))
    best = rows.values["return"] == rows.values["return"].max()
    cells = [_rates(lfr[full], acc[full]), _rates(lfr, acc), _rates(lfr[best], acc[best])]
    lowest = np.argmin(lfr)
    cells.append(_rates(lfr[[lowest]], acc[[lowest]]))
    if not full.any():
        return [*cells, "-"]
    affordable = acc >= acc[full][0] - _AFFORDED
    place = np.flatnonzero(affordable)[np.argmin(lfr[affordable])]
    return [*cells, _rates(lfr[[place]], acc[[place]])]


def _ground_truth(table: Table) -> str:
    """Says how well each metric, pruned lowest first, finds the carriers."""
    carriers = table.carriers
    if carriers is None:
        return ""
    head = ["metric", *(f"seed {seed}" for seed in table.rows)]
    lines = [
        f"### {table.victim}: each metric against the {int(carriers.sum())} heads that carry the backdoor",
        "",
        "AUC of pruning the least important heads first: .5 is chance, 1 prunes the carriers first, 0 keeps them last.",
        "",
        _row(head),
        _row(["---"] * len(head)),
    ]
    for metric in next(iter(table.rows.values())).importance:
        found = [metric_auc(rows.importance[metric], carriers) for rows in table.rows.values()]
        lines.append(_row([metric, *(f"{value:.{_DIGITS}f}" for value in found)]))
    return "\n".join([*lines, ""])


def _rates(lfr: np.ndarray, acc: np.ndarray) -> str:
    return f"{100 * lfr.mean():.1f} (ACC {100 * acc.mean():.1f})" if len(lfr) else "-"


def _named(groups: list[tuple[Table, int]]) -> str:
    victims, seeds = {table.victim for table, _ in groups}, sorted({seed for _, seed in groups})
    what = "1 victim" if len(victims) == 1 else f"{len(victims)} victims"
    return f"{what}, defender's seeds {', '.join(map(str, seeds))}"


def _cell(found: Interval | None) -> str:
    if found is None:
        return "-"
    return f"{found.value:+.{_DIGITS}f} [{found.low:+.{_DIGITS}f}, {found.high:+.{_DIGITS}f}]"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
