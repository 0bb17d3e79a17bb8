"""Where a result comes from: digests of code, data and recipe, versions, git state, machine."""

import ast
import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pandas", "scikit-learn", "safetensors", "snakemake")
# Modules that write down and report, and decide nothing about a result: a change in them runs nothing again.
BOOKKEEPING = ("study.errors", "study.rule_log", "study.provenance")
# Modules that only make sentences: cells of tables, but mere words to a training that has one as its last line.
SENTENCES = ("study.compare.outcome_in_words",)
# Functions, or attributes with an underscore in front or without, that take a line for the log and return nothing.
TAKE_A_LINE = ("report", "say")
# What a cluster says of the job that made a run.
CLUSTER_VARIABLES = (
    *("SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURMD_NODENAME"),
)
# What makes git look at another repository than that of the folder, as inside a hook.
REDIRECT_GIT = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")

Function = TypeVar("Function", bound=Callable[..., Any])


def only_words(function: Function) -> Function:
    """Mark a function that only makes text for readers and changes nothing: see `code_digest`."""
    return function


@functools.cache
def code_digest(script: Path, words: bool = True) -> str:
    """SHA-256 of what a script and the library modules that it imports or names (directly or not) do.

    The syntax trees are compared, so comments, docstrings and layout count for nothing.

    Args:
        script: path of the script; its folder holds the package `study`.
        words: whether text for readers counts: what an exception is raised with, what is said to the log
            (`TAKE_A_LINE`), functions marked with `only_words`, and SENTENCES. It is part of what tables, pages and the
            manifest say; of a training it decides nothing, so that a reworded message trains nothing again.
    """
    digest = hashlib.sha256()
    for path in sorted(_reachable(script, words)):
        digest.update(path.relative_to(script.parent).as_posix().encode())
        digest.update(_read(path).code[words].encode())
    return digest.hexdigest()


def _reachable(script: Path, words: bool = True) -> set[Path]:
    """The script and every module of `study` that it imports or names, at any depth and in any function."""
    left_out = BOOKKEEPING if words else BOOKKEEPING + SENTENCES
    reached: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        for name in _read(path).named - set(left_out):
            module = script.parent / Path(*name.split("."))
            waiting += [path for path in (module.with_suffix(".py"), module / "__init__.py") if path.is_file()]
    return reached


@dataclass(frozen=True)
class _Source:
    """What a module's source comes to.

    Attributes:
        named: the modules of `study` that it imports or names.
        code: SHA-256 of the code alone, by whether words count.
    """

    named: frozenset[str]
    code: Mapping[bool, str]


@functools.cache
def _read(path: Path) -> _Source:
    """A module, as it was read before if its bytes were: all of them at every call of Snakemake would take seconds."""
    source = path.read_bytes()
    kept = _kept(source)
    if kept:
        with contextlib.suppress(OSError, ValueError):  # none yet, or a broken one
            named, without_words, with_words = json.loads(kept.read_bytes())
            return _Source(frozenset(named), {False: without_words, True: with_words})
    text = source.decode()
    code = {words: hashlib.sha256(_code_alone(text, words).encode()).hexdigest() for words in (False, True)}
    read = _Source(_modules_named(text), code)
    if kept:
        with contextlib.suppress(OSError):  # not to be written to: read anew next time
            kept.parent.mkdir(parents=True, exist_ok=True)
            aside = kept.with_suffix(f".{os.getpid()}")
            aside.write_text(json.dumps([sorted(read.named), *code.values()]), encoding="utf-8")
            aside.replace(kept)
    return read


def _kept(source: bytes) -> Path | None:
    """The file that keeps what a source comes to, for this module and Python; None where there is no home for it."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:  # a user without a home
        return None
    reader = hashlib.sha256(_own_source() + sys.version.encode())
    reader.update(source)
    return folder / "recipe-study" / reader.hexdigest()[:32] if folder.is_absolute() else None


@functools.cache
def _own_source() -> bytes:
    return Path(__file__).read_bytes()


def _modules_named(text: str) -> frozenset[str]:
    """Dotted names within `study` that a module imports or names; of what is in a module, both it and the module."""
    named = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            named |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and re.fullmatch(r"study(\.\w+)+", text := str(node.value)):
            named |= {text, text.rpartition(".")[0]}  # a function by its dotted path
    return frozenset(name for name in named if name.startswith("study."))


def _code_alone(text: str, words: bool) -> str:
    """A module's syntax tree without what `_Stripped` takes out."""
    return _dumped(_Stripped(words).visit(ast.parse(text)))


def _dumped(value: Any) -> str:
    """A syntax tree as text, the same in every version of Python, as that of `ast.unparse` and `ast.dump` is not."""
    if isinstance(value, list):
        return f"[{','.join(map(_dumped, value))}]"
    if not isinstance(value, ast.AST):
        return repr(value)
    if isinstance(value, ast.JoinedStr):  # Python 3.12 leaves an empty text at the end of some
        value.values = [part for part in value.values if getattr(part, "value", None) != ""]
    # What is empty or absent may be a field that a later version has; `kind` is the u of u"…".
    fields = [(name, child) for name, child in ast.iter_fields(value) if name != "kind" and child not in (None, [])]
    return f"{type(value).__name__}({','.join(f'{name}={_dumped(child)}' for name, child in fields)})"


class _Stripped(ast.NodeTransformer):
    """Takes docstrings out of a module, and text for readers if `words` do not count; see `code_digest`."""

    def __init__(self, words: bool) -> None:
        self.words = words

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr):  # holds no statement
            return node
        node = super().visit(node)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.body:
            node.body = [ast.Pass()]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        marks = [
            mark.attr if isinstance(mark, ast.Attribute) else getattr(mark, "id", "") for mark in node.decorator_list
        ]
        return None if only_words.__name__ in marks and not self.words else self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        value = node.value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):  # a docstring
            return None
        if isinstance(value, ast.Call) and not self.words:
            function = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
            if function.removeprefix("_") in TAKE_A_LINE:
                value.args, value.keywords = [], []
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call) and not self.words:
            node.exc.args, node.exc.keywords = [], []
        return self.generic_visit(node)


def digest(value: Any) -> str:
    """SHA-256 of a value that JSON can express, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def git_state(directory: Path, *pathspecs: str) -> dict[str, Any]:
    """Commit of the checkout and whether tracked files differ from it; None for both outside git.

    A repository that merely lies around the folder and tracks nothing in it does not count: its commit says nothing of
    this code. Neither does one that git will not read (another owner), nor what GIT_DIR points to.

    Args:
        directory: of the code; the repository is the one that git finds from there.
        pathspecs: which files are looked at, in git's notation; all of them without.
    """
    environment = {name: value for name, value in os.environ.items() if name not in REDIRECT_GIT}

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(directory), *arguments]
        try:
            run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        except (OSError, subprocess.CalledProcessError):
            return None
        return run.stdout.strip()

    if git("ls-files", "--error-unmatch", "--", ".") is None:
        return {"git_commit": None, "git_dirty": None}
    status = git("status", "--porcelain", "--untracked-files=no", "--", *pathspecs)
    return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": None if status is None else bool(status)}


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that can change a result."""
    by_package = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            by_package[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return by_package


def collect(
    *,
    code: str,
    data: str,
    recipe: dict[str, Any],
    settings: dict[str, Any],
    class_weights: str | None,
    initial_weights: str | None,
) -> dict[str, Any]:
    """The part of `run.json` that says what made the run, but for device, precision and times.

    Args:
        code, data, class_weights: digests; of class_weights.csv None where the recipe does not use it.
        initial_weights: digest of the weights of another run that the training starts from; None for any other start.
        settings: all that decides the training beside the recipe; kept as it is, too, to say later what changed.
    """
    return {
        **git_state(Path(__file__).parent),
        "code": code,
        "data": data,
        "recipe": digest(recipe),
        "settings": digest(settings),
        "configuration": settings,
        "class_weights": class_weights,
        "initial_weights": initial_weights,
        "versions": versions(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu": processor(),
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "scheduler": {name: os.environ[name] for name in CLUSTER_VARIABLES if name in os.environ},
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor by name, as the kernel knows it."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} logical cores" if names else platform.machine()
