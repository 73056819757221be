"""What `prune-env table --dry-run` prints: what is compared, what is missing, how long it takes, what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prune_env.cli.terminal import console, duration

if TYPE_CHECKING:
    from prune_env.baselines.cells import Settings
    from prune_env.baselines.needs import Need
    from prune_env.baselines.presets import Preset, Stage
    from prune_env.baselines.remaining import Remaining, Step
    from prune_env.records import Record


@dataclass(frozen=True)
class Order:
    """What the arguments ask for.

    Attributes:
        preset: What is compared.
        parts: Its stages.
        settings: What is held fixed.
        given: Records made elsewhere.
        jobs: Processes side by side.
    """

    preset: Preset
    parts: list[Stage]
    settings: Settings
    given: list[Record]
    jobs: int


def print_plan(order: Order, left: Sequence[Remaining], wanted: Sequence[Need]) -> None:
    """Prints what the table compares, a row a stage of what is left, about how long it takes and what it needs."""
    from rich import box
    from rich.table import Table

    preset = order.preset
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for name in ("attacker" if preset.attacks else "defenders", "victims to build", "records missing", "about"):
        table.add_column(name, justify="right" if name == "about" else "left")
    for number, (part, rest) in enumerate(zip(order.parts, left, strict=True)):
        seeds = [preset.attackers[number]] if preset.attacks else part.grid.seeds
        built = "\n".join(step.what for step in rest.steps if step.kind == "victim") or "none"
        table.add_row(", ".join(map(str, seeds)), built, _records(rest.steps), duration(_seconds(rest.steps)))
    show = console().print
    show("\n".join(_headline(order)), markup=False, highlight=False, soft_wrap=True)
    show(table, highlight=False)
    show(_sum([step for rest in left for step in rest.steps], order.jobs), markup=False, highlight=False)
    for need in wanted:
        state = "it is there" if need.lacking is None else f"it is not there: {need.lacking}"
        show(f"Needs {need.what}; {state}.", markup=False, highlight=False, soft_wrap=True)


def _headline(order: Order) -> list[str]:
    from prune_env.baselines.summary import rate_text

    preset, settings = order.preset, order.settings
    rates = ", ".join("the protocol's own" if rate is None else rate_text(rate) for rate in preset.rates)
    who = ", ".join(preset.victims)
    if preset.attacks:
        place = Path(order.parts[0].grid.victims[0]).parent
        who = f"{', '.join(preset.attacks)} on {preset.backbone}, in {place}"
        who += "" if place.is_dir() else ", a folder that is not there yet"
    return [
        f"Table    {preset.name}",
        f"Victims  {who}",
        f"Methods  {', '.join(preset.methods)}",
        f"Protocol {settings.protocol or 'of each victim'}",
        f"Rates    {rates}",
        f"Records  {settings.out / 'records.jsonl'}",
    ]


def _records(steps: Sequence[Step]) -> str:
    """Returns the methods that lack records, victims' or twins', each with how many."""
    counts: dict[str, int] = {}
    for step in steps:
        if step.kind == "cell":
            counts[step.what] = counts.get(step.what, 0) + step.records
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _seconds(steps: Sequence[Step]) -> float | None:
    known = [step.seconds for step in steps if step.seconds is not None]
    return sum(known) if len(known) == len(steps) else None


def _sum(steps: Sequence[Step], jobs: int) -> str:
    if not steps:
        return "Nothing is missing: run it without --dry-run for the report."
    victims = sum(step.kind == "victim" for step in steps)
    scoring = sum(step.kind == "scoring model" for step in steps)
    words = f"{sum(step.records for step in steps)} records are missing, {scoring} scoring models behind them"
    words = f"{victims} victims are to be built, {words}" if victims else words
    seconds = _seconds(steps)
    if seconds is None:
        return f"{words}. How long that takes, no record tells yet."
    return (
        f"{words}. About {duration(seconds)} of one core, {duration(seconds / jobs)} with {jobs} processes: as long as "
        "such things took by the records that are there."
    )
