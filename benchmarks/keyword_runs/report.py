"""The table of `benchmarks/keywords.py` in words."""

import pandas as pd


def report(table: pd.DataFrame) -> str:
    """Accuracy of the int8 files by network and fold, best network first.

    Args:
        table: The rows of the trainings.
    """
    lines = []
    for (budget, epochs), rows in table.groupby(["budget", "epochs"]):
        seeds = rows.groupby("network").seed.nunique()
        lines += [
            f"## Files of {budget} KB, {epochs} epochs, "
            f"{seeds.min()} to {seeds.max()} seeds",
            "",
        ]
        by_fold = rows.pivot_table(index="network", columns="speakers", values="int8")
        facts = rows.groupby("network").agg(
            width=("width", "first"),
            bytes=("bytes", "max"),
            macs=("macs", "first"),
            float_mean=("accuracy", "mean"),
            int8_mean=("int8", "mean"),
        )
        facts = facts.join(by_fold).sort_values("int8_mean", ascending=False)
        titles = ["network", *(str(c).replace("_mean", "") for c in facts.columns)]
        lines += [_row(titles), _row(["---"] * len(titles))]
        for name, values in facts.iterrows():
            lines.append(_row([str(name), *(_cell(v) for v in values)]))
        lines.append("")
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: float) -> str:
    return f"{value:.3f}" if value <= 1 else f"{value:,.0f}"
