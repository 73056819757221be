"""What `prune-env compare --dry-run` prints: what is compared, what is missing, and about how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prune_env.cli.terminal import console, duration

if TYPE_CHECKING:
    from prune_env.comparison.cells import Settings
    from prune_env.comparison.forecast import Expected
    from prune_env.comparison.plan import Missing, Plan


def print_plan(plan: Plan, settings: Settings, jobs: int) -> None:
    """Prints a plan, the trainings before it, and its missing cells with the time that such cells took.

    Args:
        plan: What is compared.
        settings: What is held fixed.
        jobs: Processes side by side.
    """
    from prune_env.comparison.forecast import expected
    from prune_env.comparison.plan import evaluations_of, missing

    left = missing(plan, settings)
    parts = expected(left.cells, settings.out, arithmetic=(settings.dtype, settings.device))
    sentence = (
        f"{left.done} of {len(plan.cells)} cells are there; {len(left.cells)} to search, with at most "
        f"{evaluations_of(left, settings):,} evaluations, after {len(left.preparations)} trainings"
    )
    show = console().print
    show("\n".join(_headline(plan, settings, left)), markup=False, highlight=False, soft_wrap=True)
    show(sentence, highlight=False, soft_wrap=True)
    if parts:
        _show_cells(parts)
        show(_sum(parts, len(left.preparations), jobs), markup=False, highlight=False, soft_wrap=True)


def _headline(plan: Plan, settings: Settings, left: Missing) -> list[str]:
    from prune_env.comparison.cells import TRIALS
    from prune_env.comparison.rows import amount

    return [
        f"Experiment  {plan.experiment}, on_violation {settings.mode}",
        f"Victims     {len(plan.victims)}: {', '.join(plan.victims)}",
        f"Contestants {len(plan.contestants)}: {', '.join(plan.contestants)}",
        f"Budgets     {', '.join(map(amount, plan.budgets))}",
        f"Seeds       {len(plan.seeds)}: {', '.join(map(str, plan.seeds))}",
        f"Trainings   {_trainings(settings, left)}",
        f"Trials      {settings.out / TRIALS}",
        *_fine_tunings(left, settings),
    ]


def _fine_tunings(left: Missing, settings: Settings) -> list[str]:
    count = len(left.cells) + len(left.searched)
    if not settings.fine_tune or not count:
        return []
    known = f", {len(left.searched)} of them of searches that are there" if left.searched else ""
    return [f"Fine-tuned  {count} masks at most{known}; how long, no trial tells: no time below counts it"]


def _trainings(settings: Settings, left: Missing) -> str:
    count, before = len(left.preparations), settings.before
    if not count:
        return "none before"
    names = ", ".join(dict.fromkeys(one.contestant for one in left.preparations))
    return (
        f"{count} before, of {names}: {before.steps:,} steps each, {count * before.steps:,} in all, on "
        f"{before.victims} (twins: {len(before.origins)}); one that is finished is not run again"
    )


def _show_cells(parts: Sequence[Expected]) -> None:
    from rich import box
    from rich.table import Table

    from prune_env.comparison.rows import amount

    budgets = sorted({part.budget for part in parts}, key=lambda budget: budget or 0)
    table = Table("to run", box=box.SIMPLE_HEAD, padding=(0, 1))
    for budget in budgets:
        table.add_column(amount(budget), justify="right")
    found = {(part.contestant, part.budget): part for part in parts}
    for name in dict.fromkeys(part.contestant for part in parts):
        own = [found.get((name, budget)) for budget in budgets]
        table.add_row(name, *("" if part is None else f"{part.cells} x {_each(part.seconds)}" for part in own))
    console().print(table, highlight=False)


def _each(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds:.2g} s" if seconds < 60 else duration(seconds)


def _sum(parts: Sequence[Expected], trainings: int, jobs: int) -> str:
    known = [part for part in parts if part.in_all is not None]
    if not known:
        return "How long that takes, no trial tells yet."
    seconds = sum(part.in_all or 0.0 for part in known)
    cells, all_cells = (sum(part.cells for part in some) for some in (known, parts))
    unknown = [f"the other {all_cells - cells}"] if cells < all_cells else []
    unknown += ["the trainings before"] if trainings else []
    rest = f" Unknown for {' and '.join(unknown)}." if unknown else ""
    beside = f", {duration(seconds / jobs)} in {jobs}" if jobs > 1 else ""
    return (
        f"About {duration(seconds)} for {cells} of {all_cells} cells in one process{beside}: as long as such cells "
        f"took by the clock in the trials that are there, on live victims the slowest of them.{rest}"
    )
