"""Numbers as people read them."""

import math

import pandas as pd
import pytest

from keras_share.search.reporting.formats import format_number


@pytest.mark.parametrize(
    "value, text",
    [
        *((7, "7"), (12345.0, "12,345"), (1 / 3, "0.3333"), (1e-5, "1e-05")),
        *((12345.6, "1.235e+04"), (math.nan, "nan"), (-math.inf, "-inf"), (0.0, "0")),
        *((None, "-"), (pd.NA, "-"), (True, "True"), ("<b>", "<b>"), ([1], "[1]")),
        (10**30, f"{10**30:,}"),
    ],
)
def test_number(value, text):
    assert format_number(value) == text
