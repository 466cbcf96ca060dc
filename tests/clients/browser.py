"""Runs `.tflite` files in a browser and compares with LiteRT in Python.

    python tests/clients/browser.py FILE...

Each file runs in a fresh headless Chromium by LiteRT.js, on its accelerator "wasm"
(the CPU), and in LiteRT's interpreter, on the same random inputs. One line for each
file tells the largest difference of the outputs as a share of the largest output. The
exit code is 0 if every file agrees, 1 if one doesn't or does not run, 2 if something
is missing. It needs Chromium and the npm package `@litertjs/core`:

    apt-get install chromium npm
    npm ci --prefix tests/clients

The package is also found in the folder `node_modules` that the variable NODE_PATH
names, and a browser of Chromium's kind at the path in CHROMIUM.
"""

import functools
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.runtimes.agreement import (
    Call,
    Outputs,
    difference,
    random_inputs,
)
from keras_share.tflite.runtimes.apart_process import interpreter

_PAGE = Path(__file__).with_name("page.html")
_PACKAGE = "@litertjs/core"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# The browser's kernels sum in another order. In integers a sum may then round the other
# way: two steps, of which the range of the outputs, up to twice the largest, has 255.
_FLOATS, _INTEGERS = 1e-4, 4 / 255


class MissingError(RuntimeError):
    """Something that has to be installed first."""


def compare(path: str | os.PathLike) -> float:
    """The largest difference of the browser's outputs from the interpreter's.

    Returns:
        A share of the largest output.

    Raises:
        MissingError: If there is no browser or no LiteRT.js.
        RuntimeError: If the browser can't run the file; with what it says.
    """
    calls = random_inputs(flatbuffer.read(path))
    in_python = interpreter("AUTO")(os.fspath(path), calls, 1)
    return difference(in_python(), run_in_browser(flatbuffer.contents(path), calls))


def tolerance(path: str | os.PathLike) -> float:
    """How large a difference rounding explains."""
    types = {
        flatbuffer.dtype_name(tensor.type)
        for graph in flatbuffer.read(path).subgraphs
        for tensor in graph.tensors
    }
    return _INTEGERS if types & {"int8", "int16"} else _FLOATS


def run_in_browser(data: bytes, calls: list[Call], timeout: float = 60) -> Outputs:
    """The outputs of each call of a signature, by name, from a fresh browser."""
    job = [
        {
            "signature": signature,
            "inputs": {
                name: {
                    "dtype": array.dtype.name,
                    "shape": array.shape,
                    "values": array.ravel().tolist(),
                }
                for name, array in inputs.items()
            },
        }
        for signature, inputs, _ in calls
    ]
    answers: queue.Queue[dict] = queue.Queue()
    handler = functools.partial(
        _Handler,
        pages={
            "/": ("text/html", _PAGE.read_bytes()),
            "/inputs": ("application/json", json.dumps(job).encode()),
            "/model": ("application/octet-stream", data),
        },
        answers=answers,
        directory=str(find_modules()),
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            with _browser(f"http://127.0.0.1:{server.server_port}/"):
                answer = answers.get(timeout=timeout)
        except queue.Empty:
            raise RuntimeError(f"no answer after {timeout} seconds") from None
        finally:
            server.shutdown()
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return [
        {
            name: np.reshape(np.asarray(array["values"], "float64"), array["shape"])
            for name, array in outputs.items()
        }
        for outputs in answer["outputs"]
    ]


class _Handler(SimpleHTTPRequestHandler):
    """Serves a few pages and the packages of npm; takes one answer."""

    def __init__(self, *args, pages, answers, **kwargs):
        self.pages, self.answers = pages, answers
        super().__init__(*args, **kwargs)

    def do_GET(self):
        if self.path not in self.pages:
            super().do_GET()
            return
        kind, content = self.pages[self.path]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        self.answers.put(
            json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        )
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        """No line for every request."""


@contextmanager
def _browser(address: str):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [find_chromium(), *_FLAGS, f"--user-data-dir={profile}", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # it has children
            process.wait()


def find_chromium() -> str:
    """The command of the browser."""
    names = [os.environ["CHROMIUM"]] if "CHROMIUM" in os.environ else _BROWSERS
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise MissingError(
            "A browser of Chromium's kind must be installed. Received: none of "
            f"{', '.join(names)}. Install it with `apt-get install chromium`, or set "
            "CHROMIUM to its path."
        )
    return found


def find_modules() -> Path:
    """The folder `node_modules` that holds LiteRT.js."""
    here = Path(__file__).parent
    folders = [Path(os.environ.get("NODE_PATH") or here), here / "node_modules"]
    for folder in folders:
        if (folder / _PACKAGE).is_dir():
            return folder
    raise MissingError(
        f"The npm package {_PACKAGE} must be installed. Received: none in "
        f"{folders[-1]} or NODE_PATH. Install it with `npm ci --prefix {here}`."
    )


def main(paths: list[str]) -> int:
    """Compares the files and prints what it finds."""
    failed = 0
    for path in paths:
        try:
            difference, limit = compare(path), tolerance(path)
        except MissingError as error:
            print(error, file=sys.stderr)
            return 2
        except (OSError, RuntimeError, ValueError) as error:
            failed += 1
            print(f"{path}: does not run: {error}", flush=True)
            continue
        failed += not difference <= limit
        verdict = "agrees" if difference <= limit else "DIFFERS"
        print(f"{path}: {verdict}, {difference:.2g} (limit {limit:.2g})", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
