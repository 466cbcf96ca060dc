"""Which of the processes of a search this is, as KerasTuner's variables say."""

import os


def tuner_id() -> str:
    """The name of this process in the search."""
    return os.environ.get("KERASTUNER_TUNER_ID", "tuner0")


def is_distributed() -> bool:
    """Whether several processes search, one of them the chief."""
    return "KERASTUNER_ORACLE_IP" in os.environ


def is_chief() -> bool:
    """Whether this process serves the oracle to others and runs no trials."""
    return is_distributed() and "chief" in tuner_id()


def is_worker() -> bool:
    """Whether this process asks a chief for trials."""
    return is_distributed() and not is_chief()
