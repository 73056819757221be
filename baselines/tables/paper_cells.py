"""What the paper reports, as far as it is known: the order of its rows, and cells of its Tables 1 and 2.

Chapagain, Hamdi and Filali Boubrahimi, "Pruning Strategies for Backdoor Defense in LLMs", CIKM 2025,
doi 10.1145/3746252.3760946: BERT-base on SST-2, mean and, where it is known, standard deviation over five seeds.
Table 1 is HiddenKiller, Table 2 StyleBkd. The cells that its text repeats are known; the others are blank here.
"""

from __future__ import annotations

from dataclasses import dataclass

from prune_env.methods import CANDIDATES, METHODS

SOURCE = "CIKM 2025, doi 10.1145/3746252.3760946"
COLUMN = "paper (BERT-base)"

PAPER_ORDER = (
    "ft", "fth", "meft", "pure",
    "gradient", "layer-wise", "gradient-l1l2", "ensemble", "epsilon-greedy", "bayesian",
)  # fmt: skip
"""The rows of both tables; "epsilon-greedy" is the paper's reinforcement learning."""

OWN_ORDER = ("hybrid", "anp")
"""Rows of this project that choose heads; controls and then everything else come after them."""

CONTROLS = ("random", "random-balanced", "random-third", "reinit", "restart", "oracle")

_PAPER_RATES = {"fth": 5e-5}
_PAPER_RATE = 2e-5


@dataclass(frozen=True)
class Cell:
    """One row of one of the paper's tables, in percent; None where it is not known.

    Attributes:
        table: "Table 1" or "Table 2".
        acc: Clean accuracy.
        lfr: Label flip rate.
        lfr_sd: Its standard deviation over five seeds.
    """

    table: str
    acc: float | None
    lfr: float
    lfr_sd: float | None = None


CELLS: dict[tuple[str, str], Cell] = {
    ("hiddenkiller", "ft"): Cell("Table 1", 91.94, 41.73),
    ("hiddenkiller", "gradient"): Cell("Table 1", 91.61, 31.71, 0.85),
    ("hiddenkiller", "gradient-l1l2"): Cell("Table 1", 92.69, 33.62),
    ("stylebkd-poetry", "fth"): Cell("Table 2", None, 28.22),
    ("stylebkd-poetry", "pure"): Cell("Table 2", None, 29.53),
    ("stylebkd-poetry", "epsilon-greedy"): Cell("Table 2", 92.83, 28.11, 1.52),
    ("stylebkd-poetry", "bayesian"): Cell("Table 2", 92.59, 29.52),
}
"""(attack, method) -> cell."""


def paper_cell(attack: str, method: str, learning_rate: float) -> Cell | None:
    """Returns the paper's cell beside a row: of its attack, method and rate; None where there is none, or unknown."""
    same_rate = abs(learning_rate - _PAPER_RATES.get(method, _PAPER_RATE)) < 1e-9
    return CELLS.get((attack, method)) if same_rate else None


def rank(method: str, kind: str) -> tuple[int, int, str]:
    """Returns where a row stands: the paper's rows, our own, controls, then candidates and methods unknown here."""
    for group, names in enumerate((PAPER_ORDER, OWN_ORDER, CONTROLS)):
        if method in names:
            return group, names.index(method), method
    place = list(METHODS).index(method) if method in METHODS else len(METHODS)
    other = 4 if method in CANDIDATES else 3
    return (2 if kind == "control" and other == 3 else other), len(CONTROLS) + place, method
