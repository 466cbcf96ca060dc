import os

import pytest

from keras_share.atomic import check_writable, write_atomically


def test_write_atomically(tmp_path):
    path = tmp_path / "model.tflite"
    for data in (b"first", b"second"):
        write_atomically(path, data)
        assert path.read_bytes() == data
    write_atomically(str(tmp_path / "other"), b"")
    assert sorted(os.listdir(tmp_path)) == ["model.tflite", "other"]


@pytest.mark.skipif(os.name == "nt", reason="needs modes of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_an_existing_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"secret")
    path.chmod(mode)
    write_atomically(path, b"new")
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.name == "nt", reason="needs modes of POSIX")
@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_file_has_the_mode_of_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "model.tflite", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "model.tflite").stat().st_mode & 0o777 == mode


def test_write_through_a_link(tmp_path):
    (tmp_path / "models").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "models" / "model")
    write_atomically(link, b"data")
    assert link.is_symlink()
    assert (tmp_path / "models" / "model").read_bytes() == b"data"


def test_write_without_a_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"kept")
    for parent in ("missing", "file"):
        with pytest.raises(OSError, match=rf"existing folder.*{parent}/model"):
            write_atomically(tmp_path / parent / "model", b"data")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_write_to_a_folder(tmp_path):
    with pytest.raises(ValueError, match=r"Only a regular file.*Add a file name"):
        write_atomically(tmp_path, b"data")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch, failing):
    path = tmp_path / "model"
    path.write_bytes(b"old")

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match=r"room for 4 bytes \(No space.*model.*free some"):
        write_atomically(path, b"data")
    assert os.listdir(tmp_path) == ["model"]
    assert path.read_bytes() == b"old"


def test_write_of_something_else_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "model", 7)
    assert os.listdir(tmp_path) == []


def test_check_writable(tmp_path):
    assert check_writable(tmp_path / "model") == tmp_path / "model"
    with pytest.raises(OSError, match="existing folder"):
        check_writable(tmp_path / "missing" / "model")
    assert os.listdir(tmp_path) == []


def test_check_writable_in_a_read_only_folder(tmp_path, monkeypatch):
    # Root may write everywhere, so the answer of the system is replaced.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match=r"must be writable.*model.*another"):
        check_writable(tmp_path / "model")


def test_text_is_written_in_utf8_whatever_it_holds(tmp_path):
    write_atomically(tmp_path / "report.md", "Äpfel \ud800")
    assert (tmp_path / "report.md").read_bytes() == "Äpfel ?".encode()


def test_paths_that_can_be_none(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="a file has the name of this one"):
        check_writable(tmp_path / "file" / "model")
    for long in (tmp_path / ("x" * 300), tmp_path / ("x" * 300) / "model"):
        with pytest.raises(OSError, match="one that the file system takes"):
            check_writable(long)
