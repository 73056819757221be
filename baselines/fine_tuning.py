"""FT: plain fine-tuning with every head kept; what every mask is compared with at the same rate, data and epochs.

Paper, section 5.2: vanilla fine-tuning, rate 2e-5. A warmer rate is a setting of the run, so that no method is ever
compared with a colder FT. At the protocol's own rate it is the task's scoring model, to the bit.
"""

from __future__ import annotations

from prune_env.methods import Method

FT = Method(name="ft", summary="fine-tune on clean data, prune nothing")
