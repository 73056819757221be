"""Who beats whom: chosen on some seeds, tested on others; an episode against as many evaluations of a rival."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prune_env.comparison import episodes
from prune_env.comparison.verdict import contrasts, headline, sentences
from tests.comparison.factory import both, three, trial


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
    assert (
        "after as many evaluations of a rival's run that was allowed 10, better than random (100.0 %); worse"
        in sentence
    )
    short = [replace(one, budget=4) for one in early]
    (sentence,) = episodes.sentences(agent + late + short)
    assert "better than random (100.0 %, run allowed 10); worse than scripts (25.0 %)" in sentence


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
