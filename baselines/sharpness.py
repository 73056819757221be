"""Sharpness-aware fine-tuning: every step follows the gradient at the worst weights nearby (Foret et al., ICLR 2021).

Zhu et al. (ICCV 2023, FT-SAM) use it against backdoors: a model that is poisoned sits in a sharp place of the clean
loss, and steps that look around leave it. A step costs two passes forward and back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from prune_env.engine.architecture import Architecture
from prune_env.recovery import Job, Purified, begin, finish, fit
from prune_env.victims.training import Batch, LossFunction, cross_entropy


@dataclass(frozen=True)
class SharpnessAware:
    """Plain recovery with sharpness-aware steps.

    Attributes:
        radius: Length of the step to the worst nearby weights.
    """

    radius: float = 0.05

    def purify(self, job: Job) -> Purified:
        """Fine-tunes the suspect's encoder; every step costs two, though a record counts its sentences once."""
        begun = begin(job)
        fit(job, begun, sharpness_aware(cross_entropy(job.mask), self.radius))
        return finish(job, begun)


def sharpness_aware(plain: LossFunction, radius: float) -> LossFunction:
    """Returns a loss with the plain one's value, and the plain one's gradient at the worst nearby weights."""

    def loss(architecture: Architecture, batch: Batch) -> Tensor:
        value = plain(architecture, batch)
        parameters = _trained(value)
        first = torch.autograd.grad(value, parameters)
        scale = radius / (torch.linalg.vector_norm(torch.stack([one.norm() for one in first])) + 1e-12)
        with _moved(parameters, [one * scale for one in first]):
            gradient = torch.autograd.grad(plain(architecture, batch), parameters)
        # A sum whose gradient is known: what `backward` leaves in every parameter is that gradient.
        surrogate = torch.stack([(one * two).sum() for one, two in zip(parameters, gradient, strict=True)]).sum()
        return surrogate - surrogate.detach() + value.detach()

    return loss


def _trained(value: Tensor) -> list[Tensor]:
    """Returns the leaves of a loss: every parameter that it depends on."""
    found: dict[int, Tensor] = {}
    nodes, seen = [value.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None:
            found[id(variable)] = variable
        nodes += [parent for parent, _ in node.next_functions]
    return list(found.values())


@contextmanager
def _moved(parameters: list[Tensor], steps: list[Tensor]) -> Iterator[None]:
    """Adds a step to every parameter, and takes the saved values back afterwards."""
    saved = [one.detach().clone() for one in parameters]
    with torch.no_grad():
        for one, step in zip(parameters, steps, strict=True):
            one.add_(step)
    try:
        yield
    finally:
        with torch.no_grad():
            for one, value in zip(parameters, saved, strict=True):
                one.copy_(value)
