"""What trials say: rows, verdicts and files by hand."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from prune_env.agents.searchers.annealing import SimulatedAnnealing
from prune_env.agents.searchers.evolution import Evolution
from prune_env.comparison import CONTESTANTS, episodes, transfer
from prune_env.comparison.picture import curves_of
from prune_env.comparison.report import END, FEW_LEGEND, START, markdown, title, update_readme, write
from prune_env.comparison.rows import rows_of
from prune_env.comparison.trials import Trial, load
from prune_env.comparison.tuning import TUNING
from prune_env.comparison.verdict import contrasts, headline, sentences
from prune_env.errors import OutputError, RecordError
from tests.comparison.factory import trial


def three(contestant: str, kind: str, *values: float, **fields: object) -> list[Trial]:
    """A trial a value, each with a seed of its own."""
    return [trial(contestant, kind, value, seed=seed, **fields) for seed, value in enumerate(values)]


def both(learned: tuple[float, ...], rival: tuple[float, ...]) -> list[Trial]:
    """A learned agent against random search, the scripts and a searcher, which find the same; each number twice."""
    kinds = {"random": "random", "scripts": "script", "annealing": "searcher"}
    rivals = [one for name, kind in kinds.items() for one in three(name, kind, *doubled(rival))]
    return three("ppo", "learner", *doubled(learned), episode=(3, 0.25)) + rivals


def doubled(values: tuple[float, ...]) -> list[float]:
    """The same numbers for the even seeds and the odd ones."""
    return [value for value in values for _ in range(2)]


def test_a_row_by_hand() -> None:
    (row,) = rows_of(three("ppo", "learner", 0.1, 0.2, 0.3, 0.9, episode=(3, 0.25)))
    assert (row.runs, row.budget, row.evaluations) == (4, 10, 10.0)
    assert row.certified.value == pytest.approx(0.25)
    assert row.certified_regret is not None and row.certified_regret.value == pytest.approx(0.75)
    assert row.policy_regret == pytest.approx(0.75)
    assert row.policy_evaluations == 3.0


@pytest.mark.parametrize(
    ("learned", "rival", "outcome", "answer"),
    [
        ((0.7, 0.71, 0.72), (0.5, 0.51, 0.52), "beats", "Yes"),
        ((0.5, 0.51, 0.52), (0.7, 0.71, 0.72), "loses to", "No"),
        ((0.4, 0.6, 0.8), (0.5, 0.6, 0.7), "is not told apart from", "No"),
    ],
)
def test_the_answer_is_plain(learned: tuple[float, ...], rival: tuple[float, ...], outcome: str, answer: str) -> None:
    trials = both(learned, rival)
    assert {one.outcome for one in contrasts(trials)} == {outcome}
    assert headline(trials).startswith(
        f"Does a learned agent beat random search, scripts and searchers at the same number of evaluations? {answer}."
    )


def test_fewer_than_six_seeds_are_a_lead_and_no_verdict() -> None:
    trials = both((0.9, 0.9), (0.1, 0.1))
    assert {(one.outcome, one.seeds) for one in contrasts(trials)} == {("is untested against", (0, 1, 2, 3))}
    assert headline(trials).endswith("No verdict: fewer than 6 seeds, which is a lead at most.")
    assert "fewer than 6 seeds, no verdict: chosen and shown on the same seeds 0, 1, 2, 3" in sentences(trials)[0]


def test_one_contestant_with_half_of_the_seeds_leaves_no_verdict() -> None:
    trials = both((0.9, 0.9, 0.9), (0.1, 0.1, 0.1)) + [
        trial("greedy", "searcher", 0.5, seed=seed) for seed in (0, 2, 4)
    ]
    assert not any(one.tested for one in contrasts(trials))


def test_the_best_is_chosen_on_the_even_seeds_and_tested_on_the_odd_ones() -> None:
    # The one shines on the even seeds alone, the other on the odd ones: the first is chosen, and fails the test.
    shining = three("ppo", "learner", *[0.9, 0.2] * 3) + three("a2c", "learner", *[0.3, 0.9] * 3)
    rivals = [
        one for name, kind in (("random", "random"), ("scripts", "script"), ("greedy", "searcher"))
        for one in three(name, kind, *[0.5] * 6)
    ]  # fmt: skip
    found = contrasts(shining + rivals)
    assert {(one.learned.contestant, one.outcome, one.seeds) for one in found} == {("ppo", "loses to", (1, 3, 5))}
    assert [one.difference.value for one in found] == pytest.approx([-0.3] * 3)
    assert (
        "ppo (0.200; chosen on the even seeds, tested on the seeds 1, 3, 5), loses to" in sentences(shining + rivals)[0]
    )


def test_a_searcher_that_wins_keeps_the_answer_from_yes() -> None:
    trials = both((0.7, 0.7, 0.7), (0.5, 0.5, 0.5)) + three("greedy", "searcher", *[0.8] * 6)
    assert "? In part. Of 1 budget: " in headline(
        trials
    ) and "against the searchers it wins at 0, loses at 1" in headline(trials)


def test_a_kind_that_was_not_run_keeps_the_answer_from_yes() -> None:
    trials = three("ppo", "learner", *[0.9] * 6) + three("random", "random", *[0.5] * 6)
    assert (
        "? In part. Of 1 budget: against random search it wins at 1, loses at 0; the scripts were not run"
        in headline(trials)
    )


def test_a_budget_that_is_won_and_one_that_is_lost_are_a_part() -> None:
    trials = both((0.7, 0.7, 0.7), (0.5, 0.5, 0.5))
    later = [three("ppo", "learner", *[0.5] * 6, budget=20), three("random", "random", *[0.7] * 6, budget=20)]
    found = headline([*trials, *(one for group in later for one in group)])
    assert "In part. Of 2 budgets: against random search it wins at 1, loses at 1" in found


def test_nobody_to_compare_with_is_said() -> None:
    assert headline(three("random", "random", 0.5)) == (
        "No learned agent was compared with anyone at the same number of evaluations."
    )


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


def test_an_episode_is_held_against_as_many_evaluations() -> None:
    agent = three("trained-ppo", "trained", 0.6, 0.6, 0.6, experiment="family", episode=(4, 0.5))
    # At 4 evaluations the rival has nothing yet, at 10 it has more than the agent.
    late = three("random", "random", 0.9, 0.9, 0.9, experiment="family")
    early = [
        trial("scripts", "script", seed=seed, experiment="family",
              improvements=[[1, "11/11", 0.0, 0.0], [3, "10/11", 0.75, 0.75]])
        for seed in range(3)
    ]  # fmt: skip
    found = {match.rival: match for match in episodes.matches(agent + late + early)}
    assert (found["random"].ours, found["random"].theirs) == (0.5, 1.0)
    assert found["random"].difference == pytest.approx((0.5, 0.5, 0.5))
    assert found["scripts"].difference == pytest.approx((-0.25, -0.25, -0.25))
    (sentence,) = episodes.sentences(agent + late + early)
    assert "mean normalised regret 50.0 % [50.0, 50.0] of its return" in sentence
    assert "better than random (100.0 %, run allowed 10); worse than scripts (25.0 %, run allowed" in sentence


def test_an_episode_meets_the_rivals_run_that_is_just_large_enough() -> None:
    agent = three("trained-ppo", "trained", 0.6, 0.6, 0.6, experiment="family", episode=(4, 0.5))
    runs = [
        one for budget, value in ((3, 0.9), (4, 0.3), (50, 0.8))
        for one in three("annealing", "searcher", *[value] * 3, experiment="family", budget=budget)
    ]  # fmt: skip
    (match,) = episodes.matches(agent + runs)
    assert match.theirs == pytest.approx(0.7) and match.cut_from is None
    (sentence,) = episodes.sentences(agent + runs)
    assert "better than annealing (70.0 %)" in sentence
    assert episodes.matches(agent + [one for one in runs if one.budget == 3]) == []


def test_a_seed_is_one_agent_on_all_victims() -> None:
    # By seed the means over victims are 0.4, 0.5 and 0.6: victims differ by 0.8, and that is no chance.
    agent = [
        trial("trained-ppo", "trained", 0.5, seed=seed, victim=victim, identity=victim, experiment="family",
              episode=(4, level + seed / 10))
        for victim, level in (("one", 0.0), ("two", 0.8)) for seed in range(3)
    ]  # fmt: skip
    (found,) = episodes.episodes_of(agent)
    assert found.regret == pytest.approx((0.5, 0.4, 0.6))


def test_a_share_of_the_best_by_hand() -> None:
    trials = [
        trial("trained-ppo", "trained", 0.4, experiment="real", budget=20, episode=(7, 0.3)),
        trial("trained-ppo", "trained", 0.6, experiment="real", budget=20, victim="two", identity="1" * 64),
        trial("random", "random", 0.5, experiment="real", budget=200),
        trial("random", "random", 0.4, experiment="real", budget=200, victim="two", identity="1" * 64),
    ]
    found = transfer.shares(trials)
    assert found.keys() == {("random", 200), ("trained-ppo", 20)} and found["random", 200] == {0: [1.0, 1.0]}
    assert found["trained-ppo", 20][0] == pytest.approx([0.8, 1.5])
    agent, episode, others, best, arithmetic = transfer.sentences(trials)
    what = "of the best certified value that anyone found with 200 evaluations"
    assert agent == f"trained-ppo with 20 evaluations reaches 115.0 % † {what}."
    assert episode == "trained-ppo, one episode without chance, 7.0 evaluations on average: 60.0 % † of that best."
    assert others == f"Others reach, {what}: random 100.0 % † with 200 evaluations."
    assert best.startswith("That best is 0.500 on one by random, 0.400 on two by random; it is a maximum over runs")
    assert arithmetic == "Masks were searched in float32 (cpu), and judged in float32."


def test_a_share_has_an_interval_over_seeds_and_few_are_marked() -> None:
    runs = three("trained-ppo", "trained", 0.2, 0.4, experiment="real", episode=(9, 0.8))
    agent, episode, *_ = transfer.sentences(runs)
    assert "reaches 75.0 % [50.0, 100.0] † of the best" in agent
    assert "200.0 % † of that best" in episode, "an episode may go on beyond the budget"
    many = three("trained-ppo", "trained", *[0.2, 0.4] * 3, experiment="real")
    assert "†" not in transfer.sentences(many)[0]


def test_a_victim_is_searched_in_one_arithmetic_and_its_slowest_run_counts() -> None:
    exact = trial("random", "random", experiment="real", seconds=40.0)
    rounded = trial("annealing", "searcher", experiment="real", settings={"contestant": {}, "dtype": "bfloat16"})
    with pytest.raises(RecordError, match="one version of the arithmetic of one, got two"):
        rows_of([exact, rounded])
    (row,) = rows_of(
        [exact, *(trial("random", "random", experiment="real", seed=seed, seconds=0.01) for seed in (1, 2))]
    )
    assert row.seconds == 40.0


def test_a_report_says_in_what_arithmetic_was_searched() -> None:
    rounded = trial("random", "random", 0.5, experiment="real", settings={"contestant": {}, "dtype": "bfloat16"})
    assert transfer.sentences([rounded])[-1] == "Masks were searched in bfloat16 (cpu), and judged in float32."
    assert transfer.sentences([]) == []


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
        "Family of tiny victims: some agents trained on 16 victims of family-train before, and not there"
    )
    assert title("tabular", rival) == "Tabular twins"
    learner = three("ppo", "learner", 0.5)
    assert title("tabular", learner) == "Tabular twins: agents trained on each victim that they are judged on"
    assert title("tabular", learner + agent).endswith(
        "before, and not there, others trained on each victim that they are judged on"
    )


def test_a_report_claims_of_tuning_what_is_known_of_each_contestant() -> None:
    assert set(TUNING) == set(CONTESTANTS)
    text = markdown(both((0.7, 0.7, 0.7), (0.5, 0.5, 0.5)) + three("new", "searcher", *[0.5] * 6))
    assert "| annealing | temperatures 1.0 to 0.1 set by hand, not tuned |" in text
    assert "| ppo | defaults of `heads`, chosen on the embedded twins |" in text
    assert "| new | not recorded |" in text
    assert "| evolution |" not in text
    assert "tuned on none" not in text


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
