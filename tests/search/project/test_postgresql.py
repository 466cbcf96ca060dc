"""A study on a server: restarted in the middle, and with nobody let in unasked."""

import multiprocessing
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import killed_search
import optuna
import pytest
from killed_search import score_of

from keras_share.search import SearchResults
from keras_share.search.project.study import Project

pytest.importorskip("psycopg")
TOOLS = [shutil.which(name) for name in ("initdb", "postgres", "createdb")]
pytestmark = pytest.mark.skipif(None in TOOLS, reason="needs PostgreSQL")
TESTS = str(Path(__file__).parents[2])
PASSWORD = "s3cret"
TRIALS = 12


class Server:
    """A PostgreSQL server in a folder of its own, which root may not run."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = self.address(PASSWORD)
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(folder, self.user)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self.run(
            *(TOOLS[0], "-D", folder / "data", "-U", "me", "--pwfile", secret),
            *("-A", "scram-sha-256", "--no-sync"),
        )
        self.start()
        host = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "me")
        self.run(TOOLS[2], *host, "search", env={**os.environ, "PGPASSWORD": PASSWORD})

    def address(self, password, name="search"):
        return f"postgresql+psycopg://me:{password}@127.0.0.1:{self.port}/{name}"

    def run(self, *command, **kwargs):
        subprocess.run(
            command, user=self.user, check=True, capture_output=True, **kwargs
        )

    def start(self):
        self.process = subprocess.Popen(
            [
                TOOLS[1],
                "-D",
                self.folder / "data",
                "-p",
                str(self.port),
                "-k",
                "",
                "-F",
            ],
            user=self.user,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                time.sleep(0.5)  # it may be starting up yet
                return
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.05)

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def server():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        made = Server(Path(folder))
        yield made
        made.stop()


def test_three_processes_and_a_server_that_is_restarted(server, tmp_path):
    # Folders of their own, as on machines of their own.
    folders, gate = [tmp_path / str(number) for number in range(3)], tmp_path / "gate"
    context = multiprocessing.get_context("forkserver")
    with pytest.MonkeyPatch.context() as patches:
        patches.setenv("PYTHONPATH", TESTS)
        context.set_forkserver_preload(["warmed_search"])
        processes = []

        def start(folder):
            folder.mkdir()
            process = context.Process(
                target=killed_search.whole,
                args=(folder,),
                kwargs={"storage": server.url, "max_trials": TRIALS, "gate": gate},
            )
            process.start()
            processes.append(process)

        def begun():
            paths = [folder / "journal" for folder in folders]
            lines = [p.read_text().splitlines() for p in paths if p.exists()]
            return [line.split()[1] for one in lines for line in one]

        early = folders[:2]
        for folder in early:
            start(folder)
        end = time.monotonic() + 120
        while not all((x / "journal").exists() for x in early) or len(begun()) < 4:
            assert time.monotonic() < end
            if len(begun()) > 1:  # else one could be done before the other begins
                gate.touch()
            time.sleep(0.02)
        server.stop()
        time.sleep(1)
        server.start()
        start(folders[2])
    for process in processes:
        process.join()
        assert process.exitcode == 0
    rows = SearchResults.load(folders[0] / "untitled_project", server.url).records
    assert len(rows) == len({row.pattern for row in rows}) == TRIALS
    assert all(row.score == score_of(row.pattern) for row in rows)
    counts = Counter(begun())
    assert counts.keys() == {row.pattern for row in rows}
    # What ran while the server was away was not run again.
    assert sum(counts.values()) == TRIALS
    # The third may come when all is done.
    assert len({row.worker for row in rows}) > 1


@pytest.mark.parametrize(
    ("password", "name", "message"),
    [
        ("wr0ng", "search", r"password authentication failed"),
        (PASSWORD, "gone", r'database "gone" does not exist'),
    ],
)
def test_who_is_not_let_in(server, password, name, message, tmp_path):
    with pytest.raises(ConnectionError, match=message) as raised:
        Project(tmp_path / "p", server.address(password, name), {"loss": "min"})
    assert password not in str(raised.value)
    assert f"me:***@127.0.0.1:{server.port}/{name}" in str(raised.value)
    assert raised.value.__suppress_context__


def test_tables_of_another_version(server, tmp_path, monkeypatch):
    def complains(self):
        raise RuntimeError("The runtime optuna version 5.0.0 is no longer compatible")

    kind = optuna.storages._rdb.storage._VersionManager
    monkeypatch.setattr(kind, "check_table_schema_compatibility", complains)
    with pytest.raises(ValueError, match=r"tables of a storage .*no longer comp"):
        Project(tmp_path / "p", server.url, {"loss": "min"})
