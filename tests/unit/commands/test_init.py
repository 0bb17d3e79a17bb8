"""`init` writes a configuration for each layout, with what was counted and a reason for every line."""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from example_images import ROOT, noise, pixel_cell, write_csv, write_images, write_tree, write_zip

from study.commands import init
from study.commands.configuration import read_configuration
from study.errors import StudyError
from study.recipe import values_of
from study.recipe_table import read_captions, read_recipes
from study.settings import check_recipes, validate_config


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(source: Path | str, *words: str, name: str = "mine") -> tuple[dict[str, Any], str]:
    """What the written file holds, and its text; the study that it makes is one that Snakemake would take."""
    parser = argparse.ArgumentParser()
    init.add_arguments(parser)
    init.run(parser.parse_args([str(source), "--study", name, *words]))
    path = Path("config", f"{name}.yaml")
    config = read_configuration(path)
    validate_config(config)
    tables = [config["experiments"]] if isinstance(config["experiments"], str) else config["experiments"]
    tables = [table if Path(table).exists() else ROOT / table for table in tables]
    check_recipes(config, read_recipes(tables, study=values_of(config)).values())
    return yaml.safe_load(path.read_text(encoding="utf-8")), path.read_text(encoding="utf-8")


def unwrapped(text: str) -> str:
    """The comments as one line."""
    return " ".join(line.strip().removeprefix("#").strip() for line in text.splitlines())


def tree(folder: Path) -> Path:
    return write_tree(folder, {"train/a": 60, "train/b": 20, "train/c": 4, "test/a": 10, "test/b": 5, "test/c": 2})


def arrays(path: Path) -> Path:
    labels = np.repeat([0, 1], [40, 20])
    np.savez_compressed(
        path,
        train_images=np.random.default_rng(0).integers(0, 256, (60, 28, 28, 3), dtype=np.uint8),
        train_labels=labels[:, None],
        test_images=np.random.default_rng(1).integers(0, 256, (60, 28, 28, 3), dtype=np.uint8),
        test_labels=labels[:, None],
    )
    return path


def table(path: Path, header: str = "image,label,patient_id,age", count: int = 40) -> Path:
    write_images(path.parent / "images", {f"{n}.png": noise(n, (60, 45), "RGB") for n in range(count)})
    return write_csv(path, [f"{n},{'ab'[n % 4 == 0]},p{n // 2},{n}" for n in range(count)], header)


def test_a_folder_with_splits(tmp_path: Path) -> None:
    (tree(tmp_path / "mushrooms") / "notes.txt").touch()
    config, text = written("mushrooms")
    assert config["study"] == "mine"
    assert config["data"] == {
        "source": "mushrooms",
        "expected": {"classes": {"a": 70, "b": 25, "c": 6}, "splits": {"train": 84, "test": 17}},
        "image_size": 32,
    }
    assert config["split"] == {"method": "official"}
    assert config["loss"] == {"class_weights": "sqrt_inverse"}
    said = unwrapped(text)
    assert "Read as a folder with one folder per class." in said
    assert "--configfile config/mine.yaml" in said
    assert "Not read as images of a class: 1 texts, tables, code and other data (notes.txt)" in said
    assert "101 images of 3 classes; the largest has 11.7 times the images of the smallest." in said
    assert "101 were looked at: all 12×12 pixels, 101 grayscale." in said
    assert "a 70 60 10" in " ".join(said.split())
    assert (
        "brings its own split (train 84, test 17), which others have used too. Validation images are taken from" in said
    )
    assert "is 12 pixels (median); vgg19 takes 32 at least, so smaller ones are enlarged." in said


def test_every_line_but_the_source_has_a_reason(tmp_path: Path) -> None:
    _, text = written(tree(tmp_path / "mushrooms"))
    lines = text.splitlines()
    for number, line in enumerate(lines):
        key = line.strip().partition(":")[0]
        if key in ("experiments", "expected", "image_size", "method", "class_weights"):
            assert lines[number - 1].strip().startswith("# "), line


def test_a_zip_without_splits(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "flat", {"001": 90, "Pilz, rot": 60, "yes": 30})
    config, text = written(write_zip(tmp_path / "flat.zip", folder))
    assert config["data"]["expected"] == {"classes": {"001": 90, "Pilz, rot": 60, "yes": 30}}
    assert config["split"]["method"] == "stratified" and config["loss"]["class_weights"] == "balanced"
    assert "brings no split of its own. Every class is divided 70/15/15 at random;" in unwrapped(text)


def test_arrays(tmp_path: Path) -> None:
    config, text = written(arrays(tmp_path / "bloodmnist.npz"))
    assert config["data"]["expected"] == {"classes": {"0": 80, "1": 40}, "splits": {"train": 60, "test": 60}}
    assert "60 images from 'train_images', classes from 'train_labels'" in unwrapped(text)
    assert "Classes are numbers: `class_names: {0: …, 1: …}`" in unwrapped(text)
    config, text = written("bloodmnist.npz", "--force", "--config", "data={class_names: {0: neutrophil, 1: platelet}}")
    assert config["data"]["class_names"] == {0: "neutrophil", 1: "platelet"}
    assert config["data"]["expected"]["classes"] == {"neutrophil": 80, "platelet": 40}
    assert "Classes are numbers" not in text and "# As given to init.\n  class_names:" in text


def test_a_table_with_groups_and_further_columns(tmp_path: Path) -> None:
    config, text = written(table(tmp_path / "labels.csv"))
    assert config["data"]["image_size"] == 45
    said = unwrapped(text)
    assert "40 rows, images from the column 'image', classes from 'label', groups from 'patient_id'." in said
    assert "20 groups of up to 2 images, which stay together" in said and "at random, groups whole;" in said
    assert "for scores by subgroup: age." in said
    assert "The longer side is 1.33 times that, squashed to the square; `keep_aspect: true`" in said


def test_what_is_ambiguous_is_said_on_the_command_line(tmp_path: Path) -> None:
    source = table(tmp_path / "labels.csv", "image,grade,kind,age")
    with pytest.raises(
        StudyError, match=r"no column with the class; .*data\.table\.label.*; give init the key along: --config"
    ):
        written(source)
    config, text = written(
        source, "--config", "data={table: {label: grade, group: kind}}", "split={val: 0.2, train: 0.65}"
    )
    assert config["data"]["table"] == {"label": "grade", "group": "kind"}
    assert config["split"] == {"method": "stratified", "val": 0.2, "train": 0.65}
    assert "divided 65/20/15 at random, groups whole" in unwrapped(text)
    for word, message in (
        ("data", "allowed is KEY=VALUE"),
        ("data={", "is not YAML"),
        ("dta={a: 1}", "unknown key 'dta'"),
    ):
        with pytest.raises(StudyError, match=message):
            written(source, "--force", "--config", word)


def coco(folder: Path) -> Path:
    write_images(folder, {f"{n}.jpg": noise(n, mode="RGB") for n in range(20)})
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(20)],
        "annotations": [{"id": n, "image_id": n, "category_id": n % 2} for n in range(20)],
        "categories": [{"id": 0, "name": "deer"}, {"id": 1, "name": "fox"}],
    }
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder / "annotations.json"


def imagefolder(folder: Path) -> Path:
    write_images(folder, {f"{n}.png": noise(n) for n in range(20)})
    return write_csv(folder / "metadata.csv", [f"{n}.png,{'ab'[n % 2]}" for n in range(20)], "file_name,label").parent


def shards(folder: Path) -> Path:
    files = sorted(write_tree(folder / "images", {".": 20}).glob("*.png"))
    cells = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    shutil.rmtree(folder / "images")
    pq.write_table(pa.table({"image": cells, "label": ["a", "b"] * 10}), folder / "train-00000-of-00001.parquet")
    return folder


def fer2013(path: Path) -> Path:
    return write_csv(
        path, [f"{n % 2},{pixel_cell(n)},{('Training', 'PublicTest', 'PrivateTest')[n // 4]}" for n in range(12)]
    )


@pytest.mark.parametrize(
    ("make", "form", "classes"),
    [
        (coco, "a table of images", {"deer": 10, "fox": 10}),
        (imagefolder, "a table of images", {"a": 10, "b": 10}),
        (shards, "Parquet with the images in it", {"a": 10, "b": 10}),
        (fer2013, "a CSV with the columns emotion, pixels, Usage", {"angry": 6, "disgust": 6}),
    ],
)
def test_other_layouts(tmp_path: Path, make: Any, form: str, classes: dict[str, int]) -> None:
    config, text = written(make(tmp_path / "images.csv"))
    assert f"Read as {form}" in unwrapped(text)
    assert config["data"]["expected"]["classes"] == classes
    assert "classes; all classes are of one size." in unwrapped(text)


def test_groups_that_the_sources_split_tears(tmp_path: Path) -> None:
    write_images(tmp_path / "images", {f"{n}.png": noise(n) for n in range(40)})
    rows = [
        f"{n},{'ab'[n % 2]},{'test' if n < 12 else 'train'},{max(n, 11) if n in (10, 11, 12) else n}" for n in range(40)
    ]
    rows[12] = "12,a,train,11"
    config, text = written(write_csv(tmp_path / "labels.csv", rows, "image,label,split,patient_id"))
    assert config["data"]["torn_groups"] == "drop" and config["split"]["method"] == "official"
    assert "1 groups have images in several of the source's splits: `drop` keeps" in unwrapped(text)


def test_an_official_split_that_lacks_a_class_is_not_taken(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "t", {"train/a": 30, "train/b": 30, "test/a": 10, "val/a": 9, "val/b": 9})
    config, text = written(source)
    assert config["split"]["method"] == "stratified"
    assert "own split (train 60, val 18, test 10) cannot be used: class 'b': 0 images kept in the test" in unwrapped(
        text
    )


def test_a_class_too_small_is_a_warning(tmp_path: Path) -> None:
    config, text = written(write_tree(tmp_path / "t", {"a": 30, "b": 2}))
    assert config["split"]["method"] == "stratified"
    assert "Warning: it will stop as things are: class 'b': 2 images found" in unwrapped(text)


@pytest.mark.parametrize(("counts", "batches"), [((900, 300), {64, 128}), ((300, 100), {32, 64}), ((12, 8), {2, 4})])
def test_batches_fit_the_training_images(tmp_path: Path, counts: Sequence[int], batches: set[int]) -> None:
    path = tmp_path / "a.npz"
    images = np.random.default_rng(0).integers(0, 256, (sum(counts), 8, 8), dtype=np.uint8)
    np.savez(path, images=images, labels=np.repeat([0, 1], counts))
    config, text = written(path)
    own = config["experiments"] != "config/experiments.tsv"
    assert own == (batches != {64, 128})
    found = Path(config["experiments"]) if own else ROOT / "config/experiments.tsv"
    recipes, shipped = read_recipes(found), read_recipes(ROOT / "config/experiments.tsv")
    assert {recipe.batch_size for recipe in recipes.values()} == batches
    assert [recipe["lr"] for recipe in recipes.values()] == [recipe["lr"] for recipe in shipped.values()]
    assert read_captions(found)["1"].endswith(f"batch size {min(batches)}")
    assert "14 recipes with batches of 64 and 128 images" in unwrapped(text)
    assert "11 of them put a softmax in front of cross entropy" in unwrapped(text)


def test_a_spreadsheets_table_is_divided_like_any_other(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "t", {"a": 40, "b": 20})
    rows = (ROOT / "config/experiments.tsv").read_text(encoding="utf-8").splitlines()[5:8]
    header, first, second = (row.split("\t") for row in rows)
    first[header.index("batch_size")] = '"64"'
    lines = ['"# Case 1: at batch size 64"', *("\t".join(row) for row in (header, first, second))]
    (tmp_path / "sheet.tsv").write_bytes("\r\n".join([*lines, ""]).encode("utf-16"))
    config, _ = written(source, "--config", "experiments=sheet.tsv")
    own = Path(config["experiments"])
    assert {recipe.batch_size for recipe in read_recipes(own).values()} == {8}
    assert read_captions(own) == {"1": "at batch size 8"}


def test_batches_are_those_of_the_recipes_that_train(tmp_path: Path) -> None:
    """A row that takes another one's training, or has predictions from a file, has none."""
    source = write_tree(tmp_path / "t", {"a": 40, "b": 20})
    (tmp_path / "theirs.tsv").write_text("experiment\tcase\tpredictions\ntheirs\t5\ttheirs.csv\n", encoding="utf-8")
    config, text = written(source, "--config", "experiments=[config/imbalance.tsv, theirs.tsv]")
    assert "17 recipes with batches of 32 images in imbalance.tsv, theirs.tsv" in unwrapped(text)
    recipes = read_recipes([Path(table) for table in config["experiments"]])
    assert {recipe.batch_size for recipe in recipes.values() if recipe.trains} == {8}
    assert {"posthoc", "theirs"} == {name for name, recipe in recipes.items() if not recipe.trains}
    config, text = written(source, "--force", "--config", "experiments=theirs.tsv")
    assert config["experiments"] == "theirs.tsv" and "# No recipe is trained.\nexperiments:" in text


@pytest.mark.parametrize(
    ("size", "words", "expected", "reason"),
    [
        ((600, 450), [], 64, "at 64; at 224, ImageNet's size, it takes 12 times as long"),
        ((48, 48), [], 48, "as they are, nothing is made up"),
        ((48, 48), ["model={name: resnet18, width: 1}"], 48, "resnet18 takes 8 at least"),
        ((20, 20), ["model={name: resnet18, width: 1}"], 20, "resnet18 takes 8 at least"),
        ((50, 50), ["model={name: vit_b_16, width: 1}"], 48, "vit_b_16 takes 16 at least"),
        ((50, 50), ["model={name: vit_b_16, width: 1, weights: imagenet}"], 224, "takes no other size"),
        ((600, 450), ["data={image_size: 96}"], 96, "As given to init."),
    ],
)
def test_the_image_size_fits_images_and_network(
    tmp_path: Path, size: tuple[int, int], words: list[str], expected: int, reason: str
) -> None:
    names = [f"{label}/{n}.png" for label in "ab" for n in range(10)]
    write_images(tmp_path / "t", {name: noise(n, size) for n, name in enumerate(names)})
    config, text = written("t", *(["--config", *words] if words else []))
    assert config["data"]["image_size"] == expected
    assert reason in unwrapped(text)


def test_images_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "t", {"a": 10, "b": 10})
    (source / "a/0.png").write_bytes(b"no")
    assert "Warning: 1 of those looked at cannot be read, such as a/0.png: not an image" in unwrapped(
        written(source)[1]
    )


def test_of_many_classes_both_ends_are_shown(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(100), np.arange(100, 200))
    np.savez(tmp_path / "a.npz", images=np.zeros((len(labels), 8, 8), dtype=np.uint8), labels=labels)
    _, text = written("a.npz")
    assert "… 60 classes more …" in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_file_that_holds_no_configuration_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("config").mkdir()
    Path("config/notes.yaml").write_text("- a list\n", encoding="utf-8")
    written(write_tree(tmp_path / "t", {"a": 10, "b": 10}))
    assert capsys.readouterr().err.startswith("note: config/notes.yaml: found a list, allowed is a mapping")


def test_nothing_is_written_over(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "t", {"a": 10, "b": 10})
    written(source)
    with pytest.raises(StudyError, match=r"config/mine\.yaml: exists already; --force writes over it, --study takes"):
        written(source)
    Path("config/mine.yaml").unlink()
    with pytest.raises(StudyError, match=r"config/mine_experiments\.tsv: exists already"):
        written(source)
    written(source, "--force")
    Path("config/mine.yaml").rename("config/other.yaml")
    with pytest.raises(
        StudyError, match=r"study 'mine' is that of config/other\.yaml, and its results would be in one"
    ):
        written(source, "--force")
    with pytest.raises(StudyError, match="'digits' is the source of the default study"):
        written("digits")
    with pytest.raises(StudyError, match=r"nothing: the source of images does not exist"):
        written("nothing", name="nothing")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        *(("data/mushrooms", "mushrooms"), ("mush rooms.v2.zip", "mush_rooms_v2"), ("ham/metadata.csv", "ham")),
        *(("beans/train.parquet", "beans"), ("grün/", "gr_n"), ("pathmnist.npz", "pathmnist")),
    ],
)
def test_the_name_is_the_sources(tmp_path: Path, source: str, name: str) -> None:
    if not Path(source).suffix:
        Path(source).mkdir(parents=True)
    assert init._name_of(source) == name
