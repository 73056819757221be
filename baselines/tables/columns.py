"""The tables of a report as text, cell by cell: what Markdown, the page, the terminal and the README show alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from prune_env.baselines.summary import REFERENCE, rate_text
from prune_env.baselines.tables.contrasts import Contrast
from prune_env.baselines.tables.paper_cells import CELLS, COLUMN, SOURCE, paper_cell
from prune_env.baselines.tables.roles import OWN, own_parts
from prune_env.baselines.tables.rows import CLAIM_ATTACKERS, Row
from prune_env.baselines.tables.rule import Ruling
from prune_env.baselines.tables.split import Split
from prune_env.baselines.tables.words import heads_text, interval, percent, whole
from prune_env.recovered import PASSES_A_STEP

LEAD, ALONE, RULE = "†", "‡", "◂"
"""Marks: fewer than five attackers; one attacker; the rate rule's rate."""

MEANS = (
    "Rates in percent. A mean is over attackers of the mean over their defenders' seeds; in brackets 95 % intervals by "
    "a hierarchical bootstrap (attackers, within them defenders' seeds, and test sentences, the same for a family; "
    "differences paired sentence by sentence; sentences of AUC by DeLong's standard error). With few attackers such "
    "intervals are too narrow."
)
BARE = "Numbers without brackets have no interval."
COUNTS = (
    f"n: attackers / defender records. {LEAD} a lead: fewer than {CLAIM_ATTACKERS} attackers. {ALONE} a lead of one "
    "attacker: the intervals cover the defender's seeds and sentences (of one record: sentences alone), not attackers."
)
OUTCOME = (
    "Above floor: LFR minus the LFR of the never-poisoned twin after the same method, rate and seed; of restart, whose "
    "model never saw the suspect, minus ft's twin. It is the outcome. Removed: (LFR of ft - LFR) / (LFR of ft - floor "
    "of ft) at the same rate; blank where ft's LFR is not above its floor beyond noise."
)
RATE = (
    f"{RULE} the rate that the rate rule picks: of the rates run on all of a method's records, the highest whose mean "
    "accuracy on certify is within half a point of the best, over the records that have it at all of these rates; no "
    "mark where there is one such rate, or no such record."
)
LEGEND = (
    f"{MEANS} {BARE}",
    COUNTS,
    OUTCOME,
    RATE,
    "Contrasts: only a primary one at the rate rule's rate is decided, where five attackers or more stand behind it, "
    "its interval excludes zero, and each attacker's own difference has the mean's sign: over five or six attackers "
    "such an interval alone excludes zero in more than one case of ten where there is no difference. Both at the "
    "floor: the intervals of points above the floor reach zero on both sides, and a difference is one of floors. "
    "Development: the project's own defence was tuned on these attackers; confirmation: it was not.",
    "Passes: sentences through the forward of the whole model, a mean like the others; of the search with its "
    f"importance, and of the final fine-tuning, where a training step's sentence counts as {PASSES_A_STEP}: one "
    "forward, a backward worth two. The scoring model that a search needs costs as much as ft at the protocol's own "
    "rate and is in no row. Blank where a record does not tell. Seconds: wall time on whatever machine ran it.",
)

COMPACT = ("method", "rate", "n", "heads kept", "ACC", "LFR", "AUC", "floor", "above floor", "removed")
"""The columns that the README and a terminal have room for."""

_PAPER_NOTE = f"Paper: Tables 1 and 2 ({SOURCE}), mean ± standard deviation over five seeds; blank where not known."


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        title: Its heading.
        columns: Their names.
        rows: Cells, row by row.
        words: How many columns, from the left, are words and not numbers.
        note: What stands below it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    note: str = ""


def main_table(group: Sequence[Row], rules: Mapping[Row, Ruling], paper: bool = True) -> Table:
    """Returns the table of one scene; beside the paper's cells, if asked, where it has some of this attack."""
    scene = group[0].scene
    paper = paper and any(attack == scene.attack for attack, _ in CELLS)
    columns = [
        "method", "rate", "n", "heads kept", "ACC", "LFR", "AUC", "floor", "above floor", "removed", "certify",
        "twin ACC", "search passes", "recovery passes", "seconds",
    ]  # fmt: skip
    columns += [f"{COLUMN} ACC", f"{COLUMN} LFR"] if paper else []
    constrained = len({row.constraint for row in group if row.constraint}) > 1
    rows = tuple(
        (
            _name(row, constrained),
            f"{rate_text(row.learning_rate)}{f' {RULE}' if rules[row].chosen else ''}",
            units(row.attackers, len(row.units)),
            f"{heads_text(row.heads_kept)}/{row.heads}",
            *map(interval, (row.acc, row.lfr, row.auc, row.floor, row.above)),
            "reference" if row.method == REFERENCE else interval(row.removed),
            percent(row.certify),
            percent(row.twin_acc),
            whole(row.search_passes),
            whole(row.recovery_passes),
            whole(row.seconds),
            *(_paper(row) if paper else ()),
        )
        for row in group
    )
    limits = sorted({row.constraint for row in group if row.constraint})
    searched = f"Masks were searched under {' or '.join(limits)}." if limits else ""
    notes = [searched, _precision_note(group), _rule_note(group, rules), _PAPER_NOTE if paper else ""]
    return Table(scene.title, tuple(columns), rows, 2, " ".join(filter(None, notes)))


def _precision_note(group: Sequence[Row]) -> str:
    """Says which attackers were trained in which precision, where they were not all in one; "" otherwise."""
    found: dict[str, set[int]] = {}
    for row in group:
        for attacker, precision in row.precisions.items():
            found.setdefault(precision, set()).add(attacker)
    if len(found) < 2:
        return ""
    parts = [f"{name} with attackers {', '.join(map(str, sorted(those)))}" for name, those in sorted(found.items())]
    return f"Fine-tuned in {'; in '.join(parts)}."


def compact_table(group: Sequence[Row], rules: Mapping[Row, Ruling]) -> Table:
    """Returns the table of one scene with the columns of `COMPACT` alone, cell for cell those of `main_table`."""
    table = main_table(group, rules, paper=False)
    places = [table.columns.index(name) for name in COMPACT]
    return replace(table, columns=COMPACT, rows=tuple(tuple(cells[place] for place in places) for cells in table.rows))


def compact_legend(tables: Iterable[Table], bare: str = BARE) -> str:
    """Returns what a reader of compact tables needs to know; `bare` says what numbers without brackets are."""
    ruled = any(RULE in cells[1] for table in tables for cells in table.rows)
    return " ".join([MEANS, bare, COUNTS, OUTCOME, *([RATE] if ruled else [])])


def split_table(found: Sequence[Split]) -> Table:
    """Returns the table of removal split, of one scene."""
    own = rate_text(found[0].row.scene.own_rate)
    columns = ("method", "rate", "n", f"ft at {own}", "change by the rate", "change by the method", "left above floor")
    rows = tuple(
        (
            one.row.name,
            rate_text(one.row.learning_rate),
            units(one.attackers, one.units),
            percent(one.start),
            interval(one.by_rate, signed=True) if one.row.learning_rate != one.row.scene.own_rate else "",
            interval(one.by_method, signed=True),
            percent(one.end),
        )
        for one in found
    )
    note = (
        "Points above the matched floor; a change below zero removes. The rate: plain fine-tuning at this rate minus "
        "plain fine-tuning at the protocol's own. The method: minus plain fine-tuning at the same rate. The three add "
        "up, over the records that all have."
    )
    return Table(f"What the rate removes, and what the method adds: {found[0].row.scene.title}", columns, rows, 2, note)


def contrast_table(found: Sequence[Contrast]) -> Table:
    """Returns the table of contrasts of one scene."""
    columns = ("contrast", "rate", "role", "status", "n", "difference", "attackers agreeing", "ACC difference")
    rows = tuple(
        (
            f"{one.row.name} - {one.rival.name}",
            f"{rate_text(one.row.learning_rate)}{f' {RULE}' if one.at_rule else ''}",
            one.role,
            one.status,
            units(one.attackers, len(one.units)),
            interval(one.difference, signed=True),
            f"{one.agreeing} of {one.attackers}",
            interval(one.acc, signed=True),
        )
        for one in found
    )
    what = "points above the matched floor" if found[0].row.above is not None else "points of LFR (no twins, no floor)"
    note = (
        f"In {what}; below zero, the first leaves less. Only a primary contrast at the rate rule's rate ({RULE}), with "
        f"{CLAIM_ATTACKERS} attackers that all agree and an interval without zero, is decided; the exploratory ones "
        "are many, and some exclude zero by chance. Attackers agreeing: whose own difference has the mean's sign."
    )
    return Table(f"Contrasts: {found[0].row.scene.title}", columns, rows, 4, note)


def units(attackers: int, records: int) -> str:
    """Writes how many attackers and records stand behind a row, with the mark of a lead."""
    mark = ALONE if attackers == 1 else LEAD if attackers < CLAIM_ATTACKERS else ""
    return f"{attackers}{mark} / {records}"


def _name(row: Row, constrained: bool) -> str:
    notes = [row.constraint] if constrained and row.constraint else []
    notes += [_own(row)] if row.kind == OWN else []
    missing = len(row.units) - len(row.excess)
    notes += [f"{missing} without floor"] if missing else []
    return f"{row.name} ({', '.join(notes)})" if notes else row.name


def _own(row: Row) -> str:
    """Says on which attackers a defence of the project's own was tuned, and which ones confirm."""
    found = [(role, sorted(which or {attacker for attacker, _ in row.units})) for role, which in own_parts(row)]
    return "; ".join(f"{role}: {', '.join(map(str, seeds))}" for role, seeds in found)


def _rule_note(group: Sequence[Row], rules: Mapping[Row, Ruling]) -> str:
    """Says over how many records of which methods the rate rule compared rates; "" where it did not."""
    used: dict[str, dict[str, None]] = {}
    for row in group:
        if rules[row].units:
            words = f"{rules[row].units} of {rules[row].of}"
            used.setdefault(words, {})[row.name] = None
    parts = [f"{words} of {', '.join(names)}" for words, names in used.items()]
    return f"Records by which the rate rule compared rates: {'; '.join(parts)}." if parts else ""


def _paper(row: Row) -> tuple[str, str]:
    cell = paper_cell(row.scene.attack, row.method, row.learning_rate)
    if cell is None:
        return "", ""
    lfr = f"{cell.lfr:.2f}" if cell.lfr_sd is None else f"{cell.lfr:.2f} ± {cell.lfr_sd:.2f}"
    return "" if cell.acc is None else f"{cell.acc:.2f}", lfr
