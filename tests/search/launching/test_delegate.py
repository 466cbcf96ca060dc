"""An oracle that others answer for."""

import keras_tuner as kt

from keras_share.search.launching.delegate import Delegate


class Counting(kt.oracles.RandomSearchOracle):
    """Counts what is asked of it."""

    asked = 0

    @kt.synchronized
    def get_space(self):
        self.asked += 1
        return super().get_space()

    @kt.synchronized
    def ask_twice(self):
        return self.get_space(), self.get_space()


def test_all_but_what_is_given():
    oracle = Counting("loss", max_trials=7)
    delegate = Delegate(oracle, get_space=lambda: "another's")
    assert delegate.get_space() == "another's" and oracle.asked == 0
    assert isinstance(delegate, Counting) and delegate.max_trials == 7
    delegate.max_trials = 8
    assert oracle.max_trials == 8
    # What the oracle asks of itself is its own, under the one lock of both.
    delegate.ask_twice()
    assert oracle.asked == 2 and Counting.ask_twice(delegate) is not None
