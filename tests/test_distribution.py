"""What is built of the sources, and installed."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("keras_share", "search")
ABOUT = ("LICENSE", "README.md", "pyproject.toml", "setup.cfg")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist, and the wheel that is built of it alone."""
    copy, out = (tmp_path_factory.mktemp(name) for name in ("copy", "out"))
    for folder in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for name in ABOUT:
        shutil.copy(ROOT / name, copy)
    build(copy, "sdist", out)
    with tarfile.open(next(out.glob("*.tar.gz"))) as sdist:
        sdist.extractall(copy / "unpacked", filter="data")
    build(next((copy / "unpacked").iterdir()), "wheel", out)
    return out


def build(folder, kind, out):
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})"
    run([sys.executable, "-W", "ignore", "-c", code], cwd=folder)


def run(command, **kwargs):
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, **kwargs
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_file_is_in_the_wheel_and_in_the_sdist(built):
    files = {
        path.relative_to(ROOT).as_posix()
        for folder in SOURCES
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"keras_share/py.typed", "search/reporting/templates/report.html"} <= files
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert files | set(ABOUT) <= names
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    inside = {name.replace("keras_share/search/", "search/") for name in names}
    assert inside == files


def test_the_wheel_runs_in_an_environment_of_its_own(built, tmp_path):
    run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"])
    python = tmp_path / "env" / "bin" / "python"
    [packages] = (tmp_path / "env").glob("lib/*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps"]
    run([*pip, "--no-index", *built.glob("*.whl")])
    # Its dependencies are those of the tests; their editable keras_share isn't seen.
    (packages / "dependencies.pth").write_text("\n".join(sys.path))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    code = "from keras_share import search, SharingPattern; print(search.__file__)"
    said = run([python, "-c", code], cwd=tmp_path, env=environment)
    assert said.startswith(str(packages / "keras_share" / "search")), said
    program = run([packages.parents[2] / "bin" / "keras-share", "--help"], cwd=tmp_path)
    assert "compress" in program
