"""FER2013's table is read as torchvision reads it, and a wrong cell is named with its row."""

from pathlib import Path

import numpy as np
import pytest
import torchvision
from example_images import data_settings, pixel_cell, pixels, write_csv

from study.data.folder_tree import Entry
from study.data.sources import open_source
from study.data.sources.fer2013_csv import CLASSES
from study.errors import StudyError

USAGE = ("Training", "PublicTest", "PrivateTest")


def fer_rows(count: int = 14) -> list[str]:
    return [f"{n % 7},{pixel_cell(n)},{USAGE[n // 7 % 3]}" for n in range(count)]


def test_fer2013_csv_gives_classes_splits_and_row_numbers(tmp_path: Path) -> None:
    source = open_source(data_settings(write_csv(tmp_path / "fer2013.csv", fer_rows(21))))
    assert source.entries[0] == Entry("row_2", "angry", "train")
    assert source.entries[8] == Entry("row_10", "disgust", "val")
    assert source.entries[20] == Entry("row_22", "neutral", "test")
    assert " ".join(map(str, pixels(source, "row_10").ravel())) == pixel_cell(8)


def test_icml_face_data_csv_reads_the_same(tmp_path: Path) -> None:
    rows = [row.split(",") for row in fer_rows()]
    icml = write_csv(tmp_path / "icml_face_data.csv", [f"{e}, {u}, {p}" for e, p, u in rows], "emotion, Usage, pixels")
    fer = write_csv(tmp_path / "fer2013.csv", fer_rows())
    one, other = open_source(data_settings(fer)), open_source(data_settings(icml))
    assert one.entries == other.entries
    assert all(one.read(e.image_id).image == other.read(e.image_id).image for e in one.entries)


def test_a_table_without_usage_quoted_with_byte_order_mark_and_empty_lines(tmp_path: Path) -> None:
    rows = [f'"{label}","{pixel_cell(label)}"\r\n\r' for label in range(7)]
    source = open_source(data_settings(write_csv(tmp_path / "train.csv", rows, "\ufeffemotion,pixels\r")))
    assert [entry.label for entry in source.entries] == list(CLASSES)
    assert {entry.split for entry in source.entries} == {""}
    assert source.entries[1].image_id == "row_4"
    assert source.read("row_4").image.size == (48, 48)


@pytest.mark.parametrize("name", ["fer2013.csv", "icml_face_data.csv"])
def test_torchvision_reads_the_same_images_and_labels(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row.split(",") for row in fer_rows(42)]
    (tmp_path / "fer2013").mkdir()
    path = tmp_path / "fer2013" / name
    if name == "fer2013.csv":
        write_csv(path, [f"{e},{p},{u}" for e, p, u in rows])
    else:
        write_csv(path, [f"{e},{u},{p}" for e, p, u in rows], "emotion, Usage, pixels")
    # torchvision accepts only the original file, by its hash
    monkeypatch.setattr("torchvision.datasets.fer2013.check_integrity", lambda path, md5: True)
    ours = open_source(data_settings(path))
    for split, names in {"train": ("train",), "test": ("val", "test")}.items():
        theirs = torchvision.datasets.FER2013(tmp_path, split=split)
        selected = [entry for entry in ours.entries if entry.split in names]
        assert len(theirs) == len(selected) > 0
        for (image, label), entry in zip(theirs, selected, strict=True):
            assert CLASSES[label] == entry.label
            assert (np.asarray(image) == pixels(ours, entry.image_id)).all()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (pixel_cell(0, 2303), r"2303 values found, allowed are 2304 \(48×48\)"),
        ("", r"0 values found, allowed are 2304"),
        ("7 eight " + pixel_cell(0, 2302), "value 2 is 'eight', allowed is a whole number from 0 to 255"),
        ("1.5 " + pixel_cell(0, 2303), r"value 1 is '1\.5', allowed"),
        (pixel_cell(0, 2303) + " 256", "value 2304 is '256', allowed"),
        ("-1 " + pixel_cell(0, 2303), "value 1 is '-1', allowed"),
        ("9" * 40 + " " + pixel_cell(0, 2303), "value 1 is '99999999999999999999', allowed"),
    ],
)
def test_wrong_pixels_in_a_table_are_named_with_their_row(tmp_path: Path, cell: str, message: str) -> None:
    rows = [*fer_rows(8), f"3,{cell},Training"]
    source = open_source(data_settings(write_csv(tmp_path / "fer2013.csv", rows)))
    with pytest.raises(StudyError, match=rf"fer2013\.csv, row 10, column 'pixels': {message}"):
        source.read("row_10")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("7,1 2 3,Training", r"column 'emotion': found '7', allowed is a whole number from 0 to 6 \(angry, disgust"),
        ("-1,1 2 3,Training", "column 'emotion': found '-1', allowed"),
        ("happy,1 2 3,Training", "column 'emotion': found 'happy', allowed"),
        ("2.0,1 2 3,Training", r"column 'emotion': found '2\.0', allowed"),
        ("3,1 2 3,Test", "column 'Usage': found 'Test', allowed is one of Training, PublicTest, PrivateTest"),
        ("3,1 2 3", "2 cells found, allowed are 3"),
        ("3,1,2,3,Training", "5 cells found, allowed are 3"),
    ],
)
def test_other_wrong_cells_in_a_table_are_named_with_their_row(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(StudyError, match=rf"fer2013\.csv, row 5[,:] {message}"):
        open_source(data_settings(write_csv(tmp_path / "fer2013.csv", [*fer_rows(3), row])))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"row 1: missing column 'emotion'; found .*allowed is emotion, pixels, Usage"):
        open_source(data_settings(write_csv(tmp_path / "fer2013.csv", ["1,2"], "pixels,Usage")))
    with pytest.raises(StudyError, match="no column with the names of images; found: 'emotion', 'Usage'"):
        open_source(data_settings(write_csv(tmp_path / "fer2013.csv", ["1,2"], "emotion,Usage")))


def test_a_table_without_rows_or_with_a_single_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no row of pixels below the header"):
        open_source(data_settings(write_csv(tmp_path / "fer2013.csv", [])))
    with pytest.raises(StudyError, match="a single class found, 'angry'"):
        open_source(data_settings(write_csv(tmp_path / "fer2013.csv", fer_rows(1))))
