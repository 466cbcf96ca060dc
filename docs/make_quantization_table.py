"""Writes the table of rules into docs/quantization.md.

Run `python docs/make_quantization_table.py` after a rule was added or changed.
"""

from pathlib import Path

import keras

import keras_share
from keras_share.quantize.rules import rules

PAGE = Path(__file__).with_name("quantization.md")
HEADING = "| layer or operation | how it is computed in int8 |\n|---|---|\n"


def table() -> str:
    """The rules as Markdown: a row for all that are computed alike."""
    alike: dict[str, list[str]] = {}
    for name, rule in rules().items():
        if _is_public(name):
            alike.setdefault(rule.how, []).append(name)
    rows = [
        f"| {', '.join(f'`{name}`' for name in sorted(names, key=_order))} | {how} |\n"
        for how, names in alike.items()
    ]
    return HEADING + "".join(sorted(rows, key=_order))


def with_table(page: str) -> str:
    """A page with its table as it is now."""
    start = page.index(HEADING)
    end = page.index("\n\n", start) + 1
    return page[:start] + table() + page[end:]


def _is_public(name: str) -> bool:
    """Whether a rule comes with the package, and was not registered by a user."""
    return (
        name.startswith("ops.")
        or hasattr(keras.layers, name)
        or hasattr(keras_share, name)
    )


def _order(name: str) -> tuple[bool, str]:
    return name.lstrip("| `").startswith("ops."), name


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
