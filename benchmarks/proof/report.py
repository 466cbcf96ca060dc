"""Makes `results/README.md` of the tables: what sharing is worth, paired over seeds.

python benchmarks/proof/report.py
python benchmarks/proof/report.py --output benchmarks/proof/results/quick
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import pandas as pd
from scipy import stats

from keras_share.atomic import write_atomically
from proof.latency import file_name
from proof.run import FOLDER, TASKS

LEVEL = 0.05
SLACK = 1.01  # widths are found with untrained files, which may be a little smaller
WIDER = "same width, nothing shared"


@dataclass(frozen=True)
class Finals:
    """The confirmed trainings of a task at a budget, all of one length.

    Args:
        task: Name of the task.
        budget: Kilobytes.
        steps: Of each training.
        rows: Those of the stage `"confirm"`.
        files: Rows of `latency.csv` by name of the file; None if not measured.
    """

    task: str
    budget: int
    steps: int
    rows: pd.DataFrame
    files: pd.DataFrame | None

    @property
    def sign(self) -> int:
        """+1 where more is better."""
        return TASKS[self.task].sign

    def best(self, side: str) -> pd.DataFrame:
        """The rows of the side's best candidate within the budget, by validation."""
        fits = self.rows[(self.rows.side == side) & self._fits()]
        means = self.sign * fits.groupby(["candidate", "width"]).val.mean()
        candidate, width = means.idxmax()
        return fits[(fits.candidate == candidate) & (fits.width == width)]

    def table(self) -> pd.DataFrame:
        """A row for each finalist; differences are to the best unshared one."""
        rival = self.best("unshared")
        groups = self.rows.groupby(["side", "candidate", "width"], sort=False)
        return pd.DataFrame(self._row(group, rival) for _, group in groups)

    def _fits(self) -> pd.Series:
        return self.rows.bytes <= SLACK * 1000 * self.budget

    def _row(self, rows: pd.DataFrame, rival: pd.DataFrame) -> dict:
        own, other = (r.set_index("seed").test_int8 for r in (rows, rival))
        first = rows.iloc[0]
        unit = TASKS[self.task].unit
        row = {
            "network": first.candidate,
            "width": int(first.width),
            "int8 bytes": f"{int(rows.bytes.max()):,}",
            "validation": f"{rows.val.mean():.4f}",
            f"{unit}, float": f"{rows.test.mean():.4f}",
            f"{unit}, int8": f"{own.mean():.4f} ± {own.std():.4f}",
            "over the best unshared": "",
            "p": "",
            "on validation": "",
        }
        if self.files is not None:
            row["latency"] = (
                f"{self._latency(first) / self._latency(rival.iloc[0]):.2f}"
            )
        ratio = rows.cpu_seconds.mean() / rival.cpu_seconds.mean()
        row["training time"] = f"{ratio:.2f}"
        if first.bytes > SLACK * 1000 * self.budget:
            row["network"] += f" ({WIDER})"
        if not own.equals(other):
            difference, p = paired(own, other)
            row["over the best unshared"] = f"{difference:+.4f}"
            row["p"] = f"{p:.3f}"
            shift, q = paired(*(r.set_index("seed").val for r in (rows, rival)))
            row["on validation"] = f"{shift:+.4f} ({q:.2f})"
        return row

    def _latency(self, row: pd.Series) -> float:
        return float(self.files.median_ms[file_name(row)])

    def verdict(self) -> str:
        """Whether sharing pays, in words."""
        ours, rival = (
            self.best(side).set_index("seed").test_int8
            for side in ("shared", "unshared")
        )
        difference, p = paired(ours, rival)
        better = self.sign * difference > 0
        said = "pays" if better else "costs"
        if p >= LEVEL:
            said = "makes no difference that can be told"
        unit = TASKS[self.task].unit
        return (
            f"{self.task}, {self.budget} KB, {self.steps:,} steps: sharing {said} "
            f"({difference:+.4f} {unit}, p = {p:.3f}, {len(ours)} seeds"
            f"{self._slower()})"
        )

    def _slower(self) -> str:
        if self.files is None:
            return ""
        ours, rival = (self.best(side).iloc[0] for side in ("shared", "unshared"))
        return f", {self._latency(ours) / self._latency(rival):.1f} times the latency"


def paired(own: pd.Series, other: pd.Series) -> tuple[float, float]:
    """Mean difference over the seeds of both, and p of a paired t-test."""
    both = pd.concat([own, other], axis=1, join="inner").dropna()
    test = stats.ttest_rel(both.iloc[:, 0], both.iloc[:, 1])
    return float((both.iloc[:, 0] - both.iloc[:, 1]).mean()), float(test.pvalue)


def explored(task: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Every candidate by its mean on the validation set."""
    means = rows.groupby("candidate", sort=False).agg(
        side=("side", "first"),
        width=("width", "first"),
        parameters=("parameters", "first"),
        rate=("rate", "first"),
        seeds=("val", "size"),
        val=("val", "mean"),
    )
    means = means.sort_values("val", ascending=TASKS[task].sign < 0)
    return means.round({"val": 4}).rename(columns={"val": "validation"}).reset_index()


def markdown(frame: pd.DataFrame) -> str:
    """A table."""
    lines = [list(frame.columns), ["---"] * frame.shape[1], *frame.values.tolist()]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def report(folder: Path) -> str:
    """All tables; the first paragraph says where sharing pays and where it doesn't."""
    path = folder / "latency.csv"
    files = pd.read_csv(path).set_index("file") if path.exists() else None
    verdicts, parts = [], []
    for task in TASKS:
        path = folder / f"{task}.csv"
        if not path.exists():
            continue
        table = pd.read_csv(path)
        for (budget, steps), rows in table.groupby(["budget", "steps"]):
            stages = dict(list(rows.groupby("stage")))
            parts.append(f"## {task}, {budget} KB, {steps:,} steps")
            if "confirm" in stages:
                timed = files if files is not None and task in set(files.task) else None
                finals = Finals(task, budget, steps, stages["confirm"], timed)
                verdicts.append(finals.verdict())
                parts += [f"{finals.verdict()}.", markdown(finals.table())]
            if "explore" in stages:
                parts.append("By which the finalists were chosen:")
                parts.append(markdown(explored(task, stages["explore"])))
    return "\n\n".join(["; ".join(verdicts) + ".", *parts]) + "\n"


def main() -> None:
    """Prints and writes the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=FOLDER, help="of the run")
    folder = parser.parse_args().output
    text = report(folder)
    print(text)
    write_atomically(folder / "README.md", text.encode())


if __name__ == "__main__":
    main()
