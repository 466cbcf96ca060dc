"""`Data`: what `fit` takes, checked once and read as often as is needed."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import tree

# Of fewer samples a share of right ones says next to nothing.
_FEWEST = 30
# What tf.data calls a number of batches that it doesn't know.
_UNKNOWN = -2
_MOST = 100_000  # batches that are counted


@dataclass(frozen=True)
class Data:
    """Samples with their targets.

    Args:
        source: A tuple `(x, y)` or `(x, y, sample_weight)` of arrays, of dicts or of
            lists of them; a `tf.data.Dataset` or a `keras.utils.PyDataset` of batches;
            or a function that returns an iterable of batches.
        name: What the user calls it.
        batch_size: Samples of a batch, where they are arrays.
        steps: Batches of an epoch; None for all.

    Raises:
        ValueError: If it is none of these, holds NaN, or is too little.
    """

    source: Any = field(repr=False)
    name: str
    batch_size: int = 32
    steps: int | None = None

    def __post_init__(self):
        if isinstance(self.source, Iterator):
            raise ValueError(
                f"`{self.name}` is read several times, and a generator can be read "
                "once. Pass the function that makes it, or a keras.utils.PyDataset. "
                f"Received: {type(self.source).__name__}"
            )
        kinds = (Iterable, keras.utils.PyDataset)
        if not callable(self.source) and not isinstance(self.source, kinds):
            raise ValueError(
                f"`{self.name}` must be (x, y) or (x, y, sample_weight), a "
                "tf.data.Dataset, a keras.utils.PyDataset, or a function that returns "
                f"an iterable of batches (x, y). Received: {type(self.source).__name__}"
            )
        known = self.whole if self.is_arrays else self.first
        for part in tree.flatten(known):
            if np.issubdtype(part.dtype, np.floating) and not np.isfinite(part).all():
                raise ValueError(
                    f"`{self.name}` must be finite. Received: NaN or infinity in "
                    f"{int((~np.isfinite(part)).sum())} of {part.size} numbers"
                    f"{'' if self.is_arrays else ' of its first batch'}. Clean the "
                    "data, or scale it."
                )

    @property
    def is_arrays(self) -> bool:
        """Whether all samples are at hand."""
        return isinstance(self.source, (tuple, list))

    @cached_property
    def first(self) -> tuple[Any, ...]:
        """The first batch: inputs, targets and, if there are some, weights."""
        batch = next(iter(self.batches()), None)
        if batch is None:
            raise ValueError(f"`{self.name}` must have a batch. Received: none")
        return batch

    @cached_property
    def num_steps(self) -> int:
        """Batches of an epoch."""
        if self.steps is not None:
            return self.steps
        if self.is_arrays:
            return -(-self.count // self.batch_size)
        if isinstance(self.source, keras.utils.PyDataset):
            if self.source.num_batches is None:
                raise ValueError(_endless(self.name))
            return self.source.num_batches
        known = getattr(self.source, "cardinality", lambda: _UNKNOWN)()
        if int(known) >= 0:
            return int(known)
        count = _MOST
        if int(known) == _UNKNOWN:
            count = sum(1 for _ in itertools.islice(self._iterable(), _MOST))
        if count == _MOST:
            raise ValueError(_endless(self.name))
        return count

    def fit_arguments(self) -> dict[str, Any]:
        """What `fit` is to be given."""
        given = {"steps_per_epoch": self.steps}
        if self.is_arrays:
            names = ("x", "y", "sample_weight")
            arrays = zip(names, self.whole, strict=False)
            return {**given, **dict(arrays), "batch_size": self.batch_size}
        shuffles = isinstance(self.source, keras.utils.PyDataset)
        return {**given, "x": self._fit_source(), "shuffle": shuffles}

    def batches(self) -> Iterator[tuple[Any, ...]]:
        """The batches of an epoch, as arrays."""
        if self.is_arrays:
            for start in range(0, self.count, self.batch_size):
                part = slice(start, start + self.batch_size)
                yield tree.map_structure(lambda a, part=part: a[part], self.whole)
            return
        for batch in itertools.islice(self._iterable(), self.steps):
            yield self._checked(batch, "Each batch of ")

    def samples(self, count: int) -> Any:
        """The inputs of the first samples."""
        found: list[Any] = []
        known = 0
        for batch in self.batches():
            found.append(batch[0])
            known += len(tree.flatten(batch[0])[0])
            if known >= count:
                break
        return tree.map_structure(lambda *parts: np.concatenate(parts)[:count], *found)

    @cached_property
    def whole(self) -> tuple[Any, ...]:
        """All samples as arrays.

        Raises:
            ValueError: If they are too few, or batches have other shapes than one
                another.
        """
        if self.is_arrays:
            whole = self._checked(self.source)
        else:
            batches = list(self.batches())
            shapes = {tuple(a.shape[1:] for a in tree.flatten(b)) for b in batches}
            if len(shapes) > 1:
                raise ValueError(
                    f"The samples of `{self.name}` must have equal shapes, as a file "
                    f"is of one. Received: {sorted(shapes)[:3]}"
                )
            whole = tree.map_structure(lambda *parts: np.concatenate(parts), *batches)
        lengths = [len(a) if a.ndim else 0 for a in tree.flatten(whole)]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"The arrays of `{self.name}` must have equally many samples. "
                f"Received: {lengths}"
            )
        if lengths[0] < _FEWEST:
            raise ValueError(
                f"`{self.name}` must have at least {_FEWEST} samples: fewer tell "
                f"nothing. Received: {lengths[0]}"
            )
        return whole

    @property
    def count(self) -> int:
        """The number of all samples."""
        return len(tree.flatten(self.whole)[0])

    def _checked(self, batch: Any, what: str = "") -> tuple[Any, ...]:
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            size = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
            raise ValueError(
                f"{what}`{self.name}` must be (x, y) or (x, y, "
                f"sample_weight). Received: {type(batch).__name__}{size}"
            )
        return tree.map_structure(np.asarray, tuple(batch))

    def _iterable(self) -> Iterable[Any]:
        if isinstance(self.source, keras.utils.PyDataset):
            return (self.source[i] for i in range(self.num_steps))
        return self.source() if callable(self.source) else self.source

    def _fit_source(self) -> Any:
        """A source that `fit` can read in each epoch anew."""
        if not callable(self.source):
            return self.source
        import tensorflow as tf

        signature = tree.map_structure(
            lambda a: tf.TensorSpec((None, *a.shape[1:]), a.dtype), self.first
        )
        made = tf.data.Dataset.from_generator(
            lambda: map(tuple, self._iterable()), output_signature=signature
        )
        if self.steps is not None:
            return made
        # Keras takes one of unknown length to be of that of its first epoch.
        return made.apply(tf.data.experimental.assert_cardinality(self.num_steps))


def _endless(name: str) -> str:
    steps = "steps_per_epoch" if name == "train" else "validation_steps"
    return (
        f"`{name}` must have an end, or `{steps}` says how many batches are an epoch. "
        "Received: one without an end"
    )
