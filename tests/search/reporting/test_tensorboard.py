"""HParams logs, read back with TensorBoard."""

from dataclasses import replace

import pytest
import synthetic_search as synthetic
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util import tensor_util

from keras_share.search import SearchResults
from keras_share.search.reporting.tensorboard import write_hparams


def read(run):
    """The hyperparameters and the metrics of a run."""
    events = EventAccumulator(str(run))
    events.Reload()
    logged = events.PluginTagToContent("hparams")
    start = HParamsPluginData.FromString(
        logged["_hparams_/session_start_info"]
    ).session_start_info
    chosen = {
        name: getattr(value, value.WhichOneof("kind"))
        for name, value in start.hparams.items()
    }
    reached = {
        tag: tensor_util.make_ndarray(events.Tensors(tag)[0].tensor_proto).item()
        for tag in events.Tags()["tensors"]
        if not tag.startswith("_hparams_")
    }
    return start, chosen, reached


def test_a_run_for_each_trial(tmp_path):
    results = synthetic.search(trials=3, names=("attention", "ffn"))
    results = synthetic.with_failures(results, "FAILED")
    results.to_tensorboard(tmp_path / "logs")
    runs = sorted((tmp_path / "logs").iterdir())
    assert [run.name for run in runs] == ["000", "001", "002", "003"]
    for run, row in zip(runs, results.records, strict=True):
        start, chosen, reached = read(run)
        assert start.group_name == row.trial_id
        assert start.start_time_secs == row.started
        patterns = {name: str(p) for name, p in row.patterns.items()}
        expected = {**row.hyperparameters, **patterns, "status": row.status}
        assert chosen == pytest.approx(expected)
        if row.score is not None:
            assert reached["val_accuracy"] == pytest.approx(row.score)
            assert reached["val_loss"] == pytest.approx(1 - row.score)
        sizes = {name: row.measures.get(name) for name in ("exported_bytes",)}
        found = {name: reached.get(name) for name in sizes}
        assert found == pytest.approx(sizes)
        assert reached["parameters"] == row.parameters
    assert isinstance(read(runs[0])[1]["attention"], str)


def test_a_search_is_added_to(tmp_path):
    results = synthetic.search(trials=3)
    write_hparams(results.records[:2], tmp_path)
    before = {
        path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()
    }
    results.to_tensorboard(tmp_path)
    after = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(before) == 2 and len(after) == 3
    assert all(path.stat().st_size == size for path, size in before.items())


def test_values_that_tensorboard_lacks(tmp_path):
    row = synthetic.search(trials=1).records[0]
    odd = {"units": [1, 2], "rate": None, "sharing": 10**40}
    row = replace(row, hyperparameters=odd, trial_id="../7")
    SearchResults((row,), synthetic.ONE).to_tensorboard(tmp_path / "logs")
    _, chosen, _ = read(tmp_path / "logs" / "7")
    assert chosen["units"] == "[1, 2]" and "rate" not in chosen
    assert chosen["sharing"] == row.pattern
