"""What a reader may rely on in every rule, environment and file."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Workspace

from study.provenance import BOOKKEEPING, _reachable

BLOCKS = {
    match.group(1): match.group(0)
    for path in sorted(ROOT.glob("rules/*.smk"))
    for match in re.finditer(r"^ *rule (\w+):\n(?:(?: .*)?\n)+", path.read_text(encoding="utf-8"), re.MULTILINE)
}
# the lock's name of a package where conda-forge has another one
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def test_rules_are_found() -> None:
    assert {"manifest", "pack", "class_weights", "train", "evaluate", "report"} <= set(BLOCKS)


@pytest.mark.parametrize("rule", BLOCKS)
def test_every_rule_is_documented_logged_benchmarked_and_has_an_environment(rule: str) -> None:
    block = BLOCKS[rule]
    assert re.match(r' *rule \w+:\n +"""[A-Z].*\."""\n', block), "a docstring of one sentence comes first"
    for directive in ("output:", "log:", "benchmark:", "conda:", "script:"):
        assert directive in block
    assert (ROOT / "scripts" / f"{rule}.py").is_file(), "the script is named after its rule"
    assert "lambda" not in block


def test_scripts_are_those_of_rules_alone() -> None:
    assert {path.stem for path in ROOT.glob("scripts/*.py")} == set(BLOCKS)


def test_the_layout() -> None:
    for name in ("Snakefile", "rules", "scripts", "config", "envs", "results/.gitkeep", "tests", "LICENSE"):
        assert (ROOT / name).exists()
    for path in ROOT.glob("rules/*.smk"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith("# Needs:") and "# Makes:" in text, f"{path.name} opens with what it needs and makes"


# what is imported -> the environment's package that brings it
PACKAGES = {"PIL": "pillow", "yaml": "pyyaml", "sklearn": "scikit-learn", "torch": "pytorch", "docutils": "docutils"}
PACKAGES |= {"matplotlib": "matplotlib-base", "markupsafe": "jinja2"}


@pytest.mark.parametrize("rule", BLOCKS)
def test_the_environment_of_a_rule_has_what_its_script_loads(rule: str) -> None:
    """Imports of the script and of the library behind it, but for those within functions, which not every job needs."""
    match = re.search(r'"\.\./envs/(\w+)\.yaml"', BLOCKS[rule])
    assert match
    dependencies = yaml.safe_load((ROOT / f"envs/{match[1]}.yaml").read_text(encoding="utf-8"))["dependencies"]
    present = {entry.split("=")[0] for entry in dependencies}
    modules = _reachable(ROOT / "scripts" / f"{rule}.py")
    modules |= {ROOT / "scripts" / Path(*name.split(".")).with_suffix(".py") for name in BOOKKEEPING}
    loaded = {name.split(".")[0] for path in modules for name in loaded_by(ast.parse(path.read_text(encoding="utf-8")))}
    foreign = {PACKAGES.get(name, name) for name in loaded - sys.stdlib_module_names - {"study"}}
    assert foreign <= present


def imported(node: ast.AST) -> Iterator[str]:
    """Modules that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module


def loaded_by(node: ast.AST) -> Iterator[str]:
    """Modules that are imported when the code is loaded, other than for the types alone."""
    for child in ast.iter_child_nodes(node):
        yield from imported(child)
        if not isinstance(child, ast.FunctionDef) and "TYPE_CHECKING" not in ast.dump(getattr(child, "test", child)):
            yield from loaded_by(child)


def canonical(package: str) -> str:
    """Its name as a lock has it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).lower()


def locked(file: str) -> dict[str, str]:
    """The version of every package of a lock; of one that depends on the Python, the last."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", text, re.MULTILINE))


@pytest.mark.parametrize("path", sorted(ROOT.glob("envs/*.yaml")), ids=lambda path: path.stem)
def test_conda_environments_carry_the_pins_of_the_lock(path: Path) -> None:
    lock = locked("requirements.txt")
    packages = [entry.split("=") for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]]
    pins = {name: version for name, version in packages if name != "python"}
    assert pins and pins == {name: lock[CONDA_NAMES.get(name, name)] for name in pins}


@pytest.mark.parametrize("place", ["my folder", "it's"])
def test_make_says_at_once_where_no_environment_can_be(tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir()
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    run = subprocess.run(["make", "run"], cwd=folder, capture_output=True, text=True)
    assert run.returncode != 0 and "Snakemake cannot call a Python with blanks" in run.stdout
    assert "make VENV=" in run.stdout and not (folder / ".venv").exists()
    plan = subprocess.run(["make", "-n", f"VENV={tmp_path}/venv", "run"], cwd=folder, capture_output=True, text=True)
    assert f". {tmp_path}/venv/bin/activate && snakemake" in plan.stdout


@pytest.mark.parametrize(("file", "least"), [("requirements.txt", 50), ("requirements-dev.txt", 20)])
def test_a_lock_has_a_hash_for_every_package(file: str, least: int) -> None:
    entries = re.split(r"\n(?=[a-z0-9])", (ROOT / file).read_text(encoding="utf-8").strip())
    assert len(entries) > least
    assert [entry.split(" ")[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_tools_are_locked_beside_the_pipeline_which_imports_none_of_them() -> None:
    """What runs the pipeline is installed without them, and with them in the same versions."""
    pipeline, tools = locked("requirements.txt"), locked("requirements-dev.txt")
    assert {name: version for name, version in tools.items() if pipeline.get(name, version) != version} == {}
    own = set(tools) - set(pipeline)
    brought = {name for name, packages in packages_distributions().items() if set(map(canonical, packages)) <= own}
    assert {"pytest", "mypy", "selenium"} <= brought
    for path in ROOT.glob("scripts/**/*.py"):
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        names = {name for node in tree for name in imported(node)}
        assert not {name.split(".")[0] for name in names} & brought, path


def test_the_repository_holds_no_results_and_no_data() -> None:
    listing = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    files = [name for name in listing.stdout.split("\0") if name]
    assert [name for name in files if name.startswith("results/")] == ["results/.gitkeep"]
    assert [name for name in files if (ROOT / name).is_file() and (ROOT / name).stat().st_size > 1_000_000] == []


STUDIES = sorted(path.stem for path in ROOT.glob("config/*.yaml") if "\nstudy:" in path.read_text(encoding="utf-8"))


def test_what_is_no_study_of_its_own_is_a_layer_for_others() -> None:
    assert {"config", "fer2013", "original"} <= set(STUDIES) and "quarter_width" not in STUDIES


@pytest.mark.parametrize("study", STUDIES)
def test_every_configuration_is_planned_without_data(workspace: Workspace, study: str) -> None:
    workspace.configfile = f"config/{study}.yaml"
    planned = workspace.planned()
    rows = {"imbalance": 17 * 5, "published": 37, "record": 3 * 2}.get(study, 14)  # seeds, and a row without training
    assert planned["train"] == planned["evaluate"] == rows
    assert ("fetch_data" in planned) == (study in ("fer2013", "original", "record"))
    assert ("fetch_weights" in planned) == (study in ("fer2013", "original"))


def test_the_tables_that_run_on_request_are_planned_with_the_fourteen(workspace: Workspace) -> None:
    layers = ["--configfile", "config/fer2013.yaml", "config/quarter_width.yaml"]
    tables = ",".join(f"config/{name}.tsv" for name in ("experiments", "ablations", "lr_batch"))
    planned = workspace.planned(*layers, "--config", "study=all", f"experiments=[{tables}]")
    assert planned["train"] == planned["evaluate"] == 14 + 6 + 6
    assert "fetch_weights" not in planned
