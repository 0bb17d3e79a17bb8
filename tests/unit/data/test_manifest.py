"""The manifest accounts for every image, the policies do what they say, and the audit counts it."""

import hashlib
import re
import unicodedata
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from example_images import (
    ROOT,
    data_settings,
    noise,
    photographs,
    pixel_cell,
    split_settings,
    write_csv,
    write_images,
    write_tree,
    write_zip,
)
from PIL import Image, ImageOps

from study.data.audit import differences
from study.data.data_settings import DataSettings, Expected
from study.data.groups import torn
from study.data.manifest import MANIFEST_COLUMNS, leaked, nearly_leaked, read_groups, read_manifest, write_manifest
from study.data.manifest_building import _surplus_near_copies, build_manifest
from study.data.packing import pack
from study.data.sources import Source, open_source
from study.errors import StudyError
from study.names import SPLITS

WORKERS = 2


def with_copies(folder: Path) -> Path:
    """20 images of each of a and b, and: three copies in a; one image labelled a and b; a blank one, twice; a larger
    one; one in colour."""
    write_tree(folder, {"a": 20, "b": 20})
    return write_images(
        folder,
        {
            "a/copy 1.png": noise(100), "a/copy 2.png": noise(100), "a/copy 3.bmp": noise(100),
            "a/both.png": noise(101), "b/both.png": noise(101),
            "b/blank 1.png": Image.new("L", (12, 12), 7), "b/blank 2.png": Image.new("L", (12, 12), 7),
            "b/large.png": noise(102, (24, 24)),
            "b/colour.png": noise(103, mode="RGB"),
        },
    )  # fmt: skip


def fates(manifest: pd.DataFrame, *names: str) -> list[tuple[str, str]]:
    rows = manifest.set_index("image_id")
    return [(rows.loc[name, "status"], rows.loc[name, "reason"]) for name in names]


def test_every_image_is_recorded_and_nothing_done_where_everything_is_kept(tmp_path: Path) -> None:
    manifest, audit = build_manifest(data_settings(with_copies(tmp_path)), split_settings(), WORKERS)
    assert tuple(manifest.columns) == MANIFEST_COLUMNS
    assert len(manifest) == 49
    assert list(manifest["image_id"]) == sorted(manifest["image_id"])
    assert (manifest["status"] == "kept").all()
    assert set(manifest["reason"]) == {""}
    assert set(manifest["split"]) == set(SPLITS)
    assert audit["found"] == {
        "unreadable": 0, "duplicate_groups": 3, "duplicate_images": 7, "contradictory_groups": 1,
        "contradictory_images": 2, "groups_across_official_splits": 0, "blank": 2, "odd_size": 1, "odd_mode": 1,
    }  # fmt: skip
    groups = manifest[manifest["duplicate_group"] != ""].groupby("duplicate_group")["image_id"].agg(list)
    assert sorted(groups) == [
        ["a/both.png", "b/both.png"],
        ["a/copy 1.png", "a/copy 2.png", "a/copy 3.bmp"],
        ["b/blank 1.png", "b/blank 2.png"],
    ]
    assert audit["source"]["most_common_size"] == [12, 12]
    assert audit["source"]["most_common_mode"] == "L"


def test_dropping_says_why(tmp_path: Path) -> None:
    policies = dict.fromkeys(("duplicates", "contradictory", "blank", "odd_size", "odd_mode"), "drop")
    manifest, audit = build_manifest(data_settings(with_copies(tmp_path), **policies), split_settings(), WORKERS)
    assert fates(manifest, "a/copy 1.png", "a/copy 2.png", "a/copy 3.bmp") == [
        ("kept", ""),
        ("dropped", "copy of image a/copy 1.png"),
        ("dropped", "copy of image a/copy 1.png"),
    ]
    both = ("dropped", "contradictory: exact copies are labelled a, b")
    assert fates(manifest, "a/both.png", "b/both.png") == [both, both]
    assert fates(manifest, "b/blank 1.png", "b/large.png", "b/colour.png") == [
        ("dropped", "blank: every pixel has the same value"),
        ("dropped", "odd size: 24×24 pixels"),
        ("dropped", "odd mode: colour, and most are not (RGB)"),
    ]
    assert (manifest.loc[manifest["status"] == "dropped", "split"] == "").all()
    done = {name: audit["done"][name]["dropped"] for name in policies}
    assert done == {"duplicates": 2, "contradictory": 2, "blank": 2, "odd_size": 1, "odd_mode": 1}
    assert audit["done"]["dropped"] == 8
    assert audit["kept"]["images"] == 41 == sum(part["images"] for part in audit["kept"]["splits"].values())


@pytest.mark.parametrize("seed", range(5))
def test_grouped_copies_never_land_in_two_splits(tmp_path: Path, seed: int) -> None:
    settings = data_settings(with_copies(tmp_path), duplicates="group", contradictory="group")
    manifest, audit = build_manifest(settings, split_settings(seed=seed), WORKERS)
    assert (manifest["status"] == "kept").all()
    copies = manifest[manifest["duplicate_group"] != ""]
    assert copies.groupby("duplicate_group")["split"].nunique().max() == 1
    assert audit["leakage"]["final"]["total"] == 0
    assert not leaked(manifest).any()


def official_tree(folder: Path) -> Path:
    write_tree(folder, {f"{split}/{label}": 4 for split in SPLITS for label in ("a", "b")})
    copies = ("train/a/x1.png", "train/a/x2.png", "test/a/x3.png", "test/a/x4.png")
    contradictory = ("train/a/y1.png", "val/b/y2.png")
    write_images(folder, dict.fromkeys(copies, noise(500)))
    return write_images(folder, dict.fromkeys(contradictory, noise(501)))


def test_official_copies_stay_in_the_higher_split_only(tmp_path: Path) -> None:
    official = split_settings("official")
    settings = {"duplicates": "group", "contradictory": "drop"}
    manifest, audit = build_manifest(data_settings(official_tree(tmp_path), **settings), official, WORKERS)
    assert fates(manifest, "train/a/x1.png", "train/a/x2.png", "test/a/x3.png", "test/a/x4.png") == [
        ("dropped", "copy of test image test/a/x3.png"),
        ("dropped", "copy of test image test/a/x3.png"),
        ("kept", ""),
        ("kept", ""),
    ]
    assert audit["found"]["groups_across_official_splits"] == 2
    assert audit["leakage"]["official"]["test"] == {"images": 10, "copied": 2, "copied_by_oversampling": 0}
    assert audit["leakage"]["official"]["val"]["copied"] == 1
    assert audit["leakage"]["official"]["total"] == 3
    assert audit["leakage"]["final"]["total"] == 0
    assert audit["done"]["duplicates"]["dropped"] == 2
    kept = manifest[manifest["status"] == "kept"]
    assert (kept["split"] == kept["original_split"]).all()


def test_copies_are_found_across_modes_and_formats(tmp_path: Path) -> None:
    """The network sees the same picture, so it is the same one: in colour, of a palette, opaque, in another format."""
    write_tree(tmp_path, {f"{split}/{label}": 8 for split in ("train", "val", "test") for label in "ab"})
    picture = noise(500)
    others = {"rgb.png": "RGB", "opaque.png": "RGBA", "other.bmp": "RGB", "palette.gif": "P", "wide.png": "I;16"}
    write_images(tmp_path, {"train/a/picture.png": picture})
    for name, mode in others.items():
        wide = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
        write_images(tmp_path, {f"test/a/{name}": wide if mode == "I;16" else picture.convert(mode)})
    manifest, audit = build_manifest(data_settings(tmp_path), split_settings(method="official"), WORKERS)
    rows = manifest.set_index("image_id")
    assert {rows.loc[f"test/a/{name}", "sha256"] for name in others} == {rows.loc["train/a/picture.png", "sha256"]}
    assert audit["leakage"]["official"]["test"]["copied"] == len(others)


@pytest.mark.parametrize(("largest", "bits"), [(200, 8), (1000, 10), (4095, 12), (16000, 14), (65535, 16)])
def test_samples_of_16_bits_have_one_range_in_the_whole_collection(tmp_path: Path, largest: int, bits: int) -> None:
    rng = np.random.default_rng(0)
    brightest = {"a": largest, "b": largest // 3 + 1}  # a darker class stays darker
    for label, top in brightest.items():
        for number in range(12):
            samples = rng.integers(0, top, (12, 12)).astype(np.uint16)
            samples[0, 0] = top
            write_images(tmp_path / "raw", {f"{label}/{number}.png": Image.fromarray(samples)})
    lines: list[str] = []
    manifest, audit = build_manifest(data_settings(tmp_path / "raw"), split_settings(), WORKERS, report=lines.append)
    assert set(manifest["bit_depth"]) == {str(bits)}
    assert audit["source"]["bit_depth"] == {"images": 24, "largest": largest, "bits": bits}
    assert audit["found"]["blank"] == 0
    if bits < 16:
        assert f"read as {bits} bits" in " ".join(lines)
    content = pack(manifest, data_settings(tmp_path / "raw"), tmp_path / "packed", WORKERS)
    assert content["bit_depth"] == bits
    train = np.load(tmp_path / "packed/train.npy")
    assert train.max() == largest >> (bits - 8)


def test_official_drop_prefers_the_test_copy(tmp_path: Path) -> None:
    settings = data_settings(official_tree(tmp_path), duplicates="drop", contradictory="group")
    manifest, _ = build_manifest(settings, split_settings("official"), WORKERS)
    kept = set(manifest.loc[manifest["status"] == "kept", "image_id"])
    assert {name for name in kept if "/x" in name} == {"test/a/x3.png"}
    assert {name for name in kept if "/y" in name} == {"val/b/y2.png"}


def test_official_keep_does_nothing(tmp_path: Path) -> None:
    manifest, audit = build_manifest(data_settings(official_tree(tmp_path)), split_settings("official"), WORKERS)
    assert (manifest["status"] == "kept").all()
    assert audit["leakage"]["final"] == audit["leakage"]["official"]


def test_oversampled_copies_are_independent_if_duplicates_are_kept(tmp_path: Path) -> None:
    settings = data_settings(write_tree(tmp_path, {"a": 30, "b": 30}), oversample={"b": 3})
    manifest, audit = build_manifest(settings, split_settings(), WORKERS)
    assert len(manifest) == 120
    assert {"b/0.png", "b/0.png#2", "b/0.png#3"} <= set(manifest["image_id"])
    assert audit["found"]["duplicate_groups"] == 0
    assert audit["done"]["oversampled"] == {"b": 60}
    assert audit["source"]["classes"] == {"a": 30, "b": 30}
    assert audit["kept"]["classes"] == {"a": 30, "b": 90}
    leaks = audit["leakage"]["final"]["val"]
    assert leaks["copied"] == leaks["copied_by_oversampling"] > 0
    assert leaked(manifest).sum() == audit["leakage"]["final"]["total"]


@pytest.mark.parametrize("duplicates", ["group", "drop"])
def test_oversampled_copies_stay_with_their_source_otherwise(tmp_path: Path, duplicates: str) -> None:
    settings = data_settings(with_copies(tmp_path), duplicates=duplicates, contradictory="drop", oversample={"b": 2})
    manifest, audit = build_manifest(settings, split_settings(), WORKERS)
    added = manifest[manifest["image_id"].str.endswith("#2")]
    source = manifest.set_index("image_id").loc[added["image_id"].str.removesuffix("#2")]
    assert list(added["split"]) == list(source["split"])
    assert audit["leakage"]["final"]["total"] == 0


def test_a_leak_by_a_real_copy_is_not_put_down_to_oversampling(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 10, "b": 10})
    write_images(tmp_path, {f"b/same {number}.png": noise(77) for number in range(20)})
    settings = data_settings(tmp_path, oversample={"b": 2})
    manifest, audit = build_manifest(settings, split_settings(), WORKERS)
    same = manifest[manifest["image_id"].str.contains("same") & (manifest["split"] == "val")]
    assert len(same) > 0
    final = audit["leakage"]["final"]["val"]
    assert final["copied"] - final["copied_by_oversampling"] == len(same)


def test_oversampling_an_unknown_class_is_refused(tmp_path: Path) -> None:
    settings = data_settings(write_tree(tmp_path, {"a": 9, "b": 9}), oversample={"c": 2})
    with pytest.raises(StudyError, match=r"data\.oversample: no image of the class 'c'; the classes are a, b"):
        build_manifest(settings, split_settings(), WORKERS)


def test_a_copy_named_like_a_file_is_refused(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 9, "b": 9})
    (tmp_path / "a/0.png").rename(tmp_path / "a/1.png#2")
    with pytest.raises(StudyError, match=r"an oversampled copy would be named 'a/1.png#2', which exists already"):
        build_manifest(data_settings(tmp_path, oversample={"a": 2}), split_settings(), WORKERS)


def test_unreadable_files_are_dropped_with_a_reason_up_to_the_share(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 10, "b": 10})
    (tmp_path / "a/notes.jpg").write_text("not an image")
    content = (tmp_path / "a/0.png").read_bytes()
    (tmp_path / "a/0.png").write_bytes(content[: len(content) // 2])
    manifest, audit = build_manifest(data_settings(tmp_path, max_unreadable=0.1), split_settings(), WORKERS)
    assert fates(manifest, "a/notes.jpg") == [("dropped", "unreadable: not an image, or its header is damaged")]
    assert fates(manifest, "a/0.png")[0][1].startswith("unreadable: damaged image")
    row = manifest.set_index("image_id").loc["a/notes.jpg"]
    assert (row["sha256"], row["duplicate_group"], row["split"], row["mode"]) == ("", "", "", "")
    assert pd.isna(row["width"])
    assert audit["found"]["unreadable"] == audit["done"]["unreadable"]["dropped"] == 2


def test_too_many_unreadable_files_are_listed(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 10, "b": 10})
    for number in range(12):
        (tmp_path / f"a/bad {number:02}.jpg").write_bytes(b"")
    with pytest.raises(StudyError, match=r"12 of 32 images are unreadable, allowed is a share of 0\.1 ") as caught:
        build_manifest(data_settings(tmp_path, max_unreadable=0.1), split_settings(), WORKERS)
    listed = str(caught.value).splitlines()[1:]
    assert listed[0] == "  a/bad 00.jpg: an empty file, not an image: fetch or copy it again"
    assert len(listed) == 11
    assert listed[-1] == "  and 2 more"


def test_an_image_of_absurd_dimensions_is_unreadable(tmp_path: Path) -> None:
    write_images(write_tree(tmp_path, {"a": 10, "b": 10}), {"a/huge.png": Image.new("1", (3000, 3000))})
    manifest, _ = build_manifest(data_settings(tmp_path, max_unreadable=0.5), split_settings(), WORKERS)
    reason = "unreadable: 3000×3000 pixels, more than max_pixels = 1000000"
    assert fates(manifest, "a/huge.png") == [("dropped", reason)]


def test_a_class_of_which_nothing_is_left_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 10, "b": 10})
    write_images(tmp_path, {f"c/{n}.png": Image.new("L", (12, 12), n) for n in range(5)})
    with pytest.raises(StudyError, match="class 'c': no image is left, 5 blank; add images, or remove the class"):
        build_manifest(data_settings(tmp_path, blank="drop"), split_settings(), WORKERS)


def test_a_class_too_small_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 10, "b": 2})
    with pytest.raises(StudyError, match=r"class 'b': 2 images found .*, needed are at least 3"):
        build_manifest(data_settings(tmp_path), split_settings(), WORKERS)


def test_a_wrong_row_of_a_table_is_the_first_one(tmp_path: Path) -> None:
    rows = [f"{n % 7},{pixel_cell(n) if n not in (150, 300) else '1 2 3'},Training" for n in range(400)]
    path = write_csv(tmp_path / "fer2013.csv", rows)
    with pytest.raises(StudyError, match=r"fer2013\.csv, row 152, column 'pixels': 3 values found, allowed are 2304"):
        build_manifest(data_settings(path), split_settings(), WORKERS)


def test_odd_names_survive_the_file(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", {'<b>"x", & y': 6, "NA": 6, "007": 6, " naïve\n": 6})
    manifest, audit = build_manifest(data_settings(tmp_path / "tree"), split_settings(), WORKERS)
    write_manifest(manifest, tmp_path / "manifest.csv")
    read = read_manifest(tmp_path / "manifest.csv")
    assert read.equals(manifest.astype({"width": str, "height": str}))
    assert set(audit["kept"]["classes"]) == {'<b>"x", & y', "NA", "007", " naïve\n"}


def test_workers_and_order_of_files_change_nothing(tmp_path: Path) -> None:
    first = with_copies(tmp_path / "one")
    second = tmp_path / "two"
    for file in sorted(first.rglob("*.*"), reverse=True):
        target = second / file.relative_to(first)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    one, _ = build_manifest(data_settings(first, duplicates="group"), split_settings(), 1)
    two, _ = build_manifest(data_settings(second, duplicates="group"), split_settings(), 4)
    assert one.equals(two)


# What the source is expected to be


def test_a_source_other_than_expected_is_told_count_by_count(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, {f"{split}/{label}": 5 for split in ("train", "test") for label in "abc"})
    expected = Expected({"a": 10, "b": 1210, "d": 7}, {"train": 15, "val": 5, "test": 10})
    told: list[str] = []
    _, audit = build_manifest(data_settings(tree), split_settings(), WORKERS, expected, told.append)
    assert audit["expected"] == [
        "Class 'b': 10 images found, 1,210 expected.",
        "Class 'c': 10 images found, 0 expected.",
        "Class 'd': 0 images found, 7 expected.",
        "Official split 'val': 0 images found, 5 expected.",
        "Official split 'test': 15 images found, 10 expected.",
    ]
    assert told == [
        f"Warning: {tree} is not the data that the configuration expects (config keys data.expected and data.sha256; "
        "null accepts any):\n  " + "\n  ".join(audit["expected"])
    ]


def test_a_source_as_expected_is_not_mentioned(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, {f"{split}/{label}": 5 for split in ("train", "test") for label in "ab"})
    told: list[str] = []
    for expected in (None, Expected(), Expected({"a": 10, "b": 10}, {"train": 10, "test": 10})):
        _, audit = build_manifest(data_settings(tree), split_settings(), WORKERS, expected, told.append)
        assert audit["expected"] == told == []


def test_a_class_is_known_in_either_unicode_form(tmp_path: Path) -> None:
    composed, taken_apart = (unicodedata.normalize(form, "Cèpe") for form in ("NFC", "NFD"))
    tree = write_tree(tmp_path, {taken_apart: 9, "b": 9})
    data = data_settings(tree, oversample={taken_apart: 2})
    manifest, audit = build_manifest(data, split_settings(), WORKERS, Expected({taken_apart: 9, "b": 9}))
    assert audit["expected"] == []
    assert manifest["label"].value_counts().to_dict() == {composed: 18, "b": 9}
    assert (tree / manifest.loc[manifest["label"] == composed, "image_id"].iloc[0]).is_file()


def test_what_is_not_read_is_told_and_counted_and_fills_no_share_of_unreadable_files(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, {"seg_train/a": 9, "seg_train/b": 9, "seg_pred/seg_pred": 3, "seg_train/@eaDir/a": 2})
    for name in ("seg_train/a/labels.csv", "seg_train/b/clip.mov", "seg_train/b/.DS_Store"):
        (tree / name).write_text("x")
    told: list[str] = []
    _, audit = build_manifest(data_settings(tree), split_settings(), WORKERS, report=told.append)
    assert audit["source"]["ignored_files"] == {"system": 3, "document": 1, "video": 1, "unlabelled": 3}
    assert (audit["source"]["images"], audit["found"]["unreadable"]) == (18, 0)
    assert audit["source"]["notes"] == told[:2]
    assert "'seg_pred' holds 3 images but no class folders" in told[0]
    assert told[1] == f"{tree}: read is train from 'seg_train' (classes: 2)."
    assert f"{tree}: not read as images of a class: 3 left by systems, tools and downloads (seg_train/" in told[2]
    with pytest.raises(StudyError, match=r"found: train\. .*'seg_pred' holds 3 images but no class folders"):
        build_manifest(data_settings(tree), split_settings("official"), WORKERS, report=told.append)


def test_the_warning_comes_before_an_error_that_it_explains(tmp_path: Path) -> None:
    told: list[str] = []
    settings, expected = data_settings(write_tree(tmp_path, {"a": 9, "b": 9})), Expected(splits={"test": 6})
    with pytest.raises(StudyError, match=r"split\.method is 'official'"):
        build_manifest(settings, split_settings("official"), WORKERS, expected, told.append)
    assert told[0].endswith(":\n  Official split 'test': 0 images found, 6 expected.")


def test_a_file_with_another_hash_is_told_with_both(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "tree", {"a": 9, "b": 9})
    archive = write_zip(tmp_path / "a.zip", folder)
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    found = {}
    for source, wanted in ((archive, sha256), (archive, "0" * 64), (folder, sha256)):
        _, audit = build_manifest(data_settings(source), split_settings(), WORKERS, Expected(sha256=wanted))
        found[source, wanted] = audit["expected"]
        assert audit["source"]["sha256"] == (sha256 if source == archive else None)
    assert found == {
        (archive, sha256): [],
        (archive, "0" * 64): [f"SHA-256 of {archive}: {sha256} found, {'0' * 64} expected."],
        (folder, sha256): [f"SHA-256 of {folder}: none (a folder has none) found, {sha256} expected."],
    }


# The real data set


@pytest.fixture(scope="module")
def original_study(fer2013_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, dict]:
    """Pooled, disgust doubled before the split, copies left as they are; the zip as a tree of folders."""
    folder = tmp_path_factory.mktemp("fer2013")
    with zipfile.ZipFile(fer2013_zip) as archive:
        archive.extractall(folder)
    settings = data_settings(folder, image_size=48, oversample={"disgust": 2})
    return build_manifest(settings, split_settings(train=0.8, val=0.1, test=0.1), WORKERS)


def test_fer2013_holds_the_known_copies(original_study: tuple[pd.DataFrame, dict]) -> None:
    _, audit = original_study
    assert audit["source"]["images"] == 35_887
    assert audit["found"] == {
        "unreadable": 0, "duplicate_groups": 1469, "duplicate_images": 3265, "contradictory_groups": 52,
        "contradictory_images": 147, "groups_across_official_splits": 511, "blank": 12, "odd_size": 0, "odd_mode": 0,
    }  # fmt: skip
    assert audit["leakage"]["official"]["total"] == 521
    totals = {name: sum(classes.values()) for name, classes in audit["source"]["official_splits"].items()}
    assert totals == {"train": 28_709, "val": 3589, "test": 3589}


@pytest.mark.parametrize("study", ["original", "fer2013"])
def test_fer2013_is_what_its_configurations_expect(fer2013_zip: Path, study: str) -> None:
    config = yaml.safe_load((ROOT / f"config/{study}.yaml").read_text(encoding="utf-8"))
    expected = Expected(**config["data"]["expected"])
    assert sum(expected.classes.values()) == sum(expected.splits.values()) == 35_887
    entries = open_source(data_settings(fer2013_zip)).entries
    assert differences(str(fer2013_zip), entries, expected) == []
    assert differences(str(fer2013_zip), entries[:-1], expected) == [
        "Class 'surprise': 4,001 images found, 4,002 expected.",
        "Official split 'train': 28,708 images found, 28,709 expected.",
    ]


def test_fer2013_is_split_as_in_the_original_study(original_study: tuple[pd.DataFrame, dict]) -> None:
    manifest, audit = original_study
    assert audit["kept"]["splits"]["train"]["classes"] == {
        "angry": 3962, "disgust": 875, "fear": 4096, "happy": 7191, "neutral": 4958, "sad": 4861, "surprise": 3201,
    }  # fmt: skip
    assert audit["leakage"]["final"]["total"] == leaked(manifest).sum() > 521


def test_fer2013_under_the_sound_protocol_leaks_nothing(fer2013_zip: Path) -> None:
    config = yaml.safe_load((ROOT / "config/fer2013.yaml").read_text(encoding="utf-8"))["data"]
    settings = data_settings(
        fer2013_zip,
        **{name: config[name] for name in ("image_size", "duplicates", "near_duplicates", "contradictory", "blank")},
    )
    manifest, audit = build_manifest(settings, split_settings("official"), WORKERS)
    assert audit["leakage"]["final"]["total"] == 0
    assert audit["done"]["blank"]["dropped"] == 12
    kept = manifest[manifest["status"] == "kept"]
    assert (kept["split"] == kept["original_split"]).all()
    assert kept.groupby("sha256")["label"].nunique().max() == 1
    assert np.isin(manifest["reason"].str.split(" ").str[0], ["", "copy", "near", "contradictory:", "blank:"]).all()
    near = audit["near_copies"]
    assert (near["groups"], near["images"], near["largest"]) == (2076, 5856, 30)
    exact = {name: audit["leakage"]["official"][name]["copied"] for name in ("val", "test")}
    assert exact == {"val": 253, "test": 268}
    assert near["leakage"] == {"official": {"val": 707, "test": 715}, "final": {"val": 0, "test": 0}}


NEAR = {"duplicates": "group", "near_duplicates": 0.86, "image_size": 48}


def with_near_copies(folder: Path) -> Path:
    """Official splits of different photographs, and in training: a mirrored test image, a compressed validation image
    of the other class, an exact copy of a test image and a near copy of a training image."""
    places = [f"{split}/{label}" for split in SPLITS for label in "ab"]
    pictures = {f"{places[k % 6]}/{k // 6}.png": picture for k, picture in enumerate(photographs(48)[:24])}
    write_images(folder, pictures)
    write_images(
        folder,
        {
            "train/a/mirrored.png": ImageOps.mirror(pictures["test/a/0.png"]),
            "train/b/compressed.jpg": pictures["val/a/1.png"],
            "train/a/exact.png": pictures["test/a/2.png"],
            "train/b/gray.png": pictures["train/b/2.png"].convert("L"),
        },
    )
    return folder


def test_near_copies_of_official_test_and_validation_images_leave_training(tmp_path: Path) -> None:
    settings = data_settings(with_near_copies(tmp_path), **NEAR)
    manifest, audit = build_manifest(settings, split_settings("official"), WORKERS)
    reasons = manifest.set_index("image_id")["reason"]
    (mirrored, compressed, exact, gray) = (
        reasons[f"train/{name}"] for name in ("a/mirrored.png", "b/compressed.jpg", "a/exact.png", "b/gray.png")
    )
    assert re.fullmatch(r"near copy of test image test/a/0\.png \(correlation (0\.9\d|1\.00)\)", mirrored)
    assert re.fullmatch(r"near copy of val image val/a/1\.png \(correlation (0\.9\d|1\.00)\)", compressed)
    assert (exact, gray) == ("copy of test image test/a/2.png", "")
    assert (reasons != "").sum() == 3
    groups = manifest[manifest["near_duplicate_group"] != ""].groupby("near_duplicate_group")["image_id"].agg(list)
    assert sorted(groups) == [
        ["test/a/0.png", "train/a/mirrored.png"],
        ["train/b/2.png", "train/b/gray.png"],
        ["train/b/compressed.jpg", "val/a/1.png"],
    ]
    assert audit["near_copies"] == {
        "correlation": 0.86, "groups": 3, "images": 6, "largest": 2, "of_several_classes": 1,
        "across_official_splits": 2,
        "leakage": {"official": {"val": 1, "test": 2}, "final": {"val": 0, "test": 0}},
    }  # fmt: skip
    assert audit["done"]["near_duplicates"] == {"policy": "group", "dropped": 2}
    assert audit["leakage"]["official"]["total"] == 1
    write_manifest(manifest, tmp_path / "manifest.csv")
    assert not nearly_leaked(read_manifest(tmp_path / "manifest.csv")).any()


def test_near_copies_that_are_kept_are_counted_all_the_same(tmp_path: Path) -> None:
    settings = data_settings(with_near_copies(tmp_path), **NEAR | {"duplicates": "keep"})
    manifest, audit = build_manifest(settings, split_settings("official"), WORKERS)
    assert (manifest["status"] == "kept").all()
    assert audit["near_copies"]["leakage"]["final"] == {"val": 1, "test": 2}
    assert set(manifest.loc[nearly_leaked(manifest), "image_id"]) == {"test/a/0.png", "val/a/1.png", "test/a/2.png"}


def test_near_copies_of_one_class_are_dropped_and_others_stay_together(tmp_path: Path) -> None:
    settings = data_settings(with_near_copies(tmp_path), **NEAR | {"duplicates": "drop"})
    manifest, audit = build_manifest(settings, split_settings("official"), WORKERS)
    dropped = manifest.loc[manifest["status"] == "dropped", "reason"]
    assert [reason.split(" (")[0] for reason in dropped] == [
        "copy of image test/a/2.png",
        "near copy of image test/a/0.png",
        "near copy of val image val/a/1.png",  # of the other class
        "near copy of image train/b/2.png",
    ]
    assert audit["done"]["near_duplicates"] == {"policy": "drop", "dropped": 3}


@pytest.mark.parametrize("duplicates", ["group", "drop"])
def test_near_copies_never_land_in_two_splits(tmp_path: Path, duplicates: str) -> None:
    settings = data_settings(with_near_copies(tmp_path), **NEAR | {"duplicates": duplicates})
    for seed in range(4):
        manifest, audit = build_manifest(settings, split_settings(seed=seed), WORKERS)
        assert not torn(manifest["near_duplicate_group"], manifest["split"]).any()
        assert audit["near_copies"]["leakage"] == {
            "official": {"val": 1, "test": 2}, "final": {"val": 0, "test": 0},
        }  # fmt: skip
        assert (manifest["status"] == "dropped").sum() == {"group": 0, "drop": 3}[duplicates]


def test_the_chain_of_near_copies_is_dropped_only_next_to_an_image_that_stays() -> None:
    """Of a – b – c the middle one goes: c is near to no image that stays."""
    images = pd.DataFrame({"image_id": list("abcd"), "sha256": list("wxyz"), "label": ["k", "k", "k", "l"]})
    images = images.assign(near_duplicate_group="1", status="kept", original_split="")
    pairs = pd.DataFrame(
        [("w", "x", 0.9), ("x", "y", 0.95), ("w", "z", 0.99)], columns=["first", "second", "correlation"]
    )
    where, cause, reason = _surplus_near_copies(images, split_settings(), pairs)
    assert list(where) == [False, True, False, False]  # d is of another class
    assert (cause, reason[1]) == ("near_duplicates", "near copy of image a (correlation 0.90)")


def test_without_near_duplicates_the_column_is_empty(tmp_path: Path) -> None:
    settings = data_settings(with_near_copies(tmp_path), **NEAR | {"near_duplicates": None})
    manifest, audit = build_manifest(settings, split_settings("official"), WORKERS)
    assert set(manifest["near_duplicate_group"]) == {""}
    assert audit["near_copies"] is None and "near_duplicates" not in audit["done"]
    assert list(manifest.loc[manifest["status"] == "dropped", "image_id"]) == ["train/a/exact.png"]


def of_patients(folder: Path, monkeypatch: pytest.MonkeyPatch, patients: dict[str, str]) -> Path:
    """A tree of images of which the source says whose they are: patient by image_id."""

    def opened(data: DataSettings) -> Source:
        source = open_source(data)
        source.entries = [replace(one, group=patients.get(one.image_id, "")) for one in source.entries]
        return source

    monkeypatch.setattr("study.data.manifest_building.open_source", opened)
    return folder


def test_groups_are_kept_whole_counted_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path, {"a": 40, "b": 20})
    write_images(tmp_path, {"a/copy.png": noise(0)})  # of a/0.png
    patients = {f"{label}/{k}.png": f"p{k % 15}" for label in "ab" for k in range(20)} | {"a/copy.png": "p1"}
    settings = data_settings(of_patients(tmp_path, monkeypatch, patients), duplicates="group")
    manifest, audit = build_manifest(settings, split_settings(), WORKERS)
    assert (manifest.set_index("image_id")["group"].reindex(list(patients)) == list(patients.values())).all()
    assert not torn(manifest["group"], manifest["split"]).any()
    split = manifest.set_index("group")["split"]
    assert set(split["p0"]) == set(split["p1"])  # joined by the copy
    found = audit["groups"]
    assert (found["groups"], found["images"], found["largest"], found["of_several_classes"]) == (15, 41, 5, 15)
    assert (found["across_official_splits"], found["torn"]) == (0, 0)
    assert sum(part["groups"] for part in found["splits"].values()) == 15
    assert sum(part["ungrouped"] for part in found["splits"].values()) == 20
    write_manifest(manifest, tmp_path / "manifest.csv")
    assert read_groups(tmp_path / "manifest.csv").to_dict() == patients


@pytest.mark.parametrize(("policy", "dropped"), [("stop", 0), ("drop", 3), ("keep", 0)])
def test_a_group_in_several_official_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str, dropped: int
) -> None:
    write_tree(tmp_path, {f"{split}/{label}": 4 for split in SPLITS for label in "ab"})
    patients = dict.fromkeys(("train/a/0.png", "train/b/1.png", "val/a/2.png", "test/b/0.png"), "p1")
    settings = data_settings(of_patients(tmp_path, monkeypatch, patients), torn_groups=policy)
    lines: list[str] = []
    if policy == "stop":
        with pytest.raises(StudyError, match="1 group has images in several official splits, such as 'p1'"):
            build_manifest(settings, split_settings("official"), WORKERS)
        return
    manifest, audit = build_manifest(settings, split_settings("official"), WORKERS, report=lines.append)
    assert audit["groups"]["across_official_splits"] == 1
    assert audit["groups"]["torn"] == (policy == "keep")
    assert any("Warning: 1 group has images in several official splits" in line for line in lines) == (policy == "keep")
    assert audit["done"]["torn_groups"] == {"policy": policy, "dropped": dropped}
    if policy == "drop":
        assert fates(manifest, "val/a/2.png", "test/b/0.png") == [
            ("dropped", "group 'p1' has test images, such as test/b/0.png"),
            ("kept", ""),
        ]


def test_the_audit_stops_at_a_torn_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever divides the images: a division by class alone is found out."""
    write_tree(tmp_path, {"a": 20, "b": 20})
    patients = {f"{label}/{k}.png": f"p{k % 5}" for label in "ab" for k in range(20)}
    monkeypatch.setattr("study.data.splits.units_of", lambda images: images["copies"])
    with pytest.raises(StudyError, match=r"audit of .*: group 'p.' has images in several splits, allowed is one"):
        build_manifest(data_settings(of_patients(tmp_path, monkeypatch, patients)), split_settings(), WORKERS)
