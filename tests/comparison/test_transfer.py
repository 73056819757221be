"""Live victims, where no optimum is known: shares of the best that was found, in one arithmetic."""

from __future__ import annotations

import pytest

from prune_env.comparison import transfer
from prune_env.comparison.rows import rows_of
from prune_env.errors import RecordError
from tests.comparison.factory import three, trial


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
