"""The report as one self-contained page: no script, nothing loaded from elsewhere."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from prune_env.baselines.tables import chart
from prune_env.baselines.tables.columns import LEGEND
from prune_env.baselines.tables.document import TITLE, Document

TEMPLATE = "page.html.j2"


def html(document: Document) -> str:
    """Returns the page."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8"))
    first, *lines = document.verdict
    return template.render(
        title=TITLE,
        first=first,
        lines=lines,
        sections=[(section, chart.chart(section.rows)) for section in document.sections],
        legend=LEGEND,
        width=chart.WIDTH,
        left=chart.LEFT,
        right=chart.WIDTH - chart.RIGHT,
        line=chart.LINE,
        shapes=chart.SHAPES,
    )
