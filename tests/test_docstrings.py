"""Runs the example of every docstring."""

import doctest
import importlib
import pkgutil

import pytest

import keras_share
import keras_share.search

MODULES = sorted(
    {
        module.name
        for package in (keras_share, keras_share.search)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    }
)
# Their examples read a file, which the tests beside them make.
TESTED_ELSEWHERE = {
    f"keras_share.tflite.{module}"
    for module in ("inspect.audit", "file.dedupe", "file.flatbuffer", "runtimes.micro")
}


@pytest.mark.parametrize("name", [m for m in MODULES if m not in TESTED_ELSEWHERE])
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some examples write a file
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0
