"""`sharing_signals`: which sites of a trained model would like to share."""

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops, tree

from keras_share.flat.built_model import check_weights
from keras_share.layers import private as private_spec
from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.retrofit.composites import open_composites
from keras_share.retrofit.fit import merged
from keras_share.retrofit.kinds import some_kinds
from keras_share.retrofit.moments import Moments, batches, input_moments
from keras_share.retrofit.nodes import walk
from keras_share.retrofit.private_parts import check_private, private_of

if TYPE_CHECKING:
    import pandas

_FAR = 1e30  # for a change that overflows


def sharing_signals(
    model: keras.Model,
    data: Any,
    *,
    private: private_spec.Private = private_spec.NORMALIZATION,
) -> "pandas.DataFrame":
    """Tells for each pair of sites what it would cost if just these two shared.

    The pair starts as `share(..., data=data)` starts it: at the kernels whose outputs
    are closest to those of both on what each of them meets. What the outputs of the
    model change by is the signal. Nothing is trained, no targets are needed, and the
    model stays as it is.

    Args:
        model: A built and trained Sequential or Functional model.
        data: Samples of its inputs, as `model.predict` takes arrays; a few hundred do.
        private: What each site would keep for itself; see `keras_share.Tied`.

    Returns:
        A `pandas.DataFrame` with a row for each pair: `kind` (as `find_sites` names
        it), `site` and `other` (their numbers) and `change`: the mean squared change of
        the outputs, in parts of their variance over the samples. 0 is a pair that is
        equal already; from 1 on the outputs tell no more of those of before than their
        mean does.

    Raises:
        ValueError: If `model` is not a built Sequential or Functional model, nothing in
            it repeats, `private` doesn't fit, `data` are no arrays or hold NaN or
            infinity, or an output does or is the same for all samples.

    Example:
    >>> import keras, keras_share, numpy as np
    >>> model = keras.Sequential([keras.Input((8,))])
    >>> for i in range(4):
    ...     model.add(keras.layers.Dense(8, "tanh", name=f"dense_{i}"))
    >>> signals = keras_share.sharing_signals(model, np.random.normal(size=(64, 8)))
    >>> list(signals.columns), len(signals)
    (['kind', 'site', 'other', 'change'], 6)

    How well it ranks patterns, beside other signals, is in `benchmarks/search_tables`.
    """
    import pandas

    private = private_spec.standardize(private)
    closed: dict[str, str] = {}
    opened = open_composites(model, closed)
    check_weights(model)
    kinds = some_kinds(opened, walk(opened), closed)
    positions = [p for kind in kinds for p in zip(*kind.sites, strict=True)]
    check_private(private, [[node.op for node in nodes] for nodes in positions])
    samples = list(batches(data))
    before = _outputs(opened, samples, [])
    _check_outputs(before)
    moments = input_moments(opened, data)
    rows = []
    for kind in kinds:
        for (site, one), (other, two) in itertools.combinations(
            enumerate(kind.sites), 2
        ):
            pairs = zip(one, two, strict=True)
            values = [
                x for a, b in pairs for x in _as_one(a.op, b.op, private, moments)
            ]
            after = _outputs(opened, samples, values)
            rows.append((kind.name, site, other, _change(before, after)))
    return pandas.DataFrame(rows, columns=["kind", "site", "other", "change"])


def closest_pattern(
    signals: "pandas.DataFrame", kind: str, num_groups: int
) -> SharingPattern:
    """The pattern of so many groups whose sites would like to share, by their pairs.

    Joins groups one after another, those first whose pairs change the outputs least on
    the average (average linkage).

    Args:
        signals: What `sharing_signals` found.
        kind: The kind of the sites.
        num_groups: Number of groups, from 1 to the number of sites.

    Raises:
        ValueError: If `signals` has no such kind, or the kind fewer sites.

    Example:
    >>> import pandas
    >>> from keras_share.retrofit import closest_pattern
    >>> pairs = [("d", 0, 1, 0.5), ("d", 0, 2, 0.1), ("d", 1, 2, 0.6)]
    >>> signals = pandas.DataFrame(pairs, columns=["kind", "site", "other", "change"])
    >>> str(closest_pattern(signals, "d", 2))
    'ABA'
    """
    from scipy.cluster.hierarchy import cut_tree, linkage

    pairs = signals[signals["kind"] == kind]
    if pairs.empty:
        known = sorted(set(signals["kind"]))
        raise ValueError(f"No kind {kind!r} is among the signals. Known: {known}")
    sites = int(pairs["other"].max()) + 1
    if not 1 <= num_groups <= sites:
        raise ValueError(
            f"`num_groups` must be from 1 to {sites}, the number of sites of the kind "
            f"{kind!r}. Received: num_groups={num_groups}"
        )
    # As scipy takes distances: in the order of the pairs, and finite.
    changes = pairs.sort_values(["site", "other"])["change"]
    distances = np.nan_to_num(changes, nan=_FAR, posinf=_FAR)
    labels = cut_tree(linkage(distances, "average"), n_clusters=num_groups)
    return SharingPattern(labels[:, 0].tolist())


def _as_one(
    one: keras.Layer,
    other: keras.Layer,
    private: Any,
    moments: Mapping[keras.Variable, Moments],
) -> Iterator[tuple[keras.Variable, np.ndarray]]:
    """What the weights of two layers would be if they shared."""
    own = private_spec.private_variables(one, private_of(one, private))
    ids = set(map(id, own))
    for pair in zip(one.weights, other.weights, strict=True):
        if id(pair[0]) not in ids:
            values = [ops.convert_to_numpy(v) for v in pair]
            value = merged(values, [moments.get(v) for v in pair])
            yield from ((v, value) for v in pair)


def _outputs(
    model: keras.Model, samples: list, values: list[tuple[keras.Variable, Any]]
) -> list[np.ndarray]:
    """The outputs of a model with other values of some weights."""
    found = []
    with keras.StatelessScope([(v, ops.cast(x, v.dtype)) for v, x in values]):
        for batch in samples:
            results = tree.flatten(model(batch, training=False))
            found.append([ops.convert_to_numpy(x).astype("float64") for x in results])
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def _check_outputs(outputs: list[np.ndarray]) -> None:
    for output in outputs:
        if not np.isfinite(output).all() or not _variance(output):
            raise ValueError(
                "What the outputs change by is told in parts of their variance over "
                "the samples: they must be finite and differ. Received: outputs of "
                f"shape {output.shape} from {output.min()} to {output.max()}. Pass "
                "more samples, of a model whose weights are finite."
            )


def _change(before: list[np.ndarray], after: list[np.ndarray]) -> float:
    """The mean square of the differences, in variances; the mean of all outputs."""
    parts = [
        np.square(other - one).mean() / _variance(one)
        for one, other in zip(before, after, strict=True)
    ]
    return float(np.mean(parts))


def _variance(output: np.ndarray) -> float:
    """The mean variance of channels."""
    return output.var(axis=tuple(range(max(output.ndim - 1, 1)))).mean()
