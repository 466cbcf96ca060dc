"""Exported files at work: their accuracy, and what they make of a sentence."""

from pathlib import Path

import numpy as np

import keras_share as ks
from albert_parts.batches import Batch, all_windows, num_predictions
from albert_parts.corpus import (
    CLS,
    MASK,
    PADDING,
    SEP,
    SPECIAL_WORDS,
    Corpus,
    Vocabulary,
)


def spread(batch: Batch, count: int) -> Batch:
    """Examples from all over a batch: a file takes them one by one."""
    total = len(next(iter(batch.x.values())))
    chosen = np.linspace(0, total - 1, min(count, total)).astype(int)

    def take(arrays):
        return {name: array[chosen] for name, array in arrays.items()}

    weights = None if batch.sample_weight is None else take(batch.sample_weight)
    return Batch(take(batch.x), take(batch.y), weights)


def accuracies(path: Path, batch: Batch) -> dict[str, float]:
    """The share of right answers of a file, by output."""
    logits = ks.predict_tflite(path, batch.x)
    if not isinstance(logits, dict):  # of a file with one output
        logits = dict.fromkeys(batch.y, logits)
    right = {name: logits[name].argmax(axis=-1) == y for name, y in batch.y.items()}
    weights = batch.sample_weight or {}
    return {
        name: float(np.average(values, weights=weights.get(name)))
        for name, values in right.items()
    }


def masked_passages(
    corpus: Corpus, length: int, count: int, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Held-out passages with one word masked, and that word."""
    windows = [ids.copy() for _, ids, _ in all_windows(corpus.test, length - 2)]
    passages = []
    for i in rng.choice(len(windows), min(count, len(windows)), replace=False):
        ids = windows[i]
        place = rng.choice(np.flatnonzero(ids >= len(SPECIAL_WORDS)))
        word = corpus.vocabulary.words[ids[place]]
        ids[place] = MASK
        passages.append((corpus.vocabulary.decode(ids), word))
    return passages


def fill(
    path: Path, vocabulary: Vocabulary, sentence: str, length: int, count: int = 5
) -> list[list[tuple[str, float]]]:
    """The most likely words, with their probabilities, for each `[MASK]`.

    Args:
        path: The exported pretraining model.
        vocabulary: Its vocabulary.
        sentence: A sentence with at least one `[MASK]`.
        length: Tokens per example that the model was built for.
        count: Words per mask.

    Raises:
        ValueError: If the sentence has no mask, or too many, or too many words.
    """
    [ids] = vocabulary.encode([sentence])
    tokens = np.full((1, length), PADDING, "int32")
    if len(ids) > length - 2:
        raise ValueError(
            f"A sentence must have at most {length - 2} words. Received: {len(ids)} in "
            f"{sentence!r}"
        )
    tokens[0, : len(ids) + 2] = [CLS, *ids, SEP]
    [masks] = np.nonzero(tokens[0] == MASK)
    if not 0 < len(masks) <= num_predictions(length):
        raise ValueError(
            f"A sentence must have between 1 and {num_predictions(length)} times "
            f"'[MASK]'. Received: {len(masks)} in {sentence!r}"
        )
    positions = np.zeros((1, num_predictions(length)), "int32")
    positions[0, : len(masks)] = masks
    logits = ks.predict_tflite(
        path,
        {
            "token_ids": tokens,
            "segment_ids": np.zeros_like(tokens),
            "masked_positions": positions,
        },
    )["words"][0, : len(masks)]
    chances = np.exp(logits - logits.max(axis=-1, keepdims=True))
    chances /= chances.sum(axis=-1, keepdims=True)
    return [
        [(vocabulary.words[i], float(row[i])) for i in np.argsort(-row)[:count]]
        for row in chances
    ]
