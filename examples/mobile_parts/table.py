"""The table that the example closes with."""

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

_TEXTS = ("network", "precision")


def show(table: pd.DataFrame, console: Console) -> None:
    """Prints the files, a line between the networks."""
    view = _view("Accuracy on the test images, and what a file costs")
    for title in ("network", "weights", "precision", "Keras", "file", "KB", "ms", "MB"):
        view.add_column(title, justify="left" if title in _TEXTS else "right")
    for _, rows in table.groupby("network", sort=False):
        for row in rows.itertuples():
            view.add_row(
                row.network,
                f"{row.parameters:,}",
                row.precision + ", rolled" * row.rolled,
                f"{row.keras_accuracy:.4f}",
                f"{row.accuracy:.4f}",
                f"{row.file_bytes / 1024:,.0f}",
                f"{row.median_ms:.3f}",
                f"{row.grown_mb:.1f}",
            )
        view.add_section()
    console.print(view)
    console.print(
        "Keras, file: accuracy of the model, and of the file in LiteRT. KB: the file. "
        "ms: one image in one thread, median. MB: growth of the resident memory."
    )


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """What the rolled files take, as a share of others in the same precision.

    Returns:
        A row for each rolled file, with its `median_ms`, `grown_mb` and `file_bytes`
        as shares of those of the same file unrolled (`.._of_unrolled`) and of the
        network that shares nothing (`.._of_dense`), and the accuracy gained over the
        latter (`accuracy_gain`).
    """
    costs = ["file_bytes", "median_ms", "grown_mb"]
    keys = ["network", "precision"]
    rolled = table[table.rolled].set_index(keys)
    unrolled = table[~table.rolled].set_index(keys)
    dense = unrolled.loc["dense"].reindex(rolled.index, level="precision")
    return pd.concat(
        [
            (rolled[costs] / unrolled[costs].loc[rolled.index]).add_suffix(
                "_of_unrolled"
            ),
            (rolled[costs] / dense[costs]).add_suffix("_of_dense"),
            (rolled.accuracy - dense.accuracy).rename("accuracy_gain"),
        ],
        axis=1,
    ).reset_index()


def show_ratios(shares: pd.DataFrame, console: Console) -> None:
    """Says what sharing gained and what it cost, whichever it is."""
    view = _view("Rolled files: times the unrolled one / times the dense twin")
    for title in ("network", "precision", "file", "latency", "memory", "accuracy"):
        view.add_column(title, justify="left" if title in _TEXTS else "right")
    for row in shares.to_dict("records"):
        pairs = (
            f"{row[f'{cost}_of_unrolled']:.2f} / {row[f'{cost}_of_dense']:.2f}"
            for cost in ("file_bytes", "median_ms", "grown_mb")
        )
        gain = f"{row['accuracy_gain']:+.4f}"
        view.add_row(row["network"], row["precision"], *pairs, gain)
    console.print(view)


def _view(title: str) -> Table:
    return Table(title=title, box=box.SIMPLE, pad_edge=False, collapse_padding=True)
