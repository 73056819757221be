"""Settings of the environment: plain JSON values, validated once, each default written here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from numbers import Real

from prune_env.errors import ConfigError, ThresholdError, UnknownNameError

MARGINS = ("point", "lower_bound")
"""What has to reach the threshold: the measured accuracy, or a one-sided 95 % lower bound of it."""

VIOLATIONS = ("terminate", "reject", "backtrack")
"""What a set does whose accuracy misses the threshold: end the episode, be undone, or be restored head by head."""

DEFAULT_METRICS = ("gradient", "attention_variance")
"""Importance metrics that are observed by default; the first protects a layer's last head."""

PAPER_LIMIT = "paper"
"""The default of `max_heads_per_step`: the paper's 10 of 144 heads, scaled to the model."""


@dataclass(frozen=True)
class EnvConfig:
    """Settings of `BertHeadPrune-v0` that do not depend on the model; `dataclasses.asdict` gives JSON values.

    Attributes:
        threshold: Accuracy a mask has to reach, in (0, 1]. Exactly one of `threshold` and `max_accuracy_drop` is given.
        max_accuracy_drop: The same, as the accuracy that may be lost against the full mask, in [0, 1).
        threshold_margin: "point" compares the accuracy itself, "lower_bound" its one-sided 95 % lower bound.
        on_violation: "terminate" (as the paper), "reject" or "backtrack".
        max_heads_per_step: Heads one step may prune; "paper" scales the paper's 10 of 144 to the model (at least 2),
            None lifts the limit.
        max_steps: Steps until truncation; None means one for each head.
        max_evaluations: Distinct masks of an episode until truncation, the starting mask included; None lifts it.
        pad_to: (layers, heads) of a larger grid, so that models of different size share their spaces; None for none.

    Raises:
        ThresholdError: No or two thresholds, or one outside its range.
        ConfigError: Another setting outside its range.
        UnknownNameError: A `threshold_margin` or `on_violation` that does not exist.
    """

    threshold: float | None = None
    max_accuracy_drop: float | None = None
    threshold_margin: str = "point"
    on_violation: str = "terminate"
    max_heads_per_step: int | str | None = PAPER_LIMIT
    max_steps: int | None = None
    max_evaluations: int | None = None
    pad_to: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self._check_thresholds()
        if self.threshold_margin not in MARGINS:
            raise UnknownNameError("threshold_margin", str(self.threshold_margin), MARGINS)
        if self.on_violation not in VIOLATIONS:
            raise UnknownNameError("on_violation", str(self.on_violation), VIOLATIONS)
        if self.max_heads_per_step not in (PAPER_LIMIT, None):
            _check_count("max_heads_per_step", self.max_heads_per_step, 1, f"{PAPER_LIMIT!r} or None for no limit")
        if self.max_steps is not None:
            _check_count("max_steps", self.max_steps, 1, "None for one step a head")
        if self.max_evaluations is not None:
            _check_count(
                "max_evaluations", self.max_evaluations, 2, "None for no limit (the starting mask is the first)"
            )
        if self.pad_to is not None:
            object.__setattr__(self, "pad_to", _grid(self.pad_to))

    def _check_thresholds(self) -> None:
        if (self.threshold is None) == (self.max_accuracy_drop is None):
            raise ThresholdError(
                "expected exactly one of threshold and max_accuracy_drop, "
                f"got threshold={self.threshold!r} and max_accuracy_drop={self.max_accuracy_drop!r}; give one of them"
            )
        if self.threshold is not None:
            check_threshold(self.threshold)
        if self.max_accuracy_drop is not None and not 0 <= exact(self.max_accuracy_drop, "max_accuracy_drop") < 1:
            raise ThresholdError(
                f"expected max_accuracy_drop in [0, 1), got {self.max_accuracy_drop!r}; 0.02 allows to lose two points"
            )

    def heads_per_step(self, heads: int) -> int:
        """Returns how many heads one step may prune in a model with this many heads in all."""
        if self.max_heads_per_step is None:
            return heads
        if isinstance(self.max_heads_per_step, int):
            return self.max_heads_per_step
        return paper_limit(heads)

    def steps(self, heads: int) -> int:
        """Returns the steps until truncation for a model with this many heads in all."""
        return heads if self.max_steps is None else self.max_steps


def paper_limit(heads: int) -> int:
    """Returns the paper's group, 10 of 144 heads, scaled to a model with this many heads in all and at least 2."""
    return max(2, round(Fraction(10 * heads, 144)))


def exact(value: object, name: str = "threshold") -> Fraction:
    """Returns the decimal number that was written: 0.85 is 17/20, not its nearest double.

    Raises:
        ThresholdError: Not a finite number.
    """
    try:
        # A text is refused, too: what float() would make of it is not what JSON holds.
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError
        return Fraction(str(float(value)))
    except (TypeError, ValueError, OverflowError) as error:
        raise ThresholdError(f"expected {name} to be a number such as 0.85, got {value!r}; give one") from error


def check_threshold(value: float) -> Fraction:
    """Returns a threshold as the exact fraction that was written.

    Raises:
        ThresholdError: Not a number in (0, 1].
    """
    fraction = exact(value)
    if not 0 < fraction <= 1:
        raise ThresholdError(f"expected a threshold in (0, 1], got {value!r}; give an accuracy such as 0.85")
    return fraction


def _check_count(name: str, value: object, least: int, otherwise: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(
            f"expected {name} to be a whole number of at least {least}, got {value!r}; or give {otherwise}"
        )


def _grid(value: object) -> tuple[int, int]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ConfigError(f"expected pad_to to be (layers, heads), got {value!r}; or give None to pad nothing")
    for size in value:
        _check_count("pad_to's layers and heads", size, 1, "None to pad nothing")
    return int(value[0]), int(value[1])
