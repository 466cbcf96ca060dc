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
        fewest: It must have so many samples.

    Raises:
        ValueError: If it is none of these, holds NaN, or is too little.
    """

    source: Any = field(repr=False)
    name: str
    batch_size: int = 32
    steps: int | None = None
    fewest: int = _FEWEST

    @classmethod
    def of_batch(cls, batch: tuple[Any, ...], name: str) -> "Data":
        """One batch, of any size."""
        return cls(batch, name, len(tree.flatten(batch)[0]), fewest=1)

    def __post_init__(self):
        if self.is_arrays:
            self._check_arrays()
        elif isinstance(self.source, Iterator):
            raise ValueError(
                f"`{self.name}` is read several times, and a generator can be read "
                "once. Pass the function that makes it, or a keras.utils.PyDataset. "
                f"Received: {type(self.source).__name__}"
            )
        elif not (
            callable(self.source)
            or isinstance(self.source, (Iterable, keras.utils.PyDataset))
        ):
            raise ValueError(
                f"`{self.name}` must be (x, y) or (x, y, sample_weight), a "
                "tf.data.Dataset, a keras.utils.PyDataset, or a function that returns "
                f"an iterable of batches (x, y). Received: {type(self.source).__name__}"
            )
        first = self.first
        for part in tree.flatten(first):
            if np.issubdtype(part.dtype, np.floating) and not np.isfinite(part).all():
                raise ValueError(
                    f"`{self.name}` must be finite. Received: NaN or infinity in its "
                    "first batch. Clean the data, or scale it."
                )

    @property
    def is_arrays(self) -> bool:
        """Whether all samples are at hand."""
        return isinstance(self.source, (tuple, list))

    @property
    def shuffles(self) -> bool:
        """Whether `fit` can choose the order of the samples."""
        return self.is_arrays or isinstance(self.source, keras.utils.PyDataset)

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
            return -(-self._count // self.batch_size)
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
        """What `fit` and `evaluate` are to be given."""
        if self.is_arrays:
            names = ("x", "y", "sample_weight")
            given = dict(zip(names, self.source, strict=False))
            return {**given, "batch_size": self.batch_size}
        return {"x": self._fit_source()}

    def validation(self) -> dict[str, Any]:
        """What `fit` is to be given as `validation_data`."""
        if self.is_arrays:
            return {"validation_data": tuple(self.source)}
        return {"validation_data": self._fit_source(), "validation_steps": self.steps}

    def batches(self) -> Iterator[tuple[Any, ...]]:
        """The batches of an epoch, as arrays."""
        if self.is_arrays:
            for start in range(0, self._count, self.batch_size):
                end = start + self.batch_size
                yield tree.map_structure(
                    lambda a, s=start, e=end: np.asarray(a)[s:e], tuple(self.source)
                )
            return
        for batch in itertools.islice(self._iterable(), self.steps):
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                raise ValueError(
                    f"Each batch of `{self.name}` must be (x, y) or (x, y, "
                    f"sample_weight). Received: {type(batch).__name__}"
                )
            yield tree.map_structure(np.asarray, tuple(batch))

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
            ValueError: If batches have other shapes than one another.
        """
        if self.is_arrays:
            return tree.map_structure(np.asarray, tuple(self.source))
        batches = list(self.batches())
        shapes = {tuple(a.shape[1:] for a in tree.flatten(b)) for b in batches}
        if len(shapes) > 1:
            raise ValueError(
                f"The samples of `{self.name}` must have equal shapes, as a file is of "
                f"one. Received: {sorted(shapes)[:3]}"
            )
        whole = tree.map_structure(lambda *parts: np.concatenate(parts), *batches)
        self._check_count(len(tree.flatten(whole)[0]))
        return whole

    @property
    def _count(self) -> int:
        return len(tree.flatten(self.source[0])[0])

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

    def _check_arrays(self) -> None:
        if len(self.source) not in (2, 3):
            raise ValueError(
                f"`{self.name}` must be (x, y) or (x, y, sample_weight). Received: "
                f"{len(self.source)} parts"
            )
        arrays = tree.map_structure(np.asarray, tuple(self.source))
        lengths = [len(a) if a.ndim else 0 for a in tree.flatten(arrays)]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"The arrays of `{self.name}` must have equally many samples. "
                f"Received: {lengths}"
            )
        for part in tree.flatten(arrays):
            if np.issubdtype(part.dtype, np.floating) and not np.isfinite(part).all():
                raise ValueError(
                    f"`{self.name}` must be finite. Received: NaN or infinity in "
                    f"{int((~np.isfinite(part)).sum())} of {part.size} numbers. Clean "
                    "the data, or scale it."
                )
        self._check_count(lengths[0])

    def _check_count(self, count: int) -> None:
        if count < self.fewest:
            raise ValueError(
                f"`{self.name}` must have at least {self.fewest} samples: fewer tell "
                f"nothing. Received: {count}"
            )


def _endless(name: str) -> str:
    steps = "steps_per_epoch" if name == "train" else "validation_steps"
    return (
        f"`{name}` must have an end, or `{steps}` says how many batches are an epoch. "
        "Received: one without an end"
    )
