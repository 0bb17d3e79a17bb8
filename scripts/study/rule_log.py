"""What every script of a rule shares: lines that reach the terminal and the log, and errors that read well."""

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from study.errors import StudyError, is_trouble, trouble


@contextmanager
def logged(log: str | Path, threads: int | None = None) -> Iterator[Callable[[str], None]]:
    """Yield a function that writes a line to the terminal and to the rule's log.

    A `StudyError`, or the machine's own trouble (a disk that is full or fails, a limit, no memory), ends the process
    with status 1 after its message alone, any other exception with its traceback in the log as well. Warnings of
    libraries go to the log too.

    Args:
        log: path of the rule's log file.
        threads: if given, what numeric libraries that are imported later may use.
    """
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger("study")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handlers: list[logging.Handler] = [logging.FileHandler(log, mode="w", encoding="utf-8"), logging.StreamHandler()]
    warnings_logger = logging.getLogger("py.warnings")
    logging.captureWarnings(True)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        warnings_logger.addHandler(handler)
    try:
        yield logger.info
    except StudyError as error:
        logger.error("Error: %s", error)
        sys.exit(1)
    except Exception as error:
        if is_trouble(error):
            logger.error("Error: %s", trouble(error))
            sys.exit(1)
        handlers[0].stream.write(traceback.format_exc())  # type: ignore[attr-defined]
        raise
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            warnings_logger.removeHandler(handler)
            handler.close()
