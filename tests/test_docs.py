"""Pages and notebooks: their code runs, their commands are right, links lead there."""

import ast
import json
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
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TEXTS = [*ROOT.glob("*.md"), *ROOT.glob("benchmarks/**/*.md"), *PAGES, *NOTEBOOKS]
# Trainings and searches are shortened, not left out; networks of notebooks, too.
LENGTHS = re.compile(r"\b(max_trials|n_trials)=\d+")
EPOCHS = re.compile(r"\b(epochs)=\d+")
SIZES = re.compile(r"\b(num_sites=|range\()\d+")
TRIALS = re.compile(r"\b(trials|finalists)=\d+")
COMMAND = re.compile(r"(?<!\S)keras-share ([a-z]+)([^#>&|]*)")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)


def cells(notebook: Path, kind: str) -> list[str]:
    found = json.loads(notebook.read_text())["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def code_of(page: Path) -> list[str]:
    if page.suffix == ".md":
        return blocks(page, "python")
    code = (TRIALS.sub(r"\1=1", code) for code in cells(page, "code"))
    return [SIZES.sub(r"\g<1>2", one) for one in code]


@pytest.mark.parametrize(
    "page", [p for p in (*PAGES, *NOTEBOOKS) if code_of(p)], ids=lambda p: p.name
)
def test_code_runs_in_its_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rules, "_LAYERS", dict(rules._LAYERS))
    # In the class that has it, as a function: else Keras takes it for one's own.
    trainer = next(one for one in keras.Model.__mro__ if "compile" in vars(one))
    given = trainer.compile

    def compile_quickly(self, *args, **kwargs):
        """Without XLA, and to be traced once: Keras does again what makes variables."""
        given(self, *args, **{**kwargs, "jit_compile": False})
        if self.built and self.optimizer:
            self.optimizer.build(self.trainable_variables)

    monkeypatch.setattr(trainer, "compile", compile_quickly)
    matplotlib.use("agg")
    names = {"__name__": "__main__", **GIVEN.get(page.stem, dict)()}
    for code in code_of(page):
        short = EPOCHS.sub(r"\1=1", LENGTHS.sub(r"\1=2", code))
        exec(compile(short, str(page), "exec"), names)


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


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_without_outputs(notebook):
    for cell in json.loads(notebook.read_text())["cells"]:
        assert not cell.get("outputs") and not cell.get("execution_count")


@pytest.mark.parametrize("page", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for path, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", prose(page)):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.*)$", prose(target), re.M)
            assert anchor in {slug(heading) for heading in headings}, anchor


def prose(page: Path) -> str:
    text = (
        page.read_text() if page.suffix == ".md" else "".join(cells(page, "markdown"))
    )
    return re.sub(r"```.*?```", "", text, flags=re.S)


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


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
