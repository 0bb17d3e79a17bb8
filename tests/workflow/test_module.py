"""The pipeline as a module of another workflow: docs/MODULE.md, two studies, addresses, the catalogue."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import warm
import yaml
from conftest import RECIPES, ROOT, SMALL, copy_pipeline
from test_bad_input import image_folder

TAG = "v0.1.0"
# What the catalogue documents of .snakemake-workflow-catalog.yml. It publishes no schema: the keys are from its page
# "Adding workflows" (snakemake/snakemake-workflow-catalog, source/docs/about/adding_workflows.md), and `report` stands
# where its generator reads it (scripts/generate-catalog.py).
FLAGS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
METHODS = ("conda", "apptainer", "apptainer+conda", "singularity", "singularity+conda")
CATALOGUE = {
    "type": "object",
    "required": ["usage"],
    "additionalProperties": False,
    "properties": {
        "usage": {
            "type": "object",
            "required": ["software-stack-deployment"],
            "additionalProperties": False,
            "properties": {
                "mandatory-flags": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"desc": {"type": "string"}, "flags": FLAGS},
                },
                "software-stack-deployment": {
                    "type": "object",
                    "additionalProperties": False,
                    "minProperties": 1,
                    "properties": {method: {"type": "boolean"} for method in METHODS},
                },
                "report": {"type": "boolean"},
            },
        }
    },
}


def examples() -> dict[str, list[dict[str, str]]]:
    """The files of the page's examples, by their section: a Snakefile and the configurations that follow it."""
    found: dict[str, list[dict[str, str]]] = {}
    for section in (ROOT / "docs/MODULE.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        title = section.splitlines()[0]
        for name, text in re.findall(r"```(?:python|yaml)\n# ([\w/.]+).*\n((?s:.*?))```", section):
            if name.endswith("Snakefile"):
                found.setdefault(title, []).append({})
            found[title][-1][name] = text
    return found


EXAMPLES = examples()
HERE = {"/path/to/pipeline": str(ROOT)}


def write(folder: Path, files: dict[str, str], changes: dict[str, str]) -> None:
    """The files of an example in a folder, with what a reader puts in its place."""
    for name, text in files.items():
        for old, new in changes.items():
            text = text.replace(old, new)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def run(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Snakemake in a folder; all it says comes back as one text in `stdout`."""
    return warm.run(warm.SNAKEMAKE, ["--cores", "2", *words], folder, os.environ | variables)


def planned(folder: Path, *words: str, **variables: str) -> str:
    """What Snakemake says of the jobs to come."""
    done = run(folder, "--dry-run", *words, **variables)
    assert done.returncode == 0, done.stdout
    return done.stdout


def refused(folder: Path, *words: str, **variables: str) -> str:
    """What Snakemake says when it does not even plan."""
    done = run(folder, "--dry-run", *words, **variables)
    assert done.returncode != 0 and "Traceback" not in done.stdout, done.stdout
    return done.stdout


def counts(text: str) -> dict[str, int]:
    """Jobs per rule."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}


def test_the_page_has_the_examples() -> None:
    assert {title: len(examples) for title, examples in EXAMPLES.items()} == {
        "One study": 2,
        "Two studies in one workflow": 1,
        "From an address": 1,
    }


def test_the_profile_of_the_pipeline_is_loaded_once_it_is_copied_as_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs/MODULE.md").read_text(encoding="utf-8")
    profile = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text(encoding="utf-8"))
    (named,) = re.findall(r"`snakemake (--rerun.*)`", page)
    assert set(named.split()) == {f"--{key}" for key, value in profile.items() if value is True}
    (command,) = re.findall(r"^    (.* cp -r .*)$", page, re.MULTILINE)
    write(tmp_path, EXAMPLES["One study"][0], HERE)
    told = "Using workflow specific profile profiles/default"
    assert told not in planned(tmp_path)
    subprocess.run(command.replace("/path/to/pipeline", str(ROOT)), shell=True, check=True, cwd=tmp_path)
    assert told in planned(tmp_path)


def test_one_study(tmp_path: Path) -> None:
    whole, changed = EXAMPLES["One study"]
    write(tmp_path, whole, HERE)
    jobs = counts(planned(tmp_path))
    assert jobs["study_train"] == 28 and jobs["all"] == jobs["study_report"] == 1
    write(tmp_path, changed, HERE)
    text = planned(tmp_path, "results/own/train/sgd_ver3/seed_0/run.json")
    assert counts(text)["train"] == 1 and "threads: 2" in text


def test_two_studies_with_a_prefix(tmp_path: Path) -> None:
    write(tmp_path, EXAMPLES["Two studies in one workflow"][0], HERE)
    text = planned(tmp_path)
    jobs = counts(text)
    assert (jobs["first_train"], jobs["second_train"]) == (28, 14)
    assert jobs["first_report"] == jobs["second_report"] == 1
    assert " first/results/digits_of_two_seeds/report.html" in text
    assert " results/digits_without_weights/report.html" in text
    assert not (tmp_path / "first").exists() and not (tmp_path / "results").exists()


def module(name: str, config: object, pipeline: Path = ROOT, prefix: str = "") -> str:
    """A module and its rules, as a Snakefile has them."""
    given = f"    prefix: {prefix!r}\n" if prefix else ""
    snakefile = str(pipeline / "Snakefile")
    head = f"module {name}:\n    snakefile: {snakefile!r}\n    config: {config!r}\n{given}"
    return f"{head}\nuse rule * from {name} as {name}_*\n\n"


def two(folder: Path, first: str, second: str) -> None:
    """A Snakefile of two modules that wants both."""
    rule = "rule every:\n    default_target: True\n    input: rules.first_all.input, rules.second_all.input\n"
    (folder / "Snakefile").write_text(first + second + rule, encoding="utf-8")


def test_two_studies_with_one_folder_are_refused(tmp_path: Path) -> None:
    two(tmp_path, module("first", {"seeds": [0]}), module("second", {"seeds": [1]}))
    assert "results/digits: two modules of this workflow would make it" in refused(tmp_path)
    two(tmp_path, module("first", {"seeds": [0]}, prefix="one"), module("second", {"seeds": [1]}))
    assert counts(planned(tmp_path))["second_train"] == 14


def test_a_prefix_leaves_what_a_study_is_given_and_two_studies_fetch_it_once(tmp_path: Path) -> None:
    header, plain = RECIPES.splitlines()[:2]
    theirs = "theirs\t1" + "\t" * header.count("\t") + "theirs.csv"
    (tmp_path / "table.tsv").write_text(f"{header}\tpredictions\n{plain}\t\n{theirs}\n", encoding="utf-8")
    (tmp_path / "theirs.csv").write_text("image_id\n", encoding="utf-8")
    given = {
        "experiments": "table.tsv",
        "data": {"source": "images.zip", "url": "https://example.org/images.zip", "sha256": "0" * 64},
        "model": {"weights": "imagenet", "width": 1.0, "name": "vgg11"},
    }
    first, second = module("first", {"study": "a", **given}, prefix="one"), module("second", {"study": "b", **given})
    two(tmp_path, first, second)
    text = planned(tmp_path)
    jobs = counts(text)
    assert jobs["first_fetch_data"] == jobs["first_fetch_weights"] == 1
    assert "second_fetch_data" not in jobs and "second_fetch_weights" not in jobs
    assert jobs["first_import_predictions"] == jobs["second_import_predictions"] == 1
    assert "one/results/a/report.html" in text
    assert not re.search(r"one/(images\.zip|resources|theirs\.csv)", text), text
    own = 'rule mine:\n    output: "images.zip"\n    shell: "touch {output}"\n\n\n'
    two(tmp_path, own + first, second)
    jobs = counts(planned(tmp_path))
    assert jobs["mine"] == 1 and "first_fetch_data" not in jobs and "second_fetch_data" not in jobs


def test_images_that_a_rule_of_ones_own_makes_are_known_by_when_they_were_made(tmp_path: Path) -> None:
    image_folder(tmp_path / "drawn", {"a": 60, "b": 60})
    own = 'rule images:\n    output: directory("faces")\n    shell: "cp -r drawn faces"\n\n\n'
    config = {**SMALL, "study": "faces", "experiments": "table.tsv", "data": {**SMALL["data"], "source": "faces"}}
    (tmp_path / "table.tsv").write_text("".join(RECIPES.splitlines(keepends=True)[:2]), encoding="utf-8")
    (tmp_path / "Snakefile").write_text(own + module("study", config), encoding="utf-8")
    packed = "results/faces/data/pack.json"
    done = run(tmp_path, packed)
    assert done.returncode == 0, done.stdout
    assert "Nothing to be done" in planned(tmp_path, packed)
    shutil.rmtree(tmp_path / "drawn")
    image_folder(tmp_path / "drawn", {"a": 61, "b": 60}, seed=1)
    jobs = counts(planned(tmp_path, "--forcerun", "images", "--", packed))
    assert jobs["images"] == jobs["study_manifest"] == jobs["study_pack"] == 1
    done = run(tmp_path, "--forcerun", "images", "--", packed)
    assert done.returncode == 0, done.stdout
    assert "Nothing to be done" in planned(tmp_path, packed)


def git(folder: Path, *words: str) -> str:
    """What git says to a command."""
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline as a repository with a tag, at …/owner/recipe-study."""
    folder = tmp_path_factory.mktemp("hosts") / "owner/recipe-study"
    folder.mkdir(parents=True)
    copy_pipeline(folder)
    shutil.copy2(ROOT / ".gitignore", folder)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "one")
    git(folder, "tag", TAG)
    return folder


def reached(repository: Path, cache: Path) -> dict[str, str]:
    """Variables with which git finds repositories of github.com beside this one, and Snakemake a cache of its own."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{repository.parents[1]}/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
        "XDG_CACHE_HOME": str(cache),
    }


def test_a_study_from_an_address_runs_to_its_end(repository: Path, tmp_path: Path) -> None:
    """As snakedeploy writes it, with a small study in place of the default, and a prefix."""
    github = reached(repository, tmp_path / "cache")
    folder = tmp_path / "mine"
    changes = {"    config: config\n": '    config: config["one"]\n    prefix: "part"\n'}
    write(folder, EXAMPLES["From an address"][0], changes)
    (folder / "config").mkdir()
    one = {**SMALL, "experiments": "table.tsv"}
    (folder / "config/config.yaml").write_text(yaml.safe_dump({"one": one}), encoding="utf-8")
    (folder / "table.tsv").write_text("".join(RECIPES.splitlines(keepends=True)[:2]), encoding="utf-8")
    done = run(folder, **github)
    assert done.returncode == 0, done.stdout
    commit, results = git(repository, "rev-parse", "HEAD"), folder / "part/results/small"
    record = json.loads((results / "train/plain/seed_0/run.json").read_text(encoding="utf-8"))
    assert record["provenance"]["git_commit"] == commit and record["provenance"]["git_dirty"] is False
    assert (results / "report.html").stat().st_size > 100_000
    clones = [path.name for path in (folder / ".snakemake/pipeline").iterdir()]
    assert clones == [commit]
    assert "Nothing to be done" in planned(folder, **github)
    verified = subprocess.run(
        [sys.executable, folder / f".snakemake/pipeline/{commit}/scripts/study", "verify", "--study", "small"],
        cwd=folder / "part", capture_output=True, text=True,
    )  # fmt: skip
    assert verified.returncode == 0 and "everything holds" in verified.stdout, verified.stdout + verified.stderr


def test_other_addresses(repository: Path, tmp_path: Path) -> None:
    """A local repository by its tag; what cannot work says what does."""
    github = reached(repository, tmp_path / "cache")
    address = f'github("owner/recipe-study", path="workflow/Snakefile", tag="{TAG}")'
    files = EXAMPLES["From an address"][0]
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text("study: mine\n", encoding="utf-8")

    def named(other: str) -> None:
        write(tmp_path, files, {address: other})

    named(f'gitfile("{repository}", path="workflow/Snakefile", tag="{TAG}")')
    assert counts(planned(tmp_path))["train"] == 14
    named('github("owner/recipe-study", path="Snakefile", branch="main")')
    assert 'name workflow/Snakefile of the same address (path="workflow/Snakefile")' in refused(tmp_path, **github)


def test_two_versions_need_a_workflow_each(repository: Path, tmp_path: Path) -> None:
    two(tmp_path, module("first", {"study": "a"}), module("second", {"study": "b"}, pipeline=repository))
    assert "another copy of the pipeline is in use already" in refused(tmp_path)


def test_what_the_catalogue_asks_for() -> None:
    shown = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))
    jsonschema.validate(shown, CATALOGUE)
    for name in ("workflow/Snakefile", "config/README.md", "LICENSE"):
        assert (ROOT / name).is_file()
    readme = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    assert "snakemake" in readme and "workflow" in readme, "the catalogue looks for both words"
    assert not (ROOT / "workflow/rules").exists(), "the catalogue would look for rules there alone"
    deployed = shown["usage"]["software-stack-deployment"]
    assert deployed == {"conda": True}, "every rule has an environment, and no container is published"
