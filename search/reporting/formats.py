"""Numbers as people read them."""

import math
import numbers
from typing import Any

import pandas as pd


def format_bytes(size: float) -> str:
    """Bytes in thousands, as budgets are written: `--max-bytes 60k`."""
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.2f} MB"


def format_seconds(seconds: float) -> str:
    """Seconds, or minutes or hours where these read better."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def format_number(value: Any) -> str:
    """A number of any kind; words as they are."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return "-" if value is None or value is pd.NA else str(value)
    # Also of NaN and infinity `value % 1` is none.
    return f"{math.floor(value):,}" if value % 1 == 0 else f"{value:,.4g}"
