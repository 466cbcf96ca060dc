"""Which trials become parents."""

import numpy as np

from keras_share.search.policies.evolution import _order


def test_the_lonely_of_a_front_come_first_and_worse_fronts_last():
    front = [[4.0, 6.0], [4.1, 5.9], [4.2, 5.8], [0.0, 10.0], [7.0, 3.0], [10.0, 0.0]]
    order = _order(np.array([[11.0, 11.0], *front, [12.0, 12.0]]))
    assert sorted(order) == list(range(8))
    best = np.argsort(order)
    assert set(best[:2]) == {4, 6}  # the ends
    assert best[2] == 5  # then the lonely one
    assert best[6] == 0 and best[7] == 7
