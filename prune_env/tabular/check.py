"""Holds a twin to the live engine: random masks evaluated anew, and the importance metrics scored anew."""

from __future__ import annotations

import numpy as np

from prune_env.errors import IntegrityError
from prune_env.oracle import oracle_evaluator
from prune_env.scoring import scoring_of
from prune_env.tabular.lattice import Lattice
from prune_env.tabular.twin import PARTS, TabularTwin
from prune_env.types import mask_to_text
from prune_env.victims.protocols import get_protocol
from prune_env.victims.store import open_victim
from prune_env.victims.task import build_task


def differences(twin: TabularTwin, victim: str, masks: int, seed: int = 0, data: str | None = None) -> list[str]:
    """Returns a sentence for each way in which a twin is not what the live engine gives; none where all agrees.

    Args:
        twin: The twin.
        victim: Its victim, by embedded name or folder.
        masks: How many masks to draw, without repetition.
        seed: Of the draw.
        data: Data folder of victims on real data.

    Raises:
        IntegrityError: Another victim than the twin's, or another task.
        PruneEnvError: As `open_victim` and `build_task` say.
    """
    opened = open_victim(victim)
    if opened.manifest.sha256 != twin.meta["victim_sha256"]:
        raise IntegrityError(f"the twin {twin.name!r} is of another model than the victim {victim}; build it again")
    task = build_task(opened.suspect, get_protocol(twin.meta["protocol"]), twin.meta["task_seed"], data=data)
    if task.sha256 != twin.meta["task_sha256"]:
        raise IntegrityError(f"the twin {twin.name!r} is of another task than {victim} has here; build it again")
    scoring = scoring_of(task)
    live = {name: scoring.evaluator(name) for name in ("search", "certify")}
    live["oracle_lfr"] = oracle_evaluator(scoring, opened)
    every = Lattice(twin.layers, twin.heads).masks
    drawn = every[np.sort(np.random.default_rng(seed).choice(len(every), min(masks, len(every)), replace=False))]
    found = []
    for part in PARTS:
        stored, computed = getattr(twin, part).accuracy(drawn), live[part].accuracy(drawn)
        found += [
            f"{twin.name}: {part} of {mask_to_text(drawn[place])} is {stored[place]:.4f} in the twin, "
            f"{computed[place]:.4f} from the engine"
            for place in np.flatnonzero(stored != computed)
        ]
    for name, scores in scoring.scored(list(twin.importance)).items():
        if not np.allclose(scores, twin.importance[name], rtol=1e-3, atol=1e-7):
            found.append(f"{twin.name}: the metric {name} is another in the twin than from the engine")
    return found
