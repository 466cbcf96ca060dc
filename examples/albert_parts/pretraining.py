"""Masked-language modeling and sentence-order prediction on an encoder."""

import keras
import numpy as np
from keras import layers, ops

import keras_share as ks
from albert_parts.batches import (
    Batch,
    all_windows,
    num_predictions,
    pretraining_batch,
    random_windows,
)
from albert_parts.config import AlbertConfig
from albert_parts.corpus import Corpus
from albert_parts.encoder import EPSILON, gelu, kernel_initializer
from albert_parts.training import compile_model

_MASKINGS = 4  # of each test window, as one masking leaves few words to score
_SPECIAL = 3  # tokens: [CLS] and a [SEP] after each segment


def pretraining_model(encoder: keras.Model, config: AlbertConfig) -> keras.Model:
    """Adds the two heads of pretraining to an encoder; one is tied to its table.

    Inputs are those of the encoder and `masked_positions`, where words are to be
    predicted. Outputs are the logits `words`,
    `(batch, predictions, vocabulary_size)`, and `order`, `(batch, 2)`.
    """
    token_ids, segment_ids = encoder.inputs
    [_, length] = token_ids.shape
    positions = keras.Input(
        (num_predictions(length),), dtype="int32", name="masked_positions"
    )
    sequence, pooled = encoder([token_ids, segment_ids])
    x = ops.take_along_axis(sequence, ops.expand_dims(positions, -1), axis=1)
    x = layers.Dense(
        config.embedding_dim,
        activation=gelu,
        kernel_initializer=kernel_initializer(config),
        name="words_projection",
    )(x)
    x = layers.LayerNormalization(epsilon=EPSILON, name="words_norm")(x)
    words = ks.Transposed(encoder, "token_embedding", name="words")(x)
    order = layers.Dense(
        2, kernel_initializer=kernel_initializer(config), name="order"
    )(pooled)
    inputs = {
        "token_ids": token_ids,
        "segment_ids": segment_ids,
        "masked_positions": positions,
    }
    return keras.Model(inputs, {"words": words, "order": order}, name="pretraining")


def compile_pretraining(
    model: keras.Model, *, steps: int, learning_rate: float
) -> None:
    """Compiles for `steps` steps; both losses are means over what is predicted."""
    compile_model(
        model,
        {
            name: keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            )
            for name in ("words", "order")
        },
        {
            name: [
                # As Keras's own mean of the loss weights batches equally.
                keras.metrics.SparseCategoricalCrossentropy("loss", from_logits=True),
                keras.metrics.SparseCategoricalAccuracy("accuracy"),
            ]
            for name in ("words", "order")
        },
        steps=steps,
        learning_rate=learning_rate,
    )


def training_batch(
    corpus: Corpus, length: int, batch_size: int, seed: int, step: int
) -> Batch:
    """The batch of a step: the same for the same seed and step."""
    rng = np.random.default_rng([seed, step])
    windows = random_windows(corpus.train, length - _SPECIAL, batch_size, rng)
    return pretraining_batch(windows, length, len(corpus.vocabulary), rng)


def test_batch(corpus: Corpus, length: int) -> Batch:
    """All of the held-out text, masked in several ways; the same in every run."""
    rng = np.random.default_rng(0)
    windows = list(all_windows(corpus.test, length - _SPECIAL)) * _MASKINGS
    return pretraining_batch(iter(windows), length, len(corpus.vocabulary), rng)


def evaluate(model: keras.Model, batch: Batch) -> dict[str, float]:
    """Loss and accuracy of both tasks, weighted by predictions."""
    logs = model.evaluate(
        batch.x, batch.y, sample_weight=batch.sample_weight, verbose=0, return_dict=True
    )
    return {name: float(value) for name, value in logs.items()}
