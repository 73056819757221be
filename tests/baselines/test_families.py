"""A victim's family: its name without the attacker's seed."""

from __future__ import annotations

import pytest

from prune_env.baselines.families import family_of


@pytest.mark.parametrize(
    ("victim", "family"),
    [
        ("hiddenkiller-minilm-s12", "hiddenkiller-minilm"),
        ("hiddenkiller-minilm", "hiddenkiller-minilm"),
        ("stylebkd-poetry-minilm-s104", "stylebkd-poetry-minilm"),
        ("tiny-syntactic", "tiny-syntactic"),
        ("a-s1-s2", "a-s1"),
        ("bert-s", "bert-s"),
        ("bert-s12-large", "bert-s12-large"),
    ],
)
def test_family_is_the_name_without_the_seed(victim: str, family: str) -> None:
    assert family_of(victim) == family
