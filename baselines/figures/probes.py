"""What a linear probe can read from embeddings: whether a trigger is there, and which class a sentence is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.baselines.figures.embedded import Embedded
from prune_env.metrics import auc, auc_sd

FOLDS = 5


@dataclass(frozen=True)
class Probe:
    """Areas under ROC curves, cross-validated, with their standard errors over sentences (DeLong).

    Attributes:
        trigger: Clean against triggered sentences.
        trigger_sd: Its standard error.
        kept: Triggered target-class against other triggered sentences, by a probe of the class trained on clean ones.
        kept_sd: Its standard error.
        clean: The same probe on clean sentences that were held out.
        flipped: Share of triggered non-target sentences that it puts on the target's side.
    """

    trigger: float
    trigger_sd: float
    kept: float
    kept_sd: float
    clean: float
    flipped: float


def probe(found: Embedded) -> Probe:
    """Probes embeddings, a sentence and its triggered version always in one fold."""
    triggers, classes = _scores(found)
    hit, target = found.triggered, found.target
    return Probe(
        trigger=auc(triggers[hit], triggers[~hit]),
        trigger_sd=auc_sd(triggers[hit], triggers[~hit]),
        kept=auc(classes[hit & target], classes[hit & ~target]),
        kept_sd=auc_sd(classes[hit & target], classes[hit & ~target]),
        clean=auc(classes[~hit & target], classes[~hit & ~target]),
        flipped=float((classes[hit & ~target] > 0).mean()),
    )


def _scores(found: Embedded) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns each sentence's score as triggered, and as of the target class, by probes that did not see it, (N,)."""
    from sklearn.model_selection import StratifiedGroupKFold

    triggers, classes = np.zeros(len(found.states)), np.zeros(len(found.states))
    kinds = 2 * found.triggered + found.target
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    states = found.states.astype(np.float64)
    for seen, held in folds.split(states, kinds, found.source):
        triggers[held] = _fitted(states[seen], found.triggered[seen]).decision_function(states[held])
        clean = seen[~found.triggered[seen]]
        classes[held] = _fitted(states[clean], found.target[clean]).decision_function(states[held])
    return triggers, classes


def _fitted(states: NDArray[np.float64], labels: NDArray[np.bool_]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(states, labels)
