import keras
import numpy as np
import pytest
from keras import layers, ops
from random_data import JIT, randomize, values

from keras_share import (
    Basis,
    LowRank,
    Scale,
    SharedStack,
    StepEmbedding,
    Templates,
    Tied,
)
from keras_share.blocks import TransformerBlock
from keras_share.layers import Relaxed
from keras_share.layers.tied import site_weights

WIDTH, SITES = 6, 3
KERNEL = WIDTH * WIDTH
# Relaxation, and the number of weights of all sites of Dense(6) beside its bias.
CASES = [
    (LowRank(2), KERNEL + SITES * 2 * 2 * WIDTH),
    (LowRank(2, diagonal=True), KERNEL + SITES * (2 * 2 * WIDTH + WIDTH)),
    (Scale(), KERNEL + SITES * WIDTH),
    (Templates(2, seed=0), 2 * KERNEL + SITES * 2),
    (Templates(1, seed=0), KERNEL + SITES),
    (Basis(2), 2 * WIDTH + SITES * 2 * WIDTH),
    (StepEmbedding(), KERNEL + SITES * WIDTH),
    ([StepEmbedding(), Scale(), LowRank(1)], KERNEL + SITES * 4 * WIDTH),
]
IDS = ["rank", "diagonal", "scale", "templates", "template", "basis", "step", "several"]


def numpy(x):
    return ops.convert_to_numpy(x)


def stack_model(relax, block=None, pattern="AAA"):
    stack = SharedStack(block or layers.Dense(WIDTH, "tanh"), pattern, relax=relax)
    return keras.Sequential([keras.Input((WIDTH,)), stack])


@pytest.mark.parametrize("relax, count", CASES, ids=IDS)
def test_counts_trains_and_round_trips(relax, count, tmp_path):
    model = stack_model(relax)
    assert model.count_params() == count + WIDTH
    randomize(model)
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    before = model.get_weights()
    model.train_on_batch(values(8, WIDTH), values(8, WIDTH)[::-1])
    for old, new in zip(before, model.weights, strict=True):
        assert not np.array_equal(old, numpy(new)), new.path

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.count_params() == model.count_params()
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for copy in (loaded, clone):
        np.testing.assert_array_equal(
            numpy(copy(values(4, WIDTH))), numpy(model(values(4, WIDTH)))
        )


def weights_of(site):
    """By the end of their name; several share no name in one Dense layer."""
    bare = site.layer if isinstance(site, Tied) else site
    names = [v.path.rsplit("/", 1)[-1].removeprefix("kernel_") for v in bare.weights]
    return dict(zip(names, site_weights(site), strict=True))


def chain_rule(relax, shared, own, gradients):
    """Gradients of the shared weights and of those of each site."""
    if isinstance(relax, LowRank):
        return {"kernel": sum(gradients)}, [
            {"down": g @ w["up"].T, "up": w["down"].T @ g}
            for g, w in zip(gradients, own, strict=True)
        ]
    if isinstance(relax, Scale):
        pairs = list(zip(gradients, own, strict=True))
        kernel = sum(g * w["scale"] for g, w in pairs)
        scales = [{"scale": (g * shared["kernel"]).sum(axis=0)} for g, _ in pairs]
        return {"kernel": kernel}, scales
    if isinstance(relax, Templates):
        names = ["kernel", "template_1"]
        return {
            name: sum(
                w["coefficients"][k] * g for g, w in zip(gradients, own, strict=True)
            )
            for k, name in enumerate(names)
        }, [
            {"coefficients": np.array([(g * shared[name]).sum() for name in names])}
            for g in gradients
        ]
    return {
        "basis": sum(
            g @ w["coefficients"].T for g, w in zip(gradients, own, strict=True)
        )
    }, [{"coefficients": shared["basis"].T @ g} for g in gradients]


def kernel_of_site(relax, shared, own):
    if isinstance(relax, LowRank):
        return shared["kernel"] + own["down"] @ own["up"]
    if isinstance(relax, Scale):
        return shared["kernel"] * own["scale"]
    if isinstance(relax, Templates):
        first, second = own["coefficients"]
        return first * shared["kernel"] + second * shared["template_1"]
    return shared["basis"] @ own["coefficients"]


@pytest.mark.parametrize(
    "relax", [LowRank(2), Scale(), Templates(2, seed=0), Basis(2)], ids=str
)
def test_gradients_are_those_of_untied_kernels_summed_by_hand(relax):
    model = stack_model(relax)
    randomize(model)
    sites = model.layers[0].sites
    before = [{n: numpy(v) for n, v in weights_of(s).items()} for s in sites]
    plain = keras.Sequential(
        [keras.Input((WIDTH,)), *[layers.Dense(WIDTH, "tanh") for _ in sites]]
    )
    kernels = [kernel_of_site(relax, before[0], own) for own in before]
    for layer, kernel in zip(plain.layers, kernels, strict=True):
        layer.set_weights([kernel, before[0]["bias"]])
    x, y = values(8, WIDTH), values(8, WIDTH)[::-1]
    np.testing.assert_allclose(numpy(model(x)), numpy(plain(x)), atol=1e-5)
    for each in (model, plain):
        each.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=not JIT)
        each.train_on_batch(x, y)
    gradients = [
        kernel - numpy(layer.kernel)
        for kernel, layer in zip(kernels, plain.layers, strict=True)
    ]
    shared, own = chain_rule(relax, before[0], before, gradients)
    for site, old, expected in zip(sites, before, own, strict=True):
        new = {n: numpy(v) for n, v in weights_of(site).items()}
        for name, gradient in {**shared, **expected}.items():
            np.testing.assert_allclose(old[name] - new[name], gradient, atol=1e-5)


def test_starts_as_the_shared_stack():
    x = values(4, WIDTH)
    plain = stack_model(None)
    for relax in (LowRank(2), Scale(), StepEmbedding()):
        model = stack_model(relax)
        block = model.layers[0].blocks[0].inner_layer()
        block.set_weights(plain.layers[0].blocks[0].get_weights())
        np.testing.assert_allclose(numpy(model(x)), numpy(plain(x)), atol=1e-6)


def test_low_rank_sites_start_differently():
    sites = stack_model(LowRank(2)).layers[0].sites
    first, second = (numpy(weights_of(site)["down"]) for site in sites[:2])
    assert not np.allclose(first, second)


@pytest.mark.parametrize("num_sites, num_templates", [(3, 2), (2, 4), (3, 3), (7, 2)])
def test_coefficients_start_orthogonal(num_sites, num_templates):
    start = Templates(num_templates, seed=1).coefficients(num_sites)
    product = start.T @ start if num_sites > num_templates else start @ start.T
    np.testing.assert_allclose(product, np.eye(len(product)) * product[0, 0], atol=1e-9)
    assert np.mean((start**2).sum(axis=1)) == pytest.approx(1, abs=1e-9) or (
        num_sites < num_templates
    )
    model = stack_model(Templates(2, seed=1))
    used = [numpy(weights_of(s)["coefficients"]) for s in model.layers[0].sites]
    np.testing.assert_allclose(used, Templates(2, seed=1).coefficients(3), atol=1e-6)


def test_coefficients_can_be_kept_from_decay():
    model = stack_model(Templates(2, seed=0))
    optimizer = keras.optimizers.AdamW(0.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["coefficients"])
    model.compile(optimizer, "mse", run_eagerly=not JIT)
    before = weights_of(model.layers[0].sites[1])
    before = {name: numpy(v) for name, v in before.items()}
    optimizer.learning_rate = 0.1
    model.train_on_batch(np.zeros((4, WIDTH)), numpy(model(np.zeros((4, WIDTH)))))
    after = weights_of(model.layers[0].sites[1])
    np.testing.assert_array_equal(before["coefficients"], numpy(after["coefficients"]))
    assert not np.allclose(before["kernel"], numpy(after["kernel"]))


def test_a_group_of_one_site_is_left_as_it_is():
    stack = stack_model(LowRank(2), pattern="AAB").layers[0]
    assert isinstance(stack.blocks[0], Relaxed)
    assert isinstance(stack.blocks[1], layers.Dense)


def test_relaxes_named_parts_only():
    block = TransformerBlock(2, 8)
    stack = SharedStack(block, "AAA", relax={"attention": LowRank(1), "query": Scale()})
    plain = SharedStack(TransformerBlock(2, 8), "AAA")
    for each in (stack, plain):
        each.build((None, 5, WIDTH))
    extra = 3 * 2 * WIDTH + WIDTH  # three kernels of rank 1, one scale
    assert stack.count_params() - plain.count_params() == SITES * extra


def test_unused_kernels_are_neither_weights_nor_saved(tmp_path):
    model = stack_model(Basis(2), layers.Dense(WIDTH, kernel_regularizer="l2"))
    assert not any(tuple(v.shape) == (WIDTH, WIDTH) for v in model.variables)
    model.save_weights(tmp_path / "model.weights.h5")
    import h5py

    shapes = []
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visititems(lambda _, item: shapes.append(getattr(item, "shape", ())))
    assert (WIDTH, WIDTH) not in shapes


def test_dropout_and_normalization_inside_of_a_basis():
    block = keras.Sequential(
        [layers.Dense(WIDTH), layers.BatchNormalization(), layers.Dropout(0.5)]
    )
    model = stack_model(Basis(2), block)
    model.compile("sgd", "mse", run_eagerly=not JIT)
    x = values(8, WIDTH)
    first, second = (numpy(model(x, training=True)) for _ in range(2))
    assert not np.array_equal(first, second)
    model.fit(x, x, verbose=0)
    statistics = [v for v in model.non_trainable_weights if "moving_mean" in v.path]
    assert len(statistics) == SITES
    assert all(np.any(numpy(v) != 0) for v in statistics)


def test_mixed_precision_keeps_full_precision_weights():
    dense = layers.Dense(WIDTH, dtype="mixed_bfloat16")
    stack = SharedStack(dense, "AAA", relax=LowRank(2))
    assert "bfloat16" in str(stack(values(2, WIDTH)).dtype)
    assert {v.dtype for v in stack.weights} == {"float32"}


@pytest.mark.parametrize(
    "relax, message",
    [
        (LowRank(7), r"`rank` must be at most .*'dense.*' is 6 x 6.*rank=7.*at most 6"),
        (Basis(7), r"`rank` must be at most .*rank=7"),
        ({"nothing": Scale()}, r"has no part 'nothing' with weights. Its parts: \[\]"),
        ("low", r"`relax` must be a Relaxation .*Received: 'low'"),
        ({"a": StepEmbedding()}, "`relax` must be a Relaxation"),
    ],
)
def test_what_does_not_fit_is_told(relax, message):
    with pytest.raises(ValueError, match=message):
        stack_model(relax)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: LowRank(0), "`rank` must be an integer of at least 1.*rank=0"),
        (lambda: LowRank(2, init="mean"), "`init` must be 'svd' or 'zeros'.*'mean'"),
        (lambda: Templates("2"), "`num_templates` must be an integer.*'2'"),
        (lambda: Basis(1.5), "`rank` must be an integer.*1.5"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_no_kernels_to_relax():
    with pytest.raises(ValueError, match=r"`relax` acts on kernels.*none in.*Norm"):
        stack_model(Scale(), layers.LayerNormalization(name="LayerNorm"))
