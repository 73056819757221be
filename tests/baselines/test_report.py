"""The short report: what a terminal and the README show are the numbers and the words of `prune-env report`."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from prune_env.baselines.report import END, START, load, main, markdown, terminal, update_readme
from prune_env.baselines.tables import document as documents
from prune_env.baselines.tables.columns import COMPACT, LEGEND
from prune_env.baselines.tables.document import make_document
from prune_env.errors import OutputError, RecordError
from prune_env.records import Record, append_record
from tests.baselines.test_tables_contrasts import two_rates
from tests.record_factory import make_record

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "baselines" / "results"
README = f"# Title\n\n{START}\nold\n{END}\n\nRest.\n"

ALL, NONE = [1, 1, 1, 1], [0, 0, 0, 0]


def pair(method: str, flipped: list[int], floor: list[int], **fields: object) -> list[Record]:
    """A victim's record and its twin's."""
    return [
        make_record(method, flipped, **fields),  # type: ignore[arg-type]
        make_record(method, floor, role="twin", **fields),  # type: ignore[arg-type]
    ]


GOLDEN = [
    *pair("ft", ALL, NONE),
    *pair("gradient", [1, 1, 0, 0], [1, 0, 0, 0], acc=0.8),
]


def shown(records: list[Record], width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(terminal(make_document(records), width))
    return stream.getvalue()


def test_markdown_by_hand() -> None:
    lines = markdown(make_document(GOLDEN)).splitlines()
    assert lines[0].startswith("No primary contrast was declared for these victims")
    assert lines[2] == "**alpha, protocol phrases-15k**"
    assert lines[4] == f"| {' | '.join(COMPACT)} |"
    # All four sentences flip, and none of the twin's: no resample differs. One of two clean sentences is right.
    assert lines[6] == (
        "| ft | 2e-5 | 1‡ / 1 | 4/4 | 50.0 [0.0, 100.0] | 100.0 [100.0, 100.0] | 50.0 [46.1, 53.8] | 0.0 [0.0, 0.0] "
        "| 100.0 [100.0, 100.0] | reference |"
    )
    # LFR .50 - floor .25: one of four sentences differs. Removed: (1.00 - .50) / (1.00 - .00).
    assert lines[7] == (
        "| gradient | 2e-5 | 1‡ / 1 | 2/4 | 50.0 [0.0, 100.0] | 50.0 [0.0, 100.0] | 50.0 [46.1, 53.8] "
        "| 25.0 [0.0, 75.0] | 25.0 [0.0, 75.0] | 50.0 [0.0, 100.0] |"
    )
    assert lines[9] == "Masks were searched under accuracy >= 0.85."
    assert lines[11].startswith("Rates in percent.") and lines[11].endswith("on the same records.")


def test_it_is_the_report_with_fewer_columns() -> None:
    document = make_document(two_rates((0.9, 0.9), (11, 12)))
    short, whole = markdown(document), documents.markdown(document)
    assert short.partition("\n")[0] in whole.splitlines()
    for compact, section in zip(document.compact, document.sections, strict=True):
        full = section.tables[0]
        places = [full.columns.index(name) for name in COMPACT]
        assert [tuple(row[place] for place in places) for row in full.rows] == list(compact.rows)
    assert all(part in " ".join(LEGEND) for part in re.split(r"(?<=\.) (?=n: |Above|◂)", short.splitlines()[-1])[:-1])


def test_the_readme_lists_the_primary_contrasts_below_the_paragraph_and_a_terminal_does_not() -> None:
    records = two_rates((0.9, 0.9))
    document = make_document(records)
    assert document.primary == document.verdict[1:2]
    lines = markdown(document).splitlines()
    assert lines[:4] == [document.verdict[0], "", f"- {document.verdict[1]}", ""]
    assert lines[4].startswith("**hiddenkiller-minilm")
    assert "Primary contrasts," not in shown(records, 120)
    whole = documents.markdown(document)
    assert all(f"\n- {line}\n" in whole for line in document.verdict[1:])


def test_the_mark_of_the_rate_rule_is_explained_where_it_stands() -> None:
    assert "◂ the rate that the rate rule picks" in markdown(make_document(two_rates((0.9, 0.9))))
    assert "◂" not in markdown(make_document(GOLDEN))


def test_a_terminal_shows_the_same_paragraph_and_numbers() -> None:
    words = " ".join(shown(GOLDEN, 120).split())
    assert words.startswith(make_document(GOLDEN).verdict[0])
    assert "gradient 2e-5 1‡ / 1 2/4 50.0 50.0 50.0 25.0 25.0 [0.0, 75.0] 50.0 [0.0, 100.0]" in words
    assert "have intervals too" in words and "without brackets" not in words


def test_a_table_fits_a_narrow_terminal() -> None:
    bits, floor = [[1] * 9, [0] * 8 + [1]], [0] * 7 + [1, 0]
    records = [
        one
        for seed, flips in zip((11, 12), bits, strict=True)
        for method in ("ft", "epsilon-greedy", "random-balanced")
        for one in pair(method, flips, floor, seed=seed)
    ]
    for width in (100, 80):
        text = shown(records, width)
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= width
    assert "epsilon-greedy" in shown(records, 100) and "[-22.2, 100.0]" in shown(records, 100)


def test_constraints_do_not_mix() -> None:
    config = {**GOLDEN[2].config, "search": {"environment": {"threshold": None, "max_accuracy_drop": 0.02}}}
    text = markdown(make_document([*GOLDEN, make_record("gradient", NONE, config=config)]))
    assert "| gradient (accuracy >= 0.85) |" in text
    assert "| gradient (accuracy drop <= 0.02) |" in text


def test_other_information_is_marked() -> None:
    assert "| gradient (oracle) |" in markdown(make_document([make_record(), make_record("gradient", regime="oracle")]))


def test_the_table_goes_between_the_markers(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(README, encoding="utf-8")
    assert update_readme(readme, GOLDEN)
    text = readme.read_text(encoding="utf-8")
    assert text == f"# Title\n\n{START}\n{markdown(make_document(GOLDEN))}\n{END}\n\nRest.\n"
    assert not update_readme(readme, GOLDEN), "a second time there is nothing to change"


@pytest.mark.parametrize("text", ["# Title\n", f"{START}\n", f"{END}\n{START}\n"])
def test_a_readme_without_markers_is_refused(tmp_path: Path, text: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text, encoding="utf-8")
    with pytest.raises(OutputError, match="expected the lines"):
        update_readme(readme, GOLDEN)
    assert readme.read_text(encoding="utf-8") == text


def test_records_come_from_files_and_folders(tmp_path: Path) -> None:
    for name, record in (("a.jsonl", GOLDEN[0]), ("b.jsonl", GOLDEN[1])):
        append_record(tmp_path / name, record)
    assert load([tmp_path]) == GOLDEN[:2]
    assert load([tmp_path / "b.jsonl"]) == GOLDEN[1:2]
    with pytest.raises(RecordError, match="expected records in"):
        load([tmp_path / "c.jsonl"])


def test_the_command_prints_and_updates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for record in GOLDEN:
        append_record(tmp_path / "records.jsonl", record)
    readme = tmp_path / "README.md"
    readme.write_text(README, encoding="utf-8")
    assert main([str(tmp_path / "records.jsonl")]) == 0
    assert "gradient" in capsys.readouterr().out
    assert main([str(tmp_path), "--update", str(readme)]) == 0
    assert main([str(tmp_path), "--update", str(readme)]) == 0
    assert [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()] == ["written", "already up to date"]
    assert main([str(tmp_path / "absent.jsonl")]) == 2
    assert "expected records" in capsys.readouterr().err


def test_the_readme_agrees_with_the_committed_records(tmp_path: Path) -> None:
    if not list(RESULTS.glob("*.jsonl")):
        pytest.skip("baselines/results holds no records yet")
    copy = tmp_path / "README.md"
    copy.write_text((ROOT / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    assert not update_readme(copy, load([RESULTS])), (
        "run `python -m prune_env.baselines.report baselines/results --update README.md`"
    )
