"""The keyword spotting example does the whole job; here with the tiniest network."""

import dataclasses

import keyword_spotting
import numpy as np
import pandas as pd
import pytest
from ai_edge_litert.interpreter import Interpreter
from keyword_parts import datasets, training
from keyword_parts.frontend import BANDS, SCALE, ZERO_POINT
from keyword_parts.network import BLOCKS, build_network
from keyword_parts.split import split_by_speaker
from keyword_parts.tones import tones
from keyword_spotting import Settings, search_name

from keras_share import SharingPattern, audit

SETTINGS = Settings(
    num_sites=3,
    width=8,
    trials=1,
    search_epochs=1,
    epochs=1,
    tuning_epochs=1,
    disguises=1,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    compiled = training.compile_network

    def compile_eagerly(*args):
        """Of so few steps, tracing takes longer than running."""
        network = compiled(*args)
        network.run_eagerly = True
        return network

    def few_tones(seconds):
        return tones(3, 3, 4, seconds=seconds)

    folder = tmp_path_factory.mktemp("keywords")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "compile_network", compile_eagerly)
        patch.setattr(keyword_spotting, "compile_network", compile_eagerly)
        patch.setattr(datasets, "tones", few_tones)
        table = keyword_spotting.run(folder, settings=SETTINGS)
    return folder, table


def winner_pattern(table):
    return SharingPattern.get(table.network.iloc[-1].split()[1])


def test_everything_lands_in_the_folder(run):
    folder, table = run
    [searched] = folder.glob("search_*")
    endings = ("cc", "h", "keras", "tflite")
    assert {path.name for path in folder.iterdir()} == {
        "leaderboard.csv",
        "results.csv",
        searched.name,
        *(f"{name}.{e}" for name in ("unshared", "single", "winner") for e in endings),
    }
    pd.testing.assert_frame_equal(pd.read_csv(folder / "results.csv"), table)
    for accuracy in (*table.float_accuracy, *table.int8_accuracy):
        assert 0 <= accuracy <= 1


def test_a_search_goes_on_only_with_what_it_began_with():
    split, other = (split_by_speaker(tones(2, 3, 2, seed=i)) for i in range(2))
    name = search_name(split, SETTINGS)
    assert name == search_name(split, dataclasses.replace(SETTINGS, trials=9, epochs=9))
    assert name != search_name(other, SETTINGS)
    assert name != search_name(split, dataclasses.replace(SETTINGS, width=9))


def test_the_winner_is_tied_and_full_int8(run):
    folder, table = run
    assert (table.duplicate_bytes == 0).all()
    report = audit(folder / "winner.tflite")
    assert {kind.dtype for kind in report.operators} == {"int8"}
    unshared, single, winner = table.parameters
    assert single < winner < unshared
    sizes = [b.shape for b in report.buffers if b.dtype == "int8"]
    groups = winner_pattern(table).num_groups
    assert sum(np.prod(shape) == 8 * 8 for shape in sizes) == groups
    assert sum(np.prod(shape) == 7 * 8 for shape in sizes) == groups


def test_it_runs_in_micro(run):
    pytest.importorskip("tflite_micro")
    folder, table = run
    # In both, but now and then a value half-way goes the other way.
    assert (table.micro_agreement >= 0.5).all() and (table.micro_steps_apart <= 1).all()
    assert (table.arena_bytes % 16 == 0).all() and (table.arena_bytes > 2000).all()
    size = (folder / "winner.tflite").stat().st_size
    arena = table.arena_bytes.iloc[-1]
    header = (folder / "winner.h").read_text()
    facts = f"// winner.tflite, {size:,} bytes, tensor arena of {arena:,} bytes.\n"
    assert header.startswith(facts)
    assert "extern const unsigned char g_winner[];" in header


def test_the_front_end_fits_the_network(run):
    folder, _ = run
    interpreter = Interpreter(str(folder / "winner.tflite"))
    [taken], [given] = interpreter.get_input_details(), interpreter.get_output_details()
    assert taken["shape"].tolist() == [1, 61, BANDS]
    assert taken["quantization"] == (SCALE, ZERO_POINT)
    assert given["shape"].tolist() == [1, 3]


@pytest.mark.parametrize("kind", BLOCKS)
def test_blocks_share(kind):
    shape, patterns = (20, 8), ("A", "AAA", "AABA", "ABCD")
    counts = [
        build_network(
            shape, 3, SharingPattern.get(pattern), kind=kind, width=8
        ).count_params()
        for pattern in patterns
    ]
    assert counts == sorted(set(counts))
    network = build_network(shape, 3, SharingPattern.get("AB"), kind=kind, width=8)
    assert network.output_shape == (None, 3)
    with pytest.raises(ValueError, match="one of separable, conformer"):
        build_network(shape, 3, SharingPattern.get("AB"), kind="wide")


def test_the_command_line(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(keyword_spotting, "run", lambda *args: given.append(args))
    monkeypatch.setattr("sys.argv", ["keyword_spotting.py"])
    keyword_spotting.main()
    assert given.pop()[1:] == ("tones", None, Settings())
    arguments = "--data speech-commands --words yes no --block conformer --seed 3"
    monkeypatch.setattr("sys.argv", ["keyword_spotting.py", *arguments.split()])
    keyword_spotting.main()
    settings = dataclasses.replace(Settings(), block="conformer", seed=3)
    assert given.pop()[1:] == ("speech-commands", ["yes", "no"], settings)
