"""Packed arrays hold the manifest's images in its order, and appear complete or not at all."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from example_images import data_settings, noise, split_settings, write_images, write_tree
from PIL import Image

from study.data.data_settings import DataSettings
from study.data.decode import resize
from study.data.manifest import read_manifest, write_manifest
from study.data.manifest_building import build_manifest
from study.data.packed import load
from study.data.packing import pack
from study.errors import StudyError
from study.names import SPLITS


def packed(folder: Path, data: DataSettings) -> tuple[pd.DataFrame, dict]:
    manifest, _ = build_manifest(data, split_settings(), 2)
    return manifest, pack(manifest, data, folder, 2)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree", {"a": 10, "<b> & c": 8})


def test_arrays_labels_and_ids_agree_with_the_manifest(tree: Path, tmp_path: Path) -> None:
    manifest, content = packed(tmp_path / "pack", data_settings(tree))
    data = load(tmp_path / "pack")
    assert data.classes == ("<b> & c", "a") == tuple(content["classes"])
    for split in SPLITS:
        rows = manifest[manifest["split"] == split]
        assert data.image_ids[split] == list(rows["image_id"]) == sorted(data.image_ids[split])
        assert [data.classes[label] for label in data.labels[split]] == list(rows["label"])
        assert data.labels[split].dtype == np.int64
        assert isinstance(data.images[split], np.memmap)
        assert data.images[split].dtype == np.uint8
        assert data.images[split].shape == (len(rows), 1, 12, 12)
        for image_id, pixels in zip(data.image_ids[split], data.images[split], strict=True):
            assert (pixels[0] == np.asarray(Image.open(tree / image_id))).all()
        assert content["splits"][split]["counts"] == rows["label"].value_counts().sort_index().to_dict()


def test_the_files_are_those_promised(tree: Path, tmp_path: Path) -> None:
    _, content = packed(tmp_path / "pack", data_settings(tree))
    names = {file.name for file in (tmp_path / "pack").iterdir()}
    assert names == {f"{split}.{suffix}" for split in SPLITS for suffix in ("npy", "csv")} | {"pack.json"}
    assert json.loads((tmp_path / "pack/pack.json").read_text()) == content
    assert (tmp_path / "pack/val.csv").read_text().startswith("image_id,label\n<b> & c/")


@pytest.mark.parametrize(("wanted", "colour", "channels"), [("auto", 0, 1), ("auto", 1, 3), (1, 1, 1), (3, 0, 3)])
def test_channels(tree: Path, tmp_path: Path, wanted: str | int, colour: int, channels: int) -> None:
    write_images(tree, {f"a/colour {n}.png": noise(n, mode="RGB") for n in range(colour)})
    _, content = packed(tmp_path / "pack", data_settings(tree, channels=wanted, image_size=8))
    assert content["channels"] == channels
    assert load(tmp_path / "pack").images["train"].shape[1:] == (channels, 8, 8)


def test_colour_images_that_were_dropped_do_not_count(tree: Path, tmp_path: Path) -> None:
    write_images(tree, {"a/colour.png": noise(0, mode="RGB")})
    assert packed(tmp_path / "pack", data_settings(tree, odd_mode="drop"))[1]["channels"] == 1


def test_oversampled_copies_and_names_like_theirs_are_packed(tree: Path, tmp_path: Path) -> None:
    (tree / "a/0.png").rename(tree / "a/file#2")
    manifest, _ = packed(tmp_path / "pack", data_settings(tree, oversample={"a": 2}))
    data = load(tmp_path / "pack")
    by_id = {i: p for split in SPLITS for i, p in zip(data.image_ids[split], data.images[split], strict=True)}
    assert len(by_id) == len(manifest) == 28
    assert (by_id["a/1.png"] == by_id["a/1.png#2"]).all()
    assert (by_id["a/file#2"] == by_id["a/file#2#2"]).all()


def test_packing_twice_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    data = data_settings(tree)
    manifest, one = packed(tmp_path / "one", data)
    write_manifest(manifest, tmp_path / "manifest.csv")
    two = pack(read_manifest(tmp_path / "manifest.csv"), data, tmp_path / "two", 1)
    assert one == two
    assert load(tmp_path / "one").digest == load(tmp_path / "two").digest
    for file in (tmp_path / "one").iterdir():
        assert (
            hashlib.sha256(file.read_bytes()).digest()
            == hashlib.sha256((tmp_path / "two" / file.name).read_bytes()).digest()
        )


def test_other_pixels_or_labels_give_another_digest(tree: Path, tmp_path: Path) -> None:
    packed(tmp_path / "one", data_settings(tree))
    write_images(tree, {"a/0.png": noise(1000)})
    packed(tmp_path / "two", data_settings(tree))
    (tree / "a").rename(tree / "d")
    packed(tmp_path / "three", data_settings(tree))
    assert len({load(tmp_path / name).digest for name in ("one", "two", "three")}) == 3


@pytest.mark.parametrize("change", ["other pixels", "no image", "gone"])
def test_an_image_that_changed_since_the_manifest_is_named_and_nothing_written(
    tree: Path, tmp_path: Path, change: str
) -> None:
    data = data_settings(tree)
    manifest, _ = packed(tmp_path / "pack", data)
    before = {file.name: file.read_bytes() for file in (tmp_path / "pack").iterdir()}
    if change == "other pixels":
        write_images(tree, {"a/3.png": noise(1000)})
    elif change == "no image":
        (tree / "a/3.png").write_text("x")
    else:
        (tree / "a/3.png").unlink()
    with pytest.raises(StudyError, match=r"'a/3.png' has changed since the manifest was made; make the manifest again"):
        pack(manifest, data, tmp_path / "pack", 2)
    assert {file.name: file.read_bytes() for file in (tmp_path / "pack").iterdir()} == before


def test_missing_or_damaged_arrays_are_named(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="packed images are missing or damaged"):
        load(tmp_path / "pack")
    packed(tmp_path / "pack", data_settings(tree))
    (tmp_path / "pack/val.csv").write_text("image_id,label\n")
    with pytest.raises(StudyError, match=r"val\.npy: 4 images and 0 labels found, allowed are 4"):
        load(tmp_path / "pack")
    content = (tmp_path / "pack/train.npy").read_bytes()
    (tmp_path / "pack/train.npy").write_bytes(content[:300])
    with pytest.raises(StudyError, match="packed images are missing or damaged"):
        load(tmp_path / "pack")


@pytest.mark.parametrize("size", [(60, 40), (40, 61), (12, 12), (9, 30)])
def test_kept_proportions_are_torchvisions_resize_and_centre_crop(size: tuple[int, int]) -> None:
    from torchvision.transforms.v2 import CenterCrop, Compose, Resize

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    expected = np.asarray(Compose([Resize(12), CenterCrop(12)])(image)).transpose(2, 0, 1)
    assert np.array_equal(resize(image, 12, 3, keep_aspect=True), expected)


def test_images_stored_larger_are_seen_in_their_middle(tree: Path, tmp_path: Path) -> None:
    from torchvision.transforms.v2.functional import center_crop

    plain = packed(tmp_path / "plain", data_settings(tree, image_size=12))[1]
    _, content = packed(tmp_path / "pack", data_settings(tree, image_size=9, stored_size=12, keep_aspect=True))
    assert content["splits"] == plain["splits"] and "stored_size" not in plain and "keep_aspect" not in plain
    data = load(tmp_path / "pack")
    assert data.preparation == {"stored_size": 12, "keep_aspect": True} and data.keep_aspect
    assert load(tmp_path / "plain").preparation == {}
    for split in SPLITS:
        stored, seen = data.stored[split], data.images[split]
        assert stored.shape[-1] == 12 and seen.shape[-1] == 9 and isinstance(seen, np.memmap)
        assert np.array_equal(seen, center_crop(torch.from_numpy(np.array(stored)), [9, 9]).numpy())
