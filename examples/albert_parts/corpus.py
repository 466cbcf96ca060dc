"""Text as token ids: a vocabulary of words, and the split into training and test."""

import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import keras
import numpy as np

from keras_share.atomic import write_atomically

# Ids 0 and 1 are TextVectorization's own.
PADDING, UNKNOWN, CLS, SEP, MASK = range(5)
SPECIAL_WORDS = ("", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
HELD_OUT = 1 / 8  # of each part of the text


def read_text(path: Path | None = None) -> str:
    """The text of a file, or else the language reference that ships with Python."""
    if path is not None:
        return Path(path).read_text(encoding="utf-8")
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))


def sentences(text: str) -> list[str]:
    """Splits a text into sentences, and drops paragraphs that it has met before.

    A manual says some things in several places; one of them could be trained on and
    another held out.
    """
    paragraphs = (" ".join(p.split()) for p in re.split(r"\n\s*\n", text))
    return [
        sentence
        for paragraph in dict.fromkeys(paragraphs)
        for sentence in re.split(r"(?<=[.!?:;])\s+", paragraph)
        if _words(sentence)
    ]


def _words(text: str) -> str:
    """The words of a text in lower case between spaces; `[MASK]` counts as a word."""
    words = re.findall(r"\[MASK\]|\w+(?:['\u2019]\w+)?", text)
    return " ".join(w if w == SPECIAL_WORDS[MASK] else w.lower() for w in words)


class Vocabulary:
    """Words with ids, which begin after those of the special tokens.

    Args:
        words: The words, in the order of their ids.
    """

    def __init__(self, words: list[str]):
        self.words = (*SPECIAL_WORDS, *words)
        self._layer = keras.layers.TextVectorization(
            standardize=None, vocabulary=list(self.words[UNKNOWN + 1 :])
        )

    @classmethod
    def learn(cls, texts: list[str], size: int) -> "Vocabulary":
        """The most frequent words of `texts`, at most `size` ids in all."""
        layer = keras.layers.TextVectorization(
            max_tokens=size - len(SPECIAL_WORDS) + UNKNOWN + 1, standardize=None
        )
        layer.adapt([_words(text) for text in texts])
        return cls(layer.get_vocabulary(include_special_tokens=False))

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Reads what `save` wrote."""
        return cls(Path(path).read_text(encoding="utf-8").split("\n"))

    def save(self, path: Path) -> None:
        """Writes one word per line, without the special tokens."""
        write_atomically(path, "\n".join(self.words[len(SPECIAL_WORDS) :]).encode())

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        """The ids of each text; `[MASK]` in it stands for that token."""
        rows = self._layer([_words(text) for text in texts])
        return [row[row != PADDING] for row in keras.ops.convert_to_numpy(rows)]

    def decode(self, ids: np.ndarray) -> str:
        """The words of ids."""
        return " ".join(self.words[i] for i in ids)


@dataclass(frozen=True)
class Span:
    """A stretch of text: token ids `(n,)`, and where in them sentences begin."""

    ids: np.ndarray
    begins: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Corpus:
    """The parts of a text, in the order of the text: what is trained on, what not."""

    train: tuple[Span, ...]
    test: tuple[Span, ...]
    vocabulary: Vocabulary


def load_corpus(
    text: str,
    num_parts: int,
    vocabulary_size: int,
    length: int,
    vocabulary_file: Path,
) -> Corpus:
    """Splits a text by position and encodes it.

    The text is cut into parts of equally many sentences, and the end of each part is
    held out. The vocabulary is that of the rest, or of the file if there is one.

    Args:
        text: The text.
        num_parts: Number of parts.
        vocabulary_size: Most ids of the vocabulary.
        length: Tokens per example, which everything held out must have at least.
        vocabulary_file: Where the vocabulary is, or is to be saved.

    Raises:
        ValueError: If the text is too short for that.
    """
    lines = sentences(text)
    train, test = [], []
    for part in range(num_parts):
        first, last = (i * len(lines) // num_parts for i in (part, part + 1))
        cut = last - round(HELD_OUT * (last - first))
        train.append(lines[first:cut])
        test.append(lines[cut:last])
    if vocabulary_file.exists():
        vocabulary = Vocabulary.load(vocabulary_file)
    else:
        vocabulary = Vocabulary.learn(list(chain(*train)), vocabulary_size)
        vocabulary.save(vocabulary_file)
    spans = [
        tuple(_span(vocabulary.encode(part)) for part in side) for side in (train, test)
    ]
    shortest = min(len(span) for side in spans for span in side)
    if shortest < length:
        raise ValueError(
            f"What is held out of each of the {num_parts} parts of the text must have "
            f"at least {length} words. Received: {shortest} words in one of them. "
            "Use a longer text, shorter examples or fewer parts."
        )
    return Corpus(*spans, vocabulary)


def _span(rows: list[np.ndarray]) -> Span:
    begins = np.cumsum([0, *map(len, rows)])[:-1]
    return Span(np.concatenate([np.empty(0, "int64"), *rows]).astype("int32"), begins)
