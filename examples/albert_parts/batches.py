"""Training and test examples: masked words in two segments, and passages."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from albert_parts.corpus import CLS, MASK, PADDING, SEP, SPECIAL_WORDS, Span

MASKED = 0.15  # of the words of an example
SHORT = 0.1  # of the examples, so that padding is trained too


@dataclass(frozen=True)
class Batch:
    """Arrays as `keras.Model.train_on_batch` takes them."""

    x: dict[str, np.ndarray]
    y: dict[str, np.ndarray]
    sample_weight: dict[str, np.ndarray] | None = None


def num_predictions(length: int) -> int:
    """How many words are masked in a sequence at most."""
    return math.ceil(MASKED * length)


def random_windows(
    spans: tuple[Span, ...], size: int, count: int, rng: np.random.Generator
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields the number of a span, and ids and sentence begins of a window of it.

    Every window of `size` tokens is equally likely; some are cut short.
    """
    room = np.array([len(span) - size + 1 for span in spans])
    ends = np.cumsum(room)
    for place in rng.integers(ends[-1], size=count):
        part = int(np.searchsorted(ends, place, side="right"))
        first = int(place - (ends[part] - room[part]))
        short = rng.random() < SHORT
        n = int(rng.integers(size // 2, size)) if short else size
        yield part, *_window(spans[part], first, n)


def all_windows(
    spans: tuple[Span, ...], size: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields windows side by side, of which each token is in at most one."""
    for part, span in enumerate(spans):
        for first in range(0, len(span) - size + 1, size):
            yield part, *_window(span, first, size)


def _window(span: Span, first: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.searchsorted(span.begins, [first, first + size])
    return span.ids[first : first + size], span.begins[low:high] - first


def pretraining_batch(
    windows: Iterator[tuple[int, np.ndarray, np.ndarray]],
    length: int,
    vocabulary_size: int,
    rng: np.random.Generator,
) -> Batch:
    """Masked-language modeling and sentence-order prediction on windows.

    A window is cut in two where a sentence begins, if there is such a place, and the
    halves change places half of the time (label 0). Of the words, 15% are to be
    predicted: 80% of these are replaced by `[MASK]`, 10% by a random word.

    Args:
        windows: What `random_windows` or `all_windows` yield, of at most
            `length - 3` tokens.
        length: Tokens per example, special tokens and padding included.
        vocabulary_size: Number of ids.
        rng: Source of all choices.
    """
    tokens, segments, orders = [], [], []
    for _, ids, begins in windows:
        inner = begins[(begins > 0) & (begins < len(ids))]
        cut = int(rng.choice(inner) if len(inner) else rng.integers(1, len(ids)))
        order = int(rng.integers(2))
        first, second = (ids[:cut], ids[cut:]) if order else (ids[cut:], ids[:cut])
        tokens.append(_pad([CLS, *first, SEP, *second, SEP], length))
        segments.append(_pad([0] * (len(first) + 2) + [1] * (len(second) + 1), length))
        orders.append(order)
    tokens = np.array(tokens, "int32")
    masked, positions, words, weights = mask_words(tokens, vocabulary_size, rng)
    return Batch(
        x={
            "token_ids": masked,
            "segment_ids": np.array(segments, "int32"),
            "masked_positions": positions,
        },
        y={"words": words, "order": np.array(orders, "int32")},
        sample_weight={"words": weights, "order": np.ones(len(orders), "float32")},
    )


def mask_words(
    tokens: np.ndarray, vocabulary_size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Chooses the words to predict, never special tokens or unknown words.

    Args:
        tokens: Ids `(batch, length)`.
        vocabulary_size: Number of ids, for random words.
        rng: Source of all choices.

    Returns:
        The ids with masks in them; and `(batch, num_predictions(length))` each: where
        the words are, which they were, and 1 for these or 0 for what fills the row.
    """
    first_word = len(SPECIAL_WORDS)
    shape = len(tokens), num_predictions(tokens.shape[1])
    positions, words = np.zeros(shape, "int32"), np.zeros(shape, "int32")
    weights = np.zeros(shape, "float32")
    masked = tokens.copy()
    for i, row in enumerate(tokens):
        places = np.flatnonzero(row >= first_word)
        count = min(len(places), max(1, round(MASKED * len(places))))
        chosen = np.sort(rng.choice(places, count, replace=False))
        positions[i, :count], words[i, :count] = chosen, row[chosen]
        weights[i, :count] = 1
        fate = rng.random(count)
        masked[i, chosen[fate < 0.8]] = MASK
        swapped = chosen[fate >= 0.9]
        masked[i, swapped] = rng.integers(first_word, vocabulary_size, len(swapped))
    return masked, positions, words, weights


def passage_batch(
    windows: Iterator[tuple[int, np.ndarray, np.ndarray]], length: int
) -> Batch:
    """Passages as one segment each, labeled by the part of the text they are from.

    Args:
        windows: What `random_windows` or `all_windows` yield, of at most
            `length - 2` tokens.
        length: Tokens per example, special tokens and padding included.
    """
    rows, parts = [], []
    for part, ids, _ in windows:
        rows.append(_pad([CLS, *ids, SEP], length))
        parts.append(part)
    tokens = np.array(rows, "int32")
    return Batch(
        x={"token_ids": tokens, "segment_ids": np.zeros_like(tokens)},
        y={"part": np.array(parts, "int32")},
    )


def _pad(row: list[int], length: int) -> list[int]:
    return row + [PADDING] * (length - len(row))
