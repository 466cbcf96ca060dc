"""The tables are whole, and what made them is the network that a user would train."""

import keras
import numpy as np
import pandas as pd
import pytest
from random_data import values
from search_tables import noise
from search_tables.data import Data, digits
from search_tables.inheritance import changes, merged
from search_tables.network import FEATURES, NUM_SITES, keras_model, parameters
from search_tables.report import figures
from search_tables.sizes import exported_bytes
from search_tables.tables import FOLDER, Table, load, seeds_of
from search_tables.taus import by_pairs, suggested
from search_tables.training import BATCH, Trainer, initial_weights

from keras_share import SharingPattern, sharing_signals

ALL = [str(pattern) for pattern in SharingPattern.all(NUM_SITES)]
INPUTS = NUM_SITES * FEATURES
TABLES = ("digits", "spoken")


# The program that trains every pattern.


@pytest.fixture(scope="module")
def trainer():
    """Trains for four steps, two of an epoch, on random samples."""
    samples = 2 * BATCH + 3
    y = np.arange(samples, dtype="int32") % 10
    x = values(samples, INPUTS)
    return Trainer(Data(x, y, x[:100], y[:100]), epochs=2)


@pytest.fixture(scope="module")
def weights():
    made = initial_weights(np.random.default_rng(1))
    made["biases"] = values(*made["biases"].shape) / 5
    return made


def keras_model_of(pattern, weights):
    model = keras_model(pattern)
    stack, head = model.get_layer("stack"), model.get_layer("head")
    for group, block in enumerate(stack.blocks):
        block.dense.kernel.assign(weights["kernels"][group])
        block.dense.bias.assign(weights["biases"][group])
    head.kernel.assign(weights["head"])
    head.bias.assign(weights["head_bias"])
    return model


@pytest.mark.parametrize("pattern", ["AAAAAA", "ABACBA", "ABCDEF"])
def test_a_training_is_that_of_the_keras_model(trainer, weights, pattern):
    labels = SharingPattern(pattern).labels
    batches = trainer.batches(np.random.default_rng(2))
    model = keras_model_of(pattern, weights)
    assert model.count_params() == parameters(max(labels) + 1)

    x, y = values(2 * BATCH + 3, INPUTS), np.arange(2 * BATCH + 3) % 10
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    before = trainer.score(weights, labels)
    assert before.loss == pytest.approx(float(loss(y[:100], model(x[:100]))), abs=1e-5)

    schedule = keras.optimizers.schedules.CosineDecay(0.01, decay_steps=4)
    model.compile(keras.optimizers.Adam(schedule), loss, run_eagerly=True)
    halfway = None
    for step, batch in enumerate(batches):
        if step == 2:
            halfway = float(loss(y[:100], model(x[:100])))
        model.train_on_batch(x[batch], y[batch])
    after, scores = trainer.train(weights, labels, batches, peak=0.01, pause=2)

    assert scores[0].loss == pytest.approx(halfway, abs=1e-5)
    assert scores[0].loss != pytest.approx(before.loss, abs=1e-2)
    logits = keras.ops.convert_to_numpy(model(x[:100]))
    assert scores[1].loss == pytest.approx(float(loss(y[:100], logits)), abs=1e-5)
    assert scores[1].accuracy == pytest.approx(np.mean(logits.argmax(-1) == y[:100]))
    expected = keras_model_of(pattern, after)(x)
    np.testing.assert_allclose(model(x), expected, atol=2e-4)


def test_batches_go_through_all_samples_epoch_by_epoch(trainer):
    batches = trainer.batches(np.random.default_rng(0))
    assert batches.shape == (4, BATCH)
    for epoch in (batches[:2], batches[2:]):
        assert len(np.unique(epoch)) == 2 * BATCH


def test_merged_weights_are_means_of_the_groups(weights):
    pattern = SharingPattern("ABABBB")
    merge, error = merged(weights, pattern)
    kernels = weights["kernels"]
    np.testing.assert_allclose(merge["kernels"][0], kernels[[0, 2]].mean(0), rtol=1e-6)
    np.testing.assert_allclose(
        merge["biases"][1], weights["biases"][[1, 3, 4, 5]].mean(0), rtol=1e-6
    )
    spread = [kernels[list(g)].var(axis=0).sum() * len(g) for g in pattern.groups]
    assert error == pytest.approx(sum(spread), rel=1e-4)
    assert merged(weights, SharingPattern("ABCDEF"))[1] == 0


def test_changes_are_the_signals_of_the_keras_model(weights):
    x = values(50, INPUTS, seed=2)
    found = changes(weights, x)
    assert list(found) == ALL and found["ABCDEF"] == 0
    # What is not sharing of kernels makes a difference, too.
    kernels = {**weights, "biases": np.zeros_like(weights["biases"])}
    found = changes(kernels, x)
    signals = sharing_signals(keras_model_of("ABCDEF", kernels), x)
    pairs = [
        found[str(SharingPattern("ABCDEF").merge(site, other))]
        for site, other in zip(signals["site"], signals["other"], strict=True)
    ]
    np.testing.assert_allclose(signals["change"], pairs, rtol=2e-3)


def test_pairs_add_up_to_patterns():
    frame = pd.DataFrame({"pattern": ALL})
    alone = {pattern: 2.0**-i for i, pattern in enumerate(ALL)}
    costs = dict(
        zip(ALL, by_pairs(pd.Series(alone.values()), frame.pattern), strict=True)
    )
    assert costs["ABCDEF"] == 0
    assert costs["ABCDAE"] == alone["ABCDAE"]
    pairs = ("AABCDE", "ABACDE", "ABBCDE")
    assert costs["AAABCD"] == pytest.approx(2 / 3 * sum(alone[p] for p in pairs))
    assert costs["ABABCD"] == alone["ABACDE"] + alone["ABCBDE"]


@pytest.mark.parametrize("name", TABLES)
def test_what_signals_suggest_is_better_than_chance(name):
    assert 0.6 < suggested(name) < 0.9


def test_digits_are_halves_of_six_parts():
    data = digits()
    assert data.x.shape == (898, INPUTS)
    assert data.x_val.shape == (899, INPUTS)
    assert np.abs(np.bincount(data.y) - np.bincount(data.y_val)).max() <= 1


# The tables.


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_every_pattern(name):
    table = load(name)
    assert list(table.pattern) == ALL
    groups = [SharingPattern(p).num_groups for p in table.pattern]
    assert list(table.num_groups) == groups
    assert list(table.parameters) == [parameters(g) for g in groups]
    assert not table.isna().any().any()
    for metric in ("val_accuracy", "val_loss"):
        assert seeds_of(table, metric).shape[1] >= 10
    assert seeds_of(table, "val_accuracy").stack().between(0, 1).all()
    cheap = pd.read_csv(FOLDER / f"{name}_cheap.csv")
    assert list(cheap.pattern) == ALL
    assert not cheap.isna().any().any()


@pytest.mark.parametrize("pattern", ["AAAAAA", "ABACBA", "ABCDEF"])
def test_exported_bytes_are_those_of_an_export(pattern):
    # What all patterns have, operators and names, takes fewer bytes since.
    now = exported_bytes(pattern)
    for name in TABLES:
        assert Table(name).bytes(pattern) - 1440 == pytest.approx(now, abs=200)


def test_more_groups_are_more_bytes():
    of_groups = load("digits").groupby("num_groups").exported_bytes
    smallest, largest = of_groups.min().to_numpy(), of_groups.max().to_numpy()
    assert (smallest[1:] > largest[:-1]).all()


def test_draws_are_the_seeds_without_replacement():
    table = Table("digits")
    rng = np.random.default_rng(0)
    seeds = sorted(table.scores.loc["AABBCC"])
    for _ in range(2):
        drawn = [table.draw(SharingPattern("AABBCC"), rng) for _ in seeds]
        assert sorted(drawn) == seeds
    assert table.truth["AABBCC"] == pytest.approx(np.mean(seeds))


@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
def test_rank_1_is_the_best(metric):
    table = Table("spoken", metric)
    best = table.truth.idxmin() if metric == "val_loss" else table.truth.idxmax()
    assert table.rank(best) == 1
    assert {table.rank(p) for p in ALL} <= set(range(1, 204))


# The report.


def test_variance_components_are_found_again():
    rng = np.random.default_rng(0)
    groups = rng.integers(1, 7, size=2000)
    means = 0.1 * groups + rng.normal(scale=0.2, size=2000)
    seeds = means[:, None] + rng.normal(scale=0.4, size=(2000, 8))
    frame = pd.DataFrame(seeds, columns=[f"seed_{i}" for i in range(8)])
    found = noise.components(frame.assign(num_groups=groups), "val_accuracy")
    assert found["sd_patterns"] == pytest.approx(means.std(), rel=0.05)
    assert found["sd_same_groups"] == pytest.approx(0.2, rel=0.05)
    assert found["sd_seeds"] == pytest.approx(0.4, rel=0.05)
    assert found["p_same_groups"] < 1e-9
    again = means[:, None] + rng.normal(scale=0.4, size=(2000, 8))
    first, second = pd.Series(seeds.mean(1)), pd.Series(again.mean(1))
    rerun = first.corr(second, method="spearman")
    assert found["spearman_rerun"] == pytest.approx(rerun, abs=0.03)
    tau = first.corr(second, method="kendall")
    assert found["tau_rerun"] == pytest.approx(tau, abs=0.03)
    tau = first.corr(pd.Series(means), method="kendall")
    assert found["tau_mean"] == pytest.approx(tau, abs=0.03)


def test_the_readme_holds_what_the_command_prints():
    assert (FOLDER / "README.md").read_text().endswith(figures())
