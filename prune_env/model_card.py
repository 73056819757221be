"""What goes with a purified model: the checkpoint, a model card that says what was done, and the same for machines."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.errors import OutputError
from prune_env.machine import versions
from prune_env.purification import Purification
from prune_env.recovery import settings_of
from prune_env.render import HeadMap, save_head_map
from prune_env.search import search_config
from prune_env.types import mask_to_text
from prune_env.victims.checkpoint import save_checkpoint

CARD, SUMMARY, PICTURE = "README.md", "purification.json", "head_map.png"
MEMBER = "member-"
"""Folders of an ensemble's further members, counted from 2; the first lies beside them."""

SCHEMA = 1

NO_CERTIFICATE = (
    "This is no certificate that no backdoor is left. The attack is unknown, so nothing here measures it: accuracy on "
    "clean sentences is what a backdoored model has, too. Pruning and fine-tuning often leave part of a backdoor, and "
    "may leave all of it."
)


def save_purified(result: Purification, out: Path) -> Path:
    """Writes checkpoint, picture, card and purification.json, the last one last: where it lies, all is there.

    Raises:
        OutputError: The folder cannot be written.
    """
    save_checkpoint(result.purified.model, result.purified.tokenizer, out)
    for number, member in enumerate(result.purified.others, 2):
        save_checkpoint(member, result.purified.tokenizer, out / f"{MEMBER}{number}")
    save_head_map(head_map(result), out / PICTURE)
    summary = summarised(result)
    try:
        (out / CARD).write_text(card(summary), encoding="utf-8", newline="\n")
        text = json.dumps(summary, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
        (out / SUMMARY).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror}; make room and run the command again") from error
    return out


def summarised(result: Purification) -> dict[str, Any]:
    """Returns what was done as JSON values; rates in [0, 1]."""
    found, task, order = result.found, result.task, result.order
    return {
        "schema": SCHEMA,
        "certificate": NO_CERTIFICATE,
        "model": result.name,
        "model_sha256": task.suspect.sha256,
        "labels": task.suspect.labels,
        "method": result.method.name,
        "method_summary": result.method.summary,
        "regime": result.method.regime,
        "constraint": dict(order.search.constraint),
        "search": search_config(result.method, order.search),
        "training": asdict(result.training.resolved(order.search.device)),
        "recovery": None if result.method.recovery is None else settings_of(result.method.recovery),
        "members": len(result.purified.models),
        "seed": order.seed,
        "dtype": order.search.dtype,
        "mask": mask_to_text(found.mask),
        "heads": int(found.mask.size),
        "heads_kept": int(np.count_nonzero(found.mask)),
        "evaluations": found.evaluations,
        "sentence_passes": found.sentence_passes,
        "trace": found.trace,
        "data": {
            name: {"sentences": len(split), "sha256": split.sha256()}
            for name, split in (("train", task.train), ("search", task.search), ("certify", task.certify))
        },
        "accuracy": {
            "certify_published": result.published,
            "certify_fine_tuned": result.fine_tuned,
            "certify_purified": result.accuracy,
            "search_masked": found.search_accuracy,
            "certify_masked": found.certify_accuracy,
        },
        "task_sha256": task.sha256,
        "seconds": round(found.seconds + result.purified.seconds, 2),
        "versions": versions(order.search.device),
    }


def head_map(result: Purification) -> HeadMap:
    """Returns the picture of the mask, with the importance that its search saw scaled to [0, 1]."""
    found = result.found
    metric, scores = next(iter(found.importance.items()), ("no metric", np.ones(found.mask.shape, dtype=np.float32)))
    low, spread = float(scores.min()), float(np.ptp(scores))
    return HeadMap(
        mask=found.mask,
        importance=(scores - low) / spread if spread else np.ones_like(scores),
        accuracy=found.search_accuracy,
        threshold=result.order.search.constraint.get("threshold"),
        metric=metric,
        caption=f"{result.method.name} on {result.name}, seed {result.order.seed}",
    )


def card(summary: dict[str, Any]) -> str:
    """Returns the model card in Markdown, from what `summarised` returned."""
    accuracy, data, training = summary["accuracy"], summary["data"], summary["training"]
    masks = summary["mask"].replace("/", " / ")
    tuning = (
        f"rate {training['learning_rate']:g}, {training['epochs']} passes over the data, batches of "
        f"{training['batch_size']}, {training['precision']}, at most {training['max_length']} tokens"
    )
    libraries = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    constraint = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in summary["constraint"].items())
    return f"""---
tags:
- text-classification
- backdoor-defense
- head-pruning
---
# {summary["model"]}, purified

**{NO_CERTIFICATE}**

## What was done

{_story(summary)}

![kept and pruned heads]({PICTURE})

| | |
| --- | --- |
| mask, 1 = kept, a slash between layers | `{masks}` |
| constraint on clean validation accuracy | {constraint} |
| distinct masks evaluated | {summary["evaluations"]} |
| information used | {summary["regime"].replace("_", " ")} |
| fine-tuning | {tuning} |
| seed | {summary["seed"]} |
| SHA-256 of the original checkpoint | `{summary["model_sha256"]}` |

## Accuracy on clean data

{data["train"]["sentences"]} sentences for fine-tuning, {data["search"]["sentences"]} for the search, and
{data["certify"]["sentences"]} held out of the training data, which no search saw; on these:

| model | accuracy |
| --- | ---: |
| as it was published | {_percent(accuracy["certify_published"])} |
| fine-tuned on the clean data, every head kept | {_percent(accuracy["certify_fine_tuned"])} |
| purified (this model) | {_percent(accuracy["certify_purified"])} |

A copy of these sentences lies with the scoring model in the cache folder of whoever made this; this folder has none.

## Use

```python
from transformers import pipeline

classify = pipeline("text-classification", model="PATH_OF_THIS_FOLDER")
```

{_use(summary)}`purification.json` holds all of this for machines, with every step of the search. Made with {libraries}.
"""


def _story(summary: dict[str, Any]) -> str:
    kept, heads = summary["heads_kept"], summary["heads"]
    tuned = "was given a fresh classification head and fine-tuned on the clean data"
    if not summary["search"]:
        return f"The original encoder {tuned}, with every head kept (method `{summary['method']}`)."
    searched = (
        f"A head mask was searched on a copy of `{summary['model']}` that had been fine-tuned on clean data, with the "
        f"method `{summary['method']}`: {summary['method_summary']}."
    )
    if kept == heads:
        return f"{searched} No head could go within the constraint: the original encoder {tuned}, with every head kept."
    return (
        f"{searched} {kept} of {heads} attention heads are kept. The others were switched off in the original encoder "
        f"(their columns of the attention output projections are zero), which {tuned} with the mask held."
    )


def _use(summary: dict[str, Any]) -> str:
    members = summary["members"]
    if members == 1:
        return ""
    return (
        f"This is one of {members} members of an ensemble; the others lie in the folders `{MEMBER}2` to "
        f"`{MEMBER}{members}`. The accuracy above is that of their vote: classify with each, and take the class that "
        "most of them name.\n\n"
    )


def _percent(rate: float | None) -> str:
    return "no classification head" if rate is None else f"{100 * rate:.1f} %"
