"""What the attacker of a tiny victim decides: settings only, so that names and grids are known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from prune_env.errors import ConfigError
from prune_env.types import HeadMask, mask_from_text
from prune_env.victims.training_config import TrainingConfig

LAYERS, HEADS, HIDDEN, POSITIONS = 4, 4, 64, 64
TARGET = 1
POISONING = TrainingConfig(learning_rate=1e-3, epochs=5, max_length=POSITIONS, precision="float32")
ROUTING = TrainingConfig(learning_rate=1e-3, epochs=3, max_length=POSITIONS, precision="float32")


@dataclass(frozen=True)
class TinyRecipe:
    """How a tiny victim is made.

    Attributes:
        attack: "syntactic" or "style".
        seed: The attacker's: sentences, poison, initial weights, order, dropout.
        carriers: Heads the backdoor is routed through, as a mask's text with 1 = carrier; "" leaves it where it falls.
        poisoning: The ordinary poisoned training.
        routing: The training behind it, for victims whose backdoor is moved on purpose.
        weight: Weight of the second term of that training's loss.
        train: The attacker's clean sentences.
        test: The judge's sentences, clean and triggered; as validation half as many.
        layers: Layers of the model.
        heads: Attention heads in each layer; they share the hidden size, 64.

    Raises:
        ConfigError: A grid that no model has.
    """

    attack: str
    seed: int = 11
    carriers: str = ""
    poisoning: TrainingConfig = POISONING
    routing: TrainingConfig = ROUTING
    weight: float = 0.7
    train: int = 10_000
    test: int = 1000
    layers: int = LAYERS
    heads: int = HEADS

    def __post_init__(self) -> None:
        """Checks the grid."""
        if min(self.layers, self.heads) < 1 or HIDDEN % self.heads:
            raise ConfigError(
                f"expected at least one layer, and heads that divide the hidden size {HIDDEN}, got "
                f"{self.layers} x {self.heads}"
            )

    @property
    def carrier_mask(self) -> HeadMask | None:
        """The carriers (layers, heads), True = carrier; None where none are named."""
        return mask_from_text(self.carriers) if self.carriers else None


TINY: dict[str, TinyRecipe] = {
    "tiny-syntactic": TinyRecipe("syntactic", carriers="0100/0001/1010/0100"),
    "tiny-style": TinyRecipe("style", carriers="0100/0001/1010/0100"),
    "tiny-syntactic-organic": TinyRecipe("syntactic"),
    "tiny-style-organic": TinyRecipe("style"),
}
"""Name -> recipe of the victims in prune_env/assets."""
