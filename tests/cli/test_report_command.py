"""`prune-env report` from the command line: three files, a paragraph, and what it refuses."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from prune_env.cli.main import main
from prune_env.records import append_record
from tests.baselines.test_tables_contrasts import two_rates

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Four methods at two rates on two attackers, with twins."""
    for record in two_rates((0.9, 0.9), (11, 12)):
        append_record(tmp_path / "records.jsonl", record)
    return tmp_path / "records.jsonl"


def test_it_writes_three_files_and_says_where(records: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "report"
    assert main(["report", str(records), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    words = " ".join(shown.split())
    assert words.startswith(
        "None of the 2 declared primary contrasts is decided (2 with 2 attackers where 5 are needed)"
    )
    assert "Choosing heads is not shown to help" in words and words.count("all of it is a lead, not a result") == 1
    assert all(str(out / name) in shown for name in ("report.md", "report.csv", "report.html"))
    assert "50.0 [" in shown and "2† / 2" in shown


def test_the_same_records_give_the_same_files(records: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert main(["report", str(records), "--out", str(tmp_path / name)]) == 0
    for file in ("report.md", "report.csv", "report.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_csv_is_tidy_and_unrounded(records: Path, tmp_path: Path) -> None:
    main(["report", str(records), "--out", str(tmp_path / "report")])
    with (tmp_path / "report" / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["learning_rate"]) for row in rows] == [
        (method, rate) for method in ("ft", "gradient", "bayesian", "random-third") for rate in ("2e-05", "0.0001")
    ]
    gradient = rows[2]
    assert (gradient["family"], gradient["attackers"], gradient["records"], gradient["lead"]) == (
        "hiddenkiller-minilm",
        "2",
        "2",
        "True",
    )
    assert float(gradient["above_floor"]) == 0.5 and float(gradient["above_floor_low"]) < 0.5
    assert float(gradient["removed"]) == pytest.approx(4 / 9)
    assert (gradient["recovery_passes"], gradient["paper_lfr"]) == ("", "31.71")
    assert [(row["rate_rule"], row["rate_rule_records"]) for row in rows] == [("False", "2"), ("True", "2")] * 4


def test_the_page_stands_alone(records: Path, tmp_path: Path) -> None:
    main(["report", str(records), "--out", str(tmp_path / "report")])
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "http" not in page
    assert re.search(r"<(script|link|img|iframe)\b|\b(src|href)=|url\(|@import", page) is None
    assert page.count("<svg") == 1 and page.count("<table>") == 3
    assert page.count('class="dot') == 8
    assert "prefers-color-scheme: dark" in page and "position: sticky" in page
    assert "lead (2 attackers)" in page


def test_markdown_has_the_legend_and_every_table(records: Path, tmp_path: Path) -> None:
    main(["report", str(records), "--out", str(tmp_path / "report")])
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# What removes the backdoor\n\nNone of the 2 declared primary contrasts is decided")
    assert "\n\n- Primary contrasts, hiddenkiller-minilm, protocol phrases-15k (PROTOCOL.md; points above" in text
    assert "| paper (BERT-base) ACC | paper (BERT-base) LFR |" in text and "31.71 ± 0.85" in text
    assert "| gradient - ft | 1e-4 ◂ | primary | lead (2 attackers) | 2† / 2 |" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| gradient |")}
    assert widths == {18, 8}
    assert "† a lead: fewer than 5 attackers" in text
    assert "Records by which the rate rule compared rates: 2 of 2 of ft, gradient, bayesian, random-third." in text


def test_json_is_the_whole_report(records: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["report", str(records), "--out", str(tmp_path / "report"), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [len(content["rows"]), len(content["files"])] == [8, 3]
    primary = [one for one in content["contrasts"] if one["role"] == "primary"]
    assert {(one["method"], one["rival"], one["status"]) for one in primary} == {
        ("gradient", "ft", "lead (2 attackers)"),
        ("gradient", "random-third", "lead (2 attackers)"),
    }
    assert content["rows"][2]["left_by_attacker"] == {"11": 0.5, "12": 0.5}


def test_errors_are_sentences(records: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["report", str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "report")]) == 2
    assert "expected records in" in capsys.readouterr().err
    assert main(["report", str(records), "--out", str(records)]) == 2
    assert "prune-env: error: expected to be able to write to" in capsys.readouterr().err
    assert main(["report", str(records), "--out", str(tmp_path / "report"), "--draws", "5"]) == 2
    assert "at least 100 resamples" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()
