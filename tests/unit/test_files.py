"""Files that are whole or not there."""

import os
from pathlib import Path

import pandas as pd
import pytest

from study.errors import StudyError
from study.files import read_table, read_yaml, table_text, write_atomically, write_table

NAMES = [
    "NA",
    "01",
    "1e5",
    "True",
    "2026-01-01",
    "null",
    "",
    " a ",
    "a,b",
    'a"b',
    '"',
    "a\rb",
    "a\nb",
    "a\r\nb",
    "#a",
    "\\",
]


class TestTables:
    def test_text_comes_back_as_it_was(self, tmp_path):
        table = pd.DataFrame({"a\rb": NAMES, "number": range(len(NAMES))})
        write_table(table, tmp_path / "table.csv")
        read = read_table(tmp_path / "table.csv", text=("a\rb",))
        assert read["a\rb"].tolist() == NAMES
        assert read["number"].tolist() == list(range(len(NAMES))) and read["number"].dtype == int
        assert read_table(tmp_path / "table.csv")["number"].tolist() == [str(k) for k in range(len(NAMES))]

    def test_numbers_come_back_as_they_were(self, tmp_path):
        numbers = [0.1 + 0.2, 1e-300, float("inf"), -0.0, 5e-324]
        write_table(pd.DataFrame({"x": [*numbers, None, float("nan")], "empty": ""}), tmp_path / "table.csv")
        read = read_table(tmp_path / "table.csv", text=())
        assert read["x"].tolist()[:5] == numbers and read["x"].isna().tolist() == [False] * 5 + [True] * 2
        assert read["empty"].dtype == float and read["empty"].isna().all()
        (tmp_path / "table.csv").write_text("x\nnan\n1\n")  # as training writes it
        assert read_table(tmp_path / "table.csv", text=())["x"].isna().tolist() == [True, False]

    def test_only_what_needs_quotes_has_them(self):
        assert table_text(pd.DataFrame({"a": ["x", "b\rc", "d,e"], "n": [1, 2, 3]})) == (
            'a,n\nx,1\n"b\rc",2\n"d,e",3\n'
        )

    def test_what_is_wrong_is_named(self, tmp_path):
        path = tmp_path / "table.csv"
        path.write_text("name,x\na,1\nb,1_0\n")
        with pytest.raises(
            StudyError, match=r"table\.csv, row 3, column 'x': found '1_0', allowed is a number or nothing"
        ):
            read_table(path, text=("name",))
        with pytest.raises(StudyError, match=r"table\.csv, row 1: missing column label; found: name, x"):
            read_table(path, text=("label",))
        for broken in (b"", b"a,b\n1,2,3\n1,2,3,4\n", b'a\n"x', b"a\n\xff\n"):
            path.write_bytes(broken)
            with pytest.raises(StudyError, match=r"table\.csv: not readable as a table"):
                read_table(path)

    def test_yaml(self, tmp_path):
        (tmp_path / "a.yaml").write_text("a: {1: x}\n")
        assert read_yaml(tmp_path / "a.yaml") == {"a": {1: "x"}}
        for text in ("a: [", "\x00", "a: *b"):
            (tmp_path / "a.yaml").write_text(text)
            with pytest.raises(StudyError, match=r"a\.yaml: not YAML \("):
                read_yaml(tmp_path / "a.yaml")
        with pytest.raises(StudyError, match=r"b\.yaml: the configuration does not exist in "):
            read_yaml(tmp_path / "b.yaml")


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
