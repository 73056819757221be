"""Taylor importance: first-order change of the loss when a head is switched off (Michel et al. 2019, section 4.1)."""

from __future__ import annotations

from torch import Tensor

from prune_env.importance.shared import GradientMetric, Gradients


def gate_means(gradients: Gradients, _heads: int) -> Tensor:
    """Returns the mean absolute gradient of each head's gate, (layers, heads)."""
    return gradients.gates


taylor = GradientMetric(gate_means)
"""Mean over sentences of |dLoss/dgate|, the gate multiplying the head's output and standing at one.

The absolute value is taken sentence by sentence, so effects of opposite sign do not cancel. The source also divides
by the layer's norm before it ranks over layers; here scores are left as they are.
"""
