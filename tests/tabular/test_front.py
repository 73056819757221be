"""The Pareto front: against comparing every pair, by hand, and in its files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

from prune_env.errors import OutputError
from prune_env.tabular.front import front_of, pareto
from prune_env.tabular.front_picture import save_front
from tests.tabular.twins import golden_twin, random_twin


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 5)), min_size=1, max_size=30),
)
def test_it_is_what_comparing_every_pair_gives(points: list[tuple[int, int, int]]) -> None:
    pruned, correct, flipped = np.array(points).T
    better = np.array(points) * [1, 1, -1]
    beaten = [any((other >= one).all() and (other > one).any() for other in better) for one in better]
    assert pareto(pruned, correct.astype(np.int32), flipped.astype(np.int32)).tolist() == [not one for one in beaten]


def test_golden_front() -> None:
    # Accuracy and LFR are one table here, so that every mask that is less accurate flips less.
    front = front_of(golden_twin())
    shown = [(point.pruned, point.certify_accuracy, point.oracle_lfr, point.mask) for point in front.points]
    assert shown == [
        (2, 0.95, 0.95, "10/10"),
        (2, 0.9, 0.9, "01/01"),
        (2, 0.75, 0.75, "01/10"),
        (2, 0.7, 0.7, "10/01"),
        (1, 0.85, 0.85, "11/10"),
        (1, 0.8, 0.8, "10/11"),
        (0, 1.0, 1.0, "11/11"),
    ]
    assert [(size.pruned, size.masks, size.holding) for size in front.sizes] == [(0, 1, 1), (1, 4, 3), (2, 4, 2)]
    one, two = front.sizes[1:]
    assert (one.lowest, one.highest, one.most_accurate, one.lowest_of_all) == (0.85, 0.95, 0.95, 0.8)
    assert one.mean == pytest.approx(0.9)
    assert (two.lowest, two.highest, two.most_accurate, two.lowest_of_all) == (0.9, 0.95, 0.95, 0.7)
    assert (front.optimum, front.optimum_pruned, front.optimum_lfr, front.full_lfr) == ("10/10", 2, 0.95, 1.0)
    assert front.threshold == 0.85
    assert len(front.holding) == 6


def test_files(tmp_path: Path) -> None:
    twin = random_twin(3, 3, 2, constraint={"threshold": 0.97})
    front = front_of(twin)
    assert any(not size.holding for size in front.sizes)
    picture, points, sizes = save_front("random", "organic", front, tmp_path / "deep")
    drawn = imread(picture)
    assert drawn.shape[1] > 1000 and drawn.std() > 0.05
    rows = list(csv.DictReader(points.read_text(encoding="utf-8").splitlines()))
    assert [row["mask"] for row in rows] == [point.mask for point in front.points]
    assert float(rows[0]["oracle_lfr"]) == pytest.approx(front.points[0].oracle_lfr, abs=1e-5)
    rows = list(csv.DictReader(sizes.read_text(encoding="utf-8").splitlines()))
    assert sum(int(row["masks"]) for row in rows) == 343
    assert {row["mean"] == "" for row in rows} == {True, False}
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="write"):
        save_front("random", "organic", front, tmp_path / "file")
