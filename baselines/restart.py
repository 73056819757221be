"""Restart: throw the suspicious encoder away and fine-tune a clean one; what a purification must beat.

A control that is not in the paper, whose defender "has no knowledge of the trigger or access to a clean reference
model" (section 2.2). Where the encoder that a victim says it comes from is public, a defender may fetch it again: no
backdoor survives, and the price is what the attacker's encoder had learnt of the task. So a purification that leaves
more of the backdoor than `restart`, or keeps no more accuracy, was not worth its while wherever a clean encoder can be
had. It is of the regime "reference", and no table compares it silently with methods of clean data.

How: nothing is pruned and nothing is searched. The encoder is the one whose hash the victim's manifest names (for
embedded victims, which were trained from random weights, it is new random weights, drawn by the defender's seed: there
restart means training from scratch at the defender's rate, which may be too low to learn anything: read its ACC). Head,
order, dropout, rate and epochs are those of `ft` for the same seed, so the two differ in the encoder alone. The
tokenizer is the suspect's.

Since nothing of the suspect is used, the never-poisoned twin put through it is the same model, to the bit: measured
against that, restart would leave zero by construction. Tables measure it against the twin after `ft` at the same rate
(`baselines/PROTOCOL.md`), so that a clean encoder that learns the task badly is seen to flip more sentences.

Constants: none of its own. The released code has no such baseline. Fine-mixing (Zhang et al. 2022) and Fine-purifying
(Zhang et al. 2023), which mix a clean encoder into the suspicious one, need the same aid.
"""

from __future__ import annotations

from dataclasses import dataclass

from prune_env.errors import ConfigError
from prune_env.methods import Method
from prune_env.recovery import Job, Purified, begin, finish, fit
from prune_env.victims.training import cross_entropy


@dataclass(frozen=True)
class CleanEncoder:
    """Plain fine-tuning of the clean encoder."""

    def purify(self, job: Job) -> Purified:
        """Fine-tunes the encoder that the job's aid loads.

        Raises:
            ConfigError: A job without a clean encoder.
        """
        if job.reference is None:
            raise ConfigError("expected a clean encoder to start from, got none; choose a method of clean data only")
        begun = begin(job, job.reference())
        fit(job, begun, cross_entropy(job.mask))
        return finish(job, begun)


RESTART = Method(
    name="restart",
    summary="fine-tune a clean pre-trained encoder instead of the suspicious one (control)",
    kind="control",
    regime="reference",
    recovery=CleanEncoder(),
)
