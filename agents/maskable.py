"""The policies for MaskablePPO, which needs sb3-contrib: pip install "prune-env[contrib]"."""

from __future__ import annotations

from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy, MaskableMultiInputActorCriticPolicy

from prune_env.agents.policies import FlatBase, HeadSetBase


class MaskableHeadSetPolicy(HeadSetBase, MaskableActorCriticPolicy):  # type: ignore[misc]  # two bases of one kind
    """`HeadSetPolicy` that is told what each bit may be."""


class MaskableFlatPolicy(FlatBase, MaskableMultiInputActorCriticPolicy):  # type: ignore[misc]  # two bases of one kind
    """`FlatPolicy` that is told what each bit may be."""
