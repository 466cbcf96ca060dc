"""Starts the part of TFMOT and reads what it found."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def run_legacy(task: dict[str, Any]) -> dict[str, Any]:
    """Does a task in `quantization_parts.legacy`.

    Raises:
        RuntimeError: If it fails, with the end of what it printed.
    """
    script = Path(__file__).with_name("legacy.py")
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        argument = json.dumps({**task, "result": str(result)})
        done = subprocess.run(
            [sys.executable, str(script), argument],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"The process of TFMOT failed:\n{done.stderr[-2000:]}")
        return json.loads(result.read_text())
