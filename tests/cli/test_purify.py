"""`prune-env purify` from the command line: an ordinary checkpoint comes out, with a card that claims no too much."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertModel

from prune_env import purification
from prune_env.agents.saved import load_agent
from prune_env.cli.main import main
from prune_env.engine.masking import mask_of
from prune_env.model_card import NO_CERTIFICATE
from prune_env.types import mask_from_text
from tests.agents.twins import twin_file
from tests.victims_factory import make_checkpoint, make_sentences, make_tokenizer, write_tsv

Capture = pytest.CaptureFixture[str]
SETTINGS = ("--epochs", "1", "--learning-rate", "1e-3", "--max-accuracy-drop", "0.2")


@pytest.fixture(autouse=True)
def _own_cache(cache_folder: Path) -> None:
    """Every test builds its own scoring model."""


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """Clean sentences of three classes."""
    train, valid = (write_tsv(tmp_path / f"{name}.tsv", make_sentences(n, n, 3)) for name, n in (("t", 150), ("v", 60)))
    return ["--train", str(train), "--valid", str(valid)]


def run(tmp_path: Path, data: list[str], *more: str, out: str = "out", model: str | None = None) -> int:
    checkpoint = tmp_path / "suspicious-bert"
    if model is None and not checkpoint.exists():
        make_checkpoint(checkpoint, labels=3)
    return main(["purify", "--model", model or str(checkpoint), *data, "--out", str(tmp_path / out), *SETTINGS, *more])


def summary(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "out" / "purification.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_an_ordinary_checkpoint_comes_out(tmp_path: Path, data: list[str], capsys: Capture, architecture: str) -> None:
    make_checkpoint(tmp_path / "suspicious-bert", 0, architecture, labels=3)
    assert run(tmp_path, data) == 0
    out = tmp_path / "out"
    model = AutoModelForSequenceClassification.from_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert model.config.id2label == {0: "bad", 1: "good", 2: "so-so"}
    with torch.no_grad():
        logits = model(**tokenizer(["w1 w2 w3"], return_tensors="pt")).logits
    assert logits.shape == (1, 3)
    assert torch.isfinite(logits).all()
    mask = mask_from_text(summary(tmp_path)["mask"])
    assert np.array_equal(mask_of(model), mask)
    assert not mask.all()
    assert (out / "model.safetensors").is_file()
    assert (out / "head_map.png").read_bytes().startswith(b"\x89PNG")
    shown = " ".join(capsys.readouterr().out.split())
    assert "of 4 heads pruned" in shown
    assert "as published" in shown
    assert NO_CERTIFICATE in shown


def test_the_card_says_what_was_done_and_promises_nothing(tmp_path: Path, data: list[str], capsys: Capture) -> None:
    assert run(tmp_path, data) == 0
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    content = summary(tmp_path)
    assert NO_CERTIFICATE in card
    assert "`gradient`: lowest gradient norm first" in card
    assert f"{content['heads_kept']} of 4 attention heads are kept" in card
    assert "![kept and pruned heads](head_map.png)" in card
    assert content["model_sha256"] in card
    assert "135 sentences for fine-tuning, 60 for the search" in card
    assert "15 held out of the training data" in card
    assert f"| purified (this model) | {100 * content['accuracy']['certify_purified']:.1f} % |" in card
    assert "| information used | clean only |" in card
    assert "| seed | 11 |" in card
    assert "torch 2" in card
    assert "A copy of these sentences lies with the scoring model in the cache folder" in card


def test_a_trained_agent_chooses_the_heads(tmp_path: Path, data: list[str], capsys: Capture) -> None:
    arguments = ("train", "--victim", twin_file("right"), "--steps", "200", "--n-envs", "4", "--leg", "100")
    for policy in ("heads", "mlp"):
        assert main([*arguments, "--policy", policy, "--logdir", str(tmp_path / policy)]) == 0
    assert run(tmp_path, data, "--agent", str(tmp_path / "heads")) == 0
    content = summary(tmp_path)
    assert (content["method"], content["regime"]) == ("agent heads", "clean_only")
    weights = load_agent(tmp_path / "heads").card.sha256[:16]
    assert content["method_summary"] == f"ppo with the policy heads, trained for 200 steps; weights {weights}"
    assert content["evaluations"] >= 1
    capsys.readouterr()
    assert run(tmp_path, data, "--agent", str(tmp_path / "mlp"), out="other") == 2
    assert "with the policy mlp, which knows heads by their numbers; train one with --policy heads" in " ".join(
        capsys.readouterr().err.split()
    )
    assert run(tmp_path, data, "--agent", str(tmp_path / "none"), out="other") == 2
    assert "got no agent.json; prune-env train makes one" in " ".join(capsys.readouterr().err.split())


def test_the_summary_is_for_machines(tmp_path: Path, data: list[str], capsys: Capture) -> None:
    assert run(tmp_path, data, "--seed", "12") == 0
    content = summary(tmp_path)
    assert content["schema"] == 1
    assert content["certificate"] == NO_CERTIFICATE
    assert content["constraint"] == {"max_accuracy_drop": 0.2}
    assert (content["seed"], content["labels"], content["regime"]) == (12, 3, "clean_only")
    assert content["training"]["learning_rate"] == 1e-3
    assert content["training"]["max_length"] == 40, "no more tokens than the model has positions"
    assert content["evaluations"] >= len(content["trace"]) > 0
    rates = content["accuracy"]
    assert set(rates) == {
        "certify_published", "certify_fine_tuned", "certify_purified", "search_masked", "certify_masked",
    }  # fmt: skip
    # 15 sentences are held out: each accuracy is a whole number of them.
    assert all(abs(15 * rates[name] - round(15 * rates[name])) < 1e-9 for name in rates if name.startswith("certify"))


def test_no_path_of_this_machine_gets_out(tmp_path: Path, data: list[str], capsys: Capture) -> None:
    assert run(tmp_path, data) == 0
    for file in (tmp_path / "out").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes(), file.name
    assert summary(tmp_path)["model"] == "suspicious-bert"


def test_two_runs_give_the_same_bits(
    tmp_path: Path, data: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    digests = []
    for out in ("one", "two"):
        monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / f"cache-{out}"))
        assert run(tmp_path, data, out=out) == 0
        digests.append(hashlib.sha256((tmp_path / out / "model.safetensors").read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_fine_tuning_alone_says_so(tmp_path: Path, data: list[str], capsys: Capture) -> None:
    assert run(tmp_path, data, "--method", "ft") == 0
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "with every head kept (method `ft`)" in card
    assert summary(tmp_path)["accuracy"]["certify_purified"] == summary(tmp_path)["accuracy"]["certify_fine_tuned"]


def test_a_random_mask_has_gradients_size(tmp_path: Path, data: list[str], capsys: Capture) -> None:
    assert run(tmp_path, data, "--method", "random") == 0
    random = summary(tmp_path)["heads_kept"]
    (tmp_path / "out").rename(tmp_path / "random")
    assert run(tmp_path, data) == 0
    assert summary(tmp_path)["heads_kept"] == random


def test_a_search_that_finds_nothing_says_so(tmp_path: Path, data: list[str], capsys: Capture) -> None:
    assert run(tmp_path, data, "--max-accuracy-drop", "0", "--seed", "13") == 0
    content, shown = summary(tmp_path), " ".join(capsys.readouterr().out.split())
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert ("No head could go" in shown) == ("No head could go" in card) == (content["heads_kept"] == 4)


def test_an_encoder_without_head_is_no_obstacle(tmp_path: Path, capsys: Capture) -> None:
    folder = make_checkpoint(tmp_path / "classifier")
    BertModel.from_pretrained(folder).save_pretrained(tmp_path / "encoder")
    make_tokenizer().save_pretrained(tmp_path / "encoder")
    paths = [write_tsv(tmp_path / f"{n}.tsv", make_sentences(n, n)) for n in (150, 60)]
    data = ["--train", str(paths[0]), "--valid", str(paths[1])]
    assert run(tmp_path, data, model=str(tmp_path / "encoder")) == 0
    assert summary(tmp_path)["accuracy"]["certify_published"] is None
    assert "| as it was published | no classification head |" in (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "as published" not in capsys.readouterr().out


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test if anything is trained or searched."""
    monkeypatch.setattr(purification, "build_task", lambda *_, **__: pytest.fail("worked"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "gradiant"], "unknown method 'gradiant'"),
        (["--max-accuracy-drop", "1"], "expected max_accuracy_drop in [0, 1)"),
        (["--learning-rate", "2"], "expected a learning rate in (0, 1)"),
        (["--epochs", "0"], "epochs"),
        (["--labels", "1"], "expected at least 2 classes"),
        (["--labels", "2"], "expected a label from 0 to 1, got '2'"),
        (["--labels", "4"], "expected sentences of each of the model's 4 classes"),
        (["--seed", "-1"], "expected a seed >= 0"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--train", "/no/where.tsv"], "/no/where.tsv"),
        (["--model", "/no/where"], "/no/where"),
    ],
)
@pytest.mark.usefixtures("no_work")
def test_refuses_before_any_work(
    tmp_path: Path, data: list[str], capsys: Capture, more: list[str], message: str
) -> None:
    assert run(tmp_path, data, *more) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.usefixtures("no_work")
def test_a_wrong_label_names_file_and_line(tmp_path: Path, data: list[str], capsys: Capture) -> None:
    with (tmp_path / "t.tsv").open("a", encoding="utf-8") as file:
        file.write("w1 w2\t3\n")
    assert run(tmp_path, data) == 2
    assert "t.tsv:152: expected a label from 0 to 2, got '3'" in capsys.readouterr().err


@pytest.mark.usefixtures("no_work")
def test_too_little_data_is_said_to_be(tmp_path: Path, data: list[str], capsys: Capture) -> None:
    small = write_tsv(tmp_path / "small.tsv", make_sentences(30, 1, 3))
    assert run(tmp_path, [*data, "--train", str(small)]) == 2
    assert "expected at least 100 training" in capsys.readouterr().err


@pytest.mark.usefixtures("no_work")
def test_a_pickle_is_never_loaded(tmp_path: Path, data: list[str], capsys: Capture) -> None:
    folder = make_checkpoint(tmp_path / "suspicious-bert", labels=3)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert run(tmp_path, data) == 2
    assert "pytorch_model.bin" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["file", "folder"])
@pytest.mark.usefixtures("no_work")
def test_a_used_folder_is_refused_first(tmp_path: Path, data: list[str], capsys: Capture, content: str) -> None:
    if content == "folder":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "config.json").write_text("mine", encoding="utf-8")
    else:
        (tmp_path / "out").write_text("mine", encoding="utf-8")
    assert run(tmp_path, data, "--model", "/no/where") == 2
    assert "expected a new or empty folder" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(
    tmp_path: Path, data: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("prune_env.defense.purify", interrupted)
        assert run(tmp_path, data) == 130
    assert "run the same command again to go on from there" in " ".join(capsys.readouterr().err.split())
    assert list((tmp_path / "out").iterdir()) == []
    trained: list[str] = []
    monkeypatch.setattr("prune_env.victims.task.fine_tune", lambda *_, **__: trained.append("again"))
    assert run(tmp_path, data) == 0, "the folder is empty still, and the scoring model is kept"
    assert trained == []
