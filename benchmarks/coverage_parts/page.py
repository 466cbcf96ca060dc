"""docs/coverage.md: rows as a page, and back."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from coverage_parts.measure import Row

_HEAD = """# Coverage

What becomes of each public layer and activation of Keras, tried and not claimed:
`python benchmarks/coverage.py` makes this page. Each is a small model with random
weights that is exported in float, quantized, exported in int8, run in LiteRT and
compared with Keras: float within 1e-4, int8 with at least 25 dB of signal to noise.

- *float*: whether the float file computes what Keras does.
- *int8*: `int8` if all that is computed is in integers, `part` if some is, `float` if
  nothing is; `no` if no file can be made. The last column says why.
- *shared*: the weights of two in a row before and after `share`, where the output has
  the shape of the input.
"""
_TITLES = {
    "layers": "Layers",
    "activations": "Activations",
    "applications": "Models of keras.applications",
    "hub": "Backbones of KerasHub",
}
_COLUMNS = "| | float | int8 | shared | why |\n|---|---|---|---|---|\n"


def written(rows: Iterable[Row]) -> str:
    """The page of these rows."""
    page, rows = _HEAD, list(rows)
    for kind, title in _TITLES.items():
        own = [row for row in rows if row.name.startswith(f"{kind}.")]
        if not own:
            continue
        counts = Counter(row.int8 for row in own)
        told = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        page += f"\n## {title}\n\n{len(own)} rows: {told}.\n\n{_COLUMNS}"
        page += "".join(map(_line, sorted(own, key=lambda row: row.name)))
    return page


def read_rows(path: Path) -> dict[str, Row]:
    """The rows of a page by name; none if there is no page."""
    rows: dict[str, Row] = {}
    kinds = {f"## {title}": kind for kind, title in _TITLES.items()}
    kind = ""
    for line in path.read_text().splitlines() if path.exists() else []:
        kind = kinds.get(line, kind)
        if not line.startswith("| `"):
            continue
        name, floats, int8, shared, why = line[2:-2].split(" | ", 4)
        name = f"{kind}.{name.strip('`')}"
        rows[name] = Row(name, shared, floats, int8, why.replace("\\|", "|"))
    return rows


def _line(row: Row) -> str:
    name = row.name.split(".", 1)[1]
    why = row.why.replace("|", "\\|")
    return f"| `{name}` | {row.float} | {row.int8} | {row.shared} | {why} |\n"
