"""What is said of the files of a compression."""

import re
from pathlib import Path

import pandas as pd

from keras_share.search.compression.files import Finalist
from keras_share.search.compression.outcome import Compression, markdown
from keras_share.search.compression.scores import Interval


def test_what_a_file_does_not_have_is_a_dash():
    score = Interval(0.5, 0.25, 0.75)
    costs = {"exported_bytes": 6592, "latency_ms": 0.5}
    small = {"exported_bytes": 4688, "latency_ms": 0.25, "arena_bytes": 3584}
    files = [
        Finalist(name, Path("a.tflite"), None, [], score, found)
        for name, found in (("original", costs), ("AAB, int8", small))
    ]
    said = "reason", "verdict", True, None, "accuracy", "9 test samples"
    found = Compression(Path(), files[1], files, *said)
    assert str(found).splitlines()[6:10] == [
        "| file | accuracy | bytes | latency, ms | arena, bytes |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| original | 0.5000 [0.2500, 0.7500] | 6,592 | 0.5 | - |",
        "| AAB, int8 (winner) | 0.5000 [0.2500, 0.7500] | 4,688 | 0.25 | 3,584 |",
    ]


def test_a_table_in_markdown_is_one_whatever_it_holds():
    table = pd.DataFrame({"a|b": ["x|<script>\n# h", 1.5], "c": [True, None]})
    lines = markdown(table).splitlines()
    assert lines[2] == r"| x\|\<script> # h | True |"
    assert [re.sub(r"\\.", "", line).count("|") for line in lines] == [3] * 4
