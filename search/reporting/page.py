"""The report of a search as one HTML page that needs nothing beside it."""

import base64
import io
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.search.reporting.poster import draw_pane
from keras_share.search.reporting.report import Pane, Section, describe, failures
from keras_share.search.reporting.strips import strip

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults

_ROWS = 50  # of a table


def render_page(
    results: "SearchResults", winner: str | os.PathLike | None = None
) -> str:
    """Writes the page.

    Args:
        results: Results with at least one trial.
        winner: Optional .tflite file of the best trial, to be audited.
    """
    audit = None
    if winner is not None:
        from keras_share.tflite.inspect import audit as inspect

        audit = str(inspect.audit(winner))
    report = describe(results)
    report = replace(report, sections=tuple(map(_shortened, report.sections)))
    page = _ENVIRONMENT.get_template("report.html")
    return page.render(report=report, failures=failures(results), audit=audit)


def svg(patterns: Mapping[str, SharingPattern]) -> Markup:
    """The strips of a trial as an element of a page."""
    if not patterns:
        return Markup()
    drawing = _ENVIRONMENT.get_template("strip.svg")
    return Markup(drawing.render(strip=strip(patterns, side=15, gap=2, room=360)))


def _shortened(section: Section) -> Section:
    if section.table is None or len(section.table.trials) <= _ROWS:
        return section
    more = f"... and {len(section.table.trials) - _ROWS:,} more"
    return replace(
        section, table=section.table.cut(_ROWS), notes=(more, *section.notes)
    )


def _png(pane: Pane) -> str:
    file = io.BytesIO()
    draw_pane(pane).savefig(file, format="png")
    return base64.b64encode(file.getvalue()).decode()


_ENVIRONMENT = Environment(
    loader=PackageLoader("keras_share.search.reporting"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.globals.update(svg=svg, png=_png)
