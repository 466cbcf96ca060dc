"""A DataFrame as text, and as what JSON can hold."""

import io
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

_WIDTH = 100_000  # as wide as it is: lines that are cut are of no use to grep


def table(frame: "pandas.DataFrame") -> str:
    """Renders the columns of a DataFrame that hold anything, numbers to the right."""
    from pandas.api.types import is_numeric_dtype
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    frame = frame.dropna(axis="columns", how="all")
    rendered = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in frame:
        rendered.add_column(
            Text(str(name)),
            justify="right" if is_numeric_dtype(frame[name]) else "left",
            no_wrap=True,
        )
    for row in frame.itertuples(index=False):
        rendered.add_row(*(Text(_cell(value)) for value in row))
    file = io.StringIO()
    Console(file=file, width=_WIDTH).print(rendered)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def rows(frame: "pandas.DataFrame") -> list[dict[str, Any]]:
    """The rows of a DataFrame; what is missing or not finite is None."""
    return json.loads(frame.to_json(orient="records", double_precision=15))


def _cell(value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return "-"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
