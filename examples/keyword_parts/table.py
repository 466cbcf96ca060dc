"""The table that the example closes with."""

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table


def show(table: pd.DataFrame, console: Console) -> None:
    """Prints the networks, their accuracy and their files."""
    titles = ["network", "weights", "float", "int8", "bytes", "twice", "arena"]
    titles += ["as LiteRT", "steps"]
    view = Table(
        title="Accuracy on other speakers, and files", box=box.SIMPLE, pad_edge=False
    )
    for title in titles:
        view.add_column(title, justify="left" if title == "network" else "right")
    for row in table.to_dict("records"):
        view.add_row(*(_cell(value) for value in row.values()))
    console.print(view)
    console.print(
        "twice: bytes stored more than once. arena: bytes of memory beside the file, "
        "in TensorFlow Lite Micro. as LiteRT: share of its outputs that are exactly "
        "those of LiteRT's reference kernels; the others are so many steps apart."
    )


def _cell(value: object) -> str:
    """A value as the table shows it."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
