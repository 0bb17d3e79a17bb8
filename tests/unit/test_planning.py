"""What is refused while planning, and time stamps that follow the files."""

import copy
import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from example_images import ROOT
from small_run import RECIPE
from test_planned import TRAINING, finish

from study.errors import StudyError
from study.files import file_sha256
from study.names import SPLITS
from study.paths import RunPaths
from study.planned import PlannedStudy
from study.planning import (
    _prepared_otherwise,
    check_command_line,
    check_layers,
    check_name,
    check_python,
    set_time_stamps,
)

DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("-n --configfile a.yaml --configfile b.yaml", "--configfile a.yaml b.yaml"),
        ("--configfile=a.yaml --cores 1 --configfiles b.yaml c.yaml", "--configfile a.yaml b.yaml c.yaml"),
        ("--config study=a -n -C seeds=[0]", "--config study=a 'seeds=[0]'"),
    ],
)
def test_an_option_of_which_snakemake_keeps_the_last_alone_is_refused(words: str, meant: str) -> None:
    with pytest.raises(
        StudyError, match="stands 2 times on the command line, and Snakemake would use the last"
    ) as info:
        check_command_line(words.split())
    assert str(info.value).endswith(f"name all after one: {meant}")


@pytest.mark.parametrize(
    "words", ["-n", "--configfile a.yaml b.yaml --config a=1 b=2 -C", "--configfile a.yaml -- --configfile"]
)
def test_other_command_lines_are_taken(words: str) -> None:
    check_command_line(words.removesuffix(" -C").split())


def laid_over(**layer: Any) -> dict[str, Any]:
    config = copy.deepcopy(DEFAULT)
    for key, value in layer.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    return config


@pytest.mark.parametrize(
    "layer",
    [
        {"data": {"source": "images"}},
        {"experiments": "config/mine.tsv"},
        {"model": {"width": 0.5}},
        {"training": {"max_epochs": 5}},
        {"loss": {"class_weights": "balanced"}},
        {"split": {"seed": 1}},
    ],
)
def test_a_file_without_a_name_of_its_own_may_not_replace_the_default_study(layer: dict[str, Any]) -> None:
    with pytest.raises(StudyError) as info:
        check_name(laid_over(**layer), DEFAULT, [Path.cwd() / "config/mine.yaml"])
    assert str(info.value).startswith("config/mine.yaml: differs from the study 'digits' (")
    assert "add the line 'study: mine', or name it on the command line: --config study=mine" in str(info.value)
    check_name(laid_over(**layer, study="mine"), DEFAULT, ["config/mine.yaml"])


@pytest.mark.parametrize(
    "layer",
    [
        {"resources": {"workers": 1}},
        {"metrics": {"ece_bins": 5}},
        {"seeds": [0, 1]},
        {"data": {"url": "https://example.org"}},
        {"experiments": ["config/experiments.tsv", "config/ablations.tsv"]},
    ],
)
def test_what_takes_nothing_from_the_default_study_needs_no_name(layer: dict[str, Any]) -> None:
    check_name(laid_over(**layer), DEFAULT, ["config/mine.yaml"])


def test_on_the_command_line_only_another_source_or_table_is_refused() -> None:
    check_name(laid_over(training={"max_epochs": 5}), DEFAULT, [])
    with pytest.raises(StudyError, match=r"--config: differs .*data.source digits, now images"):
        check_name(laid_over(data={"source": "images"}), DEFAULT, [])


@pytest.mark.parametrize("path", ["/home/me/.venv/bin/python", "/daten/größe/v-1.0_x/python3.11"])
def test_a_python_that_a_shell_finds_is_taken(path: str) -> None:
    check_python(path)


@pytest.mark.parametrize("path", ["/My Documents/.venv/bin/python", "/it's/python", '/a"b/python', "/$HOME/python"])
def test_one_that_it_does_not_find_is_refused(path: str) -> None:
    with pytest.raises(StudyError, match="Snakemake cannot call a Python with blanks"):
        check_python(path)


def test_a_layer_is_no_study(tmp_path: Path) -> None:
    study, layer = tmp_path / "study.yaml", tmp_path / "layer.yaml"
    study.write_text("study: mine\n", encoding="utf-8")
    layer.write_text("layer: true\nseeds: [1]\n", encoding="utf-8")
    check_layers([])
    check_layers([study, layer])
    for files in ([layer], [layer, study]):
        with pytest.raises(StudyError, match=r"layer.yaml: is a layer \(layer: true\), .* --config study=…"):
            check_layers(files)
    layer.write_text("- seeds\n", encoding="utf-8")
    with pytest.raises(StudyError, match=r"layer\.yaml: found a list, allowed is a mapping"):
        check_layers([layer])


def write_rows(path: Path, *rows: tuple[Any, ...]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


@pytest.fixture
def study(tmp_path: Path) -> PlannedStudy:
    """A finished study of one image per split, with a plain and a weighted recipe."""
    data = tmp_path / "data"
    data.mkdir()
    write_rows(
        data / "manifest.csv",
        ("image_id", "label", "split", "status"),
        *((f"{split}.png", "a", split, "kept") for split in SPLITS),
        ("broken.png", "a", "train", "dropped"),
    )
    for split in SPLITS:
        write_rows(data / f"{split}.csv", ("image_id", "label"), (f"{split}.png", "a"))
        (data / f"{split}.npy").touch()
    write_rows(data / "class_weights_complement.csv", ("class", "count", "weight"), ("a", 1, 1.0))
    (data / "audit.json").write_text(json.dumps({"manifest_sha256": file_sha256(data / "manifest.csv")}))
    (data / "pack.json").write_text(json.dumps({"image_size": 32, "splits": {"train": {"counts": {"a": 1}}}}))
    recipes = {"plain": RECIPE, "heavy": RECIPE.but(loss="weighted_cross_entropy")}
    config = {"seeds": [0], "data": {"image_size": 32}}
    made = PlannedStudy(tmp_path, config, recipes, TRAINING)
    for name in recipes:
        run = finish(made, name)
        for path in (run.history, run.weights, run.predictions):
            path.touch()
        run.tensorboard.mkdir()
        (run.tensorboard / ".snakemake_timestamp").touch()
    return made


@pytest.mark.parametrize(
    ("made", "now", "differing"),
    [
        ({}, {"near_duplicates": 0.9}, ["data.near_duplicates null, now 0.9"]),
        ({}, {"near_duplicates": None, "digits_tail": "all", "source": "elsewhere"}, []),
        ({"split": {"seed": 1}}, {"split": {"seed": 2}}, ["split.seed 1, now 2"]),
        ({"identity": "a"}, {"identity": "b"}, ["images a, now b"]),
        ({"identity": "a"}, {"identity": "absent"}, []),
    ],
)
def test_how_images_were_prepared_otherwise(made: dict[str, Any], now: dict[str, Any], differing: list[str]) -> None:
    def plan(given: dict[str, Any]) -> dict[str, Any]:
        settings = {"source": "here", "image_size": 32} | given
        return {"split": settings.pop("split", {}), "source": settings.pop("identity", "a"), "data": settings}

    assert _prepared_otherwise(plan(made), plan(now)) == differing


def outputs(run: RunPaths) -> list[Path]:
    return [run.history, run.weights, run.run, run.tensorboard / ".snakemake_timestamp"]


def stamp(when: float, *paths: Path) -> None:
    for path in paths:
        os.utime(path, (when, when))


def oldest(*paths: Path) -> float:
    return min(path.stat().st_mtime for path in paths)


def in_reverse(study: PlannedStudy) -> None:
    """What is made from something is older than it."""
    data = study.results / "data"
    stamp(5000, data / "audit.json", data / "manifest.csv")
    stamp(4000, data / "pack.json", *(data / f"{split}.{kind}" for split in SPLITS for kind in ("npy", "csv")))
    stamp(3000, data / "class_weights_complement.csv")
    for run in study.runs:
        stamp(2000, *outputs(run), run.predictions, run.metrics)


def anew(study: PlannedStudy, **changed: Any) -> PlannedStudy:
    return PlannedStudy(study.results, study.config, {**study.recipes, **changed}, TRAINING)


def test_a_copy_without_time_stamps_is_in_order_afterwards(study: PlannedStudy) -> None:
    in_reverse(study)
    set_time_stamps(study)
    data = study.results / "data"
    assert oldest(data / "pack.json", data / "test.npy") >= oldest(data / "audit.json")
    assert oldest(data / "class_weights_complement.csv") >= oldest(data / "pack.json")
    for run in study.runs:
        assert oldest(*outputs(run)) >= oldest(data / "class_weights_complement.csv")
        assert oldest(run.predictions, run.metrics) >= oldest(*outputs(run))


def test_a_run_of_another_recipe_is_older_than_its_data_afterwards(study: PlannedStudy) -> None:
    set_time_stamps(now := anew(study, plain=RECIPE.but(lr=0.5)))
    plain, heavy = now.runs
    index = study.results / "data/pack.json"
    assert oldest(plain.run) < oldest(index) <= oldest(*outputs(heavy))


def restored(study: PlannedStudy) -> PlannedStudy:
    """Its runs without weights and curves for TensorBoard, beside them a row with another evaluation of one of them."""
    for run in study.runs:
        run.weights.unlink()
        shutil.rmtree(run.tensorboard)
    row = RECIPE.but(experiment="row", trained_as="plain", tta="hflip")
    study = PlannedStudy(study.results, study.config, {"row": row, **study.recipes}, TRAINING | {"row": {}})
    evaluated = study.runs[0]
    evaluated.evaluated.mkdir(parents=True)
    for path in (evaluated.predictions, evaluated.metrics):
        path.touch()
    return study


def test_a_restored_run_of_another_recipe_is_older_than_its_data_afterwards(study: PlannedStudy) -> None:
    restored(study)
    set_time_stamps(now := anew(study, plain=RECIPE.but(lr=0.5)))
    plain, heavy = now.runs
    index = study.results / "data/pack.json"
    assert oldest(plain.run) < oldest(index) <= oldest(heavy.history, heavy.run)


def test_restored_runs_of_data_that_is_younger_and_the_same_are_in_order_afterwards(study: PlannedStudy) -> None:
    study = restored(study)
    for run in study.runs:
        stamp(2000, run.history, run.run, run.predictions, run.metrics)
    stamp(3000, study.results / "data/pack.json", study.results / "data/class_weights_complement.csv")
    set_time_stamps(study)
    for run in study.runs:
        assert oldest(run.predictions, run.metrics) >= oldest(run.history, run.run) >= 3000


def test_images_that_are_not_those_of_the_manifest_are_packed_again(study: PlannedStudy) -> None:
    in_reverse(study)
    write_rows(study.results / "data/test.csv", ("image_id", "label"), ("other.png", "a"))
    stamp(4000, study.results / "data/test.csv")
    set_time_stamps(study)
    assert oldest(study.results / "data/pack.json") == 4000


def test_class_weights_of_other_counts_are_computed_again(study: PlannedStudy) -> None:
    in_reverse(study)
    write_rows(study.results / "data/class_weights_complement.csv", ("class", "count", "weight"), ("a", 2, 1.0))
    stamp(3000, study.results / "data/class_weights_complement.csv")
    set_time_stamps(anew(study))
    assert oldest(study.results / "data/class_weights_complement.csv") == 3000


def test_what_a_run_does_not_state_leaves_its_time_stamps_alone(study: PlannedStudy) -> None:
    in_reverse(study)
    run = study.runs[1]
    record = json.loads(run.run.read_text(encoding="utf-8"))
    del record["provenance"]["class_weights"]
    run.run.write_text(json.dumps(record), encoding="utf-8")
    stamp(2000, *outputs(run))
    set_time_stamps(study)
    assert oldest(*outputs(run)) == 2000 and oldest(*outputs(study.runs[0])) > 2000


def test_a_benchmark_is_no_older_than_what_it_measured_afterwards(study: PlannedStudy) -> None:
    """As in a copy that was made in the order of names, and beside a run that was restored."""
    in_reverse(study)
    data, folder, (plain, _) = study.results / "data", study.results / "benchmarks", study.runs
    measured = {
        folder / "pack.tsv": data / "pack.json",
        folder / "class_weights_complement.tsv": data / "class_weights_complement.csv",
        plain.benchmark("train"): plain.run,
        plain.benchmark("evaluate"): plain.metrics,
    }
    for benchmark in measured:
        benchmark.parent.mkdir(parents=True, exist_ok=True)
        benchmark.touch()
        stamp(1000, benchmark)
    set_time_stamps(study)
    assert all(oldest(benchmark) >= oldest(path) >= 5000 for benchmark, path in measured.items())
    set_time_stamps(anew(study, plain=RECIPE.but(lr=0.5)))
    assert oldest(plain.run) < oldest(data / "pack.json")


def test_time_stamps_in_order_stay(study: PlannedStudy) -> None:
    files = [path for path in study.results.rglob("*") if path.is_file()]
    stamp(7000, *files)
    set_time_stamps(study)
    assert {path.stat().st_mtime for path in files} == {7000}
