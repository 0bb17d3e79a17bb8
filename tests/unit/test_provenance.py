"""Digests of code: what changes them and what does not."""

import ast
import hashlib
import subprocess
from pathlib import Path

import pytest

from study import provenance
from study.compare.all_tables import TABLES
from study.report.all_figures import FIGURES

SCRIPT = """\
from study.rule_log import logged
from study.compare.outcome_in_words import reason
from study.train import training
training.run()
"""
TRAINING = '''"""Loop."""
from study.provenance import only_words
from study.train import nets
from study.train.losses import loss


def run(report, log):
    """Run."""
    report(line("trains"))
    log.report("trained", end="")
    log._report("kept")
    if loss() > 2:
        raise ValueError("too much", loss()) from None
    told = report("twice")
    return loss()


class Log:
    @property
    @only_words
    def heading(self):
        return "Log"

    @only_words
    def text(self):
        return "a line"


@only_words
def line(word):
    return f"It {word}."
'''


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "study/train").mkdir(parents=True)
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "study/train/training.py").write_text(TRAINING)
    (tmp_path / "study/train/losses.py").write_text("def loss():\n    return 1\n")
    (tmp_path / "study/rule_log.py").write_text("def logged():\n    return 1\n")
    (tmp_path / "study/compare").mkdir()
    (tmp_path / "study/compare/tables.py").write_text("x = 1\n")
    (tmp_path / "study/compare/outcome_in_words.py").write_text("def reason():\n    return 'The loss fell.'\n")
    (tmp_path / "study/train/nets").mkdir()
    (tmp_path / "study/train/nets/__init__.py").write_text("from study.train.nets.vgg import y\n")
    (tmp_path / "study/train/nets/vgg.py").write_text("y = 1\n")
    return tmp_path


def digest(code: Path, words: bool = False) -> str:
    for cached in (provenance.code_digest, provenance._read):
        cached.cache_clear()
    return provenance.code_digest(code / "train.py", words)


def test_what_was_read_before_is_read_from_the_cache(code: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = digest(code)
    kept = sorted((tmp_path / "cache/recipe-study").iterdir())
    assert len(kept) == 5
    with monkeypatch.context() as without:
        without.setattr(provenance, "_code_alone", lambda *_: pytest.fail("read anew"))
        assert digest(code) == first
    for broken in ("", "{}", "[1, 2"):
        kept[0].write_text(broken)
        assert digest(code) == first


SAMPLE = """\
def f(x, /, *, y: int = -1, **z):
    rows = [f"row {len(x) - 1:>{z['width']}}" for x in z if x]
    return f"{', '.join(rows)}: {y:.1%}" "ü" or (b"0", 1.5, None, ...)
"""


def test_a_digest_is_the_same_in_every_python() -> None:
    """With which the GitHub workflow runs this: a study goes on when its environment gets a newer one."""
    found = hashlib.sha256(provenance._code_alone(SAMPLE, True).encode()).hexdigest()
    assert found == "484ce929557d92a0b150330020836bfe115b9133020aec91c663c6c2a0fbd51e"


@pytest.mark.parametrize("place", ["file/in/the/way", "relative"])
def test_without_a_place_for_it_modules_are_read_anew(code: Path, tmp_path: Path, monkeypatch, place: str) -> None:
    first = digest(code)
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", place if place == "relative" else str(tmp_path / place))
    assert digest(code) == first and not (tmp_path / "relative").exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("study/train/losses.py", "return 1", "return 2", True),
        ("study/train/training.py", "return loss()", "return -loss()", True),
        ("train.py", "training.run()", "training.run(2)", True),
        ("study/train/training.py", '"""Run."""', '"""Run it all."""', False),
        ("study/train/losses.py", "return 1", "return 1  # one", False),
        ("study/train/losses.py", "def loss():", "\n\ndef loss():", False),
        ("study/train/nets/vgg.py", "1", "2", True),
        ("study/train/nets/__init__.py", "import y", "import y as z", True),
        ("study/compare/tables.py", "1", "2", False),
        ("study/rule_log.py", "return 1", "return 2", False),
        ("study/compare/outcome_in_words.py", "fell", "sank", False),
        # words: of a line for the log, an exception, a function that makes nothing else
        ("study/train/training.py", 'report(line("trains"))', 'report(line("has begun"))', False),
        ("study/train/training.py", '"trained", end=""', '"done"', False),
        ("study/train/training.py", '_report("kept")', '_report(f"kept {log}")', False),
        ("study/train/training.py", '"too much", loss()', '"too much by far"', False),
        ("study/train/training.py", 'return "Log"', 'return "Logbook"', False),
        ("study/train/training.py", 'return "a line"', 'return "a row"', False),
        ("study/train/training.py", 'f"It {word}."', 'f"Now it {word}."', False),
        ("study/train/training.py", "def line(word)", "def line(verb)", False),
        # what is done beside them
        ("study/train/training.py", 'report(line("trains"))', "train()", True),
        ("study/train/training.py", '_report("kept")', 'keep("kept")', True),
        ("study/train/training.py", "loss() > 2", "loss() > 3", True),
        ("study/train/training.py", "raise ValueError", "raise TypeError", True),
        ("study/train/training.py", 'told = report("twice")', 'told = report("thrice")', True),
        ("study/train/training.py", "    @only_words\n    def text", "    def text", True),
    ],
)
def test_only_the_code_itself_changes_the_digest(code: Path, file: str, old: str, new: str, changes: bool) -> None:
    before = digest(code)
    path = code / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert (digest(code) != before) == changes


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("study/compare/outcome_in_words.py", "fell", "sank", True),
        ("study/train/training.py", '"too much", loss()', '"too much by far"', True),
        ("study/train/training.py", 'f"It {word}."', 'f"Now it {word}."', True),
        ("study/train/training.py", '"""Run."""', '"""Run it all."""', False),
        ("study/rule_log.py", "return 1", "return 2", False),
    ],
)
def test_words_count_where_they_are_part_of_what_is_written(
    code: Path, file: str, old: str, new: str, changes: bool
) -> None:
    before = digest(code, words=True)
    (code / file).write_text((code / file).read_text().replace(old, new))
    assert (digest(code, words=True) != before) == changes


def test_what_only_makes_words_changes_nothing_it_is_given() -> None:
    """The digest of a training leaves these functions out, so they must not decide anything."""
    scripts = Path(__file__).parents[2] / "scripts"
    marked = 0
    for path in sorted(scripts.rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and "only_words" in map(ast.unparse, function.decorator_list):
                marked += 1
                stored = [node for node in ast.walk(function) if isinstance(getattr(node, "ctx", None), ast.Store)]
                assert all(isinstance(node, ast.Name | ast.Tuple | ast.Starred) for node in stored), function.name
    assert marked > 5


def test_the_training_script_depends_on_the_training_library_and_not_on_tables() -> None:
    scripts = Path(__file__).parents[2] / "scripts"
    modules = {path.stem for path in provenance._reachable(scripts / "train.py", words=False)}
    assert {"train", "loop", "batches", "losses", "models", "stopping"} <= modules
    assert not {"outcome_in_words", "runs", "figures", "metrics", "sources", "rule_log"} & modules


def test_what_makes_tables_and_figures_is_reached_by_its_name() -> None:
    scripts = Path(__file__).parents[2] / "scripts"
    for script, declared in (("tables", [t.maker for t in TABLES]), ("figures", [f.draw_with for f in FIGURES])):
        modules = {path.relative_to(scripts) for path in provenance._reachable(scripts / f"{script}.py")}
        assert {Path(*name.split(".")[:-1]).with_suffix(".py") for name in declared} <= modules


NO_COMMIT = {"git_commit": None, "git_dirty": None}


def git(folder: Path, *arguments: str) -> str:
    command = [
        "git",
        "-C",
        str(folder),
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "-c",
        "protocol.file.allow=always",
    ]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def repository(folder: Path) -> Path:
    """A repository with one commit of one script."""
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts/file.py").write_text("1")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        git(folder, *command)
    return folder


def test_git_state(tmp_path: Path) -> None:
    assert provenance.git_state(tmp_path) == NO_COMMIT
    folder = repository(tmp_path / "mine")
    state = provenance.git_state(folder / "scripts")
    assert state == {"git_commit": git(folder, "rev-parse", "HEAD"), "git_dirty": False}
    (folder / "scripts/file.py").write_text("2")
    assert provenance.git_state(folder / "scripts")["git_dirty"] is True


def test_the_commit_of_a_repository_around_the_code_is_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = repository(tmp_path / "foreign")
    (foreign / "copied/scripts").mkdir(parents=True)
    (foreign / "copied/scripts/train.py").write_text("1")
    assert provenance.git_state(foreign / "copied/scripts") == NO_COMMIT
    (foreign / ".gitignore").write_text("copied/\n")
    assert provenance.git_state(foreign / "copied/scripts") == NO_COMMIT
    monkeypatch.setenv("GIT_DIR", str(foreign / ".git"))
    assert provenance.git_state(tmp_path) == NO_COMMIT


def test_shallow_clones_worktrees_and_submodules_have_their_own_commit(tmp_path: Path) -> None:
    one = repository(tmp_path / "one")
    commit, outer = git(one, "rev-parse", "HEAD"), repository(tmp_path / "outer")
    (one / "scripts/file.py").write_text("2")
    git(one, "commit", "-qam", "two")
    git(one, "worktree", "add", "-q", str(tmp_path / "tree"), commit)
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{one}", str(tmp_path / "shallow"))
    git(outer, "submodule", "add", "-q", str(one), "part")
    newest = git(one, "rev-parse", "HEAD")
    assert provenance.git_state(tmp_path / "tree/scripts") == {"git_commit": commit, "git_dirty": False}
    assert provenance.git_state(tmp_path / "shallow/scripts") == {"git_commit": newest, "git_dirty": False}
    assert provenance.git_state(outer / "part/scripts") == {"git_commit": newest, "git_dirty": False}


@pytest.mark.parametrize("program", [None, "echo 'fatal: detected dubious ownership' >&2; exit 128"])
def test_without_a_git_that_answers_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None
) -> None:
    folder = repository(tmp_path / "mine")
    (tmp_path / "bin").mkdir()
    if program:
        (tmp_path / "bin/git").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert provenance.git_state(folder / "scripts") == NO_COMMIT
