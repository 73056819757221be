"""`prune-env train`: trains an agent of Stable-Baselines3, and keeps all that is needed to act elsewhere."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune_env.cli.arguments import add_constraint, constraint_of
from prune_env.cli.terminal import console, duration, long_work
from prune_env.errors import ConfigError, InterruptedRunError, ManifestError, UnknownNameError

if TYPE_CHECKING:
    from prune_env.agents.training import Trained, Training

HELP = "train an agent (PPO, A2C, DQN, MaskablePPO), with TensorBoard, checkpoints and evaluation"

AGENTS = ("ppo", "a2c", "dqn", "maskable-ppo")
POLICIES = ("heads", "mlp")
LIVE_ID = "BertHeadPrune-v0"
TABULAR_ID = "BertHeadPruneTabular-v0"

_EXAMPLES = """\
examples:
  prune-env train --agent ppo --victim tiny-syntactic --logdir runs/ppo
  prune-env train --agent maskable-ppo --policy mlp --victim tiny-style --steps 20000 --seed 1 --logdir runs/masked
  prune-env train --agent ppo --victim tiny-syntactic --env on_violation=reject --set ent_coef=0.02 --logdir runs/soft
  prune-env train --agent ppo --victim tiny-syntactic --profile
After Ctrl-C or a crash the same command goes on from the last checkpoint; a finished training is left as it is.
Watch it with: tensorboard --logdir runs
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what is trained, where, for how long, and what is varied in ablations."""
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("--agent", choices=AGENTS, default="ppo", help="the algorithm (default: %(default)s)")
    add("--policy", choices=POLICIES, default="heads", help="heads: a network over the set of heads, for any model; "
        "mlp: a plain one, for this model alone and faster (default: %(default)s)")  # fmt: skip
    add("--victim", required=True, metavar="V", help="an embedded name, a folder, or a family of tabular twins")
    add("--env-id", metavar="ID", help="the environment (default: the tabular twin where the victim has one, else the "
        f"live {LIVE_ID})")  # fmt: skip
    add("--logdir", type=Path, metavar="DIR", help="folder of the agent, its checkpoint and event files")
    add("--steps", type=int, default=20_000, metavar="N", help="environment steps in all (default: %(default)s)")
    add("--n-envs", type=int, default=32, metavar="K", help="environments that step at once (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="S", help="of weights, draws and episodes (default: %(default)s)")
    add("--leg", type=int, default=4_000, metavar="N", help="steps between evaluations, each with a checkpoint "
        "(default: %(default)s)")  # fmt: skip
    add("--episodes", type=int, default=16, metavar="N", help="of an evaluation (default: %(default)s)")
    add("--env", action="append", default=[], metavar="KEY=VALUE", help="an argument of the environment, such as "
        "on_violation=reject or max_heads_per_step=1; may be repeated")  # fmt: skip
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the algorithm, such as "
        "learning_rate=0.0003; may be repeated")  # fmt: skip
    add("--diagnostics", action="store_true", help="log the label flip rate under oracle/; no agent sees it")
    add("--profile", action="store_true", help="train for --steps without keeping anything, and print steps a second "
        "and the environment's share of the time; of maskable-ppo also how much longer sb3-contrib's own bits "
        "would take")  # fmt: skip
    add("--json", action="store_true", help="print the result as JSON and nothing else")
    add_constraint(parser, "what the victim's manifest recommends")
    group = parser.add_argument_group("ablations")
    group.add_argument("--wanted-heads", type=float, metavar="X", help="heads an untrained policy asks for in a step "
        "(default: 1.5)")  # fmt: skip
    group.add_argument("--no-action-bias", action="store_true", help="start at even odds for every head instead")
    group.add_argument("--no-masking", action="store_true", help="train maskable-ppo as ppo, without action masks")
    group.add_argument("--shortfall-weight", type=float, metavar="X", help="price of missing accuracy while training "
        "(default: the reward's, 1)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Trains, then prints what came of it; 0 when the training is finished."""
    if not args.profile and args.logdir is None:
        raise ConfigError("expected --logdir DIR for what is trained, got none; or --profile to keep nothing")
    if args.env_id in (None, LIVE_ID, TABULAR_ID):
        check_victim(args.victim)
    with long_work("loading torch and stable-baselines3") as report:
        training = training_of(args)
        if args.profile:
            return _profile(training, args.json)
        from prune_env.agents.environments import yardsticks_of
        from prune_env.agents.train import train

        try:
            trained = train(training, args.logdir, yardsticks_of(training.environment), report)
        except KeyboardInterrupt as error:
            raise InterruptedRunError(
                f"interrupted; the last checkpoint is in {args.logdir}, and the same command goes on from there"
            ) from error
    (_print_json if args.json else _print)(training, trained)
    return 0


def check_victim(victim: str) -> None:
    """Refuses a victim that is not there, before anything heavy is loaded.

    Raises:
        UnknownNameError: A name of no victim, twin or set of twins; the message names the nearest.
        ManifestError: The path of nothing.
    """
    from prune_env.tabular.registry import SPLITS, TWINS, list_twins
    from prune_env.victims.manifest import MANIFEST

    path = Path(victim).expanduser()
    if path.exists():
        return
    if path.name != victim:
        raise ManifestError(f"expected a victim's folder or a twin's file at {victim}, found none; check the path")
    embedded = sorted(path.parent.name for path in TWINS.parent.glob(f"*/{MANIFEST}"))
    twins = list_twins()
    if victim in {*embedded, *SPLITS, *twins}:
        return
    listed = (
        f"the victims {', '.join(embedded)}, the sets of twins {', '.join(SPLITS)}, "
        f"and the {len(twins)} twins that `prune-env tabular list` lists; or give a folder"
    )
    raise UnknownNameError("victim", victim, {*embedded, *SPLITS, *twins}, listed)


def training_of(args: argparse.Namespace) -> Training:
    """Returns the training that the arguments describe.

    Raises:
        ConfigError: A setting outside its range, or one that is not KEY=VALUE.
        UnknownNameError: An agent, policy or setting that does not exist.
    """
    from prune_env.agents.environments import EnvChoice, best_id
    from prune_env.agents.training import Training

    environment = {**pairs(args.env), **constraint_of(args)}
    if args.diagnostics:
        environment["diagnostics"] = True
    env_id = best_id(args.victim, environment) if args.env_id is None else args.env_id
    return Training(
        agent="ppo" if args.agent == "maskable-ppo" and args.no_masking else args.agent,
        policy=args.policy,
        environment=EnvChoice(args.victim, env_id, environment, args.shortfall_weight),
        steps=args.steps,
        n_envs=args.n_envs,
        seed=args.seed,
        changes=pairs(args.set),
        policy_arguments=_start(args),
        leg=args.leg,
        episodes=args.episodes,
    )


def pairs(texts: list[str]) -> dict[str, Any]:
    """Reads KEY=VALUE texts, values as JSON where they are, else as texts.

    Raises:
        ConfigError: A text without "=" or with a key that is no name.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not (separator and key.isidentifier()):
            raise ConfigError(f"expected a setting such as max_heads_per_step=1, got {text!r}; write it as KEY=VALUE")
        try:
            found[key] = json.loads(value)
        except json.JSONDecodeError:
            found[key] = value
    return found


def _start(args: argparse.Namespace) -> dict[str, Any]:
    """Returns how a policy starts, if that is not the default."""
    if args.no_action_bias and args.wanted_heads is not None:
        raise ConfigError("expected one of --no-action-bias and --wanted-heads, got both; leave one out")
    if args.no_action_bias or args.wanted_heads is not None:
        if args.agent == "dqn":
            raise ConfigError("expected an agent that draws sets of heads with --wanted-heads or --no-action-bias, "
                "got dqn, which has no such start; choose another agent")  # fmt: skip
        return {"wanted_heads": args.wanted_heads}
    return {}


def _profile(training: Training, as_json: bool) -> int:
    from prune_env.agents.throughput import measure

    found = measure(training)
    if as_json:
        print(json.dumps(found.as_json(), indent=2))  # noqa: T201
    else:
        console().print(found.sentence, markup=False, highlight=False, soft_wrap=True)
    return 0


def _print(training: Training, trained: Trained) -> None:
    from rich.table import Table

    from prune_env.tabular.regret import LEGEND

    table = Table()
    table.add_column("best agent")
    for how in ("deterministic", "stochastic"):
        table.add_column(how, justify="right")
    for name in trained.deterministic:
        table.add_row(name.replace("_", " "), f"{trained.deterministic[name]:.4f}", f"{trained.stochastic[name]:.4f}")
    screen = console()
    title = f"{training.agent} ({training.policy}) on {training.environment.victim}, seed {training.seed}"
    screen.print(title, markup=False, highlight=False, soft_wrap=True)
    screen.print(table)
    if "certified_regret" in trained.deterministic:
        screen.print(LEGEND, markup=False, highlight=False, soft_wrap=True)
    screen.print(
        f"{trained.steps} steps of {training.environment.env_id} in {duration(trained.seconds)}{_rounded(training)}; "
        f"the best agent is that of step {trained.best_step}.\n"
        f"Agent:       {trained.folder} (prune_env.agents.saved.load_agent reads it)\n"
        f"TensorBoard: tensorboard --logdir {trained.folder}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _rounded(training: Training) -> str:
    """Says why fewer steps were taken than asked for; nothing if they were not."""
    if training.whole_steps == training.steps:
        return ""
    return f" ({training.steps} were asked for; an update takes {training.rollout})"


def _print_json(training: Training, trained: Trained) -> None:
    content = {
        "agent": training.agent,
        "policy": training.policy,
        "victim": training.environment.victim,
        "env_id": training.environment.env_id,
        "folder": str(trained.folder),
        "steps": trained.steps,
        "best_step": trained.best_step,
        "deterministic": dict(trained.deterministic),
        "stochastic": dict(trained.stochastic),
        "seconds": trained.seconds,
    }
    print(json.dumps(content, indent=2))  # noqa: T201
