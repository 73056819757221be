"""`prune-env purify`: a suspicious checkpoint and clean data in, a purified checkpoint with its model card out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from prune_env.cli.arguments import add_constraint, constraint_of, empty_folder
from prune_env.cli.terminal import progress
from prune_env.errors import ConfigError, InterruptedRunError
from prune_env.methods import get_method
from prune_env.victims.training_config import TrainingConfig

if TYPE_CHECKING:
    from prune_env.methods import Method
    from prune_env.purification import Order, Purification

HELP = "purify any BERT, RoBERTa or DistilBERT classifier with your own clean data"

_EXAMPLES = """\
examples:
  prune-env purify --model downloads/sentiment-bert --train train.tsv --valid valid.tsv --method gradient --out purified
  prune-env purify --model owner/model-id --train train.csv --valid valid.csv --max-accuracy-drop 0.05 --out purified
  prune-env purify --model downloads/sentiment-bert --train train.tsv --valid valid.tsv --agent runs/ppo --out purified
Files need a header with a text column (sentence, text) and a label column (label), classes from 0.
A copy of both files' sentences is kept with the scoring model in the cache folder (PRUNE_ENV_CACHE), unencrypted;
delete its folder `tasks` when the data must not stay there, and `importance`, the heads' scores on them.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the model, the data, the method and how the result is fine-tuned."""
    parser.epilog = _EXAMPLES
    add, default = parser.add_argument, TrainingConfig()
    add("--model", required=True, metavar="M", help="checkpoint folder or Hugging Face model id; safetensors only")
    add("--train", required=True, type=Path, metavar="FILE", help="clean labelled sentences: .tsv, .csv or .jsonl")
    add("--valid", required=True, type=Path, metavar="FILE", help="clean sentences on which masks are searched")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--method", default="gradient", help="how heads are chosen (default: %(default)s)")
    chosen.add_argument("--agent", type=Path, metavar="DIR", help="a trained agent chooses them: the folder of "
        "`prune-env train` with the policy heads")  # fmt: skip
    add("--out", required=True, type=Path, metavar="DIR", help="new or empty folder for the purified model")
    add("--labels", type=int, metavar="N", help="number of classes (default: the checkpoint's)")
    add("--seed", type=int, default=11, help="splits, head, order, dropout (default: %(default)s)")
    add("--learning-rate", type=float, default=default.learning_rate, help="of the fine-tuning (default: %(default)s)")
    add("--epochs", type=int, default=default.epochs, help="of the fine-tuning (default: %(default)s)")
    add_constraint(parser, "none, an accuracy drop of 0.02 is allowed")
    add("--device", default="cpu", help="where to compute: cpu, cuda, cuda:N (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Purifies and saves; 0 when the folder is complete."""
    if args.agent is None:
        get_method(args.method)  # a mistyped name is refused before torch is loaded
    from prune_env.cache import cache_folder
    from prune_env.model_card import save_purified
    from prune_env.purification import purify_checkpoint

    order = _order(args)
    empty_folder(args.out)
    console = Console()
    try:
        with progress() as bar:
            shown = bar.add_task("reading model and data", total=None)

            def report(stage: str, done: int, total: int) -> None:
                # A stage that ends leaves the bar to what follows it: the search, or saving.
                follows = {"scoring model": "searching heads to prune", "purified model": "measuring"}
                name = f"fine-tuning the {stage}" if done < total else follows[stage]
                bar.update(shown, description=name, completed=done, total=total)

            result = purify_checkpoint(order, report)
        save_purified(result, args.out)
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted; the scoring model's finished epochs are kept in {cache_folder()}, run the same command "
            "again to go on from there"
        ) from None
    _print(console, result, args.out)
    return 0


def _order(args: argparse.Namespace) -> Order:
    from prune_env.purification import MAX_ACCURACY_DROP, Order
    from prune_env.search import Search

    if args.labels is not None and args.labels < 2:
        raise ConfigError(f"expected at least 2 classes, got --labels {args.labels}; count the classes of the data")
    if args.seed < 0:
        raise ConfigError(f"expected a seed >= 0, got --seed {args.seed}; give another")
    constraint = constraint_of(args) or {"max_accuracy_drop": MAX_ACCURACY_DROP}
    return Order(
        model=args.model,
        train=args.train,
        valid=args.valid,
        method=args.method if args.agent is None else _agent(args.agent),
        search=Search(constraint, args.device),
        training=TrainingConfig(learning_rate=args.learning_rate, epochs=args.epochs),
        labels=args.labels,
        seed=args.seed,
    )


def _agent(folder: Path) -> Method:
    """Returns a trained agent as a method, called by its folder's name alone: the model's card names no path.

    Raises:
        CheckpointError: No agent there, or one that is refused.
        ConfigError: An agent of one model alone.
    """
    from prune_env.agents.learned import method_of
    from prune_env.agents.saved import load_agent

    policy = load_agent(folder).card.policy
    if policy != "heads":
        raise ConfigError(
            f"expected an agent that may act on any model, got one in {folder} with the policy {policy}, which knows "
            "heads by their numbers; train one with --policy heads"
        )
    return method_of(folder, f"agent {folder.resolve().name}")


def _print(console: Console, result: Purification, out: Path) -> None:
    from prune_env.model_card import NO_CERTIFICATE, head_map
    from prune_env.render import head_map_text

    lines = [head_map_text(head_map(result)), "", f"Accuracy on {len(result.task.certify)} clean sentences held out:"]
    if result.published is not None:
        lines.append(f"  as published  {100 * result.published:5.1f} %")
    lines.append(f"  fine-tuned    {100 * result.fine_tuned:5.1f} %")
    lines.append(f"  purified      {100 * result.accuracy:5.1f} %")
    if result.method.policy is not None and bool(result.found.mask.all()):
        lines.append("No head could go within this accuracy: the result is a plain fine-tuning. Allow a larger drop.")
    lines += ["", f"The model and its card are in {out}. {NO_CERTIFICATE}"]
    console.print("\n".join(lines), markup=False, highlight=False)
