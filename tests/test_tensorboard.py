"""Names of runs and pictures: plain where they can be, told apart where they must be, and never out of their folder."""

from __future__ import annotations

from pathlib import Path

from prune_env.tensorboard import log_missing, names, picture_name, run_name, safe
from tests.record_factory import make_record

GRADIENT = make_record("gradient", importance={"gradient": [[0.1, 0.2], [0.3, 0.4]]})
LOOSER = make_record(
    "gradient", config={**GRADIENT.config, "search": {"environment": {"max_accuracy_drop": 0.1}}, "protocol": {}}
)
WARM = make_record("gradient", rate=1e-4)


def test_other_settings_do_not_overwrite_each_other() -> None:
    found = names([GRADIENT, WARM, LOOSER, GRADIENT], run_name)
    assert found[GRADIENT.key] == "alpha/victim/gradient-lr2e-05-seed11"
    assert found[WARM.key] == "alpha/victim/gradient-lr0.0001-seed11"
    assert found[LOOSER.key].startswith("alpha/victim/gradient-lr2e-05-seed11-")
    assert names([LOOSER, GRADIENT], run_name)[LOOSER.key] == "alpha/victim/gradient-lr2e-05-seed11"


def test_rates_share_a_picture_and_settings_do_not() -> None:
    found = names([GRADIENT, WARM, LOOSER], picture_name)
    assert found[GRADIENT.key] == found[WARM.key] == "alpha/gradient-seed11"
    assert found[LOOSER.key] != found[GRADIENT.key]


def test_a_victims_name_stays_below_the_folder() -> None:
    assert [safe(name) for name in ("../../etc", "a/b", "..", "a b", "tiny-style")] == [
        "_.._etc", "a_b", "_", "a_b", "tiny-style",
    ]  # fmt: skip
    first, second = (make_record(victim=name) for name in ("a/b", "a b"))
    first = make_record(victim="a/b", victim_sha256="d" * 64)
    assert len(set(names([first, second], run_name).values())) == 2


def test_only_what_is_missing_is_written_and_whole(tmp_path: Path) -> None:
    for _ in range(2):
        log_missing([GRADIENT, LOOSER], [GRADIENT, LOOSER], tmp_path)
        assert len(list(tmp_path.rglob("events.out.*"))) == 2
    assert sorted(path.name for path in (tmp_path / "tensorboard" / "alpha" / "victim").iterdir()) == sorted(
        Path(name).name for name in names([GRADIENT, LOOSER], run_name).values()
    )
