"""The report of a search as one HTML page that needs nothing beside it."""

import base64
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.search.reporting.poster import draw_pane
from keras_share.search.reporting.report import Pane, describe
from keras_share.search.reporting.strips import strip
from keras_share.search.reporting.trials import MIN_TRIALS

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults


def render_page(
    results: "SearchResults",
    winner: str | os.PathLike | None = None,
    template: str = "report.html",
    **more: Any,
) -> str:
    """Writes the page.

    Args:
        results: Results with at least one trial.
        winner: Optional .tflite file of the best trial, to be audited.
        template: A template that extends that of the report.
        **more: What it shows beside the search.
    """
    from keras_share.tflite.inspect.audit import audit

    told = None if winner is None else audit(winner)
    page = _ENVIRONMENT.get_template(template)
    report = describe(results)
    return page.render(report=report, audit=told, min_trials=MIN_TRIALS, **more)


def svg(patterns: Mapping[str, SharingPattern]) -> str:
    """The strips of a trial as an element of a page."""
    if not patterns:
        return ""
    drawing = _ENVIRONMENT.get_template("strip.svg")
    return drawing.render(strip=strip(patterns, side=15, gap=2, room=360))


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
