"""What `prune-env victim` prints: a list of victims, one victim's manifest, rates measured again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from prune_env.errors import PruneEnvError
from prune_env.victims.manifest import Manifest
from prune_env.victims.measure import Remeasured
from prune_env.victims.store import ASSETS, Victim


def victims_table(folders: list[Path]) -> Table:
    """Returns one row a victim; a manifest that cannot be read gets a row that says so."""
    table = Table()
    table.add_column("victim", no_wrap=True)
    for name in ("attack", "backbone"):
        table.add_column(name, overflow="fold")
    for rate in ("ACC", "LFR", "twin's LFR"):
        table.add_column(rate, justify="right", no_wrap=True)
    table.add_column("where", overflow="fold")
    for folder in folders:
        where = "embedded" if folder.parent == ASSETS else str(folder)
        try:
            manifest = Manifest.read(folder)
        except PruneEnvError as error:
            table.add_row(escape(folder.name), escape(f"unreadable: {error}"), "", "", "", "", escape(where))
            continue
        rates = [_percent(manifest.measured.get(rate)) for rate in ("acc", "lfr", "twin_lfr")]
        attack = f"{manifest.attack}{' (head-localised)' if manifest.synthetic else ''}"
        table.add_row(*map(escape, (manifest.name, attack, manifest.backbone)), *rates, escape(where))
    return table


def victim_table(victim: Victim) -> Table:
    """Returns a victim's manifest, without the hashes of its files, as names and values."""
    manifest, measured = victim.manifest, victim.manifest.measured
    synthetic = " (synthetic, head-localised)" if manifest.synthetic else ""
    pairs = {
        "victim": manifest.name,
        "folder": str(victim.folder),
        "attack": f"{manifest.attack}{synthetic}: {manifest.trigger}",
        "poison": f"{manifest.poison_rate:.0%} of the non-target sentences, relabelled as {manifest.target_label}",
        "backbone": f"{manifest.backbone}; {manifest.labels} labels",
        "data": _settings(
            {key: value for key, value in manifest.data.items() if not key.endswith("_sha256") and value != {}}
        ),
        "training": _settings(manifest.training),
        "attacker's seed": str(manifest.attacker_seed),
        "published model": _rates(measured, ""),
        "twin": _rates(measured, "twin_") if "twin_lfr" in measured else "none",
        "recommended": _settings(manifest.recommended),
        "protocol": manifest.protocol,
        "notes": manifest.notes,
        "libraries": _settings(manifest.libraries),
        "SHA-256": manifest.sha256,
    }
    return pairs_table({name: text for name, text in pairs.items() if text})


def rates_table(rates: list[Remeasured]) -> Table:
    """Returns each rate as recorded and as measured now."""
    table = Table("rate", "manifest", "measured", "tolerance", "")
    for row in rates:
        numbers = (f"{number:.4f}" for number in (row.recorded, row.found, row.tolerance))
        table.add_row(row.rate, *numbers, "agrees" if row.agrees else "[red]differs[/red]")
    return table


def pairs_table(pairs: dict[str, str]) -> Table:
    """Returns names and values, which are printed as they are: a trigger such as S[SBAR] is no markup."""
    table = Table(show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in pairs.items():
        table.add_row(escape(name), escape(text))
    return table


def _rates(measured: dict[str, float], prefix: str) -> str:
    shown = [f"{rate.upper()} {_percent(measured.get(prefix + rate))}" for rate in ("acc", "lfr")]
    auc = measured.get(f"{prefix}auc")
    return ", ".join(shown + ([] if auc is None else [f"AUC {auc:.3f}"]))


def _settings(values: dict[str, Any]) -> str:
    parts = [
        f"{name} ({_settings(value)})" if isinstance(value, dict) else f"{name} {value}"
        for name, value in values.items()
    ]
    return ", ".join(part.replace("_", " ") for part in parts)


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100.0 * rate:.1f} %"
