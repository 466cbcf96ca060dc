"""The README's example runs as shown."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_example_runs_as_shown(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    example = blocks[0]
    assert len(example.strip().splitlines()) <= 15
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {"__name__": "__main__"})
    out = capsys.readouterr().out
    assert (tmp_path / "model.tflite").stat().st_size < 30_000
    kernels = re.findall(r"^4,096 +(\d+) +int8 +64x64", out, re.M)
    assert kernels == ["3", "3"]
    assert "duplicates: 0 bytes" in out


def test_names_the_commands_that_exist():
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", readme, re.M):
        assert f"\n{target}:" in makefile
    [tests] = re.findall(r"-m (pytest.*)$", makefile, re.M)
    assert tests in readme
