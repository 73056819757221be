"""A defence from end to end: choose a mask on the clean data, put it on the suspicious encoder, fine-tune, done.

The mask is searched on the task's scoring model but applied to the ORIGINAL suspicious encoder, with a fresh head, and
held while that is fine-tuned on the clean data (paper, section 5; the released protocol). Nothing here opens a
diagnosis: what a purified model does on triggered sentences is for `prune_env.victims.judge`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from prune_env.methods import Method, Recovery, get_method
from prune_env.recovery import PLAIN, Job, Purified, Reference
from prune_env.search import NO_AIDS, Aids, Found, Search, find_mask, members_of
from prune_env.types import HeadMask
from prune_env.victims.task import OnStep, Task
from prune_env.victims.training_config import TrainingConfig

Known = Callable[[Method], Found | None]
"""What finds a method's mask among earlier results, if it is there."""


def defend(
    task: Task,
    method: Method,
    search: Search,
    training: TrainingConfig,
    *,
    known: Known | None = None,
    aids: Aids = NO_AIDS,
    on_step: OnStep | None = None,
) -> tuple[Found, Purified]:
    """Defends: the suspicious encoder and clean data that a task holds, and a method, to a purified model.

    Args:
        task: What the defender has.
        method: Whose mask.
        search: How masks are searched, and the device of everything.
        training: The final fine-tuning.
        known: Gives masks that were found before for the same task and search.
        aids: What methods of other regimes than "clean_only" need.
        on_step: Called with (steps done, steps in all) while the purified model is fine-tuned.

    Returns:
        The mask with its search, and the model.
    """
    found = search_mask(task, method, search, known, aids)
    return found, purify(
        task,
        found.mask,
        training,
        recovery=method.recovery,
        device=search.device,
        on_step=on_step,
        members=members_of(method, found.trace),
        reference=aids.reference if method.regime == "reference" else None,
    )


def search_mask(task: Task, method: Method, search: Search, known: Known | None = None, aids: Aids = NO_AIDS) -> Found:
    """Finds a method's mask, or takes another's; a control of matched size has the other's found first."""
    found = None if known is None else known(method)
    if found is not None:
        return found
    if method.mask_of is not None:
        return search_mask(task, get_method(method.mask_of), search, known, aids)
    heads = None
    if method.matches is not None:
        matched = search_mask(task, get_method(method.matches), search, known)
        heads = int(np.count_nonzero(~matched.mask))
    return find_mask(task, method, search, heads, aids)


def purify(
    task: Task,
    mask: HeadMask,
    training: TrainingConfig,
    *,
    recovery: Recovery | None = None,
    device: str = "cpu",
    on_step: OnStep | None = None,
    members: tuple[HeadMask, ...] = (),
    reference: Reference | None = None,
) -> Purified:
    """Makes a purified model of a mask: by plain fine-tuning, or a method's own recovery.

    Args:
        task: What the defender has.
        mask: Heads to keep, (layers, heads).
        training: Fine-tuning settings.
        recovery: How; None is plain fine-tuning.
        device: Where to fine-tune.
        on_step: Called with (steps done, steps in all).
        members: An ensemble's masks.
        reference: Loads the clean encoder, for methods that are allowed one.
    """
    return (recovery or PLAIN).purify(Job(task, mask, training, device, on_step, members, reference))


def training_for(
    task_training: TrainingConfig, learning_rate: float | None, method: Method | None = None
) -> TrainingConfig:
    """Returns the protocol's settings at another rate; None keeps its own. A method's own rate stands above both."""
    if method is not None and method.rate_factor is not None:
        return replace(task_training, learning_rate=task_training.learning_rate * method.rate_factor)
    return task_training if learning_rate is None else replace(task_training, learning_rate=learning_rate)
