"""New images labelled by a trained run: the run's own answers."""

import dataclasses
import errno
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from finished_run import finish, planned
from PIL import Image, ImageFile
from small_run import CLASSES, small_data

from study.__main__ import main
from study.commands.predict import label_images
from study.commands.trained_run import Classifier
from study.errors import StudyError
from study.evaluate.predictions import read_predictions
from study.files import write_table
from study.paths import RunPaths

MAX_PIXELS = 1_000_000


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    results = tmp_path_factory.mktemp("study") / "results/small"
    planned(results, {"long": 10}, seeds=(0,)).write()
    return finish(results, "long", 0, 10)


@pytest.fixture(scope="module")
def classifier(finished: RunPaths) -> Classifier:
    return Classifier.load(finished.weights, torch.device("cpu"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The test images as PNG files, in two folders."""
    data = small_data()
    for name, image in zip(data.image_ids["test"], data.images["test"], strict=True):
        path = tmp_path / "images" / ("even" if int(name[-1]) % 2 == 0 else "odd") / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(path)
    return tmp_path / "images"


def test_new_images_get_the_probabilities_of_the_evaluation(
    finished: RunPaths, classifier: Classifier, images: Path
) -> None:
    table = label_images(classifier, images, MAX_PIXELS)
    saved = read_predictions(finished.predictions)
    rows = pd.Index(saved.scores["image_id"])
    columns = [f"p_{name}" for name in CLASSES]
    assert list(table.columns) == ["image", "predicted", *columns]
    assert len(table) == 30
    expected = np.exp(saved.log_p[rows.get_indexer([Path(name).stem for name in table["image"]])])
    assert table[columns].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert table["predicted"].tolist() == [CLASSES[k] for k in expected.argmax(axis=1)]


def test_what_is_no_image_is_reported_and_skipped(classifier: Classifier, images: Path) -> None:
    (images / "notes").write_text("not an image")
    for name in ("notes.txt", "even/clip.MOV", "odd/.DS_Store", "@eaDir/a.png", "odd/~$list.docx"):
        (images / name).parent.mkdir(exist_ok=True)
        (images / name).write_text("nothing")
    content = BytesIO()
    Image.new("L", (64, 64)).save(content, "PNG")
    (images / "cut.png").write_bytes(content.getvalue()[:60])
    said: list[str] = []
    table = label_images(classifier, images, MAX_PIXELS, said.append)
    assert len(table) == 30
    assert "skipped notes: not an image, or its header is damaged" in said
    assert said[0] == (
        "not read as images: 3 left by systems, tools and downloads (@eaDir/a.png, odd/.DS_Store, odd/~$list.docx); "
        "1 videos and sound (even/clip.MOV); 1 texts, tables, code and other data (notes.txt)"
    )
    assert any(line.startswith("skipped cut.png: ") for line in said)


def test_other_sizes_and_modes_are_prepared_and_counted(classifier: Classifier, images: Path) -> None:
    table = label_images(classifier, images, MAX_PIXELS)
    first = images / table["image"][0]
    Image.open(first).convert("RGB").save(images / "colour.png")
    Image.open(first).resize((64, 64), Image.Resampling.NEAREST).save(images / "large.png")
    said: list[str] = []
    again = label_images(classifier, images, MAX_PIXELS, said.append).set_index("image")
    assert again.loc["colour.png"].tolist() == again.loc[table["image"][0]].tolist()
    assert again.loc["large.png", "p_left"] == pytest.approx(again.loc[table["image"][0], "p_left"], abs=0.05)
    assert "1 of 32 images: resized to the run's size" in said
    assert any("1 of 32 images: turned from colour to the grayscale" in line for line in said)


def test_samples_of_16_bits_are_read_as_those_of_the_run(classifier: Classifier, images: Path) -> None:
    first = label_images(classifier, images, MAX_PIXELS)["image"][0]
    values = np.asarray(Image.open(images / first)).astype(np.uint16) << 4
    Image.fromarray(values).save(images / "wide.png")
    Image.fromarray(values << 1 | 4096).save(images / "wider.png")
    said: list[str] = []
    run = dataclasses.replace(classifier, bit_depth=12)
    table = label_images(run, images, MAX_PIXELS, said.append).set_index("image")
    assert table.loc["wide.png"].tolist() == table.loc[first].tolist()
    assert "1 of 32 images: with samples of 16 bits, read as 12 bits as the run's were" in said
    assert any(line.startswith("skipped wider.png: samples up to ") for line in said)


def test_the_trouble_of_the_machine_skips_no_image(
    classifier: Classifier, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(StudyError, match=r"\.png: Input/output error; this is the machine's trouble, not the file's"):
        label_images(classifier, images, MAX_PIXELS)


def test_empty_missing_and_unreadable_folders(classifier: Classifier, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="not a folder; name one that holds images"):
        label_images(classifier, tmp_path / "none", MAX_PIXELS)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a.txt").write_text("text")
    with pytest.raises(StudyError, match="no image in the folder"):
        label_images(classifier, tmp_path / "folder", MAX_PIXELS, lambda line: None)
    (tmp_path / "folder/a.jpg").write_text("text")
    with pytest.raises(StudyError, match=r"none of the 1 files is a readable image; the first: a\.jpg: not an image"):
        label_images(classifier, tmp_path / "folder", MAX_PIXELS, lambda line: None)


def test_a_table_of_predictions_is_read_back_whole(classifier: Classifier, images: Path, tmp_path: Path) -> None:
    table = label_images(classifier, images, MAX_PIXELS)
    write_table(table, tmp_path / "out.csv")
    read = pd.read_csv(tmp_path / "out.csv")
    assert read.filter(like="p_").sum(axis=1).to_numpy() == pytest.approx(np.ones(30), abs=1e-5)


def test_an_image_beyond_the_limit_is_skipped(classifier: Classifier, images: Path) -> None:
    Image.new("1", (3000, 3000)).save(images / "huge.png")
    said: list[str] = []
    assert len(label_images(classifier, images, MAX_PIXELS, said.append)) == 30
    assert "skipped huge.png: 3000×3000 pixels, more than max_pixels = 1000000" in said


def test_the_command_writes_a_table_and_says_who_labelled(
    finished: RunPaths,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(finished.results.parents[1])
    out = tmp_path / "new folder/out.csv"
    main(["predict", str(images), "--run", "long/seed_0", "--study", "small", "--out", str(out)])
    assert capsys.readouterr().out == f"30 images labelled by long, seed 0: {out}\n"
    assert list(pd.read_csv(out).columns) == ["image", "predicted", *(f"p_{name}" for name in CLASSES)]
    study = planned(finished.results, {"long": 10})
    dataclasses.replace(study, config={**study.config, "data": {"max_pixels": 100}}).write()
    with pytest.raises(SystemExit, match=r"none of the 30 files is a readable image.* more than max_pixels = 100$"):
        main(["predict", str(images), "--run", "long/seed_0", "--study", "small", "--out", str(out)])
    study.write()
    with pytest.raises(SystemExit, match=r"^Error: run 'lang': not found in results/small; allowed: best, long"):
        main(["predict", str(images), "--run", "lang", "--study", "small"])
