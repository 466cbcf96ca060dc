"""The encoder is ALBERT: by its parameters, and by its outputs."""

import dataclasses

import keras
import numpy as np
import pytest
from albert_parts.config import CONFIGS
from albert_parts.encoder import albert_encoder
from albert_parts.modes import MODES, Mode, parse_mode

from keras_share import LowRank

PUBLISHED = {
    "base": 11_683_584,
    "large": 17_683_968,
    "xlarge": 58_724_864,
    "xxlarge": 222_595_584,
}
SMALL = dataclasses.replace(CONFIGS["tiny"], num_sites=6, vocabulary_size=50)


@pytest.mark.parametrize("size", PUBLISHED)
def test_published_parameter_counts(size):
    # Without values: those of the largest would take 890 MB.
    with keras.StatelessScope(initialize_variables=False):
        encoder = albert_encoder(CONFIGS[size], Mode("shared"), length=8)
    keras.utils.clear_session()  # which forgets the values still owed
    assert encoder.count_params() == PUBLISHED[size]


def copy_weights(backbone, encoder):
    """From KerasHub's `AlbertBackbone` to ours, whose layers are named otherwise."""
    names = {
        "token_embedding": "token_embedding",
        "position_embedding": "position_embedding",
        "segment_embedding": "segment_embedding",
        "embeddings_layer_norm": "embeddings_norm",
        "embedding_projection": "embeddings_projection",
        "pooled_dense": "pooler",
    }
    for theirs, ours in names.items():
        encoder.get_layer(ours).set_weights(backbone.get_layer(theirs).get_weights())
    ends = {
        "self_attention_layer_norm/": "attention_norm/",
        "self_attention_layer/": "attention/",
        "feedforward_layer_norm/": "feedforward_norm/",
        "feedforward_intermediate_dense/": "feedforward_intermediate/",
        "feedforward_output_dense/": "feedforward_output/",
    }
    for group, block in enumerate(encoder.get_layer("stack").blocks):
        source = backbone.get_layer(f"group_{group}_inner_layer_0").weights
        for theirs in source:
            [(end, ours)] = [e for e in ends.items() if f"/{e[0]}" in theirs.path]
            name = ours + theirs.path.split(end)[1]
            [weight] = [w for w in block.weights if w.path.endswith(f"/{name}")]
            weight.assign(theirs.value)
        assert len(source) == len(block.weights)


@pytest.mark.parametrize("size, pattern", [("tiny", "sequence:3"), ("base", "shared")])
def test_outputs_of_keras_hub(size, pattern):
    models = pytest.importorskip("keras_hub").models
    length = 12
    config = SMALL if size == "tiny" else CONFIGS[size]
    config = dataclasses.replace(config, vocabulary_size=99)
    encoder = albert_encoder(config, Mode(pattern), length)
    backbone = models.AlbertBackbone(
        vocabulary_size=config.vocabulary_size,
        num_layers=config.num_sites,
        num_heads=config.num_heads,
        embedding_dim=config.embedding_dim,
        hidden_dim=config.hidden_dim,
        intermediate_dim=config.intermediate_dim,
        max_sequence_length=config.max_length,
        num_groups=encoder.get_layer("stack").pattern.num_groups,
    )
    rng = np.random.default_rng(0)
    spread = config.hidden_dim**-0.5  # keeps the size of what passes through
    for weight in backbone.weights:
        mean = float("gamma" in weight.path)
        weight.assign(rng.normal(mean, spread, weight.shape))
    copy_weights(backbone, encoder)
    assert encoder.count_params() == backbone.count_params()

    tokens = rng.integers(1, 99, (3, length))
    tokens[1, 7:] = tokens[2, 3:] = 0
    segments = rng.integers(0, 2, (3, length))
    theirs = backbone(
        {"token_ids": tokens, "segment_ids": segments, "padding_mask": tokens != 0}
    )
    sequence, pooled = encoder([tokens, segments])
    np.testing.assert_allclose(sequence, theirs["sequence_output"], atol=1e-5)
    np.testing.assert_allclose(pooled, theirs["pooled_output"], atol=1e-5)


def test_padding_changes_nothing():
    encoder = albert_encoder(SMALL, Mode("shared"), 8)
    short = albert_encoder(SMALL, Mode("shared"), 5)
    short.set_weights(encoder.get_weights())
    tokens = np.array([[2, 7, 8, 9, 3, 0, 0, 0]])
    segments = np.zeros_like(tokens)
    sequence, _ = encoder([tokens, segments])
    expected, _ = short([tokens[:, :5], segments[:, :5]])
    np.testing.assert_allclose(sequence[:, :5], expected, atol=1e-5)


def test_too_long_a_sequence():
    with pytest.raises(ValueError, match=r"at most `max_length` \(64\)\. Received"):
        albert_encoder(SMALL, Mode("shared"), 65)


def block_sizes():
    """Parameters of the parts of a block."""
    width, inner = SMALL.hidden_dim, SMALL.intermediate_dim
    return {
        "attention": 4 * (width + 1) * width,
        "feedforward": (width + 1) * inner + (inner + 1) * width,
        "norms": 4 * width,
    }


@pytest.mark.parametrize("mode", MODES)
def test_parameters_by_mode(mode):
    """How many copies of the parts of a block six sites store."""
    stack = albert_encoder(SMALL, parse_mode(mode), 8).get_layer("stack")
    copies = {
        "dense": (6, 6, 6),
        "shared": (1, 1, 1),
        "attention=shared": (1, 6, 6),
        "feedforward=shared": (6, 1, 6),
        "sequence:3": (3, 3, 3),
        "cycle:3": (3, 3, 3),
        "shared+lowrank:8": (1, 1, 1),
    }[mode]
    expected = sum(n * k for n, k in zip(block_sizes().values(), copies, strict=True))
    if "lowrank" in mode:
        width, inner = SMALL.hidden_dim, SMALL.intermediate_dim
        expected += 6 * 8 * (4 * 2 * width + 2 * (width + inner))
    assert stack.count_params() == expected


def test_modes_are_read():
    assert parse_mode("dense") == Mode("unshared")
    assert parse_mode("cycle:2") == Mode("cycle:2")
    assert parse_mode("attention=shared,feedforward=sequence:2") == Mode(
        {"attention": "shared", "feedforward": "sequence:2"}
    )
    assert parse_mode("shared+lowrank:4") == Mode("shared", LowRank(4))


@pytest.mark.parametrize(
    "text, message",
    [
        ("attention=", "Each part of a mode must have a pattern"),
        ("attention=shared,feedforward", "Each part of a mode must have a pattern"),
        ("shared+lowrank", "must be 'lowrank:' and a rank"),
        ("shared+scale:2", "must be 'lowrank:' and a rank"),
    ],
)
def test_malformed_modes(text, message):
    with pytest.raises(ValueError, match=message):
        parse_mode(text)
