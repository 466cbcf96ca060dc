"""Output, exit codes and messages, which all commands have in common."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import keras_share
from keras_share.cli.command import Command, Outcome
from keras_share.cli.main import program


def command(work):
    """A command of two options whose work is a function."""

    @click.command(cls=Command)
    @click.option("--threads", "num_threads", default=1)
    @click.option("--runs", default=1)
    def made(num_threads, runs):
        return work() or Outcome("text", {"runs": runs})

    return made


def invoke(work, line="", code=0):
    done = CliRunner().invoke(command(work), line.split())
    assert done.exit_code == code, (done.output, done.exception)
    return done


def raising(error):
    def work():
        raise error

    return work


def test_output():
    assert invoke(lambda: None).stdout == "text\n"
    assert json.loads(invoke(lambda: None, "--json --runs 3").stdout) == {"runs": 3}


def test_numbers_that_json_lacks_are_null():
    facts = {"a": float("nan"), "b": [float("inf"), -1.5], "c": "NaN"}
    done = invoke(lambda: Outcome("", facts), "--json")
    assert json.loads(done.stdout) == {"a": None, "b": [None, -1.5], "c": "NaN"}
    assert "Infinity" not in done.stdout


def test_what_libraries_print_goes_to_stderr(capfd):
    def work():
        print("from Python")
        os.write(1, b"from below\n")

    done = invoke(work, "--json")
    assert json.loads(done.stdout) == {"runs": 1}
    assert done.stderr == "from Python\n"
    out, err = capfd.readouterr()
    assert (out, err) == ("", "from below\n")
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "after\n"


def test_warnings_are_a_line_each():
    def work():
        warnings.warn("the outputs differ", RuntimeWarning, stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        done = invoke(work)
    assert (done.stdout, done.stderr) == ("text\n", "Warning: the outputs differ\n")


@pytest.mark.parametrize("kind", [ValueError, OSError, FileNotFoundError])
def test_faults_of_a_file(kind):
    done = invoke(raising(kind("it is damaged")), code=1)
    assert (done.stdout, done.stderr) == ("", "Error: it is damaged\n")


@pytest.mark.parametrize("kind", [RuntimeError, KeyError, AssertionError, TypeError])
def test_bugs(kind):
    done = invoke(raising(kind("it differs")), code=70)
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert f"bug of keras-share {keras_share.__version__}: {kind.__name__}: " in (
        done.stderr
    )
    assert "report it with" in done.stderr


@pytest.mark.parametrize("error, code", [(ValueError("a"), 1), (KeyError("a"), 70)])
def test_debug_shows_where_it_was(error, code):
    done = invoke(raising(error), "--debug", code)
    assert "Traceback (most recent call last)" in done.stderr
    assert "in work\n" in done.stderr


def test_a_promise_that_is_not_kept():
    def work():
        return Outcome("text", {"left": 1}, "`runs` are left")

    done = invoke(work, code=3)
    assert (done.stdout, done.stderr) == ("text\n", "Error: --runs are left\n")
    assert json.loads(invoke(work, "--json", 3).stdout) == {"left": 1}


def test_interruption():
    done = invoke(raising(KeyboardInterrupt()), code=130)
    assert (done.stdout, done.stderr) == ("", "Interrupted.\n")


def test_python_names_become_those_of_the_shell():
    message = "`num_threads` must be 1, as `runs` is. Received: num_threads=0, `runs_2`"
    done = invoke(raising(ValueError(message)), code=1)
    said = "--threads must be 1, as --runs is. Received: --threads=0, `runs_2`"
    assert done.stderr == f"Error: {said}\n"


def test_what_only_looks_like_a_name_of_python_stays():
    said = "runs num_threads times. Received: 'runs=1/num_threads.tflite', runs/x=2"
    assert invoke(raising(ValueError(said)), code=1).stderr == f"Error: {said}\n"
    assert invoke(lambda: Outcome(said, {})).stdout == f"{said}\n"


def test_names_in_a_file_do_not_control_the_terminal():
    done = invoke(lambda: Outcome("a\x1b[2J\rb\nÄ", {"a": "\x1b"}))
    assert done.stdout == "a\ufffd[2J\ufffdb\nÄ\n"
    done = invoke(raising(ValueError("\x1b]0;\x07")), code=1)
    assert done.stderr == "Error: \ufffd]0;\ufffd\n"


# The program.


def test_help_documents_every_code():
    text = CliRunner().invoke(program, ["--help"]).stdout
    for code in (0, 1, 2, 3, 70, 130):
        assert f"\n    {code} " in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", sorted(program.commands))
def test_every_command_has_help_and_the_common_options(name):
    done = CliRunner().invoke(program, [name, "--help"])
    assert done.exit_code == 0
    assert "--json" in done.stdout and "--debug" in done.stdout
    assert f"keras-share {name} " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert CliRunner().invoke(program, [name]).exit_code == 2
    assert CliRunner().invoke(program, [name, "--nonsense"]).exit_code == 2


def test_version():
    done = CliRunner().invoke(program, ["--version"])
    assert done.stdout == f"keras-share, version {keras_share.__version__}\n"


# Real processes.


@pytest.mark.parametrize("line", ["--help", "--version", "roll --help"])
def test_help_waits_for_nothing_heavy(line, start):
    code = """
try:
    main()
finally:
    heavy = {"tensorflow", "keras", "numpy", "pandas", "matplotlib", "ai_edge_litert"}
    heavy |= {"rich"}
    assert not heavy & {*sys.modules}, heavy & {*sys.modules}
"""
    process = start(line, code=code)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "") and "keras-share" in out


@pytest.mark.parametrize(
    "line",
    [
        "audit model.tflite",
        "roll model.tflite -o a",
        "dedupe copied.tflite -o a",
        "benchmark model.tflite --runs 1 --rounds 1 --mode reference --mode compiled",
    ],
)
def test_files_from_anywhere_need_no_keras(line, start, here):
    """Neither in the process nor in those that it starts."""
    traps = here / "traps"
    traps.mkdir()
    for name in ("keras", "tensorflow"):
        trap = f"open({str(here / 'caught')!r}, 'a').write({name!r})\nraise ImportError"
        (traps / f"{name}.py").write_text(trap)
    process = start(f"{line} --json", PYTHONPATH=str(traps))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)
    assert not (here / "caught").exists()
    process = start("", "import keras", PYTHONPATH=str(traps))
    assert "ImportError" in process.communicate(timeout=60)[1]
    assert (here / "caught").read_text() == "keras"


@pytest.mark.parametrize(
    "line, code",
    [("audit text.tflite", 1), ("audit", 2), ("audit copied.tflite --strict", 3)],
)
def test_codes_of_a_process(line, code, start):
    process = start(line)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in err
    assert bool(out) == (code == 3)


@pytest.mark.skipif(os.name == "nt", reason="needs a terminal of POSIX")
def test_progress_on_a_terminal(start):
    terminal, stderr = os.openpty()
    process = start("roll model.tflite -o rolled.tflite", stderr=stderr)
    out, _ = process.communicate(timeout=60)
    os.close(stderr)
    assert out == f"{keras_share.roll('model.tflite')}\n"
    shown = os.read(terminal, 10_000).decode()
    os.close(terminal)
    assert "rolling and comparing" in shown and "\x1b[" in shown


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c(start, here):
    # A process that was started in the background may have been told to ignore it.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = start("benchmark model.tflite --rounds 100000", code=f"{heed}\nmain()")
    # When a runtime has its process, everything was imported.
    while not any("apart_process" in line for line in children(process.pid)):
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "") and "Interrupted." in err
    assert "Traceback" not in err


def children(pid):
    """The command lines of a process's children."""
    lines = []
    numbers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for number in numbers:
        with contextlib.suppress(OSError):  # it may have ended
            lines.append(Path(f"/proc/{number}/cmdline").read_text())
    return lines


def test_the_whole_program(here):
    """Keras and TensorFlow print what they like, but not to stdout."""
    line = "-m keras_share export model.keras -o out.tflite --target cpu --json"
    done = subprocess.run(
        [sys.executable, *line.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["file_bytes"] == (here / "out.tflite").stat().st_size
