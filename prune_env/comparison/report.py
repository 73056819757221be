"""The report of trials: what they say, tables as Markdown and CSV, and the same between the README's markers."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from pathlib import Path

from prune_env.cache import write_text
from prune_env.comparison import episodes, remaining, transfer
from prune_env.comparison.rows import Row, amount, complete, place, rows_of
from prune_env.comparison.trials import EXPERIMENTS, Trial
from prune_env.comparison.tuning import tuning_table
from prune_env.comparison.verdict import FEW, SEEDS, headline, interval, sentences
from prune_env.errors import OutputError
from prune_env.markers import write_between

START, END = "<!-- compare:start -->", "<!-- compare:end -->"

TITLES = {"tabular": "Tabular twins", "family": "Family of tiny victims", "real": "Live victims"}
"""Of each experiment, in the order of a report; what agents were trained on is read off the trials."""

LEGEND = """\
- **evaluation**: a distinct mask asked for, training included where an agent trains on the victim. *Used*: how many
  were asked for, on average, at the largest budget, as every column after it.
- **what is read**: agents that train on the victim, and searchers, read gradient and attention variance of every
  head; scripts what they rank by; agents trained before all six metrics that a defender can compute. Metrics are
  computed once, and count as no evaluation.
- **certified value**: pruned fraction of the mask that was best on the search split, less 1/n and the missing
  accuracy if it misses the threshold on the certify split.
- **intervals**: interquartile means over victims and seeds, 95 % bootstrap intervals over seeds, given these
  victims; of agents trained before, a seed is one agent on all victims. The best contestant of a kind is chosen on
  the even seeds and tested on the odd ones; the table shows all seeds.
- **not counted**: what agents were trained on other victims, and the metrics (the report's seconds leave both out):
  all six metrics send each of at most 1,000 sentences 29 times through the model, some of that with gradients, where
  a mask sends the search split once. Random search needs neither.
- **regret**: 0 = the best return that an episode can reach on the search split, 1 = random play; a mask that no
  episode reaches may be worth more, so that a searcher's regret may in principle be below 0. *Certified regret*: 0
  = the best of all masks.
- **policy**: mean regret of the return of the policy's own episode without chance, and the number of runs behind
  it; an agent plays that episode beyond its budget.
- **LFR**: a diagnosis of the masked model, which nobody but the judge sees; a mean. *After the whole defence*: the
  mask on the suspect's own encoder, fine-tuned once on the clean data (one defender's seed); LFR on the victim's
  triggered validation sentences, with no floor taken off, and accuracy on the certify split. Intervals are over the
  seeds of the search alone.
- **s, wall s**: processor seconds and seconds by the clock, medians of a run; on live victims of the slowest run,
  since a process computes a mask once, whoever asks for it next. What the judge does afterwards is left out."""


NAMED = 4
"""Victims that a heading names; of more it gives the number."""

FEW_LEGEND = f"{FEW} Fewer than {SEEDS} seeds of some victim: a lead at most, and an interval is likely too narrow."


def by_experiment(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    """Returns the trials of each experiment that there is, in the order of a report."""
    every = complete(trials)
    found = {name: [trial for trial in every if trial.experiment == name] for name in EXPERIMENTS}
    return {name: group for name, group in found.items() if group}


def markdown(trials: Iterable[Trial], seed: int = 0) -> str:
    """Returns the report: for each experiment a heading, the answer, a sentence a budget and a table; then legends.

    Args:
        trials: Of any experiments.
        seed: Of the resamples.
    """
    trials, parts = list(trials), list[str]()
    for name, group in by_experiment(trials).items():
        victims = sorted({one.victim for one in group})
        listed = f": {', '.join(victims)}" if len(victims) <= NAMED else ""
        about = f"{_count(victims, 'victim')}{listed}; {_seeds(group)}"
        said = "\n".join(f"- {sentence}" for sentence in _said(name, group, seed))
        parts += [f"**{title(name, group)}** ({about}). {headline(group, seed)}", said, table(rows_of(group, seed))]
        parts.append(remaining.table(group, seed))
    names = {trial.contestant for trial in trials}
    few = FEW_LEGEND if any(FEW in part for part in parts) else ""
    return "\n\n".join(filter(None, [*parts, few, LEGEND, tuning_table(names)]))


def title(experiment: str, trials: Sequence[Trial]) -> str:
    """Returns an experiment's title: what it was judged on, and what agents were trained on, as the trials say it."""
    befores = [trial.settings["before"] for trial in trials if trial.kind == "trained"]
    trained = {
        f"{_count(range(one['count']), 'victim')} of {one['victims']} before, {one['steps']:,} steps" for one in befores
    }
    parts = [f"some agents trained on {' and on '.join(sorted(trained))}, and not there"] if trained else []
    if any(trial.kind == "learner" for trial in trials):
        parts.append(f"{'others' if parts else 'agents'} trained on each victim that they are judged on")
    return ": ".join(filter(None, [TITLES[experiment], ", ".join(parts)]))


def _said(experiment: str, trials: Sequence[Trial], seed: int) -> list[str]:
    extra = {"tabular": [], "family": episodes.sentences(trials, seed), "real": transfer.sentences(trials, seed)}
    return [*sentences(trials, seed), *extra[experiment]]


def table(rows: Sequence[Row]) -> str:
    """Returns certified values by budget, and what else there is at each contestant's largest budget, as Markdown.

    A column that says nothing of anyone is left out, such as regret where no optimum is known.
    """
    budgets = sorted({row.budget for row in rows}, key=lambda budget: budget or 0)
    found = {(row.contestant, row.budget): row for row in rows}
    names = sorted({row.contestant for row in rows}, key=place)
    head = ["contestant", "kind", *map(amount, budgets)]
    head += ["used", "regret", "certified regret", "policy (runs)", "LFR", "s", "wall s"]
    lines = list[list[str]]()
    for name in names:
        own = [found.get((name, budget)) for budget in budgets]
        last = [row for row in own if row is not None][-1]
        values = ["" if row is None else interval(row.certified, row.seeds) for row in own]
        rest = [last.regret, last.certified_regret]
        lines.append(
            [name, last.kind, *values, f"{last.evaluations:.1f}",
             *("" if one is None else f"{one.value:.3f}" for one in rest),
             "" if last.policy_regret is None else f"{last.policy_regret:.3f} ({last.policy_runs})",
             "" if last.oracle_lfr is None else f"{last.oracle_lfr.value:.2f}",
             _seconds(last.seconds), _seconds(last.wall_seconds)]
        )  # fmt: skip
    rule = ["---", "---", *(["---:"] * (len(head) - 2))]
    said = [column for column in zip(head, rule, *lines, strict=True) if any(column[2:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in zip(*said, strict=True))


def _seeds(trials: Sequence[Trial]) -> str:
    """Returns how many seeds there are of each contestant, budget and victim."""
    counts = Counter((one.contestant, one.allowance, one.victim) for one in trials).values()
    fewest, most = min(counts), max(counts)
    return f"{most} seed{'s' * (most != 1)}" if fewest == most else f"{fewest} to {most} seeds"


def _seconds(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _count(things: Collection[object], name: str) -> str:
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"


def rows_csv(trials: Iterable[Trial], seed: int = 0) -> str:
    """Returns every row's numbers as CSV."""
    names = [field.name for field in fields(Row)]
    estimates = ("certified", "regret", "certified_regret", "oracle_lfr")
    head = ["experiment"]
    for name in names:
        head += [name, f"{name}_low", f"{name}_high"] if name in estimates else [name]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    for experiment, group in by_experiment(trials).items():
        for row in rows_of(group, seed):
            cells: list[object] = [experiment]
            for name in names:
                value = getattr(row, name)
                cells += list(value or ("", "", "")) if name in estimates else [value]
            writer.writerow([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in cells])
    return buffer.getvalue()


def write(trials: Sequence[Trial], out: Path, seed: int = 0) -> list[Path]:
    """Writes compare.md, compare.csv, what remains where masks were defended, and each experiment's curves.

    Raises:
        OutputError: A file cannot be written.
    """
    from prune_env.comparison.picture import save_curves

    texts = {"compare.md": f"# Comparison\n\n{markdown(trials, seed)}\n", "compare.csv": rows_csv(trials, seed)}
    groups = by_experiment(trials)
    texts |= {f"compare-{name}-defended.csv": remaining.as_csv(group, seed) for name, group in groups.items()}
    texts = {name: text for name, text in texts.items() if text}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_text(out / name, text)
        pictures = [save_curves(name, group, out, seed) for name, group in groups.items()]
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror}; choose another --out") from error
    return [*(out / name for name in texts), *(path for paths in pictures for path in paths)]


def update_readme(readme: Path, trials: Sequence[Trial], seed: int = 0) -> bool:
    """Writes the report between the README's markers and returns whether the file changed.

    Raises:
        OutputError: No README, or one without the two markers.
    """
    return write_between(readme, (START, END), markdown(trials, seed))
