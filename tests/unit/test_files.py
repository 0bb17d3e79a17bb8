"""Files that are whole or not there."""

import os
from pathlib import Path

import pytest

from study.files import write_atomically


class TestWriteAtomically:
    def test_replaces_the_file(self, tmp_path):
        write_atomically(tmp_path / "file", b"old")
        write_atomically(tmp_path / "file", b"n", memoryview(b"ew"))
        assert (tmp_path / "file").read_bytes() == b"new"
        assert list(tmp_path.iterdir()) == [tmp_path / "file"]

    def test_flushes_file_and_folder(self, tmp_path, monkeypatch):
        flushed = []
        real = os.fsync
        monkeypatch.setattr(
            os, "fsync", lambda d: (flushed.append(str(Path(f"/proc/self/fd/{d}").readlink())), real(d))
        )
        write_atomically(tmp_path / "file", b"new")
        assert flushed == [str(tmp_path / ".file.tmp"), str(tmp_path)]

    def test_an_error_leaves_the_old_file_alone(self, tmp_path):
        write_atomically(tmp_path / "file", b"old")
        with pytest.raises(TypeError):
            write_atomically(tmp_path / "file", b"half", "not bytes")
        assert (tmp_path / "file").read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [tmp_path / "file"]
