"""Pictures: what is drawn, not only that something is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prune_env.errors import MaskError, OutputError
from prune_env.render import HeadMap, head_map_array, head_map_figure, head_map_text, save_head_map
from tests.env.fakes import action, golden_env, small_env

MASK = np.array([[True, False, True], [True, True, False]])
SCORES = np.array([[0.0, 0.5, 0.99], [0.25, 1.0, 0.1]], dtype=np.float32)


def view(accuracy: float | None = 0.9, threshold: float | None = 0.85) -> HeadMap:
    return HeadMap(MASK, SCORES, accuracy, threshold, metric="gradient", caption="step 2 of 6")


def test_text() -> None:
    assert head_map_text(view()).splitlines() == [
        "2 of 6 heads pruned | accuracy 0.900 >= threshold 0.850 | step 2 of 6",
        "     head 0 1 2",
        "layer   0 0 · 9",
        "layer   1 2 9 ·",
        "0-9 = kept, by gradient; · = pruned",
    ]


def test_verdicts() -> None:
    assert view(0.80).verdict == "accuracy 0.800 < threshold 0.850"
    assert view(0.85).holds
    assert view(0.80, None).verdict == "accuracy 0.800"
    assert view(None).verdict == ""


def test_pictures_show_the_mask_and_the_verdict() -> None:
    kept, pruned = (head_map_array(HeadMap(mask, SCORES, 0.9, 0.85)) for mask in (np.ones_like(MASK), MASK))
    assert kept.dtype == np.uint8
    assert kept.shape == pruned.shape
    changed = (kept != pruned).any(axis=2)
    assert 0.02 < changed.mean() < 0.2, "the title's number and two of six cells"
    colors = {tuple(int(part) for part in color) for color in head_map_array(view()).reshape(-1, 3)[::7]}
    assert (0x1A, 0x7F, 0x4B) in colors, "a green bar where the threshold holds"
    colors = {tuple(int(part) for part in color) for color in head_map_array(view(0.8)).reshape(-1, 3)[::7]}
    assert (0xB3, 0x26, 0x1E) in colors, "a red one where it does not"


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (6, 12), (24, 16)])
def test_words_stay_inside_the_picture(shape: tuple[int, int]) -> None:
    scores = np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    figure = head_map_figure(
        HeadMap(np.ones(shape, dtype=bool), scores, 0.9, 0.85, "attention_variance", "step 1 of 9")
    )
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()
    whole, words = figure.bbox, figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert whole.x0 <= words.x0
    assert words.x1 <= whole.x1
    assert whole.y0 <= words.y0
    assert words.y1 <= whole.y1


def test_saving(tmp_path: Path) -> None:
    path = save_head_map(view(None), tmp_path / "new" / "map.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="give a folder you may write to"):
        save_head_map(view(), tmp_path / "file" / "map.png")


def test_masks_are_checked() -> None:
    with pytest.raises(MaskError, match=r"shape \(2, 3\)"):
        HeadMap(np.ones((2, 2), dtype=bool), SCORES)


def test_the_environment_renders_its_episode() -> None:
    env = small_env(render_mode="ansi", on_violation="reject")
    env.reset(seed=0)
    before = env.render()
    *_, info = env.step(action(env, 0))
    after = env.render()
    assert isinstance(after, str)
    assert "step 0 of 12, 1 evaluations" in before
    assert f"{int((~info['head_mask']).sum())} of 12 heads pruned" in after
    picture = small_env(render_mode="rgb_array")
    picture.reset(seed=0)
    assert picture.render().shape[2] == 3


def test_without_a_render_mode_it_says_what_to_pass() -> None:
    env = golden_env()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match='render_mode="ansi"'):
        assert env.render() is None
