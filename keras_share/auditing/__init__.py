"""What a `.tflite` file stores, what it costs, and whether its weights are tied."""

from keras_share.auditing.audit import Audit, BufferFacts, OperatorFacts, audit
from keras_share.auditing.cost import OperatorCost
from keras_share.auditing.kernels import KernelFacts
from keras_share.auditing.memory import MemoryEstimate

__all__ = [
    "Audit",
    "BufferFacts",
    "KernelFacts",
    "MemoryEstimate",
    "OperatorCost",
    "OperatorFacts",
    "audit",
]
