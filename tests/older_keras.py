"""What Keras 3.12 lacks, the newest version on Python 3.10."""

import keras
import pytest

newer_only = pytest.mark.skipif(
    keras.version().startswith("3.12."), reason="Keras 3.12 has none of it, or not so."
)


def marked(names, newer):
    """Parameters of a test, of which some need Keras 3.13."""
    return [pytest.param(n, marks=[newer_only][: n in newer]) for n in names]
