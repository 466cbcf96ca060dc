"""A classifier on an encoder: which part of the text is a passage from?"""

import keras
import numpy as np
from keras import layers

from albert_parts.batches import Batch, all_windows, passage_batch, random_windows
from albert_parts.corpus import Corpus
from albert_parts.training import compile_model

_SPECIAL = 2  # tokens: [CLS] and [SEP]


def classifier_model(
    encoder: keras.Model, num_classes: int, *, freeze: bool
) -> keras.Model:
    """Adds a classifier to an encoder, on the pooled first token.

    Args:
        encoder: A pretrained encoder, whose weights are used and not copied.
        num_classes: Number of classes.
        freeze: Whether the encoder stays as it is.
    """
    encoder.trainable = not freeze
    _, pooled = encoder(encoder.inputs)
    outputs = layers.Dense(num_classes, name="part")(layers.Dropout(0.1)(pooled))
    inputs = {x.name: x for x in encoder.inputs}
    return keras.Model(inputs, {"part": outputs}, name="classifier")


def compile_classifier(model: keras.Model, *, steps: int, learning_rate: float) -> None:
    """Compiles for `steps` steps."""
    compile_model(
        model,
        {"part": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
        {"part": [keras.metrics.SparseCategoricalAccuracy("accuracy")]},
        steps=steps,
        learning_rate=learning_rate,
    )


def training_batch(
    corpus: Corpus, length: int, batch_size: int, seed: int, step: int
) -> Batch:
    """The batch of a step: the same for the same seed and step."""
    rng = np.random.default_rng([seed, step])
    windows = random_windows(corpus.train, length - _SPECIAL, batch_size, rng)
    return passage_batch(windows, length)


def test_batch(corpus: Corpus, length: int) -> Batch:
    """All of the held-out text."""
    return passage_batch(all_windows(corpus.test, length - _SPECIAL), length)


def accuracy(model: keras.Model, batch: Batch) -> float:
    """The share of passages of which the model names the part."""
    logits = model.predict(batch.x, verbose=0)["part"]
    return float(np.mean(logits.argmax(axis=-1) == batch.y["part"]))
