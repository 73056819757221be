"""A whole report: made of records once, written as Markdown, CSV, JSON and a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune_env.baselines.tables.columns import LEGEND, Table, compact_table, contrast_table, main_table, split_table
from prune_env.baselines.tables.contrasts import Contrast, contrasts
from prune_env.baselines.tables.declared import primary
from prune_env.baselines.tables.hierarchy import Resampler, covers
from prune_env.baselines.tables.paper_cells import paper_cell
from prune_env.baselines.tables.rows import CLAIM_ATTACKERS, Row, by_scene, make_rows
from prune_env.baselines.tables.rule import Ruling, rate_rule
from prune_env.baselines.tables.scenes import Scene
from prune_env.baselines.tables.split import Split, splits
from prune_env.baselines.tables.verdict import verdict
from prune_env.cache import writable, write_text
from prune_env.errors import RecordError
from prune_env.metrics import Interval
from prune_env.records import Record

MARKDOWN, CSV, PAGE = "report.md", "report.csv", "report.html"
TITLE = "What removes the backdoor"


@dataclass(frozen=True)
class Section:
    """One scene with all that is said of it."""

    scene: Scene
    rows: list[Row]
    tables: list[Table]


@dataclass(frozen=True)
class Document:
    """What a report says.

    Attributes:
        verdict: The first paragraph, then its bullets.
        rows: All rows.
        rules: The rate rule's word on each row.
        splits: Removal split.
        contrasts: Every contrast.
    """

    verdict: list[str]
    rows: list[Row]
    rules: dict[Row, Ruling]
    splits: list[Split]
    contrasts: list[Contrast]

    @property
    def primary(self) -> list[str]:
        """The bullets on the contrasts that were declared, one a scene."""
        return primary(list(by_scene(self.rows)), self.contrasts)

    @property
    def compact(self) -> list[Table]:
        """A short table a scene, for the README and a terminal."""
        return [compact_table(group, self.rules) for group in by_scene(self.rows).values()]

    @property
    def sections(self) -> list[Section]:
        """Scene by scene: the main table, the split, the contrasts."""
        found = []
        for scene, group in by_scene(self.rows).items():
            parts = [one for one in self.splits if one.row.scene == scene]
            pairs = [one for one in self.contrasts if one.row.scene == scene]
            tables = [main_table(group, self.rules)]
            tables += [split_table(parts)] if parts else []
            tables += [contrast_table(pairs)] if pairs else []
            found.append(Section(scene, group, tables))
        return found


def make_document(records: Iterable[Record], seed: int = 0, draws: int = 2000) -> Document:
    """Makes a report of records.

    Args:
        records: Victims' and twins', of any number of families.
        seed: Of the resamples.
        draws: Resamples of each interval.

    Raises:
        RecordError: No record of a victim, or records that do not fit together.
    """
    resampler = Resampler(seed, draws)
    rows = make_rows(records, resampler)
    if not rows:
        raise RecordError("expected records of purified victims, got none but twins'; run the bench on the victims")
    rules = rate_rule(rows)
    pairs = contrasts(rows, resampler, rules)
    return Document(verdict(rows, pairs, resampler), rows, rules, splits(rows, resampler), pairs)


def write(document: Document, out: Path) -> list[Path]:
    """Writes report.md, report.csv and report.html into a folder.

    Raises:
        OutputError: It cannot be written to.
    """
    from prune_env.baselines.tables.page import html

    writable(out)
    contents = {MARKDOWN: markdown(document), CSV: csv_text(document), PAGE: html(document)}
    for name, text in contents.items():
        write_text(out / name, text)
    return [out / name for name in contents]


def markdown(document: Document) -> str:
    """Returns the report as Markdown."""
    first, *lines = document.verdict
    parts = [f"# {TITLE}", first, "\n".join(f"- {line}" for line in lines)]
    for section in document.sections:
        parts.append(f"## {section.scene.title}")
        parts += [markdown_table(table, heading=number > 0) for number, table in enumerate(section.tables)]
    parts += ["## How to read this", "\n".join(f"- {line}" for line in LEGEND)]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(table: Table, heading: bool) -> str:
    """Returns a table as Markdown, its note below it; its heading is its title up to the scene."""
    ruler = tuple("---" if index < table.words else "---:" for index in range(len(table.columns)))
    lines = "\n".join(f"| {' | '.join(cells)} |" for cells in (table.columns, ruler, *table.rows))
    parts = [f"**{table.title.partition(':')[0]}**" if heading else "", lines, table.note]
    return "\n\n".join(part for part in parts if part)


def csv_text(document: Document) -> str:
    """Returns one line a row, numbers unrounded, rates in [-1, 1], blank where undefined or unknown."""
    found = tidy(document)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()


def tidy(document: Document) -> list[dict[str, Any]]:
    """Returns each row as plain values by name; None where undefined or unknown."""
    parts = {one.row: one for one in document.splits}
    return [_tidy(row, document.rules[row], parts.get(row)) for row in document.rows]


def _tidy(row: Row, rule: Ruling, split: Split | None) -> dict[str, Any]:
    scene, paper = row.scene, paper_cell(row.scene.attack, row.method, row.learning_rate)
    return {
        "family": scene.family, "attack": scene.attack, "protocol": scene.protocol, "protocol_note": scene.note,
        "method": row.method, "kind": row.kind, "regime": row.regime, "constraint": row.constraint,
        "learning_rate": row.learning_rate, "note": row.note,
        "attackers": row.attackers, "records": len(row.units), "records_with_outcome": len(row.excess),
        "interval_covers": covers(row.excess), "lead": row.attackers < CLAIM_ATTACKERS,
        "rate_rule": rule.chosen, "rate_rule_records": rule.units,
        "heads": row.heads, "heads_kept": row.heads_kept, "evaluations": row.evaluations,
        **_bounds("acc", row.acc), **_bounds("lfr", row.lfr), **_bounds("auc", row.auc), **_bounds("floor", row.floor),
        **_bounds("above_floor", row.above), **_bounds("removed", row.removed),
        "split_ft_at_own_rate": split.start if split else None,
        **_bounds("split_by_rate", split.by_rate if split else None),
        **_bounds("split_by_method", split.by_method if split else None),
        "final_certify_accuracy": row.certify, "twin_acc": row.twin_acc,
        "search_passes": row.search_passes, "recovery_passes": row.recovery_passes, "seconds": row.seconds,
        "paper_acc": paper.acc if paper else None, "paper_lfr": paper.lfr if paper else None,
        "paper_lfr_sd": paper.lfr_sd if paper else None, "paper_table": paper.table if paper else None,
    }  # fmt: skip


def as_json(document: Document) -> dict[str, Any]:
    """Returns the whole report as JSON values."""
    return {
        "verdict": document.verdict,
        "rows": [
            {
                **plain,
                "acc_by_class": row.acc_by_class,
                "left_by_attacker": {str(seed): value for seed, value in row.left_by_attacker.items()},
            }
            for plain, row in zip(tidy(document), document.rows, strict=True)
        ],
        "contrasts": [_contrast(one) for one in document.contrasts],
    }


def _contrast(one: Contrast) -> dict[str, Any]:
    return {
        "family": one.row.scene.family, "protocol": one.row.scene.protocol, "method": one.row.name,
        "rival": one.rival.name, "constraint": one.row.constraint, "learning_rate": one.row.learning_rate,
        "role": one.role, "status": one.status, "rate_rule": one.at_rule, "outcome": one.outcome,
        "attackers": one.attackers, "records": len(one.units), "attackers_agreeing": one.agreeing,
        **_bounds("difference", one.difference), **_bounds("acc_difference", one.acc),
    }  # fmt: skip


def _bounds(name: str, found: Interval | None) -> dict[str, float | None]:
    if found is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
