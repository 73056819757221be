"""`prune-env figures`: the paper's figures and others, drawn from records, with their numbers and what they say."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from prune_env.baselines.figures import FIGURES, get_figure
from prune_env.cli.arguments import numbers, split, whole
from prune_env.cli.terminal import console
from prune_env.errors import FigureError

if TYPE_CHECKING:
    from prune_env.baselines.figures.drawing import Request

HELP = "draw figures from records: PNG, SVG, the numbers as CSV, and what each shows"

_EXAMPLES = """\
examples:
  prune-env figures runs/tiny/records.jsonl --out runs/tiny/figures
  prune-env figures baselines/results/minilm.jsonl --only removal heads --out figures
  prune-env figures runs/real --only embeddings --victim victims/hiddenkiller-minilm --data data --out figures
  for tau in .95 .93 .91 .89 .87 .85; do prune-env bench --victim tiny-syntactic tiny-style --threshold $tau \\
      --methods ft,gradient,layer-wise,bayesian,random-third --out runs/threshold; done
  prune-env figures runs/threshold --only threshold --out figures
embeddings, metrics, path and ground-truth look into models: of embedded victims, and of those that --victim names. What
they compute is kept in DIR/cache, and a second run draws from there; embeddings fine-tunes the purified model again,
path a few masks along each path of embedded victims (seconds each, each kept as soon as it is there).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the records, the figures, and what those that look into models need."""
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("records", type=Path, nargs="+", metavar="RECORDS", help="records.jsonl files, or folders of .jsonl files")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the pictures, of figures.md and of a cache")
    add("--only", nargs="+", default=[], metavar="NAME", help=f"figures (default: all): {', '.join(FIGURES)}")
    add("--victim", nargs="+", default=[], metavar="V", help="folders of victims that are not embedded")
    add("--data", metavar="DIR", help="data folder of victims on real data (default: PRUNE_ENV_DATA)")
    add(
        "--method", default="gradient", metavar="M", help="whose purified model embeddings shows (default: %(default)s)"
    )
    add("--seed", metavar="N", help="the defender's seed that embeddings shows (default: the lowest there is)")
    add("--learning-rate", metavar="R", help="rate of the final fine-tuning (default: the one with most records)")
    add("--study", type=Path, metavar="DIR", help="tables of a mask study (default: those that ship)")
    add("--no-fine-tune", action="store_true", help="path: draw what records tell, fine-tune no mask along the paths")
    add("--device", default="cpu", help="where models are evaluated: cpu, cuda, cuda:N (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Draws what can be drawn and says why the rest cannot; 0 unless a figure that --only names is among the rest.

    Raises:
        FigureError: Nothing can be drawn, or not all of --only.
    """
    from prune_env.baselines.figures.output import PAGE, save, section, update_page
    from prune_env.baselines.figures.style import styled
    from prune_env.cache import writable

    asked = split(args.only)
    drawings = {name: get_figure(name) for name in asked or FIGURES}
    request = _request(args)
    writable(args.out)
    sections: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name, drawing in drawings.items():
        try:
            with styled():
                pictures = drawing.draw(request)
        except FigureError as error:
            missing[name] = str(error)
            continue
        paths = [save(picture, args.out)[0] for picture in pictures]
        # Kept after each figure: what was drawn before an interruption is on the page.
        sections[name] = section(name, pictures)
        update_page(args.out, sections)
        for picture, path in zip(pictures, paths, strict=True):
            _show(f"{path}\n  {' '.join(picture.says)}")
    reasons = _by_reason(missing)
    if missing and (asked or not sections):
        raise FigureError(f"not drawn: {'; '.join(f'{names}: {reason}' for reason, names in reasons.items())}")
    for reason, names in reasons.items():
        _show(f"{names}: not drawn; {reason}")
    _show(f"Page: {args.out / PAGE}")
    return 0


def _by_reason(missing: dict[str, str]) -> dict[str, str]:
    """Returns, for each reason, the figures that are missing for it: several often share one."""
    names: dict[str, list[str]] = {}
    for name, reason in missing.items():
        names.setdefault(reason, []).append(name)
    return {reason: ", ".join(found) for reason, found in names.items()}


def _request(args: argparse.Namespace) -> Request:
    from prune_env.baselines.figures.drawing import Request
    from prune_env.baselines.report import load
    from prune_env.engine.device import resolve_device

    resolve_device(args.device)
    rate = None if args.learning_rate is None else numbers([args.learning_rate], float, "a learning rate", "2e-5")[0]
    return Request(
        records=load(args.records),
        out=args.out,
        victims=tuple(split(args.victim)),
        data=args.data,
        method=args.method,
        seed=None if args.seed is None else numbers([args.seed], whole, "a seed", "11")[0],
        learning_rate=rate,
        study=args.study,
        device=args.device,
        fine_tune=not args.no_fine_tune,
        report=_progress,
    )


def _progress(stage: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(f"{stage} ...", highlight=False, markup=False, soft_wrap=True)


def _show(text: str) -> None:
    console().print(text, highlight=False, markup=False, soft_wrap=True)
