"""What the steps that are left of a table need from outside: the data folder, and what attackers start from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prune_env.baselines.cells import Settings
from prune_env.baselines.presets import Build, Stage
from prune_env.baselines.remaining import BUILT_PROTOCOL, Remaining
from prune_env.errors import CheckpointError, DataError
from prune_env.victims.attacks.paired_files import PairedFiles
from prune_env.victims.checkpoint_folder import resolve_backbone
from prune_env.victims.protocols import Protocol, fingerprint, get_protocol
from prune_env.victims.recipe import READ_DATA
from prune_env.victims.store import open_victim

FROM_FILES = ("phrases", "sentences")
"""Sources of protocols that lie in the data folder."""


@dataclass(frozen=True)
class Need:
    """One thing that the steps need.

    Attributes:
        what: In words.
        lacking: What was expected, what came, what to do; None if it is there, or fetched when it is wanted.
    """

    what: str
    lacking: str | None


def needs(parts: Sequence[Stage], left: Sequence[Remaining], settings: Settings) -> list[Need]:
    """Returns what a table's steps need, and whether it is there; [] where nothing is left, or all is in the package.

    Args:
        parts: The table's stages.
        left: What is left of each.
        settings: What is held fixed.
    """
    open_parts = [part for part, rest in zip(parts, left, strict=True) if rest.steps]
    builds = [build for part in open_parts for build in part.builds]
    protocols = {one.name: one for part in open_parts for one in _protocols(part, settings) if one.source in FROM_FILES}
    found = [_data(list(protocols.values()), builds, settings)] if protocols or builds else []
    return found + [_backbone(name) for name in dict.fromkeys(build.recipe.backbone for build in builds)]


def _protocols(part: Stage, settings: Settings) -> Iterator[Protocol]:
    yield from (settings.protocol_of(open_victim(name)) for name in part.ready.victims)
    if part.builds:
        yield get_protocol(settings.protocol or BUILT_PROTOCOL)


def _data(protocols: Sequence[Protocol], builds: Sequence[Build], settings: Settings) -> Need:
    kinds = dict.fromkeys([*(one.source for one in protocols), *(["sentences"] if builds else [])])
    attacks = dict.fromkeys(build.recipe.attack for build in builds if build.recipe.attack in READ_DATA)
    parts = [f"SST-2's {' and '.join(kinds)}"]
    parts += [f"the triggered sentences of {' and '.join(attacks)}"] if attacks else []
    lacking = None
    try:
        for protocol in [*protocols, *([get_protocol("sentences")] if builds else [])]:
            fingerprint(protocol, settings.data)
        for build in builds:
            _check_files(build)
    except DataError as error:
        lacking = str(error)
    return Need(f"a data folder with {', and '.join(parts)}", lacking)


def _check_files(build: Build) -> None:
    made = build.recipe.make_attack()
    if isinstance(made, PairedFiles) and not (Path(made.folder).expanduser() / "train.tsv").is_file():
        raise DataError(f"expected train.tsv in {made.folder}, found none; run `prune-env data fetch` again")


def _backbone(name: str) -> Need:
    folder = Path(name).expanduser()
    if name != "minilm" and not folder.exists() and not name.startswith((".", "/", "~")):
        return Need(f"the backbone {name}, of Hugging Face: downloaded unless it is in its cache", None)
    lacking = None
    try:
        resolve_backbone(name)
    except CheckpointError as error:
        lacking = str(error)
    return Need(f"the backbone {name}", lacking)
