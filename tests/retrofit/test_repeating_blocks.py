import itertools

import pytest

from keras_share.retrofit.repeating_blocks import Item, find_repeats


def found_in_chain(text):
    """Sites in items that feed one another.

    Capitals are what counts.
    """
    items = [Item(c, (i,), counts=c.isupper()) for i, c in enumerate(text)]
    kinds = found([Item("in", counts=False), *items])
    return [[(start - 1, stop - 1) for start, stop in sites] for sites in kinds]


def graph(*items):
    """Items as ("token", position of an input, ...)."""
    return [Item(token, tuple(inputs)) for token, *inputs in items]


def found(items):
    return [
        [(site.start, site.stop) for site in sites] for sites in find_repeats(items)
    ]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("AAAA", [[(0, 1), (1, 2), (2, 3), (3, 4)]]),
        ("xABABy", [[(1, 3), (3, 5)]]),
        ("AABAABAAB", [[(0, 3), (3, 6), (6, 9)]]),
        # What repeats most often in a row, rather than what covers most.
        ("AAABAAAB", [[(i, i + 1) for i in (0, 1, 2, 4, 5, 6)]]),
        ("ABABxCdCd", [[(0, 2), (2, 4)], [(5, 7), (7, 9)]]),
        # Further sites elsewhere, before and after.
        ("ABxABAByAB", [[(0, 2), (3, 5), (5, 7), (8, 10)]]),
        ("AxAyA", []),
        ("ABCD", []),
        ("", []),
        # A block had better begin with what counts than with the end of another.
        ("bAbAbx", [[(1, 3), (3, 5)]]),
        ("BABABx", [[(0, 2), (2, 4)]]),
        # Blocks of nothing that counts are none.
        ("aaaaBB", [[(4, 5), (5, 6)]]),
    ],
)
def test_blocks_of_a_chain(text, expected):
    assert found_in_chain(text) == expected


@pytest.mark.parametrize("length", range(1, 8))
def test_takes_the_most_frequent_repetition_and_leaves_none(length):
    def most_in_a_row(text):
        most = 1
        for period, start in itertools.product(range(1, length + 1), range(length)):
            block = text[start : start + period]
            while "-" not in block and text.startswith(block * (most + 1), start):
                most += 1
        return most

    for text in map("".join, itertools.product("AB", repeat=length)):
        kinds = found_in_chain(text)
        left = list(text)
        for sites in kinds:
            assert len({text[start:stop] for start, stop in sites}) == 1
            assert len(sites) > 1
            for start, stop in sites:
                assert "-" not in left[start:stop]  # no site overlaps another
                left[start:stop] = "-" * (stop - start)
        assert most_in_a_row("".join(left)) == 1
        assert most_in_a_row(text) <= max(map(len, kinds), default=1)


def test_borders_of_residual_blocks():
    # b and its sum with what came before it; the same tokens one step to the right
    # would cut the residual path of every block.
    items = graph(
        ("in",),
        ("+", 0),
        *[("b", 1), ("+", 1, 2)],
        *[("b", 3), ("+", 3, 4)],
        *[("b", 5), ("+", 5, 6)],
    )
    assert found(items) == [[(2, 4), (4, 6), (6, 8)]]


def test_connections_count():
    residual = [("a", 0), ("b", 1), ("+", 1, 2)]
    other = [("a", 3), ("b", 4), ("+", 3, 5)]
    assert found(graph(("in",), *residual, *other)) == []


def test_an_input_of_all_blocks_is_the_same_for_each():
    items = graph(("mask",), ("in",), ("a", 1, 0), ("a", 2, 0), ("a", 3, 0))
    assert found(items) == [[(2, 3), (3, 4), (4, 5)]]


def test_parallel_layers_are_no_depth():
    parallel = graph(("in",), ("a", 0), ("a", 0), ("a", 0))
    assert found(parallel) == []
    # Nor are towers, which have sites in common where each has depth.
    towers = graph(("in",), ("a", 0), ("a", 1), ("x", 2), ("a", 0), ("a", 4), ("x", 5))
    assert found(towers) == [[(1, 2), (2, 3), (4, 5), (5, 6)]]
