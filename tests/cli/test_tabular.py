"""`prune-env tabular` from the command line."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from prune_env.cli.main import main
from prune_env.cli.tabular_tables import scores_tables, twins_table
from prune_env.engine.table import TableEvaluator, table_size
from prune_env.tabular.registry import get_twin
from prune_env.tabular.regret import LEGEND
from prune_env.tabular.scores import read_scores
from prune_env.tabular.twin import TabularTwin

Capture = pytest.CaptureFixture[str]


def test_listing_and_scores(tmp_path: Path, capsys: Capture) -> None:
    assert main(["tabular", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(
        name in shown for name in ("tiny-syntactic", "tiny-style", "4 x 4", "600/600/225", "embedded", "organic")
    )
    out = tmp_path / "scores.json"
    assert main(["tabular", "scores", "tiny-style", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("optimum", "random", "gradient", "epsilon-greedy", LEGEND))
    assert list(json.loads(out.read_text(encoding="utf-8"))["twins"]) == ["tiny-style"]
    assert main(["tabular", "front", "tiny-style", "--out", str(tmp_path / "front")]) == 0
    files = capsys.readouterr().out.split()
    assert [Path(file).name for file in files] == ["tiny-style.png", "tiny-style-front.csv", "tiny-style-sizes.csv"]
    assert all(Path(file).is_file() for file in files)


def test_tables_are_whole_at_80_columns() -> None:
    written = io.StringIO()
    screen = Console(width=80, file=written, force_terminal=False)
    screen.print(twins_table([get_twin(name) for name in ("tiny-style", "syntactic-3x4-s35-important")]))
    screen.print(scores_tables(read_scores()))
    printed = written.getvalue()
    assert "…" not in printed
    assert "syntactic-3x4-s35-important family-test important 3 x 4 600/600/249 -0.02" in " ".join(printed.split())
    assert "optimum" in printed and max(map(len, printed.splitlines())) <= 80


def test_speed(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prune_env.tabular.speed.TURNS", 1)
    assert main(["tabular", "speed", "embedded", "--num-envs", "4,256"]) == 0
    rows = [line.split("│")[2:4] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    speeds = {name.strip(): float(speed.replace(",", "")) for name, speed in rows}
    assert list(speeds) == ["single", "vector, 4", "vector, 256"]
    assert speeds["vector, 256"] > speeds["vector, 4"] > 1000, "sub-environments must share their work"


def test_checking_tells_a_right_twin_from_a_wrong_one(tmp_path: Path, capsys: Capture) -> None:
    shipped = get_twin("tiny-style")
    twin = replace(shipped, importance={"gradient": shipped.importance["gradient"]})
    twin.save(tmp_path)
    command = ["tabular", "check", "--twins", str(tmp_path), "--masks"]
    assert main([*command, "15"]) == 0
    assert "15 masks and the metrics are the engine's" in capsys.readouterr().out
    counts = np.minimum(twin.certify.counts + 1, 600)
    scores = {name: found + 1 for name, found in twin.importance.items()}
    replace(twin, certify=TableEvaluator(4, 4, counts, 600), importance=scores).save(tmp_path)
    assert main([*command, "3", "--seed", "5"]) == 1
    shown = capsys.readouterr().out
    assert "tiny-style: certify of " in shown and "from the engine" in shown
    assert "the metric gradient is another" in shown
    replace(twin, meta={**twin.meta, "victim_sha256": "0" * 64}).save(tmp_path)
    assert main([*command, "3"]) == 2
    assert "build it again" in capsys.readouterr().err


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replaces the evaluation by counts that are cheap; remembers the splits' sizes."""
    asked: list[int] = []

    def tabulate(model: Any, tokens: Any, report: Any) -> TableEvaluator:
        asked.append(len(tokens))
        report(len(tokens))
        if len(asked) == 2:
            raise KeyboardInterrupt
        layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
        return TableEvaluator(layers, heads, np.full(table_size(layers, heads), len(tokens) // 2), len(tokens))

    monkeypatch.setattr("prune_env.tabular.build.tabulate", tabulate)
    monkeypatch.setattr("prune_env.tabular.build.KEPT_METRICS", ("gradient", "attention_variance"))
    return asked


def test_a_build_goes_on_where_it_was_interrupted(tmp_path: Path, capsys: Capture, quick: list[int]) -> None:
    command = ["tabular", "build", "tiny-style", "--out", str(tmp_path)]
    assert main(command) == 130
    assert "goes on from there" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 1
    assert main(command) == 0
    shown = capsys.readouterr()
    assert quick == [600, 600, 600, 225], "search once, certify again, then the triggered sentences"
    assert "1425 of 1425: tiny-style: oracle_lfr" in shown.err
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-style.twin"]
    twin = TabularTwin.load(tmp_path / "tiny-style.twin")
    shipped = get_twin("tiny-style")
    assert {**twin.meta, "libraries": {}} == {**shipped.meta, "libraries": {}}
    assert twin.constraint == shipped.constraint
    assert twin.oracle_lfr.counts.tolist() == [112] * 50625
    assert list(twin.importance) == ["gradient", "attention_variance"]
    for name, scores in twin.importance.items():
        assert np.allclose(scores, shipped.importance[name], rtol=1e-3)
    assert main(command) == 0
    assert len(quick) == 4, "a finished twin is left as it is"


def test_unfinished_splits_of_another_victim_are_kept(tmp_path: Path, quick: list[int]) -> None:
    others = {f".{name}-{'0a' * 8}-search.npz" for name in ("tiny-style-organic", f"tiny-style-{'0a' * 8}")}
    for name in (*others, f".tiny-style-{'0a' * 8}-certify.npz"):
        (tmp_path / name).touch()
    quick += [0, 0]
    assert main(["tabular", "build", "tiny-style", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"tiny-style.twin", *others}


def test_a_twin_of_a_victim_that_was_built_anew_is_refused(tmp_path: Path, capsys: Capture) -> None:
    shipped = get_twin("tiny-style")
    replace(shipped, meta={**shipped.meta, "victim_sha256": "0" * 64}).save(tmp_path)
    assert main(["tabular", "build", "tiny-style", "--out", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert "built anew" in shown and "delete the file" in shown


def test_a_family_is_built_from_its_table(tmp_path: Path, capsys: Capture, quick: list[int]) -> None:
    from prune_env.victims.store import ASSETS

    quick += [0, 0]
    family, out = tmp_path / "family", tmp_path / "twins"
    family.mkdir()
    (family / "tiny-style-organic").symlink_to(ASSETS / "tiny-style-organic")
    row = {"name": "tiny-style-organic", "split": "family-test", "kind": "ffn", "seed": 3}
    (family / "family.json").write_text(json.dumps({"schema": 1, "victims": [row]}), encoding="utf-8")
    assert main(["tabular", "build", "--family", str(family), "--out", str(out)]) == 0
    (path,) = out.iterdir()
    twin = TabularTwin.load(path)
    assert (twin.meta["split"], twin.meta["kind"]) == ("family-test", "ffn")
    capsys.readouterr()
    assert main(["tabular", "list", "family-test", "--twins", str(out)]) == 0
    assert "ffn" in capsys.readouterr().out
    assert main(["tabular", "build", "--family", str(family), "tiny", "--out", str(out)]) == 2
    assert "tiny-style-organic" in capsys.readouterr().err
    (family / "family.json").write_text('{"schema": 1, "victims": [{}]}', encoding="utf-8")
    assert main(["tabular", "build", "--family", str(family), "--out", str(out)]) == 2
    assert "build the family again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["build", "--out", "x"], "--family DIR"),
        (["build", "nobody", "--out", "x"], "unknown victim"),
        (["build", "--family", "nowhere", "--out", "x"], "family.json"),
        (["check", "tiny-style", "--masks", "many"], "a number of masks"),
        (["list", "tiny-stile"], "did you mean 'tiny-style'"),
        (["list", "--twins", "nowhere"], "build them first"),
        (["list", "family-test", "--twins", "nowhere"], "build them first"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tabular", *arguments]) == 2
    assert complaint in capsys.readouterr().err
