"""Ablations are run once each and reported with the reference's own seeds; the README says what the records say."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path

import pytest

from prune_env.agents.ablation_records import Ablation, load, read_ablations
from prune_env.agents.ablations import RECORDS, REFERENCE, VARIANTS, Cell, described
from prune_env.baselines.locks import sole
from prune_env.comparison import ablation_run
from prune_env.comparison.ablation_report import END, START, markdown, rows_of, update_readme
from prune_env.comparison.ablation_run import LOCK, Plan, missing, run
from prune_env.errors import ConfigError, InterruptedRunError, OutputError, RecordError, UnknownNameError
from tests.agents.test_ablations import record
from tests.agents.twins import twin_file

STEPS = 800


def plan(*variants: str, seeds: int = 2) -> Plan:
    return Plan((twin_file("right"),), tuple(range(seeds)), variants or (REFERENCE, "no-masking"), STEPS)


def several(variant: str, *regrets: float, **fields: object) -> list[Ablation]:
    """A record a number, each with a seed of its own."""
    return [
        record(
            variant=variant, seed=seed, identity=f"{variant}-{seed}-{fields.get('victim')}",
            best={"regret": value, "certified_regret": value, "violations": 0.5},
            curve=[[10, 0.5, 0.5], [20, value, value]], **fields,
        )
        for seed, value in enumerate(regrets)
    ]  # fmt: skip


def test_a_second_run_does_only_what_is_missing(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    first = run(plan(), tmp_path, report=lambda *step: told.append(step))
    assert [(one.variant, one.seed) for one in first] == [
        (REFERENCE, 0), ("no-masking", 0), (REFERENCE, 1), ("no-masking", 1),
    ]  # fmt: skip
    assert told[0] == ("next is reference on right, seed 0", 0, 4) and told[-1][1:] == (4, 4)
    lines = (tmp_path / RECORDS).read_bytes().split(b"\n")
    (tmp_path / RECORDS).write_bytes(b"\n".join(lines[:3]) + b"\n" + lines[3][:50])
    left = missing(plan(), tmp_path)
    assert (left.cells, len(left.found), left.steps) == ([Cell("no-masking", twin_file("right"), 1, STEPS)], 3, STEPS)
    told.clear()
    again = run(plan(), tmp_path, report=lambda *step: told.append(step))
    assert [one[1:] for one in told] == [(3, 4), (4, 4)]
    assert [(one.identity, one.best, one.curve) for one in again] == [
        (one.identity, one.best, one.curve) for one in first
    ]
    told.clear()
    assert len(run(plan(), tmp_path, report=lambda *step: told.append(step))) == 4 and told == []


def test_processes_side_by_side_give_what_one_gives(tmp_path: Path) -> None:
    one, two = (run(plan(REFERENCE), tmp_path / str(jobs), jobs) for jobs in (1, 2))
    assert [(each.identity, each.best) for each in one] == [(each.identity, each.best) for each in two]


def test_one_that_fails_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(cell: Cell, out: Path) -> Ablation:
        if cell.seed == 0:
            raise ConfigError("no such thing")
        return record()

    done: list[str] = []
    monkeypatch.setattr(ablation_run, "run_cell", fails)
    with pytest.raises(ConfigError, match="no such thing"):
        run(plan(REFERENCE, seeds=3), tmp_path, report=lambda label, *_: done.append(label))
    assert done[1:] == ["reference on right, seed 1", "reference on right, seed 2"]


def test_ctrl_c_and_a_second_run_are_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(cell: Cell, out: Path) -> Ablation:
        raise KeyboardInterrupt

    monkeypatch.setattr(ablation_run, "run_cell", interrupted)
    with pytest.raises(InterruptedRunError, match="after 0 of 4 trainings"):
        run(plan(), tmp_path)
    with sole(tmp_path / LOCK, "test is at it", "--out"), pytest.raises(OutputError, match="another run of ablations"):
        run(plan(), tmp_path)
    assert not read_ablations(tmp_path / RECORDS)


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        (((), (0,)), ConfigError, "victims"),
        ((("tiny-style",), ()), ConfigError, "seeds"),
        ((("tiny-stile",), (0,)), UnknownNameError, "tiny-style"),
        ((("tiny-style", "tiny-style"), (0,)), ConfigError, "names of their own"),
        ((("tiny-style",), (0,), ("no-maskin",)), UnknownNameError, "no-masking"),
        ((("tiny-style",), (0,), (REFERENCE,), 100), ConfigError, "one rollout"),
    ],
)
def test_what_cannot_be_run_is_refused(
    arguments: tuple[tuple[str, ...], ...], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        Plan(*arguments)  # type: ignore[arg-type]


def test_rows_by_hand() -> None:
    records = several("no-masking", 0.2, 0.4, 0.0) + several(REFERENCE, 0.0, 0.01, 0.02)
    reference, other = rows_of(records)
    assert (reference.variant, other.variant) == (REFERENCE, "no-masking")
    assert other.differs == VARIANTS["no-masking"].differs
    assert (reference.seeds, reference.found, other.found) == (3, 2, 1)
    assert (reference.near_after, other.near_after) == (20, None)
    assert reference.regret.value == pytest.approx(0.01) and other.regret.value == pytest.approx(0.2)
    assert reference.by_chance.value == 0.25 and reference.difference is None
    assert other.difference is not None and other.difference.value == pytest.approx((0.2 + 0.39 - 0.02) / 3)
    assert -0.02 <= other.difference.low < other.difference.value < other.difference.high <= 0.39
    assert (other.violations, other.seconds, other.steps) == (0.5, 1.0, 30)


def test_differences_are_paired_by_seed() -> None:
    # Each seed is 0.1 worse than its own reference, whose seeds differ by far more than that.
    theirs = (0.0, 0.9, 0.3, 0.6, 0.1, 0.8)
    _, other = rows_of(several(REFERENCE, *theirs) + several("kappa-0", *(one + 0.1 for one in theirs)))
    assert other.difference == pytest.approx((0.1, 0.1, 0.1)) and other.outcome == "worse"


def test_only_seeds_that_both_have_are_paired() -> None:
    _, other = rows_of(several(REFERENCE, 0.5) + several("kappa-0", 0.25, 0.0))
    assert other.difference is not None and (other.difference.value, other.pairs) == (-0.25, 1)
    (alone,) = rows_of(several("kappa-0", 0.25, 0.0))
    assert (alone.difference, alone.outcome) == (None, "untested")


def test_a_report_says_what_is_worse_and_what_is_not_known() -> None:
    six = [0.1, 0.2, 0.3, 0.1, 0.2, 0.3]
    records = several(REFERENCE, *six) + several("no-masking", *(one + 0.5 for one in six))
    records += several("no-action-bias", *(one - 0.05 for one in six)) + several("kappa-0", *six)
    records += several("kappa-10", 0.9, 0.9)
    text = markdown(records)
    assert (
        "**one** (30 steps a training). Worse than the reference: no-masking. Better than the reference: "
        "no-action-bias. Not told apart from the reference: kappa-0. Without a verdict, for fewer than 6 seeds beside "
        "the reference's: kappa-10."
    ) in text
    assert "| +0.500 | 0/6 | never |" in text and "| -0.050 | 0/6 | never |" in text
    assert "| 0.250 | 0.900 | 0.50 | 1.0 |" in text, "with chance, certified regret, violations, seconds"
    assert "on the scale of the victim's default environment" in text


def test_each_victim_has_a_table() -> None:
    text = markdown(several(REFERENCE, 0.0, victim="one") + several(REFERENCE, 0.0, victim="two"))
    assert text.count("| variant |") == 2 and text.index("**one**") < text.index("**two**")
    assert "Nothing was held against the reference." in text


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"twins_sha256": "1" * 64}, "table one"),
        ({"training": {"n_envs": 1}}, "training of reference"),
        ({"steps": 40}, "number of steps on one"),
        ({"seed": 0}, "reference on one with seed 0"),
    ],
)
def test_what_does_not_belong_together_is_refused(change: dict[str, object], complaint: str) -> None:
    other = record(**{"seed": 1, "identity": "other", **change})
    with pytest.raises(RecordError, match=complaint):
        rows_of([record(), other])


def test_a_readme_is_kept_up_to_date(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{START}\n{END}\nafter\n", encoding="utf-8")
    assert update_readme(readme, several(REFERENCE, 0.0))
    assert not update_readme(readme, several(REFERENCE, 0.0))
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "| reference |" in text


def test_the_projects_readme_says_what_the_committed_records_say(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    records = load([root / "agents" / "results" / RECORDS])
    readme = shutil.copy(root / "README.md", tmp_path)
    assert not update_readme(Path(readme), records)
    cells = {(one.victim, one.variant, one.seed) for one in records}
    assert cells == set(product(("tiny-style", "tiny-syntactic"), VARIANTS, range(10)))
    for one in records:
        now = described(Cell(one.variant, one.victim, one.seed).training)
        # A field that has come since has a default that changes nothing.
        assert {name: now["environment"][name] for name in one.training["environment"]} == one.training["environment"]
        assert {**{name: now[name] for name in one.training}, "environment": 0} == {**one.training, "environment": 0}
        assert one.steps == 20_000 and one.curve[-1][0] == 20_000
