"""`prune-env play`: the episode that a benchmark records, as text and as a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune_env import search
from prune_env.cli.main import main
from prune_env.cli.play import film_strip
from prune_env.methods import get_method
from prune_env.rollout import Episode, rollout
from prune_env.types import mask_to_text
from prune_env.victims import protocols
from tests.victims_factory import TINY, benched, world

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _tiny_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", TINY)


def played(*more: str) -> int:
    return main(["play", "--victim", world().victim("alpha"), "--data", str(world().data), *more])


def test_it_is_the_episode_of_the_record(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    record = next(one for one in benched() if (one.method, one.role) == ("gradient", "victim"))
    episodes: list[Episode] = []

    def remember(*rest: Any, **more: Any) -> Episode:
        episodes.append(rollout(*rest, **more))
        return episodes[-1]

    monkeypatch.setattr(search, "rollout", remember)
    assert played("--method", "gradient", "--seed", "11") == 0
    (episode,) = episodes
    assert mask_to_text(episode.mask) == record.mask
    assert list(episode.trace) == record.trace
    assert len(capsys.readouterr().out.split("\n\n")) >= 1 + len(record.trace), "the start and every step"


def test_a_control_is_held_to_nothing_here_too(monkeypatch: pytest.MonkeyPatch) -> None:
    episodes: list[Episode] = []
    monkeypatch.setattr(search, "rollout", lambda *rest, **more: episodes.append(rollout(*rest, **more)))
    assert played("--method", "random-third") == 0
    assert episodes[0].mask.sum(axis=1).tolist() == [1, 1]


def test_a_picture_of_every_step(tmp_path: Path, capsys: Capture) -> None:
    assert played("--picture", str(tmp_path / "new" / "episode.png")) == 0
    assert (tmp_path / "new" / "episode.png").read_bytes().startswith(b"\x89PNG")
    assert "frames in" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["ft", "random"])
def test_what_plays_no_episode_of_its_own_is_refused(method: str, capsys: Capture) -> None:
    assert played("--method", method) == 2
    assert f"method '{method}' plays no episode of its own" in capsys.readouterr().err


def test_a_method_of_another_model_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    learned = replace(get_method("gradient"), name="learned", victim_sha256="0" * 64)
    monkeypatch.setattr("prune_env.methods.get_method", lambda _: learned)
    monkeypatch.setattr("gymnasium.make", lambda *_, **__: pytest.fail("went on"))
    assert played("--method", "learned") == 2
    assert "expected the victim that method 'learned' was trained on" in capsys.readouterr().err


def test_frames_lie_in_rows() -> None:
    frames = [np.full((2, 3, 3), shade, dtype=np.uint8) for shade in range(4)]
    strip = film_strip(frames)
    assert strip.shape == (4, 9, 3)
    assert strip[2:, :3].max() == 3
    assert strip[2:, 3:].min() == 255, "the rest of the last row is white"
