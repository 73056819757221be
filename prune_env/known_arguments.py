"""What a factory behind `gym.make` is called with: a name that it does not know is answered with the nearest."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from prune_env.errors import ConfigError, nearest

_Arguments = ParamSpec("_Arguments")
_Made = TypeVar("_Made")


def known_arguments(
    hands_on_to: Callable[..., object] | None = None,
) -> Callable[[Callable[_Arguments, _Made]], Callable[_Arguments, _Made]]:
    """Makes a factory refuse arguments that are not its own by a `ConfigError`, where Python raises its `TypeError`.

    For `help` and `inspect.signature` the factory, which takes a victim, and all else by name, stays what it is.

    Args:
        hands_on_to: The factory that gets its further arguments; those are known, too.
    """

    def decorated(factory: Callable[_Arguments, _Made]) -> Callable[_Arguments, _Made]:
        signature = inspect.signature(factory)
        names = list(dict.fromkeys([*(() if hands_on_to is None else _names(hands_on_to)), *_names(factory)]))

        @wraps(factory)
        def checked(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Made:
            for name in kwargs:
                if name not in names:
                    raise ConfigError(
                        f"expected arguments of the environment, got {name!r}: {nearest(name, names)}"
                        f"known are {', '.join(names)}"
                    )
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise ConfigError(
                    f"expected a victim, and all other arguments by name, got: {error}; "
                    "give them as in victim='tiny-syntactic', on_violation='reject'"
                ) from None
            return factory(*args, **kwargs)

        return checked

    return decorated


def _names(factory: Callable[..., object]) -> list[str]:
    parameters = inspect.signature(factory).parameters
    return [name for name, one in parameters.items() if one.kind is not inspect.Parameter.VAR_KEYWORD]
