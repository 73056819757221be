"""What trials say: rows, verdicts and files by hand."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from prune_env.agents.searchers.annealing import SimulatedAnnealing
from prune_env.agents.searchers.evolution import Evolution
from prune_env.comparison import CONTESTANTS, transfer
from prune_env.comparison.picture import curves_of
from prune_env.comparison.report import END, FEW_LEGEND, LEGEND, START, markdown, title, update_readme, write
from prune_env.comparison.rows import rows_of
from prune_env.comparison.trials import load
from prune_env.comparison.tuning import TUNING
from prune_env.comparison.verdict import sentences
from prune_env.errors import OutputError, RecordError
from prune_env.importance import passes_asked
from prune_env.scoring import IMPORTANCE_SENTENCES
from prune_env.tabular.environment import EVERY_METRIC
from tests.comparison.factory import both, three, trial


def test_a_row_by_hand() -> None:
    (row,) = rows_of(three("ppo", "learner", 0.1, 0.2, 0.3, 0.9, episode=(3, 0.25)))
    assert (row.runs, row.budget, row.evaluations) == (4, 10, 10.0)
    assert row.certified.value == pytest.approx(0.25)
    assert row.certified_regret is not None and row.certified_regret.value == pytest.approx(0.75)
    assert row.policy_regret == pytest.approx(0.75)
    assert row.policy_evaluations == 3.0


def test_budgets_of_one_episode_are_one_row_whatever_the_size() -> None:
    small, large = three("random", "random", 0.5, budget=7, per_episode=True), three(
        "random", "random", 0.5, budget=17, per_episode=True, victim="two", identity="1" * 64
    )  # fmt: skip
    (row,) = rows_of(small + large)
    assert (row.budget, row.runs) == (None, 2)
    assert "one episode's evaluations" in markdown([*small, *large])


def test_two_versions_do_not_belong_together() -> None:
    with pytest.raises(RecordError, match="victim one"):
        rows_of([trial(), trial(seed=1, identity="1" * 64)])
    with pytest.raises(RecordError, match="contestant random on one"):
        rows_of([trial(), trial(seed=1, settings={"contestant": {"other": 1}})])


def test_a_report_without_optima_has_no_regret() -> None:
    unknown = {"experiment": "real", "regret": None, "certified_regret": None, "scales": None, "oracle_lfr": None}
    text = markdown(three("random", "random", 0.5, 0.6, **unknown))
    assert "| contestant | kind | 10 evaluations | used | s | wall s |\n| --- | --- | ---: | ---: |" in text
    assert "| random | random | 0.550 [0.500, 0.600] † | 10.0 | 0.5 | 0.5 |" in text


def test_an_interval_of_few_seeds_is_marked_and_the_mark_is_explained() -> None:
    few, enough = three("random", "random", *[0.5, 0.6] * 2, 0.5), three("random", "random", *[0.5, 0.6] * 3)
    assert "] † |" in markdown(few) and FEW_LEGEND in markdown(few) and "Fewer than 6 seeds of some" in FEW_LEGEND
    assert "†" not in markdown(enough), "six seeds on one victim"
    elsewhere = three("random", "random", *[0.5, 0.6] * 2, victim="two", identity="1" * 64)
    (row,) = rows_of([*enough, *elsewhere])
    assert (row.runs, row.seeds) == (10, 4)
    assert "] † |" in markdown([*enough, *elsewhere]), "four on the other, however many runs there are"
    assert "| 0.500 † |" in markdown(three("greedy", "searcher", 0.5, 0.5)), "that two seeds agree says little"


def test_a_table_tells_what_was_used_and_how_many_runs_left_a_policy() -> None:
    trials = [
        trial("ppo", "learner", 0.5, evaluations=8, wall_seconds=2.0, episode=(3, 0.25)),
        trial("ppo", "learner", 0.5, evaluations=10, wall_seconds=2.0, seed=1, episode=(3, 0.75)),
        trial("ppo", "learner", 0.5, evaluations=9, wall_seconds=2.0, seed=2),
    ]
    assert "| ppo | learner | 0.500 † | 9.0 | 0.500 | 0.500 | 0.500 (2) | 0.25 | 0.5 | 2 |" in markdown(trials)


def test_titles_say_what_was_done() -> None:
    before = {
        "before": {"victims": "family-train", "count": 16, "digest": "0", "steps": 9, "on_violation": "terminate"}
    }
    agent = three("trained-ppo", "trained", 0.5, experiment="family", settings=before)
    rival = three("random", "random", 0.5, experiment="family")
    assert title("family", agent + rival) == (
        "Family of tiny victims: some agents trained on 16 victims of family-train before, 9 steps, and not there"
    )
    assert title("tabular", rival) == "Tabular twins"
    learner = three("ppo", "learner", 0.5)
    assert title("tabular", learner) == "Tabular twins: agents trained on each victim that they are judged on"
    assert title("tabular", learner + agent).endswith(
        "before, 9 steps, and not there, others trained on each victim that they are judged on"
    )


def test_a_report_claims_of_tuning_what_is_known_of_each_contestant() -> None:
    assert set(TUNING) == set(CONTESTANTS)
    text = markdown(both((0.7, 0.7, 0.7), (0.5, 0.5, 0.5)) + three("new", "searcher", *[0.5] * 6))
    assert "| annealing | temperatures 1.0 to 0.1 set by hand, not tuned |" in text
    assert "| ppo | defaults of `heads`, chosen on the embedded twins |" in text
    assert "| new | not recorded |" in text
    assert "| evolution |" not in text
    assert "tuned on none" not in text


def test_the_legend_says_how_much_the_metrics_read() -> None:
    passes = sum(passes_asked(name) for name in EVERY_METRIC)
    assert f"at most {IMPORTANCE_SENTENCES:,} sentences {passes} times through the model" in " ".join(LEGEND.split())


def test_tuning_names_the_numbers_that_are_used() -> None:
    assert TUNING["annealing"].startswith(
        f"temperatures {SimulatedAnnealing().hottest} to {SimulatedAnnealing().coldest}"
    )
    assert TUNING["evolution"].startswith(f"first mean {Evolution().kept} and spread {Evolution().spread}")


def test_curves_stand_after_the_last_evaluation() -> None:
    (curve,) = curves_of(three("random", "random", 0.5, 0.5))
    assert curve.evaluations[0] == 1 and curve.evaluations[-1] == 10
    assert curve.band[0].tolist() == [0.0] * (len(curve.evaluations) - 1) + [0.5]
    assert (np.diff(curve.evaluations) > 0).all()


def test_files_are_written_and_the_same_again(tmp_path: Path) -> None:
    trials = both((0.4, 0.6, 0.8), (0.5, 0.6, 0.7))
    paths = write(trials, tmp_path / "one")
    assert [path.name for path in paths] == [
        "compare.md", "compare.csv", "compare-tabular.png", "compare-tabular.svg", "compare-tabular.csv",
    ]  # fmt: skip
    again = write(trials, tmp_path / "two")
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    rows = list(csv.DictReader(paths[1].read_text(encoding="utf-8").splitlines()))
    assert [(row["contestant"], row["certified"]) for row in rows] == [
        ("random", "0.6"), ("annealing", "0.6"), ("scripts", "0.6"), ("ppo", "0.6"),
    ]  # fmt: skip


def test_a_readme_is_kept_up_to_date(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{START}\n{END}\nafter\n", encoding="utf-8")
    trials = both((0.7, 0.7, 0.7), (0.5, 0.5, 0.5))
    assert update_readme(readme, trials)
    assert not update_readme(readme, trials)
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before") and text.endswith("after\n") and "| ppo | learner |" in text
    with pytest.raises(OutputError, match="compare:start"):
        update_readme(tmp_path / "README.md", trials) if readme.write_text("none") == 0 else update_readme(
            readme, trials
        )


def test_the_projects_readme_says_what_the_committed_trials_say(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    files = sorted((root / "prune_env" / "comparison" / "results").glob("*.jsonl"))
    assert [file.stem for file in files] == ["family", "real", "tabular"]
    readme = shutil.copy(root / "README.md", tmp_path)
    assert not update_readme(Path(readme), [trial for file in files for trial in load([file])])


def test_the_projects_readme_quotes_what_the_trials_of_two_cores_say() -> None:
    root = Path(__file__).parents[2]
    text = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    trials = load([root / "prune_env" / "comparison" / "results" / "two-cores" / "real.jsonl"])
    assert "PPO with 20 reaches 84.6 % [77.4, 91.2] of the best with 200" in text
    assert any(
        "trained-ppo with 20 evaluations reaches 84.6 % [77.4, 91.2]" in one for one in transfer.sentences(trials)
    )
    verdicts = " ".join(sentences(trials))
    for quoted, said in (("(+.073 [-.017, +.177])", "+0.073 [-0.017, +0.177]"), (".031 [-.049", "+0.031 [-0.049")):
        assert quoted in text and said in verdicts
