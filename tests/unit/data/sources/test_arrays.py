"""Arrays in an .npz as MedMNIST and NumPy's users save them, and those that are refused in words."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_images import data_settings, pixels, split_settings

from study.data.manifest_building import build_manifest
from study.data.packing import pack
from study.data.sources import open_source
from study.data.sources.arrays import ArraySource
from study.errors import StudyError

RNG = np.random.default_rng(0)


def images(count: int, *rest: int, side: int = 28) -> np.ndarray:
    return RNG.integers(0, 256, (count, side, side, *rest), dtype=np.uint8)


def classes(count: int, of: int = 2) -> np.ndarray:
    return np.arange(count, dtype=np.uint8)[:, None] % of


def medmnist(path: Path, *rest: int, **changes: np.ndarray) -> Path:
    """As MedMNIST's files are: three splits, labels N×1, deflated."""
    arrays = {}
    for split, count in (("train", 12), ("val", 4), ("test", 6)):
        arrays |= {f"{split}_images": images(count, *rest), f"{split}_labels": classes(count)}
    np.savez_compressed(path, **arrays | changes)
    return path


def test_medmnists_keys(tmp_path: Path) -> None:
    for rest in ((), (3,)):
        path = medmnist(tmp_path / "pathmnist.npz", *rest)
        source = open_source(data_settings(path, class_names={0: "adipose", 1: "debris"}))
        assert isinstance(source, ArraySource)
        found = [(entry.image_id, entry.label, entry.split) for entry in source.entries]
        assert found[:2] == [("train_00", "adipose", "train"), ("train_01", "debris", "train")]
        assert found[-1] == ("test_5", "debris", "test") and len(found) == 22
        with np.load(path) as arrays:
            assert np.array_equal(pixels(source, "train_11"), arrays["train_images"][11])
            assert np.array_equal(pixels(source, "val_0"), arrays["val_images"][0])
        assert source.notes == [
            f"{path}: 12 images from 'train_images', classes from 'train_labels'; 4 images from 'val_images', classes "
            "from 'val_labels'; 6 images from 'test_images', classes from 'test_labels'."
        ]


@pytest.mark.parametrize(
    ("keys", "splits"),
    [
        (("x_train", "y_train", "x_test", "y_test"), {"train", "test"}),  # keras.datasets.mnist
        (("X_train", "y_train", "X_valid", "y_valid"), {"train", "val"}),
        (("trainX", "trainY"), {"train"}),
        (("images", "labels"), {""}),
        (("data", "target"), {""}),
    ],
)
def test_other_keys(tmp_path: Path, keys: tuple[str, ...], splits: set[str]) -> None:
    values = [array for _ in range(0, len(keys), 2) for array in (images(6), classes(6)[:, 0].astype(np.int64))]
    np.savez(tmp_path / "images.npz", **dict(zip(keys, values, strict=True)), mean=np.zeros(3))
    source = open_source(data_settings(tmp_path / "images.npz"))
    assert {entry.split for entry in source.entries} == splits
    assert {entry.label for entry in source.entries} == {"0", "1"}
    assert source.notes[0].endswith("; not read: 'mean'.")
    assert np.array_equal(pixels(source, source.entries[3].image_id), values[0][3])


def test_labels_may_be_text_and_arrays_lie_as_fortran_has_them(tmp_path: Path) -> None:
    stored = np.asfortranarray(images(4))
    np.savez(tmp_path / "a.npz", images=stored, labels=np.array(["Katze", "Hund", "Katze", "Hund"]))
    source = open_source(data_settings(tmp_path / "a.npz"))
    assert [entry.label for entry in source.entries] == ["Katze", "Hund", "Katze", "Hund"]
    assert np.array_equal(pixels(source, "image_2"), stored[2])


def test_another_process_reads_the_same_and_the_unpacked_file_goes_with_the_source(tmp_path: Path) -> None:
    source = open_source(data_settings(medmnist(tmp_path / "a.npz", 3)))
    assert isinstance(source, ArraySource)
    folder = Path(source.folder.name)
    content = pickle.dumps(source)
    assert len(content) < 2000  # neither images nor entries
    assert np.array_equal(pixels(pickle.loads(content), "test_3"), pixels(source, "test_3"))
    assert len(list(folder.iterdir())) == 3
    del source
    assert not folder.exists()


def test_a_whole_study_of_arrays(tmp_path: Path) -> None:
    data = data_settings(medmnist(tmp_path / "a.npz"), image_size=28)
    manifest, audit = build_manifest(data, split_settings("official"), workers=1, report=lambda line: None)
    assert audit["source"]["official_splits"] == {
        "train": {"0": 6, "1": 6}, "val": {"0": 2, "1": 2}, "test": {"0": 3, "1": 3}
    }  # fmt: skip
    pack(manifest, data, tmp_path / "packed", workers=1)
    with np.load(tmp_path / "a.npz") as arrays:
        assert np.array_equal(np.load(tmp_path / "packed/train.npy")[:, 0], arrays["train_images"])


OBJECTS = np.array([np.zeros((2, 2)), None], dtype=object)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"train_labels": RNG.integers(0, 2, (12, 14))},
            r"'train_labels': 12×14 of int64 found, .* 14 labels for each",
        ),
        ({"train_images": images(12, 28)}, "12×28×28×28 of uint8 found, .*volumes"),
        ({"train_images": np.moveaxis(images(12, 3), 3, 1)}, "channels come first .*moveaxis"),
        ({"train_images": images(12).reshape(12, -1)}, r"'train_images': 12×784 of uint8 found"),
        ({"train_images": images(12) / 255}, r"12×28×28 of float64 found, .*\(images \* 255\)"),
        ({"train_images": OBJECTS}, "'train_images': an array of Python objects, which is not read: to unpickle"),
        ({"train_labels": OBJECTS}, r"'train_labels': an array of Python objects.*labels\.astype"),
        ({"train_labels": classes(11)}, "11 labels, but 'train_images' has 12 images"),
        ({"train_labels": classes(12) / 2}, r"12×1 of float64 found.*labels\.astype\(int\)"),
        ({"X_train": images(12)}, "the arrays 'train_images' and 'X_train' may both be the images of train; save one"),
        ({"images": images(12), "labels": classes(12)}, "'images' beside 'train_images'"),
        ({"extra_test": images(1), "y_test": classes(6)}, "'test_labels' and 'y_test' may both be the labels of test"),
        ({"test_images": images(0)}, "0×28×28 of uint8 found, .*it is empty"),
        ({"test_labels": np.full((6, 1), 7)}, "the class '7' is in the test split .* but not in the training split"),
    ],
)
def test_what_is_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = medmnist(tmp_path / "a.npz", **arrays)
    with pytest.raises(StudyError, match=message) as error:
        open_source(data_settings(path))
    assert str(error.value).startswith(str(path))


def test_arrays_of_other_names_are_listed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", embeddings=images(3), ids=np.arange(3))
    with pytest.raises(
        StudyError, match="no arrays of images and labels; found: 'embeddings', 'ids', allowed are train"
    ):
        open_source(data_settings(tmp_path / "a.npz"))
    np.savez(tmp_path / "b.npz", train_images=images(3), test_images=images(3), test_labels=classes(3))
    with pytest.raises(StudyError, match="no labels beside the array 'train_images'"):
        open_source(data_settings(tmp_path / "b.npz"))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    np.savez(tmp_path / "a.npz", images=images(2), labels=np.array([Evil(), Evil()], dtype=object))
    with pytest.raises(StudyError, match="Python objects"):
        open_source(data_settings(tmp_path / "a.npz"))
    assert not (tmp_path / "ran").exists()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "a.npz", images=np.zeros((1000, 100, 100), dtype=np.uint8), labels=np.arange(1000) % 2
    )
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    with pytest.raises(StudyError, match=r"expands to 10,00.* bytes, allowed are max_unpacked_bytes = 1,000,000"):
        open_source(data_settings(tmp_path / "a.npz", max_unpacked_bytes=1_000_000))


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=images(20), labels=classes(20))
    content = bytearray(path.read_bytes())
    content[5000] ^= 0xFF  # within the images, whose checksum is compared
    path.write_bytes(content)
    with pytest.raises(
        StudyError, match=r"a\.npz, array 'images': damaged \(Bad CRC-32 .*fetch or copy the file again"
    ):
        open_source(data_settings(path))


@pytest.mark.parametrize(("name", "shape"), [("images", (10**12, 28, 28)), ("labels", (10**12, 1))])
def test_a_header_that_says_more_than_there_is_is_damage(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    path = tmp_path / "a.npz"
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    whole = {"images": images(20), "labels": classes(20)}
    np.savez(path, **{key: array for key, array in whole.items() if key != name})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{name}.npy", file.getvalue() + bytes(20))
    with pytest.raises(StudyError, match=f"array '{name}': damaged .* bytes by its header, .* in the file"):
        open_source(data_settings(path))


def test_unknown_numbers_of_classes_are_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"data\.class_names: .* label '9'; found: 0, 1"):
        open_source(data_settings(medmnist(tmp_path / "a.npz"), class_names={9: "nine"}))
