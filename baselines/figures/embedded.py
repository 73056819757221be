"""[CLS] embeddings of test sentences by a victim as published, fine-tuned and purified, and by its never-poisoned twin.

Computed once, then stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from prune_env.aids import aids_for
from prune_env.baselines.families import family_of
from prune_env.baselines.figures.drawing import Request
from prune_env.baselines.figures.matching import one_constraint, one_rate, pairs
from prune_env.baselines.figures.models import Arrays, Defender, cached, defender_of, victims_at_hand
from prune_env.baselines.summary import members_in, rate_text
from prune_env.engine.batching import plan
from prune_env.engine.forward import cls_states
from prune_env.engine.tokens import tokenize
from prune_env.errors import FigureError
from prune_env.importance.passes import inspected
from prune_env.methods import get_method
from prune_env.recheck import purified_again
from prune_env.records import Record
from prune_env.replay import protocol_of
from prune_env.seeds import derive
from prune_env.threads import threads
from prune_env.victims.data import Sentences
from prune_env.victims.diagnosis import Diagnosis, open_diagnosis
from prune_env.victims.judge import judge

EACH = 250
"""Sentences of each kind: clean and triggered, of the target class and of others."""

SAMPLE = "figure-embeddings"
"""Names the random stream that draws them."""

PURIFIED, TWIN = "purified", "twin"

STAGES = {
    "published": "as published",
    "fine-tuned": "fine-tuned (ft)",
    PURIFIED: "purified",
    TWIN: "never-poisoned twin",
}
"""Stages in order, and how they are called; "fine-tuned" is the scoring model: every head, the protocol's rate. The
twin is as trained, without any defence; not every victim has one."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """One model's embeddings.

    Attributes:
        record: Of the purified model.
        stage: One of `STAGES`.
        states: [CLS] after the last layer, float32 (N, hidden).
        triggered: bool (N,).
        target: Whether of the target class, bool (N,).
        source: What a sentence was made of, (N,): equal for a sentence and its triggered version.
        lfr: Of the purified model, on all triggered non-target test sentences, measured again.
    """

    record: Record
    stage: str
    states: NDArray[np.float32]
    triggered: NDArray[np.bool_]
    target: NDArray[np.bool_]
    source: NDArray[np.int64]
    lfr: float

    @property
    def label(self) -> str:
        """The stage in words, with the rate of what was fine-tuned."""
        config = self.record.config
        trained = {"fine-tuned": config["protocol"].get("training", config["training"]), PURIFIED: config["training"]}
        settings = trained.get(self.stage)
        return STAGES[self.stage] + (f" at {rate_text(settings['learning_rate'])}" if settings else "")

    @property
    def each(self) -> int:
        """Sentences of the rarest kind."""
        kinds = 2 * self.triggered.astype(int) + self.target
        return int(np.bincount(kinds, minlength=4).min())


def records_of(request: Request) -> list[Record]:
    """Returns the records to show, one a family: the method asked for, one rate, the seed asked for or the lowest.

    Raises:
        FigureError: None fits, with what there is, or it is an ensemble.
    """
    victims = victims_at_hand(request)
    every = [pair for pair in pairs(request.records) if pair.record.victim_sha256 in victims]
    own = [pair for pair in every if pair.record.method == request.method]
    if not own:
        there = sorted({pair.record.method for pair in every})
        raise FigureError(
            f"no record of {request.method} on a victim at hand, only of {', '.join(there)}; name one with --method"
        )
    kept, _ = one_constraint(one_rate(own, request.learning_rate)[0])
    seeds = sorted({pair.record.seed for pair in kept})
    fitting = [pair.record for pair in kept if request.seed in (None, pair.record.seed)]
    if not fitting:
        raise FigureError(
            f"no record of {request.method} with seed {request.seed}, only with {', '.join(map(str, seeds))}"
        )
    voting = [record for record in fitting if len(members_in(record)) > 1]
    if voting:
        raise FigureError(
            f"{request.method} on {voting[0].victim} is a vote of {len(members_in(voting[0]))} models, and has no "
            "embedding of its own; name a method of one model with --method"
        )
    chosen: dict[str, Record] = {}
    for record in sorted(fitting, key=lambda one: (one.attacker_seed, one.seed)):
        chosen.setdefault(family_of(record.victim), record)
    return [chosen[family] for family in sorted(chosen)]


def embed(record: Record, request: Request) -> list[Embedded]:
    """Returns the embeddings of all stages that there are; the model is purified again if they are not stored yet."""
    victims = victims_at_hand(request)
    defender = defender_of(record, victims)
    if defender is None:
        raise FigureError(f"{record.victim} is not at hand; give its folder with --victim")
    found = cached(request.out, "embeddings", [record.key, EACH], lambda: _compute(record, defender, request))
    shared = {name: found[name] for name in ("triggered", "target", "source")}
    if open_diagnosis(defender.victim).twin is not None:
        # In a file of its own: what was stored before there was a twin to show stays good.
        identity = [defender.victim.manifest.sha256, defender.seed, _length(record), EACH]
        found = {**found, **cached(request.out, "twin-embeddings", identity, lambda: _twin(record, defender))}
    stages = [stage for stage in STAGES if stage in found]
    return [Embedded(record, stage, found[stage], lfr=float(found["lfr"]), **shared) for stage in stages]


def _twin(record: Record, defender: Defender) -> Arrays:
    """Embeds the same sentences by the never-poisoned twin; {} where there is none."""
    diagnosis = open_diagnosis(defender.victim)
    if diagnosis.twin is None:
        return {}
    clean, triggered, _ = sampled(diagnosis, derive(defender.seed, SAMPLE))
    model = diagnosis.twin.model()
    with threads(1):
        return {TWIN: cls_of(model, diagnosis.twin.tokenizer(model), clean + triggered, _length(record))}


def _length(record: Record) -> int:
    """Returns the tokens kept of a sentence."""
    return protocol_of(record.config["protocol"]).training.max_length


def _compute(record: Record, defender: Defender, request: Request) -> Arrays:
    diagnosis = open_diagnosis(defender.victim)
    task = defender.task(request)
    clean, triggered, source = sampled(diagnosis, derive(task.seed, SAMPLE))
    length = _length(record)

    def states(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> NDArray[np.float32]:
        return cls_of(model, tokenizer, clean + triggered, length)

    with threads(1):
        published = task.suspect.model()
        scoring = task.scoring_model()
        request.report(
            f"fine-tuning {record.method} on {record.victim} again, {record.seconds:.0f} s where it was made"
        )
        aids = aids_for(get_method(record.method), defender.victim, record.seed)
        purified = purified_again(record, task, request.device, aids.reference)
        judged = judge(purified.models, purified.tokenizer, diagnosis, length, request.device)
        return {
            "published": states(published, task.suspect.tokenizer(published)),
            "fine-tuned": states(scoring, task.tokenizer(scoring)),
            PURIFIED: states(purified.model, purified.tokenizer),
            "triggered": np.arange(len(clean) + len(triggered)) >= len(clean),
            "target": np.array([*clean.labels, *triggered.labels]) == diagnosis.target,
            "source": source,
            "lfr": np.array(judged.lfr),
        }


def sampled(diagnosis: Diagnosis, seed: int, each: int = EACH) -> tuple[Sentences, Sentences, NDArray[np.int64]]:
    """Draws as many test sentences of each kind: clean and triggered, of the target class and of others.

    Where the triggered sentences are the clean ones in their order (equal labels), the same ones are drawn of both, and
    `source` pairs them; else all sources differ.

    Returns:
        Clean sentences, triggered sentences, and the source of each, clean ones first.
    """
    rng = np.random.default_rng(seed)
    clean, triggered = diagnosis.clean_test, diagnosis.triggered_test
    first = _draw(clean, diagnosis.target, each, rng)
    if clean.labels == triggered.labels:
        return clean.take(first), triggered.take(first), np.concatenate([first, first])
    second = _draw(triggered, diagnosis.target, each, rng)
    return clean.take(first), triggered.take(second), np.concatenate([first, len(clean) + second])


def _draw(sentences: Sentences, target: int, each: int, rng: np.random.Generator) -> NDArray[np.int64]:
    is_target = np.array(sentences.labels) == target
    kinds = [np.flatnonzero(is_target == kind) for kind in (False, True)]
    size = min(each, *(len(kind) for kind in kinds))
    return np.sort(np.concatenate([rng.choice(kind, size, replace=False) for kind in kinds])).astype(np.int64)


def cls_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sentences: Sentences, length: int
) -> NDArray[np.float32]:
    """Returns [CLS] after the last layer, float32 (N, hidden), in the sentences' order, without dropout."""
    tokens = tokenize(tokenizer, sentences.texts, sentences.labels, length)
    architecture = inspected(model, tokens)
    found: Any = np.zeros((len(tokens), architecture.hidden_size), dtype=np.float32)
    with torch.no_grad():
        for index in plan(tokens.lengths, 2048, 0):
            ids, lengths = tokens.batch(index)
            states = cls_states(
                architecture, torch.from_numpy(ids), None if lengths is None else torch.from_numpy(lengths)
            )
            found[index] = states[-1].numpy()
    return np.asarray(found, dtype=np.float32)
