import gc

import keras
import pytest

from keras_share.layers.variable_map import VariableMap


def variables(number):
    return [keras.Variable([1.0, 2.0]) for _ in range(number)]


def test_tells_variables_of_equal_values_apart():
    first, second, third = variables(3)
    own = VariableMap([(first, "one"), (second, "two")])
    assert own[first] == "one" and own[second] == "two"
    assert first in own and third not in own
    assert own.get(third) is None
    with pytest.raises(KeyError):
        own[third]


def test_what_has_no_stand_in_stands_for_itself():
    first, second, third = variables(3)
    own = VariableMap([(first, second)])
    assert own.of(first) is second
    assert own.of(third) is third
    assert own.of(None) is None


def test_later_pairs_count_and_copies_are_separate():
    first, second = variables(2)
    own = VariableMap([(first, 1)])
    merged = VariableMap(own)
    merged.update([(first, 2), (second, 3)])
    assert [value for _, value in merged.items()] == [2, 3]
    assert len(own) == 1 and own[first] == 1
    del merged[first]
    assert [v is second for v in merged] == [True]


def test_keeps_its_keys_so_that_no_other_variable_gets_their_id():
    own = VariableMap((v, "gone") for v in variables(50))
    gc.collect()
    assert not any(v in own for v in variables(50))
