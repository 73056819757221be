"""From a defender's task to what an environment needs: an evaluator on a split, and importance metrics."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from prune_env.engine.architecture import describe
from prune_env.engine.device import resolve_device
from prune_env.engine.evaluator import Evaluator
from prune_env.engine.precision import deviation
from prune_env.engine.tokens import TokenizedSplit
from prune_env.engine.transformer import TransformerEvaluator
from prune_env.errors import OutputError
from prune_env.importance import passes_asked, scores
from prune_env.importance_cache import ImportanceCache
from prune_env.recovered import RecoveredEvaluator, passes_a_mask
from prune_env.seeds import derive
from prune_env.types import HeadMask, HeadScores
from prune_env.victims.task import Task

IMPORTANCE_SENTENCES = 1000
"""Training sentences, drawn by the task's seed, on which importance is scored."""

_KEPT_TASKS = 3
"""Tasks whose evaluators and metrics a process keeps: environments on the same task share them."""


class Scoring:
    """One task's scoring model, ready to be searched; shared by every environment on it.

    Attributes:
        task: The defender's task.
        device: Where masks are evaluated and importance is scored.
        dtype: Arithmetic of the evaluation.
    """

    def __init__(self, task: Task, device: str = "cpu", dtype: str = "float32") -> None:
        """Loads the scoring model.

        Raises:
            DeviceError: A device or dtype that this machine does not have.
        """
        self.task = task
        self.device = device
        self.dtype = dtype
        self._model: PreTrainedModel = task.scoring_model()
        self._tokenizer: PreTrainedTokenizerBase = task.tokenizer(self._model)
        self._evaluators: dict[str, TransformerEvaluator] = {}
        self._recovered: dict[int, RecoveredEvaluator] = {}
        self._importance: dict[str, HeadScores] = {}

    def evaluator(self, split: str) -> TransformerEvaluator:
        """Returns the evaluator on "search" or "certify"; the same object every time."""
        if split not in self._evaluators:
            tokens = self.task.tokens(split, self._tokenizer)
            # Only a search asks for masks that share layers: elsewhere stored states would take memory for nothing.
            self._evaluators[split] = self.evaluate_on(tokens, None if split == "search" else 0)
        return self._evaluators[split]

    def recovered(self, recover_on: int | None) -> Evaluator:
        """Returns what measures a mask on `search` after a short recovery; at once, if that is None.

        Raises:
            ConfigError: As `RecoveredEvaluator` says.
        """
        if recover_on is None:
            return self.evaluator("search")
        if recover_on not in self._recovered:
            self._recovered[recover_on] = RecoveredEvaluator(self.task, recover_on, self.device)
        return self._recovered[recover_on]

    def evaluate_on(self, tokens: TokenizedSplit, prefix_bytes: int | None = None) -> TransformerEvaluator:
        """Returns an evaluator of the scoring model on other sentences, such as a judge's."""
        return TransformerEvaluator(
            self._model, tokens, device=self.device, dtype=self.dtype, prefix_bytes=prefix_bytes
        )

    def deviation(self, mask: HeadMask) -> dict[str, float] | None:
        """Returns how far the arithmetic is from float32 on `search` under one mask; None in float32 itself."""
        if self.dtype == "float32":
            return None
        tokens = self.task.tokens("search", self._tokenizer)
        return asdict(deviation(self._model, tokens, mask[None], self.device))

    def importance(self, metrics: Iterable[str]) -> dict[str, HeadScores]:
        """Returns each metric's scores (layers, heads) on a sample of the training split, in the order asked for.

        They are kept in the cache folder, too, but for tasks of the package, whose models take no time.

        Raises:
            IntegrityError: A kept file that is damaged or holds something else.
            DeviceError: A device that is not there.
        """
        wanted = list(metrics)
        missing = [name for name in wanted if name not in self._importance]
        if missing:
            self._importance |= self.scored(missing) if self.task.is_shipped else self._read_or_score(missing)
        return {name: self._importance[name] for name in wanted}

    def _read_or_score(self, names: Sequence[str]) -> dict[str, HeadScores]:
        resolve_device(self.device)
        size = describe(self._model)
        kept = ImportanceCache(
            self.task.sha256, self.task.seed, self.importance_sentences, size.layers, size.heads, self.device
        )
        found = kept.read(names)
        if len(found) == len(names):
            return found
        with kept.alone():
            # Another process may have scored them while this one waited.
            found = kept.read(names)
            new = self.scored([name for name in names if name not in found])
            try:
                kept.write(new)
            except OutputError as error:
                warnings.warn(f"importance is not kept for the next run: {error}", RuntimeWarning, stacklevel=2)
            return found | new

    def scored(self, names: Sequence[str]) -> dict[str, HeadScores]:
        """Scores by these metrics anew: what `importance` says without what was kept of earlier scores."""
        if not names:
            return {}
        # The evaluators hold copies of their own, so that the model may move.
        self._model.to(resolve_device(self.device))  # type: ignore[arg-type]  # transformers hides the signature
        seeds = {name: derive(self.task.seed, name) for name in names}
        return scores(names, self._model, self._sample(), seeds)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The scoring model's tokenizer."""
        return self._tokenizer

    @property
    def importance_sentences(self) -> int:
        """Sentences on which each metric is scored."""
        return min(IMPORTANCE_SENTENCES, len(self.task.train))

    def importance_passes(self, metrics: Iterable[str]) -> int:
        """Returns the sentences that metrics ask to be sent through the model, each on its own."""
        return sum(passes_asked(name) for name in metrics) * self.importance_sentences

    def mask_passes(self, recover_on: int | None) -> int:
        """Returns the sentences that one mask of a search sends through the model, in forward passes."""
        return passes_a_mask(len(self.task.search), recover_on and min(recover_on, len(self.task.train)))

    def _sample(self) -> TokenizedSplit:
        rng = np.random.default_rng(derive(self.task.seed, "importance-sample"))
        chosen = rng.choice(len(self.task.train), size=self.importance_sentences, replace=False)
        index = np.sort(chosen).astype(np.int64)
        return self.task.tokens("train", self._tokenizer).subset(index)


_SHARED: OrderedDict[tuple[str, str, str], Scoring] = OrderedDict()


def scoring_of(task: Task, device: str = "cpu", dtype: str = "float32") -> Scoring:
    """Returns the process's shared scoring of a task, so that its masks are evaluated once; the oldest goes first."""
    key = (task.sha256, device, dtype)
    if key not in _SHARED:
        _SHARED[key] = Scoring(task, device, dtype)
        if len(_SHARED) > _KEPT_TASKS:
            _SHARED.popitem(last=False)
    _SHARED.move_to_end(key)
    return _SHARED[key]
