"""Searchers find what there is to find, within their budget, and the same again from the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.agents.budget import Budget
from prune_env.agents.searchers import SEARCHERS, SearchResult, annealing, get_searcher, search, spend
from prune_env.agents.searchers.annealing import SimulatedAnnealing
from prune_env.agents.searchers.evolution import Evolution, repaired
from prune_env.agents.searchers.moves import flipped, neighbours, removable, without
from prune_env.agents.searchers.random_search import any_size
from prune_env.agents.searchers.scripts import BestOfScripts, script_metrics, scripts
from prune_env.config import EnvConfig
from prune_env.engine.table import TableEvaluator, all_masks
from prune_env.errors import ConfigError, UnknownNameError
from prune_env.types import HeadMask, full_mask, mask_from_text, mask_to_text
from tests.env.fakes import GOLDEN, GOLDEN_IMPORTANCE, FakeEvaluator, random_model, table
from tests.policies import PRICES, RANKING, priced

CONFIG = EnvConfig(threshold=0.85)
DIRECT = tuple(name for name in SEARCHERS if name != "scripts")
IMPORTANCE = {"gradient": RANKING, "attention_variance": RANKING}


def found(name: str, model: FakeEvaluator | TableEvaluator, evaluations: int, seed: int = 0) -> SearchResult:
    """What a searcher finds on a model whose importance is drawn."""
    generator = np.random.default_rng(1)
    scores = generator.random((model.layers, model.heads)).astype(np.float32)
    importance = {"gradient": scores, "attention_variance": scores}
    return search(name, model, importance, CONFIG, evaluations, np.random.default_rng(seed), certify=model)


@pytest.mark.parametrize("name", DIRECT)
def test_the_optimum_of_a_two_by_two_table_is_found(name: str) -> None:
    result = found(name, table(GOLDEN, 20), 9)
    assert result.value == 0.5
    assert mask_to_text(result.mask) in {"01/01", "10/10"}
    assert result.certified == 0.5


@pytest.mark.parametrize("name", DIRECT)
def test_the_optimum_of_two_layers_of_three_heads_is_found(name: str) -> None:
    # Prices 0 9 1 / 1 9 3, three sentences may be lost: heads 0, 2 and 3 go for two of them, and no fourth may.
    result = found(name, priced(PRICES), 49)
    assert (result.value, mask_to_text(result.mask)) == (0.5, "010/011")


def test_the_scripts_find_what_their_ranking_allows() -> None:
    result = search("scripts", priced(PRICES), IMPORTANCE, CONFIG, 49, np.random.default_rng(0))
    assert mask_to_text(result.mask) == "010/011"


@pytest.mark.parametrize("name", SEARCHERS)
@pytest.mark.parametrize("evaluations", [1, 2, 20])
def test_budgets_are_exact_and_curves_never_fall(name: str, evaluations: int) -> None:
    model = random_model(3, 4, 0)
    result = found(name, model, evaluations)
    assert result.evaluations == evaluations
    assert len(set(model.asked)) == evaluations
    assert result.curve.shape == (evaluations,)
    assert (np.diff(result.curve) >= 0).all()
    assert result.curve[-1] == result.value


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_seed_decides_a_search(name: str) -> None:
    model = random_model(3, 4, 1)
    asked = []
    for seed in (5, 5, 6):
        model.asked.clear()
        found(name, model, 40, seed)
        asked.append(list(model.asked))
    assert asked[0] == asked[1]
    assert asked[0] != asked[2]


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_model_smaller_than_the_budget_ends_the_search(name: str) -> None:
    result = found(name, table(GOLDEN, 20), 1000)
    assert result.evaluations <= 9
    assert result.value == 0.5


@pytest.mark.parametrize("name", [name for name in DIRECT if name not in {"random-uniform", "random-layers"}])
def test_a_sixteenth_of_all_masks_comes_close_to_the_optimum(name: str) -> None:
    model = TableEvaluator.from_evaluator(random_model(3, 3, 3))
    budget = Budget(model, EnvConfig(threshold=0.9), 343)
    for masks in all_masks(3, 3):
        budget.counts(masks)
    result = search(name, model, {"gradient": np.zeros((3, 3), np.float32)}, EnvConfig(threshold=0.9), 80,
                    np.random.default_rng(0))  # fmt: skip
    assert result.value >= budget.best.value - 1 / 9 - 1e-9


def test_greedy_takes_the_best_head_first() -> None:
    budget = Budget(priced(PRICES), CONFIG, 7)
    spend(get_searcher("greedy"), budget, {}, np.random.default_rng(0))
    assert mask_to_text(budget.best.mask).count("0") == 1
    budget = Budget(priced(PRICES), CONFIG, 12)
    spend(get_searcher("greedy"), budget, {}, np.random.default_rng(0))
    assert not budget.best.mask[0, 0], "the head that costs nothing goes first"


@pytest.mark.parametrize(("evaluations", "moves"), [(20, {3}), (72, {1}), (200, {1})])
def test_annealing_goes_further_where_evaluations_are_few(
    evaluations: int, moves: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # 72 heads; jumps from the best mask, of 2 to 6 moves, come only after 72 known masks in a row.
    seen: set[int] = set()
    walk = annealing.moved

    def watched(mask: HeadMask, count: int, rng: np.random.Generator) -> HeadMask:
        seen.add(count)
        return walk(mask, count, rng)

    monkeypatch.setattr(annealing, "moved", watched)
    budget = Budget(FakeEvaluator(6, 12, 20, lambda _: 20), CONFIG, evaluations)
    spend(SimulatedAnnealing(), budget, {}, np.random.default_rng(0))
    assert seen == moves
    assert evaluations != 20 or (~budget.best.mask).sum() > 12


def test_scripts_are_the_strategies_whose_metrics_are_there() -> None:
    assert {method.metrics for method in scripts({"gradient": RANKING})} == {("gradient",)}
    names = {method.name for method in scripts(IMPORTANCE)}
    assert {"gradient", "layer-wise", "epsilon-greedy"} <= names
    assert not names & {"random", "oracle", "ft", "hybrid", "bayesian", "anp"}
    every = {method.name for method in scripts(dict.fromkeys(script_metrics(), RANKING))}
    assert {"bayesian", "anp", "pure"} <= every
    assert not any(name.startswith("as-released") for name in every)
    with pytest.raises(ConfigError, match="metrics that a script reads"):
        search("scripts", table(GOLDEN, 20), {"other": RANKING[:, :2]}, CONFIG, 9, np.random.default_rng(0))


def test_a_deterministic_script_is_not_played_for_ever() -> None:
    budget = Budget(priced(PRICES), CONFIG, 49)
    BestOfScripts(("gradient",)).run(budget, {"gradient": RANKING}, np.random.default_rng(0))
    assert budget.used < 10


def test_a_full_mask_that_fails_is_still_an_answer() -> None:
    hopeless = table(dict.fromkeys(GOLDEN, 3), 20)
    result = search("random", hopeless, GOLDEN_IMPORTANCE, CONFIG, 9, np.random.default_rng(0))
    assert (mask_to_text(result.mask), result.value) == ("11/11", 0.0)


def test_an_unknown_searcher_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="annealing"):
        get_searcher("anealing")


@pytest.mark.parametrize("settings", [{"coldest": 0.0}, {"hottest": 0.01}, {"stuck": 0}])
def test_wrong_temperatures_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="coldest"):
        SimulatedAnnealing(**settings)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("settings", [{"kept": 1.5}, {"spread": 0.0}, {"idle": 0}])
def test_wrong_evolutions_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="spread"):
        Evolution(**settings)  # type: ignore[arg-type]  # on purpose


def test_a_layer_that_would_be_empty_keeps_its_largest_number() -> None:
    bits = np.array([[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    raw = np.array([[0.1, 0.3, 0.9, 0.2], [0.4, 0.1, 0.0, 0.2]])
    assert [mask_to_text(mask) for mask in repaired(bits, raw, 2)] == ["01/10", "10/01"]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10_000))
def test_moves_never_empty_a_layer(layers: int, heads: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = any_size(layers, heads, rng)
    for _ in range(20):
        mask = flipped(mask, rng)
        assert mask.any(axis=1).all()
    around = neighbours(mask)
    assert len(around) == len(removable(mask))
    assert (around.sum(axis=(1, 2)) == mask.sum() - 1).all()
    assert around.any(axis=2).all()


def test_heads_are_removed_in_order_and_the_last_of_a_layer_stays() -> None:
    after = without(mask_from_text("111/111"), np.array([4, 3, 5, 0]), 4)
    assert mask_to_text(after) == "011/001"
    assert mask_to_text(without(full_mask(1, 1), np.array([0]), 1)) == "1"


def test_a_search_may_end_a_budget_only_by_its_error() -> None:
    class Broken:
        def run(self, budget: Budget, importance: object, rng: object) -> None:
            raise ConfigError("broken")

    with pytest.raises(ConfigError, match="broken"):
        spend(Broken(), Budget(table(GOLDEN, 20), CONFIG, 5), {}, np.random.default_rng(0))
