"""Programs in processes that begin with the libraries loaded, which is most of what a plan or a command takes.

A server process loads them once, and every call is a fork of it (multiprocessing's "forkserver") with a working
directory, an environment and an output of its own, and with none of this project's modules. Jobs are processes as ever.
"""

import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SNAKEMAKE = "snakemake"
SNAKEMAKES = ["snakemake.cli", "snakemake.report", "snakemake_logger_plugin_rich", "smart_open", "jsonschema"]
LIBRARIES = ["pandas", "statsmodels.api", "sklearn.metrics", "torch", "torchvision"]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(SNAKEMAKES + LIBRARIES)


def run(
    program: str, words: Sequence[str], folder: Path, environment: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """What a program does in a folder; all it says comes back as one text in `stdout`.

    Args:
        program: `SNAKEMAKE`, or a script or folder of one.
        words: its arguments.
    """
    with tempfile.NamedTemporaryFile() as output:
        given = (program, list(words), str(folder), dict(environment), output.name)
        process = _context.Process(target=_run, args=given)
        process.start()
        process.join()
        assert process.exitcode is not None
        said = Path(output.name).read_text(encoding="utf-8")
    return subprocess.CompletedProcess([program, *words], process.exitcode, said)


def _run(program: str, words: list[str], folder: str, environment: dict[str, str], output: str) -> None:
    gc.freeze()  # collections would walk all that is loaded, and have it copied
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    written = os.open(output, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(written, stream)
    # Without the folders that pytest finds modules in: what runs has its own copy of them.
    kept = [Path(entry).is_relative_to(sys.prefix) or not Path(entry).is_relative_to(ROOT) for entry in sys.path]
    sys.path[:] = [entry for entry, keep in zip(sys.path, kept, strict=True) if keep]
    sys.argv = [program, *words]
    if program == SNAKEMAKE:
        from snakemake.cli import main

        main()
    else:
        runpy.run_path(program, run_name="__main__")
