"""The report of a search as one HTML page that needs nothing beside it."""

import base64
import io
import os
from collections.abc import Iterable
from html import escape
from string import Template
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure

from keras_share.search.project.choices import chosen_patterns, chosen_values
from keras_share.search.project.rows import Row
from keras_share.search.reporting.poster import TOO_FEW, draw_pane, panes
from keras_share.search.reporting.strips import svg
from keras_share.search.reporting.summary import number, summary

if TYPE_CHECKING:
    from keras_share.search.results import SearchResults

_BEST = 50  # trials of the leaderboard
_FAULTS = 20  # kinds of failures

# Nothing in a report is a script or is loaded: a browser is told to refuse both.
_PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 1120px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { color: #666; } dd { margin: 0; }
p.note { color: #666; max-width: 44rem; }
.figures { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
.figures img { width: 100%; max-width: 620px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: left; white-space: nowrap;
  border-bottom: 1px solid #e5e5e5; }
th { color: #666; font-weight: 600; }
tr.knee td { background: #fdf0e6; }
.strip text { font: 9px monospace; text-anchor: middle; }
.strip { display: block; }
pre { overflow-x: auto; background: #f6f6f6; padding: .8rem; font-size: 12px; }
code { font-size: .9em; } summary { cursor: pointer; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
"""
)
_ABOUT_PAIRS = (
    "An effect is by how much the objective differs where two sites share from where "
    "they do not, all else equal: a ridge regression on all pairs, the number of "
    "groups and the other hyperparameters. Effects of pairs that few trials tell "
    "apart are drawn toward zero."
)
_ABOUT_IMPORTANCE = (
    "How much worse a random forest predicts unseen trials when the values of one "
    "hyperparameter are shuffled among them (permutation importance); a pattern is "
    "shuffled as a whole."
)


def render_page(
    results: "SearchResults", winner: str | os.PathLike | None = None
) -> str:
    """Writes the page.

    Args:
        results: Results with at least one trial.
        winner: Optional .tflite file of the best trial, to be audited.
    """
    pictures: dict[str, list[str]] = {}
    for about, draw in panes(results):
        alt = f"{about} of the search"
        pictures.setdefault(about, []).append(_image(draw_pane(draw), alt))
    sections = [_list(summary(results))]
    if "front" in pictures:
        sections += ["<h2>Pareto front</h2>", _grid(pictures["front"])]
        sections.append(_front_table(results))
    if "score" in pictures:
        course = pictures["score"] + pictures.get("volume", [])
        sections += ["<h2>Course</h2>", _grid(course)]
    sections.append("<h2>Which sites like to share, and what matters</h2>")
    if "pairs" in pictures or "importance" in pictures:
        drawn = pictures.get("pairs", []) + pictures.get("importance", [])
        sections += [_grid(drawn), _note(_ABOUT_PAIRS), _note(_ABOUT_IMPORTANCE)]
    else:
        sections.append(_note(TOO_FEW))
    sections += ["<h2>Trials</h2>", _leaderboard(results)]
    sections += [_unfinished(results), "<h2>The winner's file</h2>", _audit(winner)]
    title = escape(f"Search for {results.objective}")
    return _PAGE.substitute(title=title, body="\n".join(sections))


def _image(figure: Figure, alt: str) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def _grid(images: Iterable[str]) -> str:
    return f'<div class="figures">{"".join(images)}</div>'


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _list(lines: dict[str, str]) -> str:
    found = (f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in lines.items())
    return f"<dl>{''.join(found)}</dl>"


def _front_table(results: "SearchResults") -> str:
    front, knee = results.pareto_front(), results.knee()
    columns = list(dict.fromkeys((*results.default_columns(), results.objective)))
    return _table(results, front, [*columns, "parameters"], knee["trial_id"])


def _leaderboard(results: "SearchResults") -> str:
    board = results.leaderboard()
    numbers = [
        *results.objectives,
        *(n for row in results.rows for n in row["measures"]),
    ]
    values = [f"hp/{n}" for row in results.rows for n in chosen_values(row)]
    shown = {results.objective, "parameters", "seconds", *numbers, *values}
    columns = [name for name in board if name in shown]
    board = board.assign(status=board["status"].str.lower())
    text = _table(results, board[:_BEST], [*columns, "status"])
    if len(board) > _BEST:
        text += _note(f"... and {len(board) - _BEST:,} more")
    return text


def _table(
    results: "SearchResults",
    table: pd.DataFrame,
    columns: list[str],
    knee: str | None = None,
) -> str:
    """Trials with their patterns drawn, numbered as in the pictures."""
    by_id = {row["trial_id"]: row for row in results.rows}
    titles = ["", "trial", "pattern", *(c.removeprefix("hp/") for c in columns)]
    lines = [_row("th", titles)]
    for place, row in enumerate(table.to_dict("records"), start=1):
        cells = [str(place), row["trial_id"]]
        values = [number(row[column]) for column in columns]
        drawn = svg(chosen_patterns(by_id[row["trial_id"]]))
        mark = ' class="knee"' if row["trial_id"] == knee else ""
        lines.append(_row("td", [*cells, None, *values], drawn, mark))
    found = f'<div class="wide"><table>{"".join(lines)}</table></div>'
    return found + (_note("The knee is marked.") if knee is not None else "")


def _row(
    tag: str, cells: Iterable[str | None], drawn: str = "", attributes: str = ""
) -> str:
    """A row of a table; None stands for what is drawn."""
    written = (
        f"<{tag}>{drawn if cell is None else escape(cell)}</{tag}>" for cell in cells
    )
    return f"<tr{attributes}>{''.join(written)}</tr>"


def _unfinished(results: "SearchResults") -> str:
    """The trials without a score, one entry for each message."""
    kinds: dict[tuple[str, str], list[Row]] = {}
    for row in results.rows:
        if row["status"] != "COMPLETED":
            lines = (row["message"] or "").strip().splitlines()
            kind = row["status"], lines[-1] if lines else "no message"
            kinds.setdefault(kind, []).append(row)
    if not kinds:
        return ""
    found = ["<h2>Trials without a score</h2>"]
    for (status, reason), rows in list(kinds.items())[:_FAULTS]:
        drawn = "".join(svg(chosen_patterns(row)) for row in rows[:_FAULTS])
        ids = ", ".join(row["trial_id"] for row in rows)
        found.append(
            f"<details><summary>{len(rows)} {escape(status.lower())}: "
            f"<code>{escape(reason)}</code></summary>"
            f"<p>Trials {escape(ids)}</p>{drawn}"
            f"<pre>{escape(rows[0]['message'] or '')}</pre></details>"
        )
    if len(kinds) > _FAULTS:
        found.append(_note(f"... and {len(kinds) - _FAULTS:,} more kinds"))
    return "\n".join(found)


def _audit(winner: str | os.PathLike | None) -> str:
    if winner is None:
        return (
            '<p class="note">Train the trial you choose, export it with '
            "<code>keras_share.export_tflite(model, 'model.tflite')</code>, and make "
            "this report again with <code>keras-share report FOLDER --html report.html "
            "--winner model.tflite</code> (or <code>results.to_html('report.html', "
            "winner='model.tflite')</code>): what the file stores and computes is then "
            "told here.</p>"
        )
    from keras_share.tflite.inspect.audit import audit

    return f"<pre>{escape(str(audit(winner)))}</pre>"
