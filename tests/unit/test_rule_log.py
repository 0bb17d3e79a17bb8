"""How the script of a rule ends: one line for what a user or a machine has to mend, a traceback for the rest."""

import errno
import os
from pathlib import Path

import pytest

from study.errors import StudyError, naming_trouble
from study.rule_log import logged


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (StudyError("a.csv: wrong"), "Error: a.csv: wrong\n"),
        (MemoryError(), "Error: out of memory: give the job more memory, or use fewer processes (config key"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a.png"), "Error: a.png: Too many open files; this is the"),
        *(
            (
                OSError(number, os.strerror(number), "a.png"),
                f"Error: a.png: {os.strerror(number)}; this is the machine's",
            )
            for number in (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EPERM, errno.ENOMEM, errno.ESTALE, errno.EROFS)
        ),
    ],
)
def test_trouble_that_is_not_the_codes_is_one_line(tmp_path: Path, error: Exception, line: str) -> None:
    with pytest.raises(SystemExit) as ended, logged(tmp_path / "log"):
        raise error
    assert ended.value.code == 1
    text = (tmp_path / "log").read_text()
    assert text.startswith(line)
    assert text.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("x"), FileNotFoundError(errno.ENOENT, "No such file", "a"), OSError("x")])
def test_anything_else_keeps_its_traceback(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)), logged(tmp_path / "log"):
        raise error
    assert "Traceback" in (tmp_path / "log").read_text()


def test_trouble_without_a_file_is_given_the_name_of_what_was_read() -> None:
    wanted = r"^a/b\.png: Input/output error; this is the machine's trouble, not the file's"
    with pytest.raises(StudyError, match=wanted), naming_trouble("a/b.png"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    with pytest.raises(OSError, match="truncated"), naming_trouble("a"):
        raise OSError("truncated")
