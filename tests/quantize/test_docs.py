"""docs/quantization.md tells what the rules do."""

import importlib.util
from pathlib import Path

import pytest

from keras_share.quantize import rules

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "quantization.md").read_text()


@pytest.fixture
def maker():
    """The script that makes the table."""
    path = DOCS / "make_quantization_table.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_table_is_that_of_the_rules(maker):
    assert maker.with_table(PAGE) == PAGE, (
        "The table in docs/quantization.md is not that of the rules. Make it again: "
        "python docs/make_quantization_table.py"
    )


def test_a_new_rule_changes_the_table(maker, monkeypatch):
    monkeypatch.setattr(rules, "_OPERATIONS", dict(rules._OPERATIONS))
    rules.register_rule("sign", rules.QuantizeRule(how="int8, as a comparison"))
    assert "| `ops.sign` | int8, as a comparison |\n" in maker.table()
    assert maker.with_table(PAGE) != PAGE
