"""What planning says and refuses, and what commands make of a study that has changed, with real Snakemake."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import warm
import yaml
from conftest import Workspace
from test_rerun import add_a_row, add_a_seed, change_one_lr, change_training_code, comment

GOES, GOES_ON = "trains again from the start", "goes on after epoch"
BOTH = "2 finished trainings (plain, seed 0, …)"


def notice(workspace: Workspace, *arguments: str) -> list[str]:
    """What a dry run says of finished trainings."""
    lines = workspace.snakemake("--dry-run", *arguments).stdout.splitlines()
    return [line for line in lines if any(words in line for words in (GOES, GOES_ON, "will be replaced"))]


def augmentation(workspace: Workspace) -> None:
    workspace.configure(augmentation={"shift": 0.2})


def image_size(workspace: Workspace) -> None:
    workspace.configure(data={"image_size": 64})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (change_one_lr, "plain, seed 0: trained with lr 0.01, now 0.02"),
        (augmentation, f"{BOTH}: trained with augmentation.shift 0.04, now 0.2"),
        (
            image_size,
            "2 finished trainings (plain, seed 0, …): its images are prepared anew, data.image_size 32, now 64",
        ),
        (
            change_training_code,
            "2 finished trainings (plain, seed 0, …): trained by another version of the training code",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_planning_says_what_will_be_replaced_and_why(
    finished_copy: Workspace, change: Callable[[Workspace], None], said: str
) -> None:
    change(finished_copy)
    assert notice(finished_copy) == [
        f"{said}: {GOES}",
        "The finished results of these trainings will be replaced; to keep them, stop and copy first: "
        "cp -a results/small results/small_before",
    ]


@pytest.mark.parametrize("change", [add_a_row, add_a_seed, comment], ids=lambda value: value.__name__)
def test_nothing_is_said_where_nothing_is_replaced(
    finished_copy: Workspace, change: Callable[[Workspace], None]
) -> None:
    change(finished_copy)
    assert notice(finished_copy) == []


@pytest.mark.parametrize(
    "options",
    [
        ["--workflow-profile", "none"],
        ["--workflow-profile", "none", "--rerun-triggers", "code", "mtime", "params", "input", "software-env"],
        ["--profile", "own"],
    ],
    ids=["no profile", "by hand", "another profile"],
)
def test_a_comment_trains_nothing_whatever_the_profile(finished_copy: Workspace, options: list[str]) -> None:
    (finished_copy.root / "own").mkdir()
    text = "rerun-triggers: [code, mtime, params, input, software-env]\n"
    (finished_copy.root / "own/config.yaml").write_text(text, encoding="utf-8")
    comment(finished_copy)
    assert finished_copy.planned(*options) == {}


def copied(workspace: Workspace, records: bool = False, by_name: bool = False) -> None:
    """Without time stamps, and without Snakemake's records or with.

    Files are written in the order of their names, benchmarks first, or such that each is older than what it was made
    from.
    """
    if not records:
        shutil.rmtree(workspace.root / ".snakemake")
    results = workspace.root / "results"
    for number, path in enumerate(sorted((path for path in results.rglob("*") if path.is_file()), reverse=not by_name)):
        os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))


@pytest.mark.parametrize("records", [True, False])
def test_a_copy_without_time_stamps_trains_nothing(finished_copy: Workspace, records: bool) -> None:
    copied(finished_copy, records)
    planned = finished_copy.planned()
    assert not {"manifest", "pack", "class_weights", "train", "evaluate"} & set(planned)
    finished_copy.snakemake("--touch")
    assert finished_copy.planned() == {}
    change_one_lr(finished_copy)
    assert finished_copy.planned()["train"] == 1


def test_a_copy_in_the_order_of_names_trains_nothing(finished_copy: Workspace) -> None:
    copied(finished_copy, by_name=True)
    assert not {"manifest", "pack", "class_weights", "train"} & set(finished_copy.planned())


def test_in_a_copy_without_records_a_changed_recipe_is_noticed(finished_copy: Workspace) -> None:
    copied(finished_copy)
    change_one_lr(finished_copy)
    assert finished_copy.planned()["train"] == 1
    assert notice(finished_copy)[0] == f"plain, seed 0: trained with lr 0.01, now 0.02: {GOES}"


@pytest.mark.parametrize(
    ("section", "value", "rule", "said"),
    [
        ("split", {"seed": 7}, "manifest", "data/manifest.csv: made with split.seed 42, now 7"),
        ("evaluation", {"tta": "hflip"}, "evaluate", "seed_0/metrics.json: made with tta none, now hflip"),
    ],
)
def test_in_a_copy_without_records_other_images_and_predictions_than_planned_are_refused(
    finished_copy: Workspace, section: str, value: dict, rule: str, said: str
) -> None:
    copied(finished_copy)
    finished_copy.configure(**{section: value})
    refused = finished_copy.snakemake("--dry-run", check=False)
    assert refused.returncode != 0 and said in refused.stdout and f"snakemake -R {rule} …" in refused.stdout
    assert rule in finished_copy.planned("-R", rule)
    of_a_part = "results/small/train/plain/seed_0/run.json"
    if rule == "evaluate":  # takes no part in this, and study.json still says what it was made with
        finished_copy.snakemake("--", of_a_part)
        assert said in finished_copy.snakemake("--dry-run", check=False).stdout
    finished_copy.snakemake("--touch", "-R", rule)
    assert rule not in finished_copy.planned()


def test_what_left_the_table_takes_part_in_nothing(finished_copy: Workspace) -> None:
    """Made by a configuration that no file of the pipeline names."""
    root = finished_copy.root
    shutil.move(root / "config/small.yaml", root / "elsewhere.yaml")
    finished_copy.configfile = "elsewhere.yaml"
    table = root / "config/small.tsv"
    header, plain, weighted = table.read_text(encoding="utf-8").splitlines()
    (root / "images").mkdir()
    np = pytest.importorskip("numpy")
    from PIL import Image

    Image.fromarray(np.zeros((32, 32), np.uint8)).save(root / "images/one.png")
    for removed, kept, row in (("plain", "weighted", weighted), ("weighted", "plain", plain)):
        table.write_text(f"{header}\n{row}\n", encoding="utf-8")
        said = finished_copy.command("predict", "images", "--study", "small").stdout
        assert f"1 images labelled by {kept}, seed 0" in said
        assert f"note: {removed}, seed 0: takes part in nothing, because its recipe is not in the table" in said
        assert f"rm -r -- results/small/train/{removed}/seed_0 results/small/evaluate/{removed}/seed_0" in said
    said = finished_copy.command("predict", "images", "--study", "small", "--run", "weighted").stdout
    assert "note: weighted is used because it was asked for by name" in said and "labelled by weighted" in said
    assert "1 of 1 done" in finished_copy.command("watch", "--study", "small", "--once").stdout
    said = finished_copy.command("verify", "--study", "small").stdout
    assert "run plain/seed_0: holds" in said and "note: weighted, seed 0: takes part in nothing" in said


def test_the_plan_is_left_even_where_nothing_has_to_run(finished_copy: Workspace) -> None:
    path = finished_copy.root / "results/small/study.json"
    run = "results/small/train/plain/seed_0/run.json"
    assert json.loads(path.read_text(encoding="utf-8"))["config"]["seeds"] == [0]
    add_a_seed(finished_copy)
    finished_copy.snakemake("--dry-run", "--", run)
    assert json.loads(path.read_text(encoding="utf-8"))["config"]["seeds"] == [0]
    finished_copy.snakemake("--", run)
    assert json.loads(path.read_text(encoding="utf-8"))["config"]["seeds"] == [0, 1]


def test_a_snakemake_that_is_refused_by_a_lock_leaves_everything_as_it_is(finished_copy: Workspace) -> None:
    root = finished_copy.root
    locks = root / ".snakemake/locks/0.output.lock"
    locks.parent.mkdir(exist_ok=True)
    locks.write_text("results/small/train/plain/seed_0/run.json\n", encoding="utf-8")
    change_one_lr(finished_copy)

    def files() -> dict[Path, tuple[int, bytes]]:
        found = [path for path in (root / "results").rglob("*") if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in found}

    before = files()
    refused = finished_copy.snakemake(check=False)
    assert refused.returncode and "cannot be locked" in refused.stdout and "will be replaced" not in refused.stdout
    assert finished_copy.planned()["train"] == 1 and files() == before
    finished_copy.snakemake("--unlock")
    assert notice(finished_copy)[0] == f"plain, seed 0: trained with lr 0.01, now 0.02: {GOES}"
    assert files() != before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["config/fer2013.yaml", "--configfile", "config/quarter_width.yaml"], "--configfile stands 2 times"),
        (["config/quarter_width.yaml"], "config/quarter_width.yaml: is a layer (layer: true), which changes a study"),
        (["config/config.yaml", "--config", "data={source: images}"], "config/config.yaml: differs from the study"),
        (["config/fer2013.yaml", "--config", "study=a", "--config", "seeds=[0]"], "--config stands 2 times"),
    ],
)
def test_a_study_that_was_not_meant_is_refused(workspace: Workspace, options: list[str], said: str) -> None:
    run = workspace.snakemake("--dry-run", "--configfile", *options, check=False)
    assert run.returncode != 0 and said in run.stdout and "Traceback" not in run.stdout


def from_another_folder(checkout: Path, folder: Path) -> list[str]:
    return ["--snakefile", str(checkout / "Snakefile")]


def with_the_option_directory(checkout: Path, folder: Path) -> list[str]:
    return ["--snakefile", os.path.relpath(checkout / "Snakefile", folder), "--directory", str(folder)]


def as_a_module(checkout: Path, folder: Path) -> list[str]:
    """The configuration names only what differs."""
    (folder / "study.yaml").write_text(yaml.safe_dump({"study": "own", "seeds": [0, 1]}), encoding="utf-8")
    text = f'configfile: "study.yaml"\nmodule study:\n    snakefile: "{checkout}/Snakefile"\n    config: config\n'
    (folder / "Snakefile").write_text(f"{text}use rule * from study as study_*\n", encoding="utf-8")
    return ["--", "study_all"]


@pytest.mark.parametrize("way", [from_another_folder, with_the_option_directory, as_a_module])
def test_any_folder_will_do(workspace: Workspace, tmp_path: Path, way: Callable[[Path, Path], list[str]]) -> None:
    """Blanks in the paths included; defaults and tables are those of the checkout, results those of the folder."""
    checkout, folder = tmp_path / "a checkout", tmp_path / "another folder"
    checkout.mkdir()
    for path in list(tmp_path.iterdir()):
        if path != checkout:
            shutil.move(path, checkout / path.name)
    folder.mkdir()
    given = way(checkout, folder)
    run = warm.run(warm.SNAKEMAKE, ["--dry-run", "--cores", "1", *given], folder)
    assert run.returncode == 0, run.stdout
    trainings = [line.split()[-1] for line in run.stdout.splitlines() if line.startswith(("train ", "study_train "))]
    assert set(trainings) == {"28" if way is as_a_module else "14"}
