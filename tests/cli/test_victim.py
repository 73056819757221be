"""`prune-env victim` from the command line."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from prune_env.cli import victim as command
from prune_env.cli.main import main
from prune_env.errors import ConfigError
from prune_env.victims.protocols import PROTOCOLS, Protocol
from prune_env.victims.recipe import Recipe
from prune_env.victims.store import open_victim
from prune_env.victims.training_config import TrainingConfig
from tests.victims.layout import make_layout
from tests.victims_factory import make_checkpoint, make_victim

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a backbone, and a built victim `victims/small`."""
    folder = tmp_path_factory.mktemp("place")
    make_layout(folder / "data")
    make_checkpoint(folder / "backbone")
    assert main([*_build(folder), "--out", str(folder / "victims"), "--twin"]) == 0
    return folder


def _build(folder: Path) -> list[str]:
    return [
        "victim", "build", "small", "--attack", "hiddenkiller", "--backbone", str(folder / "backbone"),
        "--data", str(folder / "data"), "--epochs", "2", "--learning-rate", "1e-2", "--precision", "float32",
    ]  # fmt: skip


def _parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(["build", *arguments])


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def test_build_writes_the_victim_below_out(place: Path) -> None:
    built = open_victim(place / "victims" / "small")
    assert built.manifest.training["epochs"] == 2
    assert {"acc", "lfr", "twin_acc", "twin_lfr"} <= set(built.manifest.measured)


def test_build_shows_what_it_built(place: Path, tmp_path: Path, capsys: Output) -> None:
    assert main([*_build(place), "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "published model" in shown.out
    assert "LFR" in shown.out
    assert "model" in shown.err, "the bars are on the other stream"


def test_defaults_are_those_of_recipe_and_training() -> None:
    args = _parsed("name", "--attack", "rare-word", "--out", "victims")
    assert command.recipe_of(args) == Recipe("name", "rare-word")
    assert not args.twin


def test_every_setting_reaches_the_recipe() -> None:
    args = _parsed(
        "cf", "--attack", "rare-word", "--out", "victims", "--backbone", "b", "--data", "d", "--seed", "3", "--twin",
        "--poison-rate", "0.25", "--target", "0", "--learning-rate", "1e-4", "--epochs", "2", "--batch-size", "8",
        "--max-length", "64", "--weight-decay", "0", "--max-grad-norm", "2", "--precision", "bfloat16",
        "--option", "words=cf,bb", "--option", "poison_rate=0.5", "--labels", "3",
    )  # fmt: skip
    assert command.recipe_of(args) == Recipe(
        "cf",
        "rare-word",
        "b",
        3,
        "d",
        0.25,
        0,
        TrainingConfig(1e-4, 2, 8, 64, 0.0, 2.0, "bfloat16"),
        {"words": "cf,bb", "poison_rate": 0.5},
        3,
    )
    assert args.twin
    assert all(hasattr(args, field.name) for field in fields(TrainingConfig))


@pytest.mark.parametrize("option", ["words", "=cf", "two words=cf"])
def test_an_option_is_key_and_value(option: str) -> None:
    with pytest.raises(ConfigError, match="write it as KEY=VALUE"):
        command.recipe_of(_parsed("a", "--attack", "rare-word", "--out", "o", "--option", option))


def test_help_shows_defaults_and_examples(capsys: Output) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["victim", "build", "--help"])
    shown = _squeezed(capsys.readouterr().out)
    assert "(default: minilm)" in shown
    assert "--learning-rate X default: 5e-05" in shown
    assert "goes on at the last finished epoch" in shown
    for action in ("build", "list", "info", "verify", "task"):
        with pytest.raises(SystemExit, match="0"):
            main(["victim", action, "--help"])
        assert f"prune-env victim {action}" in capsys.readouterr().out.partition("xamples:")[2]


def test_help_and_defaults_load_no_torch() -> None:
    code = (
        "import sys\nfrom prune_env.cli.main import main\n"
        "try: main(['victim', 'build', '--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--attack", "hiddenkiler"], "unknown attack 'hiddenkiler': did you mean 'hiddenkiller'"),
        (["--backbone", "./nowhere"], "expected a checkpoint folder at ./nowhere"),
        (["--data", "nowhere"], "run `prune-env data fetch nowhere`"),
        (["--learning-rate", "7"], "expected a learning rate in (0, 1), got 7.0"),
        (["--poison-rate", "0"], "expected a poison rate in (0, 1], got 0.0"),
        (["--seed", "-1"], "expected a seed and a target label >= 0"),
    ],
)
def test_bad_settings_are_one_sentence_and_leave_nothing(
    place: Path, tmp_path: Path, capsys: Output, arguments: list[str], says: str
) -> None:
    assert main([*_build(place), "--out", str(tmp_path / "out"), *arguments]) == 2
    shown = capsys.readouterr().err
    assert says in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "out").exists()


def test_an_unwritable_out_is_found_at_once(place: Path, tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main([*_build(place), "--out", str(tmp_path / "file")]) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_a_finished_victim_is_done_and_another_recipes_not_overwritten(place: Path, capsys: Output) -> None:
    assert main([*_build(place), "--out", str(place / "victims"), "--twin"]) == 0
    shown = capsys.readouterr().out
    assert f"{place / 'victims' / 'small'} holds this victim, finished: nothing was built." in shown
    assert "published model" in shown
    assert main([*_build(place), "--out", str(place / "victims"), "--seed", "12"]) == 2
    assert "a finished victim of another recipe lies in" in capsys.readouterr().err


def test_ctrl_c_says_how_to_resume_and_the_same_command_does(
    place: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prune_env.victims.training import train

    def interrupted(*args: Any, **options: Any) -> None:
        train(*args, **options)
        raise KeyboardInterrupt

    again = [*_build(place), "--out", str(tmp_path), "--twin"]
    with monkeypatch.context() as patch:
        patch.setattr("prune_env.victims.build.train", interrupted)
        assert main(again) == 130
    message = _squeezed(capsys.readouterr().err)
    assert f"finished epochs are kept in {tmp_path / 'small' / '.build'}, and the same command goes on" in message
    assert main(again) == 0
    resumed, whole = open_victim(tmp_path / "small"), open_victim(place / "victims" / "small")
    assert resumed.manifest.files == whole.manifest.files


def test_list_names_victims_and_what_cannot_be_read(place: Path, tmp_path: Path, capsys: Output) -> None:
    make_victim(tmp_path / "alpha", twin_seed=None)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text('{"schema": 9}', encoding="utf-8")
    assert main(["victim", "list", str(tmp_path)]) == 0
    rows = {row.split("│")[1].strip(): row for row in capsys.readouterr().out.splitlines() if row.startswith("│")}
    assert "random-weights" in rows["alpha"]
    assert "unreadable:" in rows["broken"]
    assert main(["victim", "list", str(place / "victims")]) == 0
    assert " %" in capsys.readouterr().out
    assert main(["victim", "list"]) == 0
    assert main(["victim", "list", str(tmp_path / "nowhere")]) == 2


def test_info_shows_the_manifest(place: Path, capsys: Output) -> None:
    assert main(["victim", "info", str(place / "victims" / "small")]) == 0
    shown = capsys.readouterr().out
    manifest = open_victim(place / "victims" / "small").manifest
    assert f"ACC {100 * manifest.measured['acc']:.1f} %, LFR {100 * manifest.measured['lfr']:.1f} %" in shown
    assert "S(SBAR)(,)(NP)(VP)(.)" in shown
    assert "30% of the non-target sentences, relabelled as 1" in shown
    assert manifest.sha256 in shown
    assert "threshold 0.85" in shown


def test_info_of_what_is_no_victim(tmp_path: Path, capsys: Output) -> None:
    assert main(["victim", "info", str(tmp_path)]) == 2
    assert "expected manifest.json" in capsys.readouterr().err
    assert main(["victim", "info", "no-such-name"]) == 2
    assert "unknown victim 'no-such-name'" in capsys.readouterr().err


def test_verify_checks_hashes_and_rates(place: Path, tmp_path: Path, capsys: Output) -> None:
    folder = place / "victims" / "small"
    assert main(["victim", "verify", str(folder), "--measure"]) == 0
    shown = capsys.readouterr().out
    assert "have the right SHA-256" in shown
    assert shown.count("agrees") == 4
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    content = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    content["measured"]["acc"] -= 0.2
    (copy / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    assert main(["victim", "verify", str(copy)]) == 0
    capsys.readouterr()
    assert main(["victim", "verify", str(copy), "--measure"]) == 2
    told = capsys.readouterr()
    assert "differs" in told.out
    assert "expected the rates in the manifest of small, got acc" in told.err
    (copy / "twin" / "config.json").unlink()
    assert main(["victim", "verify", str(copy)]) == 2
    assert "expected twin/config.json" in capsys.readouterr().err


def test_verify_cannot_compare_what_was_never_measured(tmp_path: Path, capsys: Output) -> None:
    make_victim(tmp_path / "alpha", twin_seed=None)
    assert main(["victim", "verify", str(tmp_path / "alpha"), "--measure"]) == 2
    assert "got no rate in it" in capsys.readouterr().err


def test_task_is_built_ahead(place: Path, cache_folder: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Protocol("small", "sentences", 40, 20, TrainingConfig(epochs=1, precision="float32"))
    monkeypatch.setitem(PROTOCOLS, "small", small)
    folder, data = str(place / "victims" / "small"), str(place / "data")
    asked = ["victim", "task", folder, "--data", data, "--seed", "12", "--protocol", "small"]
    assert main(asked) == 0
    first = capsys.readouterr()
    assert "scoring model" in first.err
    assert "small, protocol small, seed 12" in first.out
    assert "40 to train, 20 to search, 20 to certify" in first.out
    assert list((cache_folder / "tasks").glob("*/task.json"))
    assert main(asked) == 0
    assert "scoring model" not in capsys.readouterr().err, "opened, not trained again"
    assert main([*asked, "--protocol", "sentence"]) == 2
    assert "did you mean 'sentences'" in capsys.readouterr().err
