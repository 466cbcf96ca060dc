"""The loop for firmware fits the files of the recognition example and the front end."""

import re
from pathlib import Path

import numpy as np
import pytest
from keyword_parts.frontend import PER_LEVEL, integers_of, levels_of, settings
from keyword_parts.tones import tones
from speech_recognition import STEP, Network, build, export, listen

import keras_share as ks

SOURCE = Path(__file__).parents[2] / "examples" / "firmware" / "recognize.cc"
TEXT = SOURCE.read_text()
RATE = int(re.search(r"kSampleRate = (\d+);", TEXT)[1])
HOP = RATE * int(re.search(r"kSampleRate \* (\d+) / 1000", TEXT)[1]) // 1000


@pytest.fixture(scope="module", params=[0, 2])
def path(request, tmp_path_factory):
    """A file like those of the example, with relaxed sites and without."""
    path = tmp_path_factory.mktemp("firmware") / f"rank{request.param}.tflite"
    samples = np.random.default_rng(0).uniform(0, 7.9, (2, 40, 24)).astype("float32")
    export(build(Network("AAB", 8, request.param), 24, 3), samples, path)
    return path


def test_its_front_end_is_set_as_in_training():
    told = dict(re.findall(r"config\.\w+\.(\w+) = ([\w. *]+);", TEXT))
    ours = settings(RATE)
    assert told == {
        "size_ms": str(ours["window_size"]),
        "step_size_ms": str(ours["window_step"]),
        "num_channels": "kBands",
        "lower_band_limit": f"{ours['lower_band_limit']}f",
        "upper_band_limit": "0.47f * kSampleRate",
        "min_signal_remaining": f"{ours['min_signal_remaining']}f",
        "enable_pcan": str(int(ours["enable_pcan"])),
    }
    assert ours["upper_band_limit"] == 0.47 * RATE
    assert f"kBands = {ours['num_channels']};" in TEXT
    assert f"values[i] / {PER_LEVEL}, 255) - 128" in TEXT


def test_it_has_the_operators_of_the_files(path):
    def key(name):
        return name.replace("_", "").lower()

    registered = [key(name) for name in re.findall(r"resolver\.Add(\w+)\(", TEXT)]
    used = {key(operator.name) for operator in ks.audit(path).operators}
    assert used <= set(registered)
    assert f"MicroMutableOpResolver<{len(registered)}>" in TEXT
    states = sum(o.count for o in ks.audit(path).operators if o.name == "VAR_HANDLE")
    assert 0 < states <= int(re.search(r"kStates = (\d+);", TEXT)[1])


def test_its_loop_in_python_hears_what_the_example_hears(path):
    """Audio hop by hop, features, and the file in TensorFlow Lite Micro."""
    runtime = pytest.importorskip("tflite_micro").runtime
    audio = np.concatenate(tones(2, 1, 1).waveforms)
    arena = int(re.search(r"kArenaBytes = (\d+) \* 1024;", TEXT)[1]) * 1024
    network = runtime.Interpreter.from_file(str(path), arena_size=arena)
    filled, scores = [], []
    for end in range(HOP, len(audio) + 1, HOP):  # a frame is ready after its last hop
        frames = integers_of(audio[:end], **settings(RATE))
        if len(frames) > len(filled):
            filled.append(np.minimum(frames[-1] // PER_LEVEL, 255) - 128)
            if len(filled) % STEP == 0:
                network.set_input(np.int8([filled[-STEP:]]), 0)
                network.invoke()
                scores.append(network.get_output(0))
    levels = levels_of(audio, RATE)
    features = (levels[None].astype("float32") + 128) / 32
    expected = listen(path, features)[0]
    found = np.concatenate(scores)[:, 0].astype("float32")
    facts = network.get_output_details(0)["quantization_parameters"]
    [scale], [zero] = facts["scales"], facts["zero_points"]
    assert len(found) == len(expected) == len(levels) // STEP
    apart = np.abs((found - zero) - expected / scale)
    assert apart.max() < 1.01 and np.mean(apart > 0.01) < 0.05
