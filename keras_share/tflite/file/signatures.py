"""By which names a model is called."""

from collections.abc import Sequence
from typing import NamedTuple

from keras_share.tflite.file.flatbuffer import schema, text


class Signature(NamedTuple):
    """A way to call a model.

    Attributes:
        key: Its name; None for a model without signatures, which is called by the
            names of its tensors.
        graph: The subgraph that runs.
        inputs: The numbers of its inputs by name, in the order of the subgraph.
        outputs: Likewise, of its outputs.
    """

    key: str | None
    graph: schema.SubGraphT
    inputs: dict[str, int]
    outputs: dict[str, int]


def signatures(model: schema.ModelT) -> list[Signature]:
    """The signatures of a model, at least one; a ValueError of one without graphs."""
    found = []
    for signature in model.signatureDefs or ():
        graph = model.subgraphs[signature.subgraphIndex]
        inputs = _in_order(signature.inputs, graph.inputs)
        outputs = _in_order(signature.outputs, graph.outputs)
        found.append(Signature(text(signature.signatureKey), graph, inputs, outputs))
    if not found and not model.subgraphs:
        raise ValueError(
            "A .tflite model must have a subgraph to be called. Received: one without. "
            "Export it again."
        )
    if not found:
        graph = model.subgraphs[0]
        inputs, outputs = (
            {text(graph.tensors[i].name): int(i) for i in ends}
            for ends in (graph.inputs, graph.outputs)
        )
        found.append(Signature(None, graph, inputs, outputs))
    return found


def _in_order(
    ends: Sequence[schema.TensorMapT] | None, order: Sequence[int]
) -> dict[str, int]:
    numbers = {text(end.name): int(end.tensorIndex) for end in ends or ()}
    places = list(map(int, order))
    return dict(sorted(numbers.items(), key=lambda item: places.index(item[1])))
