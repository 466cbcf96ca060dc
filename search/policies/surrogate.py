"""`Surrogate`: predicts what was not tried from what was, with a Gaussian process."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel, WhiteKernel

# The parameters of the kernel are fitted to at most so many observations: the time of
# a fit grows with their cube.
_MOST_TO_FIT = 100
# What the parameters may be, of values of variance 1: in wider bounds a fit to ten
# trials is often absurd (on the tables of benchmarks/search_tables these rank best).
_LINEAR, _SMOOTH, _LENGTHS = (0.1, 5.0), (0.02, 0.5), (0.5, 2.0)
_TRANSFER = (0.01, 1.0)
_NOISE, _EXACT = (0.1, 1.0), (1e-6, 1e-4)


class Similarities:
    """How alike points are, computed once for all surrogates of a proposal.

    By the vectors of the points that surrogates may be fitted to, of shape `(n,
    features)`, of which some may be of an earlier search, and the columns of each
    dimension.
    """

    def __init__(
        self,
        known: np.ndarray,
        blocks: list[slice],
        is_earlier: Sequence[bool] | None = None,
    ):
        self.blocks = blocks
        self.num_known = len(known)
        self._known = known
        self._is_earlier = np.zeros(len(known), bool)
        if is_earlier is not None:
            self._is_earlier[:] = is_earlier
        self._among_known = self._tables(known)
        self.set_others(known[:0])

    def set_others(self, others: np.ndarray) -> "Similarities":
        """Sets the points to predict, whose rows follow those of the known ones."""
        tables = zip(self._among_known, self._tables(others), strict=True)
        joined = [np.concatenate(pair, axis=1) for pair in tables]
        self.products, *self.distances = joined
        every = np.concatenate([self._known, others])
        self.own_products = 1 + np.einsum("if,if->i", every, every)
        self.is_earlier = np.append(self._is_earlier, np.zeros(len(others), bool))
        return self

    def _tables(self, others: np.ndarray) -> list[np.ndarray]:
        known = self._known
        distances = [_squared(known[:, b], others[:, b]) for b in self.blocks]
        return [1 + known @ others.T, *distances]

    def between(self, table: np.ndarray, rows: Any, columns: Any) -> np.ndarray:
        """Entries of a table; the points of one side must be known ones."""
        rows, columns = np.ravel(rows).astype(int), np.ravel(columns).astype(int)
        if rows.max(initial=0) < self.num_known:
            return table[np.ix_(rows, columns)]
        return table[np.ix_(columns, rows)].T

    def is_across(self, rows: Any, columns: Any) -> np.ndarray:
        """Which pairs of points are of two searches."""
        rows, columns = np.ravel(rows).astype(int), np.ravel(columns).astype(int)
        return self.is_earlier[rows][:, None] != self.is_earlier[columns]

    def __deepcopy__(self, memo: dict) -> "Similarities":
        return self  # scikit-learn copies a kernel and all that it has


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # By a matrix product, as 48 sites have 1,128 pairs.
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)
    return np.maximum(squares - 2 * a @ b.T, 0)


class Surrogate:
    """A Gaussian process over the points of a `Similarities`, named by their rows.

    Its kernel is a linear one (each pair of sites that shares, each number, adds
    something) plus a product of one squared exponential per dimension (what goes
    beyond the sum), plus noise: little unless `is_noisy`, as the accuracy of another
    training is and the size of a file is not. It is no part of what is predicted.
    Between a point of an earlier search and one of this the kernel is smaller by a
    factor that is fitted too: what the two have in common (the intrinsic model of
    coregionalization, Bonilla et al., 2007); each has its own mean and scale.

    See Rasmussen and Williams, Gaussian Processes for Machine Learning (2006),
    chapter 2; the process is scikit-learn's.
    """

    def __init__(
        self, similarities: Similarities, is_noisy: bool = True, seed: int = 0
    ):
        self.similarities = similarities
        self.is_noisy = is_noisy
        self.seed = seed

    def fit(self, rows: ArrayLike, values: ArrayLike) -> "Surrogate":
        """Fits the process to the observed values of some known points."""
        rows, values = np.asarray(rows), np.asarray(values, float)
        is_earlier = self.similarities.is_earlier[rows]
        self._earlier = _location(values[is_earlier])
        self._own = _location(values[~is_earlier], self._earlier)
        few = np.arange(len(rows))
        if len(few) > _MOST_TO_FIT:
            rng = np.random.default_rng(self.seed)
            few = rng.choice(few, _MOST_TO_FIT, replace=False)
        noise = WhiteKernel(0.3, _NOISE) if self.is_noisy else WhiteKernel(1e-5, _EXACT)
        self._kernel = _fitted(
            _Similarity(self.similarities) + noise,
            rows[few],
            self._standardized(rows[few], values[few]),
        )
        return self.condition(rows, values)

    def condition(self, rows: ArrayLike, values: ArrayLike) -> "Surrogate":
        """Replaces the observations; the kernel stays as it was fitted."""
        self._process = GaussianProcessRegressor(self._kernel, optimizer=None)
        rows = np.asarray(rows)
        self._process.fit(rows[:, None], self._standardized(rows, values))
        return self

    @property
    def noise(self) -> float:
        """Standard deviation of what an observation has beside what is predicted."""
        return float(np.sqrt(self._kernel.k2.noise_level)) * self._own[1]

    def predict(self, rows: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations, of shape `(len(rows),)`, without noise.

        They are of this search, whichever the points are of.
        """
        rows = np.asarray(rows)[:, None]
        mean, deviation = self._process.predict(rows, return_std=True)
        variance = deviation**2 - self._kernel.k2.noise_level
        deviation = np.sqrt(np.maximum(variance, 1e-12))
        center, scale = self._own
        return mean * scale + center, deviation * scale

    def _standardized(self, rows: np.ndarray, values: ArrayLike) -> np.ndarray:
        is_earlier = self.similarities.is_earlier[rows][:, None]
        center, scale = np.where(is_earlier, self._earlier, self._own).T
        return (np.asarray(values, float) - center) / scale


def _fitted(kernel: Kernel, rows: np.ndarray, values: np.ndarray) -> Kernel:
    """A kernel with the parameters that make values likeliest."""
    # Not by the process itself: it warns of parameters at their bounds, which is no
    # news of dimensions that don't matter, and warnings can't be silenced in threads.
    process = GaussianProcessRegressor(kernel, optimizer=None)
    process.fit(rows[:, None], values)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        likelihood, gradient = process.log_marginal_likelihood(
            theta, eval_gradient=True, clone_kernel=False
        )
        return -likelihood, -gradient

    found = minimize(
        loss, kernel.theta, method="L-BFGS-B", jac=True, bounds=kernel.bounds
    )
    return kernel.clone_with_theta(found.x)


def _location(
    values: np.ndarray, default: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float]:
    """Mean and standard deviation; the default where too few tell."""
    if len(values) < 2:
        return default
    return values.mean(), values.std() or 1.0


class _Similarity(Kernel):
    """Linear kernel plus a product of squared exponentials, one per block."""

    def __init__(
        self,
        similarities: Similarities,
        linear: float = 0.5,
        smooth: float = 0.2,
        lengths: Any = None,
        transfer: float = 0.5,
    ):
        self.similarities = similarities
        self.transfer = transfer
        self.linear = linear
        self.smooth = smooth
        self.lengths = (
            np.ones(len(similarities.distances)) if lengths is None else lengths
        )

    @property
    def hyperparameter_linear(self) -> Hyperparameter:
        return Hyperparameter("linear", "numeric", _LINEAR)

    @property
    def hyperparameter_smooth(self) -> Hyperparameter:
        return Hyperparameter("smooth", "numeric", _SMOOTH)

    @property
    def hyperparameter_lengths(self) -> Hyperparameter:
        count = np.size(self.lengths)
        return Hyperparameter("lengths", "numeric", _LENGTHS, count)

    @property
    def hyperparameter_transfer(self) -> Hyperparameter:
        is_needed = self.similarities.is_earlier.any()
        return Hyperparameter(
            "transfer", "numeric", _TRANSFER if is_needed else "fixed"
        )

    def clone_with_theta(self, theta: np.ndarray) -> "_Similarity":
        clone = _Similarity(self.similarities, lengths=self.lengths)
        clone.theta = theta
        return clone

    def __call__(self, rows: Any, others: Any = None, eval_gradient: bool = False):
        others = rows if others is None else others
        table = self.similarities
        linear = self.linear * table.between(table.products, rows, others)
        lengths = np.atleast_1d(self.lengths)  # scikit-learn makes one a number
        scaled = [
            table.between(distances, rows, others) / length**2
            for distances, length in zip(table.distances, lengths, strict=True)
        ]
        smooth = self.smooth * np.exp(-0.5 * sum(scaled, np.zeros_like(linear)))
        across = table.is_across(rows, others)
        linear[across] *= self.transfer
        smooth[across] *= self.transfer
        if not eval_gradient:
            return linear + smooth
        # By the logarithms of the parameters, in the order of their names.
        gradient = [*(smooth * s for s in scaled), linear, smooth]
        if not self.hyperparameter_transfer.fixed:
            gradient.append((linear + smooth) * across)
        return linear + smooth, np.stack(gradient, axis=-1)

    def diag(self, rows: Any) -> np.ndarray:
        own = self.similarities.own_products[np.ravel(rows).astype(int)]
        return self.linear * own + self.smooth

    def is_stationary(self) -> bool:
        return False
