"""Presets: the paper's table as one command, on embedded victims and on real data.

A preset says what is compared: victims, methods, seeds, rates, protocol. On real data the victims are named by attack,
backbone and attacker's seed, and those that are not there yet are built, victims of one seed with one twin. Work is cut
into stages, one attacker's seed after the other, so that what is finished early is a whole table of fewer seeds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from prune_env.baselines.grid import Grid
from prune_env.errors import CheckpointError, ConfigError, UnknownNameError
from prune_env.methods import CANDIDATES, METHODS
from prune_env.victims.build import describe_backbone
from prune_env.victims.checkpoint_folder import resolve_backbone
from prune_env.victims.manifest import MANIFEST, Manifest
from prune_env.victims.recipe import Recipe

EMBEDDED_ONLY = "as-released-"
"""What names of methods begin with that are meant for embedded victims: real ones have them by name alone."""

_DIGEST = " sha256:"

PRIMARY = ("ft", "gradient", "random-third", "restart", "hybrid")
"""The methods of the protocol's two contrasts, and the project's own; in the order of PROTOCOL.md."""


@dataclass(frozen=True)
class Preset:
    """What a table compares.

    Attributes:
        name: As `--preset` takes it.
        summary: One line for `--help`.
        methods: Registered names.
        victims: Embedded names; () where victims are built.
        attacks: Attacks whose victims are built; () where victims are embedded.
        backbone: What attackers start from: "minilm", a Hugging Face id, or a folder.
        attackers: Attacker's seeds of the victims to build.
        seeds: Defender's seeds; None gives every victim the defender of its attacker's seed.
        rates: Of the final fine-tuning; None is the protocol's own.
        protocol: By name; None is each victim's own.

    Raises:
        ConfigError: Neither victims nor attacks, or both; or no method, rate or seed.
    """

    name: str
    summary: str
    methods: tuple[str, ...]
    victims: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    backbone: str = "minilm"
    attackers: tuple[int, ...] = ()
    seeds: tuple[int, ...] | None = None
    rates: tuple[float | None, ...] = (None,)
    protocol: str | None = None

    def __post_init__(self) -> None:
        """Checks that there is something to compare."""
        if bool(self.victims) == bool(self.attacks):
            raise ConfigError(f"expected preset {self.name!r} to name victims or attacks, one of the two; correct it")
        seeded = self.seeds if self.victims else self.attackers
        if not (self.methods and self.rates and seeded) or self.seeds == ():
            raise ConfigError(f"expected methods, rates and seeds in preset {self.name!r}, got none of one; give some")


@dataclass(frozen=True)
class Build:
    """A victim that a stage builds first.

    Attributes:
        recipe: What it is.
        folder: Where.
        siblings: Folders of the same attacker's other victims, whose twin is the same.
    """

    recipe: Recipe
    folder: Path
    siblings: tuple[Path, ...]


@dataclass(frozen=True)
class Stage:
    """A part of a table that is finished before the next one begins: victims to build, then cells.

    Attributes:
        builds: Victims that are not there yet.
        grid: Of these and of those that are.
        buildable: Whether its victims are built by the table at all; embedded ones are not.
    """

    builds: tuple[Build, ...]
    grid: Grid
    buildable: bool = False

    @property
    def ready(self) -> Grid:
        """The grid of the victims that are there already."""
        absent = {str(build.folder) for build in self.builds}
        return replace(self.grid, victims=tuple(name for name in self.grid.victims if name not in absent))


def every_method(embedded: bool = True) -> tuple[str, ...]:
    """Returns every registered method and control, in the table's order, but those under development.

    Args:
        embedded: Whether victims are embedded; others go without the methods that are meant for those.
    """
    finished = (name for name in METHODS if name not in CANDIDATES)
    return tuple(name for name in finished if embedded or not name.startswith(EMBEDDED_ONLY))


def primary_methods() -> tuple[str, ...]:
    """Returns the primary methods that this version has."""
    return tuple(name for name in PRIMARY if name in METHODS)


def get_preset(name: str) -> Preset:
    """Returns a preset by name.

    Raises:
        UnknownNameError: No such preset.
    """
    known = {preset.name: preset for preset in presets()}
    if name not in known:
        raise UnknownNameError("preset", name, known)
    return known[name]


def presets() -> tuple[Preset, ...]:
    """Returns all presets.

    The embedded one holds the two victims whose backdoor was routed through known heads, one for each attack, with one
    twin; the organic ones have a twin of their own, and would double the time for the same two attacks.
    """
    embedded = Preset(
        "paper-embedded",
        "every method and control on the tiny victims of all attacks, five defenders",
        every_method(),
        victims=("tiny-syntactic", "tiny-style"),
        seeds=(11, 12, 13, 14, 15),
    )
    real = Preset(
        "paper",
        "the primary methods on HiddenKiller and StyleBkd, six attackers, each with a defender of the same seed",
        primary_methods(),
        attacks=("hiddenkiller", "stylebkd-poetry"),
        attackers=(11, 12, 13, 14, 15, 16),
        rates=(2e-5, 1e-4),
        protocol="phrases-15k",
    )
    return (embedded, real)


def stages(preset: Preset, victims: Path | None = None, data: str | None = None) -> list[Stage]:
    """Cuts a preset into stages: one for embedded victims, else one for each attacker's seed.

    Args:
        preset: What is compared.
        victims: Folder of real victims, in which missing ones are built.
        data: Data folder; PRUNE_ENV_DATA if None.

    Raises:
        ConfigError: Real victims without a folder for them, or with a file in its place.
    """
    if preset.victims:
        return [Stage((), Grid(preset.victims, preset.methods, preset.seeds or (), preset.rates))]
    if victims is None:
        raise ConfigError(f"expected a folder for the victims of preset {preset.name!r}, got none; give --victims DIR")
    if victims.exists() and not victims.is_dir():
        raise ConfigError(
            f"expected a folder of victims, there or to be made, at {victims}, got a file; choose another"
        )
    return [_stage(preset, seed, victims, data) for seed in preset.attackers]


def _stage(preset: Preset, seed: int, victims: Path, data: str | None) -> Stage:
    places = {attack: place_of(attack, preset.backbone, seed, victims) for attack in preset.attacks}
    builds = tuple(
        Build(
            Recipe(place.name, attack, preset.backbone, seed, data),
            place,
            tuple(other for other in places.values() if other != place),
        )
        for attack, place in places.items()
        if not (place / MANIFEST).is_file()
    )
    names = tuple(str(place) for place in places.values())
    return Stage(builds, Grid(names, preset.methods, preset.seeds or (seed,), preset.rates), buildable=True)


def place_of(attack: str, backbone: str, seed: int, victims: Path) -> Path:
    """Returns the folder of a victim, there or to be built: ATTACK-BACKBONE-sSEED.

    A finished one without the suffix counts, if it is that victim by its manifest.

    Raises:
        ConfigError: The folder of that name holds another victim.
    """
    short = Path(backbone).expanduser().resolve().name if Path(backbone).is_dir() else backbone.rpartition("/")[2]
    plain = victims / f"{attack}-{short}"
    named = plain.with_name(f"{plain.name}-s{seed}")
    if (named / MANIFEST).is_file():
        other = _other(Manifest.read(named), attack, backbone, seed)
        if other is not None:
            raise ConfigError(
                f"expected {attack} on {backbone} by attacker {seed} in {named}, got {other}; move that folder away, "
                "or choose another --victims"
            )
        return named
    there = (plain / MANIFEST).is_file() and _other(Manifest.read(plain), attack, backbone, seed) is None
    return plain if there else named


def _other(manifest: Manifest, attack: str, backbone: str, seed: int) -> str | None:
    """Says which victim a manifest is of, if that is another one than asked for."""
    found = (manifest.attack, manifest.attacker_seed) == (attack, seed) and _is_of(manifest.backbone, backbone)
    return None if found else f"{manifest.attack} on {manifest.backbone} by attacker {manifest.attacker_seed}"


def _is_of(described: str, backbone: str) -> bool:
    """Tells whether a manifest's description is of this backbone: its weights, or its name where they are not here."""
    wanted = _description(backbone)
    return wanted in (described, described.partition(_DIGEST)[0])


@cache
def _description(backbone: str) -> str:
    """Returns what a manifest calls a backbone; without the hash of weights that would have to be downloaded."""
    try:
        here = backbone == "minilm" or Path(backbone).expanduser().is_dir()
        return describe_backbone(backbone, resolve_backbone(backbone) if here else backbone)
    except CheckpointError:  # a package that is not installed
        return describe_backbone(backbone, backbone).partition(_DIGEST)[0]


def selected(methods: Iterable[str], default: tuple[str, ...], embedded: bool = True) -> tuple[str, ...]:
    """Returns the methods asked for: "all" is `every_method` of such victims, nothing is the default."""
    asked = tuple(methods)
    every = every_method(embedded)
    return tuple(dict.fromkeys(one for name in asked for one in (every if name == "all" else (name,)))) or default
