"""The whole chain on a small study: the promised files, escaping, determinism, and the library without Snakemake."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import RECIPES, Workspace, copy_pipeline
from test_bad_input import image_folder

from study.evaluate.predictions import read_predictions
from study.files import read_json, read_table

RUN_COLUMNS = ["epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_nll", "val_accuracy", "seconds"]


# of the section `training`, as a program that uses the library alone writes them
SETTINGS = {"max_epochs": None, "device": "cpu", "deterministic": True}


def columns(path: Path) -> list[str]:
    return list(pd.read_csv(path, nrows=1).columns)


def test_the_promised_files_and_columns(finished: Workspace) -> None:
    root = finished.root / "results/small"
    manifest = ["image_id", "label", "split", "sha256", "duplicate_group", "status", "reason"]
    assert set(manifest) <= set(columns(root / "data/manifest.csv"))
    assert columns(root / "data/class_weights.csv") == ["class", "count", "weight"]
    classes = [str(digit) for digit in range(10)]
    for experiment in ("plain", "weighted"):
        train, evaluate = (root / part / experiment / "seed_0" for part in ("train", "evaluate"))
        assert set(RUN_COLUMNS) <= set(columns(train / "history.csv"))
        assert (train / "best.safetensors").stat().st_size > 0
        assert list((train / "tensorboard").glob("events*"))
        run = json.loads((train / "run.json").read_text(encoding="utf-8"))
        promised = {"experiment", "seed", "outcome", "epochs", "best_epoch", "best_val_accuracy"}
        promised |= {"images_per_second", "peak_memory_bytes", "provenance"}
        assert promised <= set(run) and run["experiment"] == experiment
        assert {"code", "data", "recipe", "versions", "device", "precision"} <= set(run["provenance"])
        predicted = pq.read_schema(evaluate / "predictions.parquet").names
        promised = {"image_id", "split", "label", "predicted", *(f"log_p_{name}" for name in classes)}
        assert promised <= set(predicted)
        metrics = json.loads((evaluate / "metrics.json").read_text(encoding="utf-8"))
        for split in ("val", "test"):
            assert {"accuracy", "balanced_accuracy", "macro_f1", "nll", "ece", "recall"} <= set(metrics[split])
            assert list(metrics[split]["recall"]) == classes
    assert columns(root / "tables/case_1.csv") == ["property", "plain", "weighted"]
    compared = columns(root / "tables/comparison.csv")
    assert {"experiment", "outcome", "test_accuracy", "test_accuracy_low", "test_accuracy_high"} <= set(compared)
    assert {"experiment_a", "experiment_b", "p_mcnemar", "p_holm"} <= set(columns(root / "tables/pairwise.csv"))
    assert {"claim", "verdict", "sentence"} <= set(columns(root / "tables/conclusions.csv"))
    assert {"name", "role", "test_accuracy"} <= set(columns(root / "tables/ensemble.csv"))
    assert pq.read_schema(root / "ensemble/predictions.parquet").names == predicted
    figures = {path.stem for path in (root / "figures").glob("*.svg")}
    assert {"curves_plain", "confusion_weighted", "comparison", "case_1", "map_SGD", "class_counts"} <= figures
    assert {"reliability", "confused_pairs", "class_recall"} <= figures
    assert (root / "report.html").stat().st_size > 500_000
    kept = [path.name for path in root.rglob("*.checkpoint")]
    assert len(kept) == 2 and all(name.endswith("-000001.checkpoint") for name in kept)  # of the last epoch alone


def test_many_recipes_have_no_figures_of_their_own(workspace: Workspace) -> None:
    assert "curves_plain.svg" in workspace.snakemake("--dry-run").stdout
    plan = workspace.snakemake("--dry-run", "--config", "tables={figures_of_each_up_to: 1}").stdout
    assert "figures/comparison.svg" in plan and "curves_" not in plan and "confusion_" not in plan


def test_every_job_left_a_log_and_a_benchmark(finished: Workspace) -> None:
    root = finished.root / "results/small"
    logs = {path.relative_to(root / "logs").with_suffix("").as_posix() for path in (root / "logs").rglob("*.log")}
    costs = {path.relative_to(root / "benchmarks").with_suffix("").as_posix() for path in root.rglob("*.tsv")}
    assert logs == costs >= {"manifest", "pack", "train/plain_seed_0", "evaluate/weighted_seed_0", "report"}
    line = (root / "logs/train/plain_seed_0.log").read_text(encoding="utf-8")
    assert "epoch 1/1" in line and "images/s" in line and "best" in line


def test_a_study_run_twice_is_the_same_but_for_seconds(finished: Workspace, workspace: Workspace) -> None:
    workspace.snakemake("--", *(f"results/small/evaluate/{name}/seed_0/metrics.json" for name in ("plain", "weighted")))
    for name in ("plain", "weighted"):
        one, two = (w.root / "results/small/train" / name / "seed_0" for w in (finished, workspace))
        histories = [pd.read_csv(run / "history.csv", dtype=str).drop(columns="seconds") for run in (one, two)]
        pd.testing.assert_frame_equal(*histories)
        assert (one / "best.safetensors").read_bytes() == (two / "best.safetensors").read_bytes()
        one, two = (w.root / "results/small/evaluate" / name / "seed_0" for w in (finished, workspace))
        assert (one / "predictions.parquet").read_bytes() == (two / "predictions.parquet").read_bytes()


EVIL = "<img src=x onerror=alert(1)>"
AWKWARD = 'a\rb, "c"\t{x} {{ 1 }} $y_1$ %s'


PLACE = 'it\'s "größe" $HOME & co'


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A study with names that look like something else, and one recipe that diverges.

    It is run in a folder of its own, and the pipeline, as an installation for many users, is not to be written to.
    """
    base = tmp_path_factory.mktemp("troubled")
    checkout, root = base / f"a checkout, {PLACE}", base / f"a folder, {PLACE}"
    (root / "config").mkdir(parents=True)
    checkout.mkdir()
    copy_pipeline(checkout)
    for name in ("small.yaml", "small.tsv"):
        (checkout / "config" / name).rename(root / "config" / name)
    before = content(checkout)
    for path in (checkout, *checkout.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    workspace = Workspace(root, checkout=checkout)
    image_folder(root / f"images, {PLACE}", {EVIL: 70, "b&amp;<b>": 70, "nan": 70, AWKWARD: 70})
    workspace.configure(study="2024", data={"source": f"images, {PLACE}"})
    # of the same name as a file of the pipeline, and laid over it
    own = {"tables": {"note": "{y} <u>z</u>", "reported": True}}
    (root / "config/config.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    workspace.configure(cases={"1": ""})  # both keys, as when a file is laid over another
    workspace.configure(cases={1: "{x} <b>Why</b> $not$?"})
    table = workspace.root / "config/small.tsv"
    text = table.read_text(encoding="utf-8").replace("plain", "NA").replace("weighted\t", "01\t", 1)
    table.write_text(text.replace("0.01", "1e30"), encoding="utf-8")
    workspace.snakemake()
    run = workspace.command("verify", "--configfile", workspace.configfile)
    assert run.returncode == 0 and "results/2024: everything holds" in run.stdout, run.stdout
    assert content(checkout) == before
    return workspace


@pytest.fixture
def troubled(elsewhere: Workspace) -> Path:
    """Its results."""
    return elsewhere.root / "results/2024"


def test_results_land_in_the_folder_and_commands_work_there(elsewhere: Workspace) -> None:
    assert {"config", "results", ".snakemake"} <= {path.name for path in elsewhere.root.iterdir()}
    assert "2 of 2 done" in elsewhere.command("watch", "--study", "2024", "--once").stdout
    images = next((elsewhere.root / f"images, {PLACE}").iterdir())
    done = elsewhere.command("predict", str(images), "--study", "2024", "--out", "predictions.csv")
    assert "70 images labelled by" in done.stdout and (elsewhere.root / "predictions.csv").exists()
    done = elsewhere.command("export", "--study", "2024", "--run", "01", "--out", "01.onnx")
    assert done.returncode == 0 and (elsewhere.root / "01.onnx").exists(), done.stdout
    assert elsewhere.command("verify", "--study", "2024").returncode == 0


def test_names_with_html_in_them_come_out_escaped(troubled: Path) -> None:
    """The classes of a folder may be called anything; no page may run them."""
    for page in (troubled / "report.html", troubled / "tables/comparison.html", *(troubled / "figures").glob("*.svg")):
        assert EVIL not in page.read_text(encoding="utf-8"), page.name
    assert EVIL in (troubled / "data/class_weights.csv").read_text(encoding="utf-8")


def test_a_diverged_training_is_a_result(troubled: Path) -> None:
    run = json.loads((troubled / "train/NA/seed_0/run.json").read_text(encoding="utf-8"))
    assert run["outcome"] == "diverged" and run["best_epoch"] is None
    comparison = read_table(troubled / "tables/comparison.csv").set_index("experiment")
    assert comparison.loc["NA", "outcome"] == "diverged"
    assert "Not finite" in comparison.loc["NA", "reason"]
    assert comparison.loc["01", "outcome"] != "diverged"


def test_names_are_text_from_the_images_to_the_report(troubled: Path) -> None:
    """Classes, recipes and captions come out of the chain as they went in."""
    classes = sorted([EVIL, "b&amp;<b>", "nan", AWKWARD])
    assert read_json(troubled / "data/pack.json")["classes"] == classes
    assert set(read_table(troubled / "data/manifest.csv")["label"]) == set(classes)
    for experiment in ("NA", "01"):
        predictions = read_predictions(troubled / f"evaluate/{experiment}/seed_0/predictions.parquet")
        assert predictions.classes == classes and set(predictions.scores["label"]) == set(classes)
    text = (troubled / "tables/case_1.md").read_text(encoding="utf-8")
    assert "{x} \\<b\\>Why\\</b\\> \\$not\\$?" in text and "{y} \\<u\\>z\\</u\\>" in text and "| | NA | 01 |" in text
    page = (troubled / "tables/summary.rst").read_text(encoding="utf-8")
    assert "{x} &lt;b&gt;Why&lt;/b&gt; $not$?" in page and "{x} {{ 1 }} $y_1$ %s" in page
    figure = (troubled / "figures/confusion_01.svg").read_text(encoding="utf-8")
    assert "nan (" in figure and re.search(">01( ✕|:)", figure)
    assert "Case 1. {x} &lt;b&gt;Why&lt;/b&gt; $not$?" in (troubled / "figures/case_1.svg").read_text(encoding="utf-8")


def test_the_library_trains_without_snakemake(finished: Workspace, tmp_path: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, "scripts")
sys.modules["snakemake"] = None  # importing it fails
from pathlib import Path
from study.data import packed
from study.train import loop
from study.files import read_json
from study.recipe import recipes_of
recipe = recipes_of(read_json("results/small/study.json")["recipes"])["plain"]
result = loop.train(
    recipe, seed=0, data=packed.load(Path("results/small/data")),
    class_weights=None,
    settings=loop.TrainingSettings(**{SETTINGS}),
    initial_weights=None, checkpoint_dir=None, checkpoint_every=1, run_key="", tensorboard_dir=None, report=print)
paths = [Path({str(tmp_path)!r}, name) for name in ("history.csv", "best.safetensors", "run.json")]
loop.write_outputs(result, *paths, {{}})
"""
    subprocess.run([sys.executable, "-c", program], cwd=finished.root, check=True)
    assert columns(tmp_path / "history.csv")[0] == "epoch"


def test_two_recipes_on_fer2013_with_its_official_split(workspace: Workspace, fer2013_zip: Path) -> None:
    data = {"source": str(fer2013_zip), "image_size": 48}
    workspace.configure(data=data, split={"method": "official"}, model={"width": 0.03125})
    table = workspace.root / "config/small.tsv"
    table.write_text(RECIPES.replace("\t64\t", "\t512\t").replace("\t128\t", "\t512\t"), encoding="utf-8")
    workspace.snakemake("--", "results/small/tables/comparison.csv")
    comparison = pd.read_csv(workspace.root / "results/small/tables/comparison.csv")
    assert list(comparison["experiment"]) == ["plain", "weighted"]
    assert set(comparison["test_images"]) == {3572}, "PrivateTest without blanks and contradictions"
