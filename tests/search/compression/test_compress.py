"""`compress`: from a trained model to a folder, interrupted, and what it refuses."""

import json
import threading
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_share
from keras_share.search import SharingDesign, compress
from keras_share.search.compression import compress as module
from keras_share.search.compression.begun import begin
from keras_share.search.compression.candidates import Candidate
from keras_share.search.tuner.halting import HaltedError

ERROR = HaltedError("many in a row; choose another `project_name`")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 12)).astype("float32")
Y = (X[:, :3].sum(axis=1) > 0).astype("int32")
TRAIN, VALIDATION = (X[:64], Y[:64]), (X[64:], Y[64:])
QUICK = {
    "trials": 2,
    "epochs": 1,
    "final_epochs": 1,
    "finalists": 1,
    "quantizations": ["int8"],
    "relax": ["none"],
    "verbose": 0,
}


def network(width=16, sites=3, compiled=True):
    model = keras.Sequential([keras.Input((12,))], name="net")
    for i in range(sites + 1):
        model.add(keras.layers.Dense(width, activation="relu", name=f"dense_{i}"))
    model.add(keras.layers.Dense(2, name="head"))
    if compiled:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(
            keras.optimizers.Adam(0.01), loss, metrics=["accuracy"], run_eagerly=True
        )
    return model


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    model = network()
    model.fit(*TRAIN, epochs=10, verbose=0)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of all runs: what they need of files is measured once."""
    return tmp_path_factory.mktemp("compressed")


@pytest.fixture(scope="module")
def planned(trained, folder):
    """A dry run, with what it left in the folder and the weights before it."""
    before = trained.get_weights()
    plan = compress(trained, TRAIN, VALIDATION, output=folder, dry_run=True, **QUICK)
    return plan, {path.name for path in (folder / "work").iterdir()}, before


@pytest.fixture(scope="module")
def interrupted(trained, folder, planned):
    """The folder of a compression that was killed when it made its second file."""
    make = module.make_file

    def dies(job, name, *args):
        if name.startswith("trial"):
            raise KeyboardInterrupt
        return make(job, name, *args)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "make_file", dies)
        with pytest.raises(KeyboardInterrupt):
            compress(trained, TRAIN, VALIDATION, output=folder, **QUICK)
    return folder


@pytest.fixture(scope="module")
def found(trained, interrupted):
    kept = (interrupted / "work/files/quantized_only.tflite").stat().st_mtime_ns
    found = compress(trained, TRAIN, VALIDATION, output=interrupted, **QUICK)
    now = (interrupted / "work/files/quantized_only.tflite").stat().st_mtime_ns
    assert now == kept  # what was made is not made again
    return found


def test_the_folder_has_the_winner_and_the_report(found):
    folder = found.folder
    model = keras.saving.load_model(folder / "model.keras")
    says = keras_share.predict_tflite(folder / "model.tflite", VALIDATION[0])
    np.testing.assert_allclose(says, model(VALIDATION[0]), atol=0.2)
    share = (says.argmax(axis=1) == VALIDATION[1]).mean()
    assert found.winner.score.value == pytest.approx(share)
    assert found.winner.costs["exported_bytes"] == (
        (folder / "model.tflite").stat().st_size
    )
    for report in ("report.md", "report.html"):
        text = (folder / report).read_text()
        assert "unshared, int8" in text
        assert "original, float32" in text
        assert found.verdict.split(":")[0] in text
    assert len(found.results) == 2
    json.dumps(found.to_dict())


def test_the_model_only_quantized_is_always_among_the_files(found):
    names = [one.name for one in found.finalists]
    assert names[:2] == ["original, float32", "unshared, int8"]
    assert any(one.is_shared for one in found.finalists)


def test_it_goes_on_only_with_the_same(trained, found):
    with pytest.raises(ValueError, match=r"Changed since .* was begun: epochs"):
        changed = {**QUICK, "epochs": 2}
        compress(trained, TRAIN, VALIDATION, output=found.folder, **changed)


def test_it_goes_on_only_with_the_same_samples_and_loss(trained, found):
    def goes_on(model, train=TRAIN, **options):
        compress(model, train, VALIDATION, output=found.folder, **{**QUICK, **options})

    with pytest.raises(ValueError, match=r"was begun: train\. "):
        goes_on(trained, (TRAIN[0], 1 - TRAIN[1]))
    with pytest.raises(ValueError, match=r"was begun: batch_size\. "):
        goes_on(trained, batch_size=16)
    other = keras.models.clone_model(trained)
    other.set_weights(trained.get_weights())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    other.compile("sgd", loss, metrics=["accuracy", "sparse_categorical_crossentropy"])
    with pytest.raises(ValueError, match=r"was begun: loss and metrics\. "):
        goes_on(other)


def unnamed(width):
    model = keras.Sequential([keras.Input((12,))])
    for _ in range(4):
        model.add(keras.layers.Dense(width, activation="relu"))
    model.add(keras.layers.Dense(2))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def job_of(model, folder, **options):
    """What a call would do."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "plan", lambda job: job)
        return compress(
            model, TRAIN, VALIDATION, output=folder, dry_run=True, **options
        )


def test_layers_of_each_width_may_have_other_names(tmp_path):
    given = {
        **QUICK,
        "widths": [8, 16],
        "batch_size": np.int64(32),
        "objective": "accuracy",
    }
    job = job_of(unnamed, tmp_path, max_bytes=np.int64(6000), **given)
    assert job.objective.name == "val_accuracy"
    assert not begin(job)
    again = job_of(unnamed, tmp_path, max_bytes=np.int64(6000), **given)
    assert begin(again)  # in one process: Keras has counted on
    pattern = {"": keras_share.SharingPattern.get("AAB", 3)}
    for width in (8, 16):
        candidate = Candidate(SharingDesign(pattern, None, width), "int8")
        model = again.designer.build(candidate, trained=False)
        hidden = width * width + width
        assert model.count_params() == 13 * width + 2 * hidden + 2 * width + 2


def test_a_dry_run_trains_nothing(trained, planned):
    plan, left, before = planned
    assert plan.sites == {"dense_1": 3}
    assert plan.candidates == 5  # all partitions of three sites
    assert "5 candidates" in str(plan)
    assert plan.seconds > 0
    assert not left & {"begun.json", "search", "files"}
    for one, other in zip(before, trained.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def broken():
    model = network()
    weights = model.get_weights()
    weights[0][0, 0] = np.nan
    model.set_weights(weights)
    return model


def with_lambda():
    model = network(compiled=False)
    model.compile("adam", lambda y, logits: keras.ops.mean(logits))
    return model


def own_loss(y, logits):
    return keras.ops.mean(keras.ops.square(logits - keras.ops.cast(y, "float32")))


def with_own_loss():
    model = network(compiled=False)
    model.compile("adam", own_loss)
    return model


def subclassed():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def call(self, x):
            return self.inner(x)

    model = Own()
    model.compile("adam", "sparse_categorical_crossentropy")
    model(X)
    return model


def endless():
    return tf.data.Dataset.from_tensor_slices(VALIDATION).batch(16).repeat()


def badly_named():
    model = keras.Sequential([network(compiled=False), keras.layers.Dense(3, name="|")])
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize(
    ("model", "train", "options", "message"),
    [
        (with_lambda, TRAIN, {}, "a lambda among the loss.* Write it as a function"),
        (badly_named, TRAIN, {}, r"names must be of the letters.*Received: '\|'"),
        (broken, TRAIN, {}, "weights of a model to compress must be finite"),
        (lambda: network(compiled=False), TRAIN, {}, "not compiled"),
        (subclassed, TRAIN, {}, "Sequential or Functional model is needed"),
        (with_own_loss, TRAIN, {}, "must be known to Keras.*register_keras"),
        (network, TRAIN, {"max_bytes": "60k"}, "`max_bytes` must be a number above 0"),
        (network, TRAIN, {"max_bytes": np.nan}, "`max_bytes` must be .*=nan"),
        (network, TRAIN, {"learning_rate": 0.0}, "`learning_rate` must be .*=0.0"),
        (network, TRAIN, {"batch_size": 0}, "`batch_size` must be an integer"),
        (network, TRAIN, {"validation_steps": 0}, "`validation_steps` must be an int"),
        (network, TRAIN, {"test": endless()}, "`test` must have an end. Received"),
        (lambda: network(sites=1), TRAIN, {}, "nothing can be shared"),
        (network, (X[:, :5], Y), {}, r"what the model takes.*\[\(None, 12\)\]"),
        (network, (X[:9], Y[:9]), {}, "at least 30 samples"),
        (network, TRAIN, {"objective": "val_auc"}, "compiled with.*val_accuracy"),
        (network, TRAIN, {"quantizations": ["int3"]}, "`quantization` must be one"),
        (network, TRAIN, {"widths": [8]}, "`widths` are those of a function"),
        (network, TRAIN, {"trials": 0}, "`trials` must be an integer"),
    ],
)
def test_what_it_refuses_before_any_training(
    model, train, options, message, tmp_path, monkeypatch
):
    monkeypatch.setattr(keras.Model, "fit", None)
    given = {**QUICK, **options}
    with pytest.raises(ValueError, match=message):
        compress(model(), train, VALIDATION, output=tmp_path, **given)


def test_a_budget_that_nothing_keeps_names_the_nearest(trained, found, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", None)
    given = {**QUICK, "max_bytes": 100}
    with pytest.raises(ValueError, match="nearest comes 'AAA, int8' with about"):
        compress(trained, TRAIN, VALIDATION, output=found.folder, **given)


def ended(status, ended, size, reason=None):
    record = SimpleNamespace(status=status, ended=ended, pattern="AAB", reason=reason)
    record.measures = {"exported_bytes": size}
    return record


def test_what_it_says_of_a_search_that_ended_early(tmp_path):
    said = []
    limits = {"exported_bytes": 100}
    job = SimpleNamespace(limits=limits, output=tmp_path, say=said.append)
    rejected, good = ended("REJECTED", 2.0, 250), ended("COMPLETED", 1.0, 90)

    def halt(*records):
        module.halted(job, records, ERROR)

    with pytest.raises(ValueError, match="AAB came nearest: exported_bytes 250 of at"):
        halt(rejected, ended("REJECTED", 1.0, 400))
    assert not said
    halt(rejected, good)  # goes on with what was found
    assert said == ["no other candidate is new and keeps the budget"]
    with pytest.raises(RuntimeError, match="AAB at last with: OSError: disk is full"):
        halt(good, ended("FAILED", 3.0, 90, "OSError: disk is full"))


def test_files_are_made_by_one_process_at_a_time(tmp_path):
    said, entered = [], threading.Event()
    job = SimpleNamespace(work=tmp_path, say=said.append)

    def other():
        with module._alone(job):
            entered.set()

    with module._alone(job):
        thread = threading.Thread(target=other)
        thread.start()
        assert not entered.wait(0.5)
    assert entered.wait(10)
    thread.join()
    assert said == ["waiting for another process, which works on the same files"]
