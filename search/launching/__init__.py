"""A search by several processes, on one machine or many.

None of them leads: each takes its trials from the study and brings its results there.
"""

from keras_share.search.launching.launch import search

__all__ = ["search"]
