import os
import shutil
import subprocess

import keras
import pytest

from keras_share import export_tflite
from keras_share.tflite.file.c_array import export_c_array

PROGRAM = """
#include <cstdint>
#include <cstdio>
#include "net.h"
int main() {
  if (reinterpret_cast<std::uintptr_t>(model_data) % 16) return 1;
  return std::fwrite(model_data, 1, model_data_len, stdout) != model_data_len;
}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("c") / "tied.tflite"
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    export_tflite(model, path)
    return path


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_the_array_is_the_file(file, tmp_path):
    source, header = export_c_array(file, tmp_path / "net.cc", name="model_data")
    (tmp_path / "main.cc").write_text(PROGRAM)
    options = ["-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    objects = [source.name, "main.cc"]
    subprocess.run(["g++", *options, *objects], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "a.out"], capture_output=True, check=True)
    assert done.stdout == file.read_bytes()
    assert header == tmp_path / "net.h"


def test_what_the_files_say(file, tmp_path):
    source, header = export_c_array(file, tmp_path / "tied_2.cpp", arena_bytes=12_345)
    size = len(file.read_bytes())
    facts = f"// tied.tflite, {size:,} bytes, tensor arena of 12,345 bytes.\n"
    for path in (source, header):
        assert path.read_text().startswith(facts)
    assert "alignas(16) const unsigned char tied_2[] = {" in source.read_text()
    assert f"const unsigned int tied_2_len = {size};" in source.read_text()
    export_c_array(file.read_bytes(), source)
    assert header.read_text().startswith(f"// {size:,} bytes.\n")


@pytest.mark.parametrize("name", ["2net", "a-b", "", "a b", "é", "class", "register"])
def test_the_name_must_be_an_identifier(name, file, tmp_path):
    with pytest.raises(ValueError, match=f"no keyword. Received: name='{name}'"):
        export_c_array(file, tmp_path / "net.cc", name=name)
    assert os.listdir(tmp_path) == []


def test_bad_paths(file, tmp_path):
    with pytest.raises(ValueError, match=r"end in \.cc or \.cpp\. Received: .*net\.h'"):
        export_c_array(file, tmp_path / "net.h")
    with pytest.raises(FileNotFoundError, match="Create the folder"):
        export_c_array(file, tmp_path / "no" / "net.cc")
    with pytest.raises(ValueError, match="identifier b'TFL3'"):
        export_c_array(b"no model at all", tmp_path / "net.cc")
    (tmp_path / "net.h").mkdir()
    with pytest.raises(ValueError, match="Only a regular file can be replaced"):
        export_c_array(file, tmp_path / "net.cc")
    assert os.listdir(tmp_path) == ["net.h"]


def test_no_name_becomes_code(file, tmp_path):
    given = tmp_path / "net\nint evil;\\.tflite"
    shutil.copy(file, given)
    source, _ = export_c_array(given, tmp_path / "net.cc")
    assert source.read_text().startswith("// net?int evil??.tflite, ")
    for name in ("_Bool", "__x", "main", 5):
        with pytest.raises(ValueError, match="must be a C identifier"):
            export_c_array(file, tmp_path / "net.cc", name=name)
    with pytest.raises(ValueError, match="name of `output` must be of letters"):
        export_c_array(file, tmp_path / 'x"y.cc', name="g")
    with pytest.raises(ValueError, match="`arena_bytes` must be an integer"):
        export_c_array(file, tmp_path / "net.cc", arena_bytes="5")
