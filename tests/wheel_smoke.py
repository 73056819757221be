"""Run by `make wheel` in an environment that has the wheel and not the checkout: is everything in it?"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib.metadata import version
from pathlib import Path

import gymnasium

import prune_env
from prune_env.victims.store import embedded_names
from prune_env.victims.tiny import TINY


def main() -> None:
    """Imports every module, and plays a step on every embedded victim, live and from its table."""
    folder = Path(prune_env.__file__).parent
    if not folder.is_relative_to(sys.prefix):
        raise SystemExit(f"expected the installed package, got {folder}")
    if version("prune-env") != prune_env.__version__ or not (folder / "py.typed").is_file():
        raise SystemExit("the wheel lacks its version or py.typed")
    modules = [module.name for module in pkgutil.walk_packages([str(folder)], "prune_env.")]
    for name in modules:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    for name in ("prune_env.agents", "prune_env.baselines"):
        if name not in modules:
            raise SystemExit(f"the wheel lacks {name}")
    victims = embedded_names()
    if set(victims) != set(TINY):
        raise SystemExit(f"expected the embedded victims {sorted(TINY)}, got {victims}")
    for victim in victims:
        for name in ("BertHeadPrune-v0", "BertHeadPruneTabular-v0"):
            env = gymnasium.make(f"prune_env:{name}", victim=victim)
            env.reset(seed=11)
            env.step(env.action_space.sample())
    sys.stdout.write(f"wheel: {len(modules)} modules, {len(victims)} embedded victims\n")


if __name__ == "__main__":
    main()
