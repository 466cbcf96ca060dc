"""A search by several processes, on one machine or many.

None of them leads: each takes its trials from the study and brings its results there.
The process that is started by hand starts the workers of its machine and shows the
search.
"""

from keras_share.search.launching.launch import search

__all__ = ["search"]
