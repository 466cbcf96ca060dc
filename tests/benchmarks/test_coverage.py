"""docs/coverage.md: nothing public is missing, no row is an error, and rows are so."""

import re
from pathlib import Path

import pytest
from coverage_parts.families import ACTIVATIONS, LAYERS, find_case, names_of
from coverage_parts.measure import Row, measure
from coverage_parts.page import read_rows, written
from coverage_parts.pool import measured

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
ROWS = read_rows(PAGE)


def test_no_public_layer_or_activation_is_missing():
    names = [name for kind in (LAYERS, ACTIVATIONS) for name in names_of(kind)]
    assert len(names) > 150
    assert set(names) <= set(ROWS), "run python benchmarks/coverage.py"


def test_no_row_is_an_error():
    bad = [row for row in ROWS.values() if "error" in (row.float, row.int8)]
    assert not bad


def test_what_is_not_in_integers_has_a_reason():
    assert not [row for row in ROWS.values() if row.int8 != "int8" and not row.why]


@pytest.mark.parametrize(
    "name",
    ["layers.AdditiveAttention", "activations.squareplus", "layers.Conv3D"],
)
def test_a_row_is_what_it_was(name):
    assert measure(name, find_case(name)) == ROWS[name]


def test_the_page_is_read_as_it_was_written(tmp_path):
    rows = [
        Row("layers.Dense", "30 → 15", "yes", "int8", ""),
        Row("layers.Odd", "", "yes", "float", "one | two"),
        Row("activations.elu", "", "yes", "int8", ""),
    ]
    path = tmp_path / "page.md"
    path.write_text(written(rows))
    assert list(read_rows(path).values()) == rows
    assert re.search(r"2 rows: 1 int8, 1 float", path.read_text())


def test_a_case_that_takes_too_long_is_ended():
    [row] = measured(["layers.Dense"], workers=1, seconds=0.2)
    assert (row.int8, row.why) == ("error", "it took over 0.2 seconds")
