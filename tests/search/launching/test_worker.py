"""What a worker's process does beside running trials."""

import io
import os
import threading
import time
from types import SimpleNamespace

import keras_tuner as kt
import pytest

from keras_share.search.engine import Trial
from keras_share.search.launching import worker
from keras_share.search.launching.events import Reporter


def test_a_worker_ends_with_the_process_that_started_it(monkeypatch):
    mine, others = os.pipe()
    read, ended = os.read, threading.Event()
    monkeypatch.setattr(worker.os, "read", lambda stdin, size: read(mine, size))
    monkeypatch.setattr(worker.os, "_exit", lambda code: ended.set())
    worker._end_with_parent()
    assert not ended.wait(0.05)
    os.close(others)  # as the system does for a process that was killed
    assert ended.wait(10)
    os.close(mine)


@pytest.mark.parametrize("status", ["RUNNING", "IDLE", "STOPPED"])
def test_the_end_is_told(status):
    trial = Trial(kt.HyperParameters(), status=status)
    client = SimpleNamespace(create_trial=lambda name: trial)
    reporter = Reporter(io.StringIO(), send=None)
    begun = time.monotonic()
    assert worker._create_trial(client, reporter, "tuner0") is trial
    # KerasTuner would ask an idle chief without a pause.
    assert (time.monotonic() - begun > 0.1) == (status == "IDLE")
    told = '["on_done"]\n' if status == "STOPPED" else ""
    assert reporter.stream.getvalue() == told
