"""The one exception that stands for a mistake the user can correct, and what the machine's own trouble is called."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What a machine is short of, or does not allow, whatever is in the file.
TROUBLE = (
    *(errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT),
    *(errno.EROFS, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV, errno.ENXIO, errno.EBUSY, errno.EAGAIN),
    *(errno.ENOTCONN, errno.ECONNRESET, errno.ECONNABORTED, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH),
)
ADVICE = {
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs, or raise the system's limit of open files",
    errno.ENOMEM: "give the job more memory, or use fewer processes (config key resources.workers)",
    errno.EACCES: "make the file readable, or the folder writable, for whoever runs this",
    errno.EPERM: "make the file readable, or the folder writable, for whoever runs this",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or have the quota raised",
}


class StudyError(Exception):
    """Wrong input: the message names the file, the row, the value found and the value allowed.

    Scripts show it as one line in the log and on the terminal, without a traceback.
    """


def is_trouble(error: BaseException) -> bool:
    """Whether an exception says something about the machine, and nothing about what is in a file."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in TROUBLE)


def trouble(error: BaseException, file: Path | str | None = None) -> StudyError:
    """One line on an exception that `is_trouble`.

    Args:
        file: what was read or written; the exception's own file if it has one.
    """
    number = error.errno if isinstance(error, OSError) else errno.ENOMEM
    what = error.strerror if isinstance(error, OSError) else "out of memory"
    name = getattr(error, "filename", None) or file
    advice = ADVICE.get(number or 0, "look after the disk or the connection to it")
    return StudyError(
        f"{name}: {what}; this is the machine's trouble, not the file's: {advice}, and run the same command again"
        if name
        else f"{what}: {advice}, and run the same command again"
    )


@contextmanager
def naming_trouble(file: Path | str) -> Iterator[None]:
    """Makes a StudyError that names the file of the machine's trouble; every other exception passes."""
    try:
        yield
    except (OSError, MemoryError) as error:
        if not is_trouble(error):
            raise
        raise trouble(error, file) from None
