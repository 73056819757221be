"""`prune-env play`: watches one episode, in the terminal or as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import ConfigError, OutputError

HELP = "play one episode with a method's policy and show every step"

_EXAMPLES = """\
examples:
  prune-env play --victim tiny-syntactic --method gradient
  prune-env play --victim tiny-style --method epsilon-greedy --seed 12 --picture episode.png
"""

_COLUMNS = 3
"""Frames in a row of the picture."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the victim, the method, the seed and the picture's name."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--victim", required=True, help="embedded name or folder of a victim")
    parser.add_argument("--method", default="gradient", help="whose policy acts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=11, help="the defender's seed (default: %(default)s)")
    parser.add_argument("--data", metavar="DIR", help="data folder of victims on real data; PRUNE_ENV_DATA by default")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="write the steps as one picture, not as text")


def run(args: argparse.Namespace) -> int:
    """Plays the episode that bench records for this seed under the victim's own settings; 0 when it is over."""
    import gymnasium as gym

    from prune_env.methods import get_method
    from prune_env.search import NO_CONSTRAINT, play
    from prune_env.victims.manifest import Manifest
    from prune_env.victims.store import folder_of

    method = get_method(args.method)
    if method.policy is None or method.matches is not None:
        raise ConfigError(f"method {method.name!r} plays no episode of its own; choose gradient or epsilon-greedy")
    method.check_victim(Manifest.read(folder_of(args.victim)).sha256, args.victim)
    settings: dict[str, Any] = {**method.environment, **method.constraint}
    if method.unconstrained:
        settings["threshold"] = NO_CONSTRAINT
    env = gym.make(
        "BertHeadPrune-v0",
        victim=args.victim,
        task_seed=args.seed,
        data=args.data,
        metrics=list(method.metrics),
        recover_on=method.recover_on,
        render_mode="rgb_array" if args.picture else "ansi",
        **settings,
    )
    frames: list[Any] = []
    play(env, method, args.seed, on_step=lambda _: frames.append(env.render()))
    _show(frames, args.picture)
    return 0


def _show(frames: list[Any], picture: Path | None) -> None:
    if picture is None:
        print("\n\n".join(frames))  # noqa: T201
        return
    from matplotlib.image import imsave

    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        imsave(picture, film_strip([np.asarray(frame) for frame in frames]))
    except OSError as error:
        raise OutputError(f"expected to write {picture}, got {error}; give a folder you may write to") from error
    print(f"{len(frames)} frames in {picture}")  # noqa: T201


def film_strip(frames: list[NDArray[np.uint8]], columns: int = _COLUMNS) -> NDArray[np.uint8]:
    """Lays frames of one size out in rows, left to right, the last row filled with white.

    Args:
        frames: uint8 (height, width, 3) each, at least one.
        columns: Frames in a row.
    """
    columns = min(columns, len(frames))
    blank = np.full_like(frames[0], 255)
    padded = frames + [blank] * (-len(frames) % columns)
    rows = [np.concatenate(padded[i : i + columns], axis=1) for i in range(0, len(padded), columns)]
    return np.concatenate(rows, axis=0)
