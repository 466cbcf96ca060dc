"""A search by several processes, on one machine or many.

The process that is started by hand is KerasTuner's chief: it has the oracle, shows the
search, and starts the workers, which run the trials.
"""

from keras_share.search.launching.launch import Launch, join, search

__all__ = ["Launch", "join", "search"]
