"""Processes in which Keras runs on another backend."""

import importlib.metadata
import importlib.util
import os

BACKENDS = [
    name for name in ("jax", "torch") if importlib.util.find_spec(name) is not None
]
# To compile takes most of the time on JAX, and optimized code is not faster here.
XLA_FLAGS = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)
if "jax" in BACKENDS and importlib.metadata.version("jax") < "0.11":
    XLA_FLAGS += " --xla_cpu_use_fusion_emitters=false"  # a later XLA ends at its name


def environment(backend: str, *flags: str) -> dict[str, str]:
    """What a process gets in which Keras runs on a backend."""
    flags = " ".join([XLA_FLAGS, *flags])
    return {**os.environ, "KERAS_BACKEND": backend, "XLA_FLAGS": flags}
