"""How often an inference runs each subgraph of a .tflite model."""

from collections import Counter
from graphlib import CycleError, TopologicalSorter

from keras_share.tflite.file.flatbuffer import schema

MOST_CALLS = 2**62  # more have so many digits that they take all the time


def entry_points(model: schema.ModelT) -> list[int]:
    """The subgraphs that a program runs: those of the signatures, or the first one."""
    graphs = sorted({s.subgraphIndex for s in model.signatureDefs or ()})
    return graphs or [0][: len(model.subgraphs)]


def called_subgraphs(op: schema.OperatorT) -> set[int]:
    """The subgraphs that an operator names: branches, condition and body, and such.

    An IF whose branches are one subgraph is a plain call of it.
    """
    return {
        int(index)
        for options in (op.builtinOptions, op.builtinOptions2)
        if options is not None
        for name, value in vars(options).items()
        if "subgraph" in name.lower() and value is not None
        for index in (value if hasattr(value, "__len__") else [value])
    }


def num_calls(model: schema.ModelT) -> list[int]:
    """How often each subgraph runs, if every entry point is run once.

    The file doesn't tell how often a loop repeats, nor which branch is taken: the body
    and the condition of a WHILE count once for each WHILE that runs, and so does each
    of two different branches.

    Raises:
        ValueError: If an operator names a subgraph that doesn't exist, subgraphs call
            each other in a circle, or one runs more than 2**62 times.
    """
    called = [
        Counter(i for op in graph.operators for i in called_subgraphs(op))
        for graph in model.subgraphs
    ]
    entries = entry_points(model)
    for index in {*entries, *(i for counts in called for i in counts)}:
        if not 0 <= index < len(model.subgraphs):
            raise ValueError(
                "A .tflite model must call only subgraphs that it has "
                f"({len(model.subgraphs)}). Received: a call of subgraph {index}. The "
                "file is damaged: copy or export it again."
            )
    try:  # callees stand before what calls them
        order = list(TopologicalSorter(dict(enumerate(called))).static_order())
    except CycleError as error:
        raise ValueError(
            "Subgraphs of a .tflite model must not call each other in a circle. "
            f"Received: one among the subgraphs {sorted(set(error.args[1]))[:10]}. The "
            "file is damaged: copy or export it again."
        ) from error
    times = [entries.count(index) for index in range(len(model.subgraphs))]
    for index in reversed(order):
        if times[index] > MOST_CALLS:
            raise ValueError(
                f"A subgraph of a .tflite model must run at most 2**62 times in "
                f"an inference. Received: subgraph {index}, which runs more "
                f"often. The file is damaged: export it again."
            )
        for other, count in called[index].items():
            times[other] += times[index] * count
    return times
