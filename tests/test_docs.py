"""What the pages of docs/ show: their code runs, their commands are right."""

import ast
import functools
import re
from pathlib import Path

import click
import keras
import matplotlib
import numpy as np
import pytest
from sklearn.datasets import load_digits

from keras_share.cli.main import program
from keras_share.quantize import rules

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
# Trainings and searches are shortened, not left out.
LENGTHS = re.compile(r"\b(max_trials|n_trials|epochs)=\d+")
COMMAND = re.compile(r"(?<!\S)keras-share ([a-z]+)([^#>&|]*)")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.stem
)
def test_code_runs_in_its_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rules, "_LAYERS", dict(rules._LAYERS))
    compiled = functools.partialmethod(keras.Model.compile, jit_compile=False)
    monkeypatch.setattr(keras.Model, "compile", compiled)
    matplotlib.use("agg")
    names = {"__name__": "__main__", **GIVEN.get(page.stem, dict)()}
    for code in blocks(page, "python"):
        exec(compile(LENGTHS.sub(r"\1=2", code), str(page), "exec"), names)


def _digits() -> dict:
    x, y = load_digits(return_X_y=True)
    return {"x": (x / 16).astype("float32"), "y": y}


def _search() -> dict:
    """What the page calls the reader's own."""

    def train(pattern, width):
        return float(np.random.default_rng(pattern.num_groups).random()), width

    return _digits() | {"train": train}


GIVEN = {"searching": _search}


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda p: p.stem)
def test_commands_are_those_of_the_command_line(page):
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if not (found := COMMAND.search(line)):
                continue
            command = program.commands[found[1]]
            command.make_parser(click.Context(command)).parse_args(found[2].split())


def test_messages_explained_are_messages_of_ours():
    raised = {
        "".join(
            part.value if isinstance(part, ast.Constant) else "..."
            for part in (node.values if isinstance(node, ast.JoinedStr) else [node])
        )
        for folder in ("keras_share", "search")
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str))
    }
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    headings = re.findall(r'^### "(.*?)"', page, re.M)
    assert len(headings) > 5
    for heading in headings:
        said = re.escape(heading).replace(r"\.\.\.", ".*").replace("'", ".")
        assert any(re.search(said, text, re.S) for text in raised), heading
