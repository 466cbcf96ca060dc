import pytest
from stock import model_of, operator, tensor

from keras_share.tflite.inspect.calls import called_subgraphs, entry_points, num_calls


def call(*graphs):
    """An IF, of one branch or two."""
    branches = {"thenSubgraphIndex": graphs[0], "elseSubgraphIndex": graphs[-1]}
    return operator("IF", [0], [1], IfOptions=branches)


def loop(condition, body):
    graphs = {"condSubgraphIndex": condition, "bodySubgraphIndex": body}
    return operator("WHILE", [0], [1], WhileOptions=graphs)


def composite(graph):
    options = {"decompositionSubgraphIndex": graph}
    return operator("STABLEHLO_COMPOSITE", [0], [1], StableHLOCompositeOptions=options)


def once(graph):
    return operator("CALL_ONCE", [], [], CallOnceOptions={"initSubgraphIndex": graph})


def calls_of(*operators, signatures=()):
    """How often subgraphs with these operators run."""
    graphs = [([tensor((1,)), tensor((1,))], ops) for ops in operators]
    return num_calls(model_of(*graphs, signatures=signatures))


def relu():
    return operator("RELU", [0], [1])


@pytest.mark.parametrize(
    "make, called",
    [
        (relu, set()),
        (lambda: call(3), {3}),
        (lambda: call(2, 4), {2, 4}),
        (lambda: loop(1, 5), {1, 5}),
        (lambda: composite(2), {2}),
        (lambda: once(6), {6}),
    ],
    ids=["none", "if", "branches", "while", "composite", "call_once"],
)
def test_called_subgraphs(make, called):
    assert called_subgraphs(make()) == called


def test_a_list_of_branches():
    options = {"branchSubgraphIndices": [1, 2, 1]}
    case = operator("STABLEHLO_CASE", [0], [1], StablehloCaseOptions=options)
    assert called_subgraphs(case) == {1, 2}


def test_one_subgraph_runs_once():
    assert calls_of([relu(), relu()]) == [1]
    assert num_calls(model_of()) == []


def test_calls_add_up_and_multiply():
    # 0 calls 1 three times and 2 once; 1 calls 2 twice and 3 in a loop.
    main = [call(1), call(1), call(1), composite(2)]
    body = [call(2), call(2), loop(4, 3)]
    assert calls_of(main, body, [relu()], [relu()], []) == [1, 3, 7, 3, 3]


def test_calls_of_a_later_subgraph_before_an_earlier_one():
    assert calls_of([call(2), call(1)], [relu()], [call(1), call(1)]) == [1, 3, 1]


def test_branches_count_once_each():
    assert calls_of([call(1, 2), once(2)], [relu()], [relu()]) == [1, 1, 2]


def test_subgraphs_that_nothing_calls():
    assert calls_of([relu()], [call(2)], [relu()]) == [1, 0, 0]


def test_signatures_are_the_entries():
    graphs = [relu()], [call(2)], [relu()]
    assert calls_of(*graphs, signatures=[1]) == [0, 1, 1]
    assert calls_of(*graphs, signatures=[0, 1, 1]) == [1, 1, 1]
    model = model_of(([], []), ([], []), signatures=[1, 1, 0])
    assert entry_points(model) == [0, 1]


def test_many_levels():
    # Each subgraph calls the next one twice.
    levels = [[call(i + 1), call(i + 1)] for i in range(2999)]
    assert calls_of(*levels[:62], [])[-1] == 2**62
    with pytest.raises(ValueError, match=r"at most 2\*\*62 times.*subgraph 63"):
        calls_of(*levels, [])
    once_each = [[call(i + 1)] for i in range(2999)]
    assert calls_of(*once_each, [])[-1] == 1


def test_damaged_calls():
    with pytest.raises(ValueError, match=r"subgraphs that it has \(1\).*subgraph 1"):
        calls_of([call(1)])
    with pytest.raises(ValueError, match=r"Received: a call of subgraph 7"):
        calls_of([relu()], signatures=[7])
    with pytest.raises(ValueError, match=r"in a circle.*subgraphs \[1, 2\]"):
        calls_of([call(1)], [call(2)], [call(1)])
    with pytest.raises(ValueError, match=r"in a circle.*subgraphs \[0\]"):
        calls_of([loop(0, 0)])
