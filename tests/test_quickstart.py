"""The quickstart's network and digits; `compress` itself has tests of its own."""

import importlib.util
from pathlib import Path

import keras_share

FILE = Path(__file__).parents[1] / "examples" / "quickstart.py"


def test_its_network_has_six_sites_and_its_digits_are_split():
    spec = importlib.util.spec_from_file_location("quickstart", FILE)
    quickstart = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(quickstart)
    model = quickstart.build_model()
    sites = keras_share.find_sites(model)
    assert sites["site"].nunique() == quickstart.SITES
    parts = quickstart.load()
    assert [len(x) for x, _ in parts] == [1000, 350, 447]
    model.evaluate(*parts[1], verbose=0)
