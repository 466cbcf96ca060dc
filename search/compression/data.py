"""`Data`: what `fit` takes, checked once and read as often as is needed."""

import contextlib
import hashlib
import itertools
import numbers
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import Any

import keras
import numpy as np
from keras import tree

# Of fewer samples a share of right ones says next to nothing.
_FEWEST = 30
_MOST = 100_000  # batches that are counted
_ENDLESS = -1  # as tf.data says it
_STEPS = {"train": "steps_per_epoch", "validation": "validation_steps"}


@dataclass(frozen=True)
class Data:
    """Samples with their targets, in whatever `fit` takes and can be read twice.

    `name` is what the user calls them; a `batch_size` is of arrays; `steps` are the
    batches of an epoch, None for all. NaN, or too few, are a ValueError.
    """

    source: Any = field(repr=False)
    name: str
    batch_size: int = 32
    steps: int | None = None

    def __post_init__(self):
        steps = _STEPS.get(self.name, "steps")
        for name, value in (("batch_size", self.batch_size), (steps, self.steps)):
            is_count = isinstance(value, numbers.Integral) and value > 0
            if value is not None and not is_count:
                raise ValueError(
                    f"`{name}` must be an integer of at least 1. Received: {value!r}"
                )
        is_read_often = not isinstance(self.source, Iterator)
        kinds = (Iterable, keras.utils.PyDataset)
        if not callable(self.source) and not (
            is_read_often and isinstance(self.source, kinds)
        ):
            raise ValueError(
                f"`{self.name}` must be (x, y) or (x, y, sample_weight), a "
                "tf.data.Dataset, a keras.utils.PyDataset, or a function that returns "
                "an iterable of batches (x, y): it is read several times, and a "
                f"generator can be read once. Received: {type(self.source).__name__}"
            )
        for part in tree.flatten(self.whole if self.is_arrays else self.first):
            if part.dtype.kind in "OSU":
                raise ValueError(
                    f"`{self.name}` must be numbers, as files take no text: what makes "
                    "numbers of it, as `TextVectorization` and `StringLookup`, is in "
                    f"front of the model. Received: an array of {part.dtype}"
                )
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
        batch = next(self.batches(), None)
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
        with contextlib.suppress(TypeError):  # functions and endless datasets
            return len(self.source)
        # Datasets tell (a tf.data.Dataset by a negative number); functions are tried.
        count = getattr(self.source, "cardinality", lambda: _MOST)()
        if getattr(self.source, "num_batches", 0) is not None and count != _ENDLESS:
            count = sum(1 for _ in itertools.islice(self._read(), _MOST))
            if count < _MOST:
                return count
        steps = _STEPS.get(self.name)
        mend = f", or `{steps}` says how many batches are an epoch" if steps else ""
        raise ValueError(
            f"`{self.name}` must have an end{mend}. Received: one without an end"
        )

    @cached_property
    def whole(self) -> tuple[Any, ...]:
        """All samples as arrays.

        It is a ValueError if they are too few, or of several shapes.
        """
        if self.is_arrays:
            whole = self._checked(self.source)
        else:
            batches = list(itertools.islice(self.batches(), self.num_steps))
            shapes = {tuple(a.shape[1:] for a in tree.flatten(b)) for b in batches}
            if len(shapes) > 1:
                raise ValueError(
                    f"The samples of `{self.name}` must have equal shapes, as a file "
                    f"is of one. Received: {sorted(shapes)[:3]}"
                )
            whole = tree.map_structure(lambda *parts: np.concatenate(parts), *batches)
        lengths = [len(a) if a.ndim else 0 for a in tree.flatten(whole)]
        if len(set(lengths)) > 1 or lengths[0] < _FEWEST:
            raise ValueError(
                f"The arrays of `{self.name}` must have equally many samples, and at "
                f"least {_FEWEST} samples: fewer tell nothing. Received: "
                f"{lengths[:5]}, of {len(lengths)} arrays. Lists of numbers are none."
            )
        return whole

    @cached_property
    def digest(self) -> str:
        """Tells samples from others: by what is in arrays, else by their shapes."""
        parts = tree.flatten(self.whole if self.is_arrays else self.first)
        found = hashlib.sha256()
        for part in parts:
            shape = part.shape if self.is_arrays else part.shape[1:]
            found.update(f"{shape} {part.dtype}".encode())
            if self.is_arrays:
                found.update(np.ascontiguousarray(part).tobytes())
        return found.hexdigest()[:16]

    @property
    def count(self) -> int:
        """The number of all samples."""
        return len(tree.flatten(self.whole)[0])

    def batches(self) -> Iterator[tuple[Any, ...]]:
        """The batches of an epoch, as arrays."""
        return map(self._checked, itertools.islice(self._read(), self.steps))

    def samples(self, count: int) -> Any:
        """The inputs of the first samples."""
        if self.is_arrays:
            return tree.map_structure(itemgetter(slice(count)), self.whole[0])
        found: list[Any] = []
        known = 0
        for x, *_ in self.batches():
            found.append(x)
            known += len(tree.flatten(x)[0])
            if known >= count:
                break
        return tree.map_structure(lambda *parts: np.concatenate(parts)[:count], *found)

    def fit_arguments(self) -> dict[str, Any]:
        """What `fit` is to be given."""
        given: dict[str, Any] = {"steps_per_epoch": self.steps}
        if self.is_arrays:
            names = ("x", "y", "sample_weight")
            arrays = dict(zip(names, self.whole, strict=False))
            return {**given, **arrays, "batch_size": self.batch_size}
        given["shuffle"] = isinstance(self.source, keras.utils.PyDataset)
        if not callable(self.source):
            return {**given, "x": self.source}
        import tensorflow as tf

        made = tf.data.Dataset.from_generator(
            lambda: map(tuple, self._read()),
            output_signature=tree.map_structure(
                lambda a: tf.TensorSpec((None, *a.shape[1:]), a.dtype), self.first
            ),
        )
        if self.steps is None:
            # Keras takes one of unknown length to be of that of its first epoch.
            length = tf.data.experimental.assert_cardinality(self.num_steps)
            made = made.apply(length)
        return {**given, "x": made}

    def _read(self) -> Iterable[Any]:
        """The batches, once more from the first."""
        source: Any = self.source
        if self.is_arrays:
            starts = range(0, self.count, self.batch_size)
            parts = (itemgetter(slice(i, i + self.batch_size)) for i in starts)
            return (tree.map_structure(part, self.whole) for part in parts)
        if isinstance(source, keras.utils.PyDataset):
            count = source.num_batches
            return map(
                source.__getitem__, itertools.count() if count is None else range(count)
            )
        return source() if callable(source) else source

    def _checked(self, batch: Any) -> tuple[Any, ...]:
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            size = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
            raise ValueError(
                f"`{self.name}`, or each batch of it, must be (x, y) or (x, y, "
                f"sample_weight). Received: {type(batch).__name__}{size}"
            )
        return tree.map_structure(np.asarray, tuple(batch))
