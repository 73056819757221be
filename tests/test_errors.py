"""Errors cross processes as they are: a worker's failure is told in its own words."""

from __future__ import annotations

import inspect
import pickle

import pytest

from prune_env import errors
from prune_env.errors import PruneEnvError, UnknownNameError

PLAIN = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, PruneEnvError) and kind is not UnknownNameError
]
LISTED = UnknownNameError("victim", "tinny", ("tiny", "x"), listed="two, of which one is tiny")


@pytest.mark.parametrize(
    "error", [UnknownNameError("victim", "tinny", iter(("tiny", "x"))), LISTED, *(k("a") for k in PLAIN)]
)
def test_an_error_survives_the_way_between_processes(error: PruneEnvError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # our own bytes
    assert type(copy) is type(error) and str(copy) == str(error) != ""
