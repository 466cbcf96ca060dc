"""What the fork server of `test_faults` loads: a search, and what its first imports.

Else each process would import SQLAlchemy and compile its statements anew, for longer
than its trials take.
"""

import gc
import tempfile

import killed_search

with tempfile.TemporaryDirectory() as folder:
    killed_search.whole(folder, max_trials=2)
gc.collect()
gc.freeze()
