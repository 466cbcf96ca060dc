"""The tests on each Python, with the newest and the oldest dependencies: `nox`.

`nox -s newest-3.12` runs one of them, `-- tests/layers` a part.
"""

import nox

nox.options.default_venv_backend = "uv"
# What the oldest dependencies are tried on: elsewhere tests use what newer ones have.
PARTS = ("pattern", "retrofit", "tflite", "export/test_convert.py", "cli")
RUN = ("pytest", "-n", "2", "--dist", "loadfile")


@nox.session(python=("3.10", "3.11", "3.12", "3.13"))
def newest(session: nox.Session) -> None:
    """Runs the tests on the newest dependencies."""
    session.install("-e", ".[test]")
    session.run(*RUN, *session.posargs)


@nox.session(python="3.10")
def oldest(session: nox.Session) -> None:
    """Runs some of the tests on the oldest dependencies that are declared."""
    session.install("--resolution=lowest-direct", "-e", ".")
    session.install("pytest", "pytest-xdist", "tflite-micro")
    session.run(*RUN, *(session.posargs or [f"tests/{part}" for part in PARTS]))
