"""`Surrogate`: predicts what was not tried from what was, with a Gaussian process."""

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


class Surrogate:
    """A Gaussian process over points, by some blocks of columns of their vectors.

    Its kernel is a linear one (each pair of sites that shares, each number, adds
    something) plus a product of one squared exponential per block (what goes
    beyond the sum), plus noise: little unless `is_noisy`, as the accuracy of another
    training is and the size of a file is not. It is no part of what is predicted.
    Between a point of an earlier search and one of this the kernel is smaller by a
    factor that is fitted too: what the two have in common (the intrinsic model of
    coregionalization, Bonilla et al., 2007); each has its own mean and scale.

    Inputs are vectors of shape `(n, features + 1)`, of which the last column is 1 where
    a point is of an earlier search, else 0.

    See Rasmussen and Williams, Gaussian Processes for Machine Learning (2006),
    chapter 2; the process is scikit-learn's.
    """

    def __init__(self, blocks: list[slice], is_noisy: bool = True, seed: int = 0):
        self.blocks = blocks
        self.is_noisy = is_noisy
        self.seed = seed

    def fit(self, inputs: np.ndarray, values: ArrayLike) -> "Surrogate":
        """Fits the process to what was observed."""
        values, is_earlier = np.asarray(values, float), inputs[:, -1] > 0
        self._earlier = _location(values[is_earlier])
        self._own = _location(values[~is_earlier], self._earlier)
        few = np.arange(len(inputs))
        if len(few) > _MOST_TO_FIT:
            rng = np.random.default_rng(self.seed)
            few = rng.choice(few, _MOST_TO_FIT, replace=False)
        noise = WhiteKernel(0.3, _NOISE) if self.is_noisy else WhiteKernel(1e-5, _EXACT)
        self._kernel = _fitted(
            _Similarity(self.blocks, bool(is_earlier.any())) + noise,
            inputs[few],
            self._standardized(inputs[few], values[few]),
        )
        return self.condition(inputs, values)

    def condition(self, inputs: np.ndarray, values: ArrayLike) -> "Surrogate":
        """Replaces the observations; the kernel stays as it was fitted."""
        self._process = GaussianProcessRegressor(self._kernel, optimizer=None)
        self._process.fit(inputs, self._standardized(inputs, values))
        return self

    @property
    def noise(self) -> float:
        """Standard deviation of what an observation has beside what is predicted."""
        return float(np.sqrt(self._kernel.k2.noise_level)) * self._own[1]

    def predict(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations, of shape `(n,)`, without noise.

        They are of this search, whichever the points are of.
        """
        mean, deviation = self._process.predict(inputs, return_std=True)
        variance = deviation**2 - self._kernel.k2.noise_level
        deviation = np.sqrt(np.maximum(variance, 1e-12))
        center, scale = self._own
        return mean * scale + center, deviation * scale

    def _standardized(self, inputs: np.ndarray, values: ArrayLike) -> np.ndarray:
        is_earlier = inputs[:, -1:] > 0
        center, scale = np.where(is_earlier, self._earlier, self._own).T
        return (np.asarray(values, float) - center) / scale


def _fitted(kernel: Kernel, inputs: np.ndarray, values: np.ndarray) -> Kernel:
    """A kernel with the parameters that make values likeliest."""
    # Not by the process itself: it warns of parameters at their bounds, which is no
    # news of dimensions that don't matter, and warnings can't be silenced in threads.
    process = GaussianProcessRegressor(kernel, optimizer=None)
    process.fit(inputs, values)

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
        blocks: list[slice],
        transfers: bool = False,
        linear: float = 0.5,
        smooth: float = 0.2,
        lengths: Any = None,
        transfer: float = 0.5,
    ):
        self.blocks = blocks
        self.transfers = transfers
        self.linear = linear
        self.smooth = smooth
        self.lengths = np.ones(len(blocks)) if lengths is None else lengths
        self.transfer = transfer

    @property
    def hyperparameter_linear(self) -> Hyperparameter:
        return Hyperparameter("linear", "numeric", _LINEAR)

    @property
    def hyperparameter_smooth(self) -> Hyperparameter:
        return Hyperparameter("smooth", "numeric", _SMOOTH)

    @property
    def hyperparameter_lengths(self) -> Hyperparameter:
        return Hyperparameter("lengths", "numeric", _LENGTHS, np.size(self.lengths))

    @property
    def hyperparameter_transfer(self) -> Hyperparameter:
        bounds = _TRANSFER if self.transfers else "fixed"
        return Hyperparameter("transfer", "numeric", bounds)

    def __call__(self, a: np.ndarray, b: Any = None, eval_gradient: bool = False):
        b = a if b is None else b
        products = [a[:, block] @ b[:, block].T for block in self.blocks]
        start = np.zeros((len(a), len(b)))
        linear = self.linear * (1 + sum(products, start))
        lengths = np.atleast_1d(self.lengths)  # scikit-learn makes one a number
        scaled = [
            _squared(a[:, block], b[:, block], product) / length**2
            for block, product, length in zip(
                self.blocks, products, lengths, strict=True
            )
        ]
        smooth = self.smooth * np.exp(-0.5 * sum(scaled, start))
        across = a[:, -1:] != b[:, -1]
        linear[across] *= self.transfer
        smooth[across] *= self.transfer
        if not eval_gradient:
            return linear + smooth
        # By the logarithms of the parameters, in the order of their names.
        gradient = [*(smooth * s for s in scaled), linear, smooth]
        if self.transfers:
            gradient.append((linear + smooth) * across)
        return linear + smooth, np.stack(gradient, axis=-1)

    def diag(self, inputs: np.ndarray) -> np.ndarray:
        own = sum((_norms(inputs[:, block]) for block in self.blocks), 1.0)
        return np.broadcast_to(self.linear * own + self.smooth, len(inputs))

    def is_stationary(self) -> bool:
        return False


def _norms(vectors: np.ndarray) -> np.ndarray:
    return np.einsum("if,if->i", vectors, vectors)


def _squared(a: np.ndarray, b: np.ndarray, product: np.ndarray) -> np.ndarray:
    """Squared distances, by a matrix product: 48 sites have 1,128 pairs."""
    return np.maximum(_norms(a)[:, None] + _norms(b) - 2 * product, 0)
