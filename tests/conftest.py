"""What tests share: a copy of the pipeline to run in, and the real data set where it is at hand."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import warm
import yaml

ROOT = Path(__file__).parents[1]

# Started in the background by a shell, the tests and all their processes would ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
PIPELINE = ("Snakefile", "workflow", "rules", "scripts", "config", "envs", "profiles", "report")

RECIPES = """\
experiment\tcase\toptimizer\tlr\tmin_lr\tbatch_size\tmax_epochs\tloss\tactivation\tsampler\tmomentum\treported
plain\t1\tSGD\t0.01\t1e-10\t64\t1\tcross_entropy\tlog_softmax\tshuffle\t0.9\t0.6
weighted\t1\tAdam\t0.001\t1e-10\t128\t1\tweighted_cross_entropy\tsoftmax\tbalanced\t\t
"""

SMALL = {
    "study": "small",
    "experiments": "config/small.tsv",
    "cases": {"1": "With and without weights"},
    "data": {"image_size": 32},
    "model": {"name": "vgg11", "width": 0.125, "head_hidden": 16},
    "metrics": {"bootstrap_samples": 100},
}


# Files of tests/unit whose tests take longest, which then begin first: no process is left with one of them.
LONG = ("benchmark", "figures", "loop", "export", "names", "learner", "manifest")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workflow and browser as they come, then what is long of the rest."""
    long = {f"test_{name}" for name in LONG}
    items.sort(key=lambda item: item.path.is_relative_to(ROOT / "tests/unit") * (1 if item.path.stem in long else 2))


@dataclass
class Workspace:
    """A copy of the pipeline in a folder of its own, run with the Snakemake of the running Python.

    Attributes:
        root: the folder that it is run in.
        checkout: where the pipeline is, if that is another folder.
    """

    root: Path
    configfile: str = "config/small.yaml"
    checkout: Path | None = None

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Snakemake, its own configuration unless one is named; all it says comes back as one text in `stdout`."""
        words = ["--cores", "2"]
        words += [] if "--configfile" in arguments else ["--configfile", self.configfile]
        words += ["--snakefile", str(self.checkout / "Snakefile")] if self.checkout else []
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        run = warm.run(warm.SNAKEMAKE, [*words, "--resources", "gpu=1", *arguments], self.root, environment)
        if check and run.returncode:
            pytest.fail(f"snakemake {' '.join(arguments)} failed:\n{run.stdout[-8000:]}")
        return run

    def planned(self, *arguments: str) -> dict[str, int]:
        """Number of jobs per rule that a run would start now."""
        text = self.snakemake("--dry-run", *arguments).stdout
        table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\n\n", text, re.DOTALL)
        rows = [line.split() for line in table.group(1).splitlines()] if table else []
        return {rule: int(count) for rule, count in rows if rule not in ("total", "all")}

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One of the commands beside the rules; all it says comes back as one text in `stdout`."""
        return warm.run(str((self.checkout or Path()) / "scripts/study"), words, self.root)

    def configure(self, **overlay: object) -> None:
        """Lay values over the workspace's configuration."""
        path = self.root / self.configfile
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key, value in overlay.items():
            config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
        path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")


def copy_pipeline(target: Path) -> Workspace:
    """The pipeline's files, with a study of two small recipes beside the shipped ones."""
    for name in PIPELINE:
        source = ROOT / name
        if source.is_dir():
            # What Python compiled is valid there, too, but for what it is just writing.
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("*.pyc.*"))
        else:
            shutil.copy2(source, target / name)
    (target / "config/small.tsv").write_text(RECIPES, encoding="utf-8")
    (target / "config/small.yaml").write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    return Workspace(target)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A fresh copy of the pipeline, nothing run yet."""
    return copy_pipeline(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy of the pipeline in which the small study was run once. Tests that change it copy it first.

    With several processes of pytest-xdist, one of them runs it, and each has a copy of its own.
    """
    own = tmp_path_factory.mktemp("finished")
    if "PYTEST_XDIST_WORKER" not in os.environ:
        workspace = copy_pipeline(own)
        workspace.snakemake()
        return workspace
    shared = tmp_path_factory.getbasetemp().parent / "finished"
    with (shared.parent / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            made = shared.with_name("being_made")
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            copy_pipeline(made).snakemake()
            made.rename(shared)
    shutil.copytree(shared, own, symlinks=True, dirs_exist_ok=True)
    return Workspace(own)


@pytest.fixture
def finished_copy(finished: Workspace, tmp_path: Path) -> Workspace:
    """The finished study, to be changed at will; time stamps are kept."""
    root = tmp_path / "study"
    shutil.copytree(finished.root, root, symlinks=True)
    return Workspace(root)


@pytest.fixture(scope="session")
def fer2013_zip() -> Path:
    """The real data set as a zip of image folders, or a skip that says where it was looked for."""
    places = [os.environ.get("FER2013_ZIP"), ROOT / "resources/fer2013.zip", ROOT.parent / "shared/data/fer2013.zip"]
    for place in places:
        if place and Path(place).is_file():
            return Path(place)
    pytest.skip("FER2013 is not here: set FER2013_ZIP or place resources/fer2013.zip")
