"""The contract, kept by the environment in each of its modes."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from prune_env.wrappers import OneHeadPerStep
from tests.env.contract import EnvContract
from tests.env.fakes import FAKE_ID


class TestTerminate(EnvContract):
    def make(self, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return gym.make(FAKE_ID, render_mode=render_mode)


class TestReject(EnvContract):
    def make(self, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return gym.make(FAKE_ID, render_mode=render_mode, on_violation="reject", max_evaluations=12)


class TestBacktrack(EnvContract):
    def make(self, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return gym.make(FAKE_ID, render_mode=render_mode, on_violation="backtrack", max_heads_per_step=None)


class TestPaddedWithDiagnostics(EnvContract):
    def make(self, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return gym.make(
            FAKE_ID, render_mode=render_mode, diagnostics=True, pad_to=[4, 6], threshold_margin="lower_bound"
        )


class TestRelativeThreshold(EnvContract):
    def make(self, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return gym.make(FAKE_ID, render_mode=render_mode, max_accuracy_drop=0.1, on_violation="reject", layers=1)


class TestOneHeadPerStep(EnvContract):
    def make(self, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return OneHeadPerStep(gym.make(FAKE_ID, render_mode=render_mode, on_violation="reject"))
