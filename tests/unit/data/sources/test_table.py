"""Tables of images, each made after the files of a data set as they are published, and tables that are wrong."""

import json
import zlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from example_images import data_settings, noise, split_settings, write_images, write_tree

from study.data.data_settings import DataSettings, source_fingerprint
from study.data.manifest_building import build_manifest
from study.data.sources import Source, open_source
from study.data.sources.folder import FolderSource
from study.data.sources.table import TableSource
from study.errors import StudyError


def images(folder: Path, *names: str) -> Path:
    return write_images(folder, {name: noise(zlib.crc32(name.encode())) for name in names})


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def opened(path: Path, **table: Any) -> Source:
    return open_source(data_settings(path, table=table))


def found(source: Source) -> dict[str, tuple[str, ...]]:
    """Label, split and group by image; every image can be read."""
    for entry in source.entries:
        assert source.read(entry.image_id).image.size == (12, 12)
    return {entry.image_id: (entry.label, entry.split, entry.group) for entry in source.entries}


def kept(source: Source, image_id: str) -> dict[str, str]:
    place = [entry.image_id for entry in source.entries].index(image_id)
    return {name: values[place] for name, values in source.columns.items()}


# As they are published


def ham(folder: Path) -> Path:
    images(folder / "HAM10000_images_part_1", "ISIC_0027419.jpg", "ISIC_0025030.jpg")
    images(folder / "HAM10000_images_part_2", "ISIC_0031633.jpg", "ISIC_0032271.jpg")
    return text(
        folder / "HAM10000_metadata.csv",
        "lesion_id,image_id,dx,dx_type,age,sex,localization",
        "HAM_0000118,ISIC_0027419,bkl,histo,80.0,male,scalp",
        "HAM_0000118,ISIC_0025030,bkl,histo,80.0,male,scalp",
        "HAM_0002730,ISIC_0031633,nv,follow_up,,female,ear",
        "HAM_0001466,ISIC_0032271,mel,histo,75.0,male,",
    )


def test_ham10000_ids_in_two_folders_with_lesions_as_groups(tmp_path: Path) -> None:
    for source in (ham(tmp_path), tmp_path):  # the table, and the folder that holds it
        read = opened(source)
        assert isinstance(read, TableSource)
        assert found(read) == {
            "HAM10000_images_part_1/ISIC_0025030.jpg": ("bkl", "", "HAM_0000118"),
            "HAM10000_images_part_1/ISIC_0027419.jpg": ("bkl", "", "HAM_0000118"),
            "HAM10000_images_part_2/ISIC_0031633.jpg": ("nv", "", "HAM_0002730"),
            "HAM10000_images_part_2/ISIC_0032271.jpg": ("mel", "", "HAM_0001466"),
        }
        assert kept(read, "HAM10000_images_part_2/ISIC_0031633.jpg") == {
            **{"dx_type": "follow_up", "age": "", "sex": "female", "localization": "ear"},
        }
        assert any("4 images were found in folders that the table does not name" in note for note in read.notes)


def test_isic_2019_one_hot_floats(tmp_path: Path) -> None:
    classes = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    names = [f"ISIC_000000{n}" for n in range(4)]
    images(tmp_path / "ISIC_2019_Training_Input", *(f"{name}.jpg" for name in names))
    rows = [f"{name}," + ",".join("1.0" if k == n % 3 else "0.0" for k in range(9)) for n, name in enumerate(names)]
    path = text(tmp_path / "ISIC_2019_Training_GroundTruth.csv", f"image,{','.join(classes)}", *rows)
    labels = [entry.label for entry in opened(path).entries]
    assert labels == ["MEL", "NV", "BCC", "MEL"]
    assert opened(path).columns == {}
    second = text(tmp_path / "two.csv", f"image,{','.join(classes)}", *rows[:3], f"{names[3]},1.0,1.0" + ",0.0" * 7)
    with pytest.raises(
        StudyError, match=r"two\.csv, row 5: several classes for one image \(MEL, NV\) in the columns MEL"
    ):
        opened(second)
    none = text(tmp_path / "none.csv", f"image,{','.join(classes)}", *rows[:3], names[3] + ",0.0" * 9)
    with pytest.raises(StudyError, match=r"none\.csv, row 5: no class in the columns MEL, .*a single 1 in every row"):
        opened(none)


def aptos(folder: Path) -> Path:
    images(folder / "train_images", *(f"{n:012x}.png" for n in range(4)))
    images(folder / "test_images", "ffffffffffff.png")
    text(folder / "test.csv", "id_code", "ffffffffffff")
    return text(folder / "train.csv", "id_code,diagnosis", *(f"{n:012x},{n % 2}" for n in range(4)))


def test_aptos_ids_and_numbers_with_names_from_the_configuration(tmp_path: Path) -> None:
    source = open_source(data_settings(aptos(tmp_path), class_names={0: "No DR", 1: "Mild"}))
    assert found(source)["train_images/000000000001.png"] == ("Mild", "", "")
    assert source.ignored == {}, "a folder that no row leads to is none of the table's"
    with pytest.raises(StudyError, match=r"data\.class_names: no row of .*train\.csv has the label '7'; found: 0, 1"):
        open_source(data_settings(tmp_path / "train.csv", class_names={7: "seven"}))


def test_aptos_folder_sets_its_table_without_labels_aside(tmp_path: Path) -> None:
    aptos(tmp_path)
    source = opened(tmp_path)
    assert {split for _, split, _ in found(source).values()} == {"train"}
    assert any("test.csv: no column with the class; the images of this table are set aside" in n for n in source.notes)


def test_raf_db_splits_in_the_names_and_aligned_files(tmp_path: Path) -> None:
    names = ["train_00001.jpg", "train_00002.jpg", "test_0001.jpg"]
    images(tmp_path / "Image/aligned", *(name.replace(".jpg", "_aligned.jpg") for name in names))
    images(tmp_path / "Image/original", *names)
    rows = [f"{name} {label}" for name, label in zip(names, (5, 4, 5), strict=True)]
    path = text(tmp_path / "EmoLabel/list_patition_label.txt", *rows)
    source = opened(path, root=str(tmp_path / "Image"), suffix="_aligned.jpg")
    assert found(source) == {
        "aligned/test_0001_aligned.jpg": ("5", "test", ""),
        "aligned/train_00001_aligned.jpg": ("5", "train", ""),
        "aligned/train_00002_aligned.jpg": ("4", "train", ""),
    }
    assert any("splits (test, train) from the beginning of the images' names" in note for note in source.notes)
    assert "original/test_0001.jpg" in found(opened(path, root=str(tmp_path / "Image")))
    assert {
        split for _, split, _ in found(opened(path, root=str(tmp_path), suffix="_aligned.jpg", split="none")).values()
    } == {""}


def test_gtsrb_semicolons_ppm_and_boxes(tmp_path: Path) -> None:
    write_images(tmp_path, {f"0000{n}.ppm": noise(n, mode="RGB") for n in range(3)})
    path = text(
        tmp_path / "GT-final_test.csv",
        "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId",
        *(f"0000{n}.ppm;12;12;1;1;11;11;{16 * (n % 2)}" for n in range(3)),
    )
    source = opened(path, columns=["Roi.X1"])
    assert found(source) == {"00000.ppm": ("0", "", ""), "00001.ppm": ("16", "", ""), "00002.ppm": ("0", "", "")}
    assert kept(source, "00000.ppm") == {"Roi.X1": "1"}


def test_imagenet_lt_a_list_per_split_without_header(tmp_path: Path) -> None:
    files = [f"{split}/n0144076{n}/{split}_{n}.JPEG" for split in ("train", "val") for n in range(2)]
    root = images(tmp_path / "imagenet", *files, "train/n01440764/not_listed.JPEG")
    for split, names in {"train": files[:2], "val": files[2:], "test": []}.items():
        if names:
            text(tmp_path / f"lists/ImageNet_LT_{split}.txt", *(f"{name} {n}" for n, name in enumerate(names)))
    source = opened(tmp_path / "lists", root=str(root))
    assert found(source)["val/n01440761/val_1.JPEG"] == ("1", "val", "")
    assert [entry.image_id for entry in source.entries] == sorted(files)
    assert source.ignored == {"without_row": ["train/n01440764/not_listed.JPEG"]}


def iwildcam(folder: Path) -> Path:
    splits = ["train", "val", "test", "id_val", "id_test", "train"]
    images(folder / "train", *(f"{n}.jpg" for n in range(6)))
    return text(
        folder / "metadata.csv",
        ",split,location_remapped,sequence_remapped,datetime,filename,image_id,y",
        *(f"{n},{split},{n},{n // 2},2013-06-05 05:44:19.000,{n}.jpg,x{n},{n % 2}" for n, split in enumerate(splits)),
    )


def test_iwildcam_wilds_five_splits_have_to_be_told(tmp_path: Path) -> None:
    path = iwildcam(tmp_path)
    with pytest.raises(
        StudyError,
        match=r"metadata\.csv, column 'split': 'id_test', 'id_val' are no split; .*splits: \{id_test: train\}",
    ):
        opened(path)
    told = {"splits": {"id_val": "ignore", "id_test": "ignore"}, "group": "location_remapped", "columns": ["datetime"]}
    source = opened(path, **told, root=str(tmp_path / "train"))
    assert found(source) == {
        **{"0.jpg": ("0", "train", "0"), "1.jpg": ("1", "val", "1"), "2.jpg": ("0", "test", "2")},
        "5.jpg": ("1", "train", "5"),
    }
    assert source.ignored == {"left_out": ["3.jpg", "4.jpg"]}
    assert kept(source, "0.jpg") == {"datetime": "2013-06-05 05:44:19.000"}
    assert {entry.group for entry in opened(path, splits=told["splits"]).entries} == {"0", "1", "2"}  # sequences


def test_lightly_train_paths_relative_to_the_table_or_absolute(tmp_path: Path) -> None:
    images(tmp_path / "data", "cat/1.jpg", "dog/1.jpg")
    path = text(tmp_path / "data/train.csv", "image_path,label", "cat/1.jpg,cat", f"{tmp_path}/data/dog/1.jpg,dog")
    assert found(opened(path)) == {"cat/1.jpg": ("cat", "", ""), "dog/1.jpg": ("dog", "", "")}
    lists = text(tmp_path / "lists/train.csv", "image_path,label", "../data/cat/1.jpg,cat", "data/dog/1.jpg,dog")
    assert set(found(opened(lists, root=str(tmp_path)))) == {"data/cat/1.jpg", "data/dog/1.jpg"}
    with pytest.raises(
        StudyError, match=r"train\.csv, row 2: the path '\.\./data/cat/1\.jpg' leads out of .*table\.root"
    ):
        opened(lists)
    for outside in ("/etc/passwd", "C:/images/1.jpg", "../../etc/passwd"):
        with pytest.raises(StudyError, match=r"wrong\.csv, row 3: the path '.*' leads out of"):
            opened(text(tmp_path / "data/wrong.csv", "image_path,label", "cat/1.jpg,cat", f"{outside},dog"))


def hugging_face(folder: Path, form: str) -> None:
    for split in ("train", "test"):
        images(folder / split, "0001.png", "0002.png")
        table = pd.DataFrame({"file_name": ["0001.png", "0002.png"], "label": [0, 1], "age": [7.5, None]})
        path = folder / split / f"metadata.{form}"
        if form == "csv":
            table.to_csv(path, index=False)
        elif form == "jsonl":
            table.to_json(path, orient="records", lines=True)
        else:
            table.to_parquet(path)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_hugging_face_imagefolder(tmp_path: Path, form: str) -> None:
    hugging_face(tmp_path, form)
    source = opened(tmp_path)
    assert found(source)["test/0002.png"] == ("1", "test", "")
    assert len(source.entries) == 4
    assert kept(source, "train/0001.png") == {"age": "7.5"}
    assert kept(source, "train/0002.png") == {"age": ""}


def test_hugging_face_metadata_at_the_top_wins_over_the_folders_labels(tmp_path: Path) -> None:
    images(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png")
    rows = ["train/a/1.png,x", "train/b/2.png,y", "test/a/3.png,y", "test/b/4.png,x"]
    text(tmp_path / "metadata.csv", "file_name,label", *rows)
    assert found(opened(tmp_path))["train/b/2.png"] == ("y", "train", "")
    text(tmp_path / "metadata.jsonl", '{"file_name": "train/a/1.png", "label": "x"}')
    with pytest.raises(StudyError, match=r"metadata in several formats .*allowed is one of them"):
        opened(tmp_path)


def coco(**changes: Any) -> dict[str, Any]:
    return {
        "info": {"year": 2018},
        "images": [
            {"id": 10 + n, "file_name": f"train_val2018/Aves/{n}.jpg", "width": 12, "height": 12, "location": f"L{n}"}
            for n in range(3)
        ],
        "annotations": [
            {"id": n, "image_id": 12 - n, "category_id": 7 + n % 2, "bbox": [0, 0, 1, 1]} for n in range(3)
        ],
        "categories": [{"id": 7, "name": "Corvus corax"}, {"id": 8, "name": "Pica pica"}],
    } | changes


def write_coco(folder: Path, content: Any) -> Path:
    images(folder / "train_val2018/Aves", "0.jpg", "1.jpg", "2.jpg")
    return text(folder / "train2018.json", json.dumps(content))


def test_inaturalist_json_is_joined_on_image_id(tmp_path: Path) -> None:
    source = opened(write_coco(tmp_path, coco()), group="location")
    assert found(source) == {
        "train_val2018/Aves/0.jpg": ("Corvus corax", "", "L0"),
        "train_val2018/Aves/1.jpg": ("Pica pica", "", "L1"),
        "train_val2018/Aves/2.jpg": ("Corvus corax", "", "L2"),
    }
    annotations = coco()["annotations"]
    without = opened(write_coco(tmp_path, coco(annotations=annotations[:2])))
    assert without.ignored == {"no_label": ["train_val2018/Aves/0.jpg"]}
    twice = opened(write_coco(tmp_path, coco(annotations=[*annotations, annotations[0]])))
    assert len(twice.entries) == 3, "two boxes of one class"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"annotations": [{"image_id": 99, "category_id": 7}, {"image_id": 10, "category_id": 8}]},
            r"1 of 2 annotations are of images that the file does not list, such as image_id 99; .* begin 10, 11, 12",
        ),
        (
            {"annotations": [{"image_id": 10, "category_id": 1}]},
            "1 annotations are of a category that the file does not list, such as category_id 1; found: 7, 8",
        ),
        (
            {"annotations": [{"image_id": 10, "category_id": 7}, {"image_id": 10, "category_id": 8}]},
            r"the image 'train_val2018/Aves/0\.jpg' has annotations of several classes \(Corvus corax, Pica pica\)",
        ),
        ({"images": coco()["images"] * 2}, "two images have the id 10"),
        ({"images": [{"id": 1}]}, "'images' has no 'file_name'; found: 'id'"),
        ({"annotations": []}, "'annotations' is no list of objects, or empty"),
        ({"categories": [{"id": 7, "name": "a"}, {"id": 8, "name": "a"}]}, "two categories are called 'a'"),
    ],
)
def test_wrong_json_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        opened(write_coco(tmp_path, coco(**changes)))


def test_json_of_another_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"found a list, allowed is an object with images, annotations .*\.jsonl"):
        opened(write_coco(tmp_path, [{"image": "a.jpg", "label": 1}]))
    with pytest.raises(StudyError, match="not readable as JSON"):
        opened(text(tmp_path / "a.json", "{"))


def test_bot_lt_json_has_paths_in_its_annotations(tmp_path: Path) -> None:
    images(tmp_path, "0.jpg", "1.jpg")
    annotations = [
        {"image_id": n, "im_height": 12, "im_width": 12, "category_id": n, "fpath": f"{tmp_path}/{n}.jpg"}
        for n in range(2)
    ]
    path = text(tmp_path / "iNat_train.json", json.dumps({"annotations": annotations, "num_classes": 2}))
    assert found(opened(path)) == {"0.jpg": ("0", "", ""), "1.jpg": ("1", "", "")}
    annotations[0]["fpath"] = "/home/somebody/iNat/0.jpg"
    text(path, json.dumps({"annotations": annotations, "num_classes": 2}))
    with pytest.raises(StudyError, match=r"the path '/home/somebody/iNat/0\.jpg' leads out of .*data\.table\.root"):
        opened(path)


# Forms of tables


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "image,label\n1.png,x\n2.png,y\n"),
        ("a.csv", "\ufeffimage,label\r\n\r\n1.png,x\r\n2.png,y\r\n\r\n"),
        ("a.csv", '"image","label"\n"1.png","x"\n"2.png","y"\n'),
        ("a.tsv", "image\tlabel\n1.png\tx\n2.png\ty\n"),
        ("a.csv", "label;image\nx;1.png\ny;2.png\n"),
        ("a.txt", "1.png x\n2.png y\n"),
        ("a.txt", "1 x\n2 y\n"),
        ("a.csv", "Image Path,Class Name\n1.png,x\n2.png,y\n"),
        ("a.jsonl", '{"image": "1.png", "label": "x"}\n{"image": "2.png", "label": "y"}\n'),
        ("a.csv", "photo,what\n1.png,x\n2.png,y\n"),
    ],
)
def test_each_form_of_a_table_reads_the_same(tmp_path: Path, name: str, content: str) -> None:
    images(tmp_path, "1.png", "2.png")
    (tmp_path / name).write_bytes(content.encode())
    assert found(opened(tmp_path / name)) == {"1.png": ("x", "", ""), "2.png": ("y", "", "")}


def test_utf_16_and_parquet_read_the_same(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png")
    (tmp_path / "a.csv").write_text("image\tlabel\n1.png\tx\n2.png\tÿ\n", encoding="utf-16")
    frame = pd.DataFrame({"image": ["1.png", "2.png"], "label": pd.Categorical(["x", "ÿ"])})
    frame.to_parquet(tmp_path / "a.parquet")
    assert found(opened(tmp_path / "a.csv")) == found(opened(tmp_path / "a.parquet"))
    (tmp_path / "b.csv").write_bytes("image,label\n1.png,x\n2.png,ÿ\n".encode("latin-1"))
    with pytest.raises(StudyError, match=r"b\.csv: the table is not UTF-8 .*save it as UTF-8"):
        opened(tmp_path / "b.csv")


def test_columns_by_name_and_by_place(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png")
    path = text(tmp_path / "a.csv", "x,1.png,7,p1", "y,2.png,8,p2")
    expected = {"1.png": ("x", "", "p1"), "2.png": ("y", "", "p2")}
    assert found(opened(path, image=2, label=1, group=4, header=False, delimiter=",")) == expected
    named = text(tmp_path / "b.csv", "What,Where,Many,Who", "x,1.png,7,p1", "y,2.png,8,p2")
    source = opened(named, image="where", label="What", group="Who")
    assert found(source) == expected
    assert kept(source, "1.png") == {"Many": "7"}


@pytest.mark.parametrize("key", ["image", "label", "split", "group", "columns"])
def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, key: str) -> None:
    images(tmp_path, "1.png", "2.png")
    path = text(tmp_path / "a.csv", "image,label", "1.png,x", "2.png,y")
    wanted = ["no"] if key == "columns" else "no"
    with pytest.raises(StudyError, match=rf"no column 'no' \(config key data\.table\.{key}\); found: 'image', 'label'"):
        opened(path, **{key: wanted})
    with pytest.raises(StudyError, match=r"no column with the class; found: 'image', 'p', 'q'"):
        opened(text(tmp_path / "b.csv", "image,p,q", "1.png,x,u", "2.png,y,v"))
    with pytest.raises(StudyError, match=r"no column with the names of images; found: 'p', 'label'"):
        opened(text(tmp_path / "c.csv", "p,label", "x,u", "y,v"))


def test_classes_are_text_but_for_whole_numbers_written_as_floats(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png", "3.png")
    for cells, labels in ((("001", "NA", "1"), ["001", "NA", "1"]), (("1.0", "2.0", "1.0"), ["1", "2", "1"])):
        path = text(tmp_path / "a.csv", "image,label", *(f"{n}.png,{cell}" for n, cell in enumerate(cells, 1)))
        assert [entry.label for entry in opened(path).entries] == labels


def test_votes_the_most_win_and_ties_are_counted(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png", "3.png")
    path = text(tmp_path / "a.csv", "image,cat,dog,bird", "1.png,7,2,1", "2.png,0,5,5", "3.png,1,2,7")
    source = opened(path, label=["cat", "dog", "bird"])
    assert [entry.label for entry in source.entries] == ["cat", "dog", "bird"]
    assert any("in 1 rows several have as many, and the first in this order counts" in note for note in source.notes)
    with pytest.raises(StudyError, match=r"row 3, column 'dog': found 'many', allowed is 0 or 1, or a number of votes"):
        opened(text(path, "image,cat,dog", "1.png,7,2", "2.png,0,many"), label=["cat", "dog"])
    with pytest.raises(StudyError, match="row 3: no vote for any of cat, dog"):
        opened(text(path, "image,cat,dog", "1.png,7,2", "2.png,0,0"), label=["cat", "dog"])


def test_words_for_splits_that_no_column_is_read_for_are_refused(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png", "3.png")
    path = text(tmp_path / "a.csv", "image,label,subset_name", "1.png,x,keep", "2.png,y,keep", "3.png,y,holdout")
    message = r"data\.table\.splits: 'holdout' found, but no column of .* is read for its splits; .*'subset_name'"
    for told in ({}, {"split": "none"}):
        with pytest.raises(StudyError, match=message):
            opened(path, splits={"holdout": "ignore"}, **told)
    source = opened(path, split="subset_name", splits={"holdout": "ignore", "keep": "train"})
    assert list(found(source)) == ["1.png", "2.png"]


def test_folds_have_to_be_told(tmp_path: Path) -> None:
    images(tmp_path, *(f"{n}.png" for n in range(4)))
    path = text(tmp_path / "a.csv", "image,label,fold", *(f"{n}.png,{n % 2},{n // 2}" for n in range(4)))
    with pytest.raises(
        StudyError, match=r"column 'fold': '0', '1' are no split; .*\{'0': train\}.*or that the column is none"
    ):
        opened(path)
    assert found(opened(path, splits={0: "train", 1: "test"}))["3.png"] == ("1", "test", "")
    assert found(opened(path, split="none"))["3.png"] == ("1", "", "")
    with pytest.raises(
        StudyError, match=r"data\.table\.splits: no cell of the column 'fold' .* is '5'; found: '0', '1'"
    ):
        opened(path, splits={0: "train", 1: "test", 5: "val"})


# What is wrong


def test_rows_without_a_file_and_files_without_a_row_are_counted(tmp_path: Path) -> None:
    images(tmp_path / "images", *(f"{n}.png" for n in range(12)), "spare.png", "notes.txt.png")
    images(tmp_path / "elsewhere", "no_business.png")
    rows = [f"images/{n}.png,{n % 2}" for n in range(12)]
    path = text(tmp_path / "a.csv", "image,label", *rows, "images/gone.png,1")
    settings = data_settings(path, max_unreadable=0.1)
    source = open_source(settings)
    assert source.ignored == {"without_row": ["images/notes.txt.png", "images/spare.png"]}
    assert any("1 images of the table have no file" in note and "images/gone.png" in note for note in source.notes)
    manifest, audit = build_manifest(settings, split_settings(), workers=1)
    assert audit["found"]["unreadable"] == 1
    assert audit["source"]["ignored_files"] == {"without_row": 2}
    gone = manifest.set_index("image_id").loc["images/gone.png"]
    assert gone["reason"] == "unreadable: no file of this name, which a row of the table has"
    with pytest.raises(StudyError, match="1 of 13 images are unreadable, allowed is a share of 0"):
        build_manifest(data_settings(path), split_settings(), workers=1)
    with pytest.raises(
        StudyError, match=r"row 2: no file 'x/0\.png' below .*, and none for any other row; .*table\.root"
    ):
        opened(text(tmp_path / "b.csv", "image,label", "x/0.png,a", "x/1.png,b"))


def test_a_name_is_never_found_by_its_last_part_alone(tmp_path: Path) -> None:
    images(tmp_path, "a/1.png", "b/1.png", "b/2.png")
    with pytest.raises(StudyError, match=r"row 2: the name '1' fits several files below .* \(a/1\.png, b/1\.png\)"):
        opened(text(tmp_path / "a.csv", "image,label", "1,x", "2,y"))
    source = open_source(data_settings(text(tmp_path / "b.csv", "image,label", "a/1,x", "b/1,y", "c/2.png,y")))
    assert [entry.image_id for entry in source.entries] == ["a/1.png", "b/1.png", "c/2.png"]
    assert any("1 images of the table have no file" in note for note in source.notes)


def test_two_rows_of_one_image(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png")
    source = opened(text(tmp_path / "a.csv", "patientId,image,x,Target", "p,1.png,3,1", "p,1.png,5,1", "q,2.png,,0"))
    assert found(source) == {"1.png": ("1", "", "p"), "2.png": ("0", "", "q")}
    assert any("1 rows name an image that an earlier row has, with the same class" in note for note in source.notes)
    with pytest.raises(
        StudyError,
        match=r"b\.csv, row 2 and .*b\.csv, row 4: the image '1\.png' has different classes, '1', '0'; every",
    ):
        opened(text(tmp_path / "b.csv", "image,Target", "1.png,1", "2.png,0", "1,0"))
    for table in ("train", "test"):
        text(tmp_path / f"tables/{table}.csv", "image,label", "1.png,x", "2.png,y")
    with pytest.raises(StudyError, match=r"test\.csv, row 2 and .*train\.csv, row 2: the image .* different splits"):
        opened(tmp_path / "tables", root=str(tmp_path))


def test_a_label_that_looks_like_an_id_is_refused(tmp_path: Path) -> None:
    images(tmp_path, *(f"{n}.png" for n in range(12)))
    with pytest.raises(
        StudyError, match=r"column 'label': 12 labels for 12 images, as in a column of ids.*table\.label"
    ):
        opened(text(tmp_path / "a.csv", "image,label", *(f"{n}.png,id{n}" for n in range(12))))


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("a.csv", ("Image Index,Finding", "1.png,Edema|Mass", "2.png,Mass", "3.png,Edema")),
        ("a.csv", ("image,labels", '1.png,"a,b"', "2.png,a", "3.png,b")),
        ("a.jsonl", ('{"image": "1.png", "labels": ["a", "b"]}', '{"image": "2.png", "labels": ["a"]}')),
    ],
)
def test_several_labels_per_image_are_refused(tmp_path: Path, name: str, lines: tuple[str, ...]) -> None:
    images(tmp_path, "1.png", "2.png", "3.png")
    with pytest.raises(
        StudyError, match=r"row [12], column '.*': several classes for one image \(.*\); data with several"
    ):
        opened(text(tmp_path / name, *lines))


def test_other_wrong_tables(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png")
    for lines, message in (
        (
            ("image,label", "1.png,x", "2.png,y,z"),
            r"same number of cells in every row \(Expected 2 fields in line 3, saw 3\)",
        ),
        (("image,label",), "no row below the names of the columns"),
        (("image,image,label", "1.png,1.png,x"), "two columns are called 'image'"),
        (("image,label", ",x", "2.png,y"), r"a\.csv, row 2, column 'image': empty, allowed is the name of an image"),
        (("image,label", "1.png,x", "2.png,X"), "the classes 'X' and 'x' differ only in upper and lower case"),
        (("image,label", "1.png,x", "2.png,x"), "a single class found, 'x'"),
    ):
        with pytest.raises(StudyError, match=message):
            opened(text(tmp_path / "a.csv", *lines))
    path = text(tmp_path / "a.csv", "image,label", "1.png,x", "2.png,y")
    with pytest.raises(StudyError, match=r"data\.table\.root: the folder nowhere does not exist"):
        opened(path, root="nowhere")
    with pytest.raises(StudyError, match=r"data\.folder: found a, but .* not by its folders"):
        open_source(data_settings(path, folder="a"))


# What a folder is read as


def test_class_folders_win_over_a_table_unless_the_configuration_speaks_of_one(tmp_path: Path) -> None:
    write_tree(tmp_path, {"cat": 2, "dog": 2})
    text(tmp_path / "labels.csv", "image,label", "cat/0.png,x", "dog/0.png,y")
    before = source_fingerprint(str(tmp_path), data_settings(tmp_path))
    assert isinstance(opened(tmp_path), FolderSource)
    assert before == source_fingerprint(str(tmp_path))
    assert {label for label, _, _ in found(opened(tmp_path, label="label")).values()} == {"x", "y"}


def test_two_tables_of_one_split_are_named(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png")
    for name in ("a_train.csv", "b_train.csv"):
        text(tmp_path / name, "image,label", "1.png,x", "2.png,y")
    with pytest.raises(
        StudyError, match=r"two tables of the train split, .*a_train\.csv and .*b_train\.csv; name the one"
    ):
        opened(tmp_path)


# Known again


def settings_of_table(path: Path, **table: Any) -> DataSettings:
    return data_settings(path, table=table)


def test_the_fingerprint_follows_the_table_and_its_images(tmp_path: Path) -> None:
    path = ham(tmp_path / "data")
    for source, table in ((path, {}), (tmp_path / "data", {}), (path, {"root": str(tmp_path / "data")})):
        data = settings_of_table(source, **table)
        seen = [source_fingerprint(str(source), data)]
        (tmp_path / "results").mkdir(exist_ok=True)
        assert source_fingerprint(str(source), data) == seen[0]
        path.write_text(path.read_text().replace("mel", "bcc"))
        seen.append(source_fingerprint(str(source), data))
        images(tmp_path / "data/HAM10000_images_part_1", f"new{len(table)}{source.is_dir()}.jpg")
        seen.append(source_fingerprint(str(source), data))
        with (tmp_path / "data/HAM10000_images_part_2/ISIC_0032271.jpg").open("ab") as file:
            file.write(b"\0")
        seen.append(source_fingerprint(str(source), data))
        assert len(set(seen)) == 4
        path.write_text(path.read_text().replace("bcc", "mel"))


def test_the_manifest_keeps_groups_and_further_columns(tmp_path: Path) -> None:
    images(tmp_path, *(f"{n}.png" for n in range(24)))
    path = text(
        tmp_path / "a.csv", "image,label,patient,age,width", *(f"{n}.png,{n % 2},p{n},{n},9" for n in range(24))
    )
    manifest, audit = build_manifest(data_settings(path), split_settings(), workers=1)
    row = manifest.set_index("image_id").loc["5.png"]
    assert (row["label"], row["group"], row["age"], row["source_width"], row["width"]) == ("1", "p5", "5", "9", 12)
    assert audit["source"]["sha256"] is not None
