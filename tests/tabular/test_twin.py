"""A twin's file: what goes in comes out, and nothing damaged is let in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.engine.table import table_size
from prune_env.errors import ConfigError, IntegrityError, ManifestError, OutputError, ThresholdError, UnknownNameError
from prune_env.tabular.codec import decode, encode
from prune_env.tabular.registry import TWINS, get_twin, list_twins
from prune_env.tabular.twin import PARTS, TabularTwin
from tests.tabular.twins import META, golden_twin, random_twin


def hashed(rest: bytes) -> bytes:
    """A file with the right hash, whatever it holds."""
    return b"prune-env twin " + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from([(1, 1), (1, 3), (2, 2), (3, 2)]),
    tables=st.integers(1, 3),
    seed=st.integers(0, 99),
    most=st.sampled_from([1, 255, 600, 32767]),
)
def test_counts_come_back(shape: tuple[int, int], tables: int, seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    counts = [rng.integers(0, most + 1, table_size(*shape)).astype(np.int32) for _ in range(tables)]
    found = decode(encode(counts, *shape), tables, *shape)
    assert [one.tolist() for one in found] == [one.tolist() for one in counts]


def test_a_twin_comes_back(tmp_path: Path) -> None:
    twin = random_twin(2, 3, 5)
    path = twin.save(tmp_path)
    found = TabularTwin.load(path)
    assert path.name == "random.twin"
    for part in PARTS:
        assert getattr(found, part).counts.tolist() == getattr(twin, part).counts.tolist()
        assert getattr(found, part).sentences == 200
    assert list(found.importance) == list(twin.importance)
    for name, scores in twin.importance.items():
        assert found.importance[name].tobytes() == scores.tobytes()
    assert (found.constraint, found.meta) == (twin.constraint, twin.meta)
    assert found.to_bytes() == path.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["random.twin"]


def test_any_changed_byte_is_seen(tmp_path: Path) -> None:
    path = golden_twin().save(tmp_path)
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(IntegrityError, match="tabular build"):
            TabularTwin.load(path)
    for shorter in (b"", content[:40], content[:-1], content + b"x"):
        path.write_bytes(shorter)
        with pytest.raises(IntegrityError):
            TabularTwin.load(path)
    with pytest.raises(IntegrityError, match="No such file"):
        TabularTwin.load(tmp_path / "none.twin")


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2}, {"layers": 3}, {"layers": "2"}, {"layers": 2.5}, {"heads": 0}, {"sentences": {"search": 20}},
        {"sentences": {"search": 10, "certify": 20, "oracle_lfr": 20}}, {"importance": {}}, {"importance": [1]},
        {"importance": {"gradient": [[1.0, 2.0]]}}, {"importance": {"gradient": [["a", "b"], ["c", "d"]]}},
        {"constraint": {}}, {"constraint": {"threshold": 7}}, {"meta": {}}, {"meta": []}, {"meta": META | {"kind": 3}},
        {"name": "../up"}, {"name": 3}, {"extra": 1}, {"layers": 40},
    ],
)  # fmt: skip
def test_content_with_the_right_hash_is_checked_too(tmp_path: Path, change: dict[str, object]) -> None:
    _, text, counts = golden_twin().to_bytes().split(b"\n", 2)
    path = tmp_path / "golden.twin"
    path.write_bytes(hashed(json.dumps(json.loads(text) | change).encode() + b"\n" + counts))
    with pytest.raises(ManifestError, match="build it again"):
        TabularTwin.load(path)


@pytest.mark.parametrize("counts", [b"", b"nothing", encode([np.zeros(3, np.int32)] * 3, 1, 2), None])
def test_counts_that_are_none_are_refused(tmp_path: Path, counts: bytes | None) -> None:
    _, text, right = golden_twin().to_bytes().split(b"\n", 2)
    path = tmp_path / "golden.twin"
    path.write_bytes(hashed(text + b"\n" + (right + b"more" if counts is None else counts)))
    with pytest.raises(ManifestError, match="build it again"):
        TabularTwin.load(path)
    path.write_bytes(hashed(b"[1"))
    with pytest.raises(ManifestError, match="JSON"):
        TabularTwin.load(path)


def test_parts_must_belong_together(tmp_path: Path) -> None:
    twin = golden_twin()
    with pytest.raises(ConfigError, match="2 x 2"):
        replace(twin, certify=random_twin(2, 3, 0).certify)
    with pytest.raises(ConfigError, match="importance"):
        replace(twin, importance={"gradient": np.ones((2, 3), np.float32)})
    with pytest.raises(ConfigError, match="NaN"):
        replace(twin, importance={"gradient": np.full((2, 2), np.nan, np.float32)})
    with pytest.raises(ConfigError, match="origin"):
        replace(twin, meta={})
    with pytest.raises(ThresholdError):
        replace(twin, constraint={})
    assert twin.config(max_accuracy_drop=0.1).threshold is None
    with pytest.raises(OutputError):
        twin.save(tmp_path / "nowhere")


def test_the_registry_knows_names_paths_and_sets(tmp_path: Path) -> None:
    random_twin(2, 2, 0, name="b").save(tmp_path)
    random_twin(2, 2, 1, name="a", meta=META | {"split": "family-test"}).save(tmp_path)
    assert list_twins(folder=tmp_path) == ["a", "b"]
    assert list_twins("family-test", tmp_path) == ["a"]
    assert list_twins("family-train", tmp_path) == []
    assert get_twin("a", tmp_path) is get_twin("a", tmp_path)
    assert get_twin(str(tmp_path / "b.twin")).name == "b"
    with pytest.raises(UnknownNameError, match=r"known are a, b, embedded, family-test$"):
        get_twin("c", tmp_path)
    with pytest.raises(UnknownNameError, match="family-train"):
        list_twins("family", tmp_path)
    with pytest.raises(IntegrityError):
        get_twin(str(tmp_path / "c.twin"))
    before = get_twin("a", tmp_path)
    random_twin(2, 2, 2, name="a").save(tmp_path)
    assert get_twin("a", tmp_path) is not before, "a rebuilt twin is read again"


def test_of_many_twins_an_error_lists_the_embedded_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'tiny-style'") as raised:
        get_twin("tiny-stile")
    message = str(raised.value)
    assert "tiny-syntactic, and 128 others in the sets embedded, family-test, family-train; " in message
    assert message.endswith("`prune-env tabular list` lists them") and len(message) < 400
    with pytest.raises(UnknownNameError, match="did you mean 'family-train'"):
        get_twin("family-trian")
    with pytest.raises(ConfigError, match="expected one twin, got the set 'family-test'; name one of its 16 twins"):
        get_twin("family-test")


def test_what_ships_is_whole_and_small() -> None:
    names = list_twins()
    assert {"tiny-style", "tiny-style-organic", "tiny-syntactic", "tiny-syntactic-organic"} <= set(
        list_twins("embedded")
    )
    sizes = {name: (TWINS / f"{name}.twin").stat().st_size for name in names}
    assert max(sizes.values()) < 150_000
    assert sum(sizes.values()) < 4_000_000
    for name in names:
        twin = get_twin(name)
        assert twin.name == name
        assert {"gradient", "attention_variance"} <= set(twin.importance)
