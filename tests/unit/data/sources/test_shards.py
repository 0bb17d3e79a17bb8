"""Parquet with images in it, as Hugging Face's hub has it, and what may be wrong with it."""

import io
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from example_images import data_settings, noise, pixels, split_settings

from study.data.data_settings import source_fingerprint
from study.data.manifest_building import build_manifest
from study.data.sources import Source, open_source
from study.data.sources.shards import ShardSource
from study.errors import StudyError

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NAMES = ("angular_leaf_spot", "bean_rust", "healthy")


def png(seed: int) -> bytes:
    file = io.BytesIO()
    noise(seed).save(file, "PNG")
    return file.getvalue()


def shard(
    path: Path,
    labels: Sequence[Any],
    seed: int = 0,
    names: Sequence[str] | None = NAMES,
    image: Any = IMAGE,
    group_rows: int = 4,
    column: str = "image",
    **others: Sequence[Any],
) -> Path:
    """As `datasets` writes it: a struct of bytes and path, and the names of ClassLabel in the schema's metadata."""
    cells: list[Any] = [{"bytes": png(seed + n), "path": f"{seed + n}.png"} for n in range(len(labels))]
    if image != IMAGE:
        cells = [cell["bytes"] for cell in cells]
    features = {column: {"_type": "Image"}}
    features |= {"label": {"names": list(names), "_type": "ClassLabel"}} if names else {}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    columns = {column: pa.array(cells, image), "label": pa.array(labels), **{k: pa.array(v) for k, v in others.items()}}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path, row_group_size=group_rows)
    return path


def hub(folder: Path) -> Path:
    shard(folder / "data/train-00000-of-00002.parquet", [0, 1, 2, 0, 1, 2, 0], seed=0)
    shard(folder / "data/train-00001-of-00002.parquet", [1, 1, 2], seed=10)
    shard(folder / "data/validation-00000-of-00001.parquet", [0, 1, 2], seed=20)
    shard(folder / "data/test-00000-of-00001.parquet", [0, 1, 2], seed=30)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


def splits(source: Source) -> dict[str, int]:
    found = [entry.split for entry in source.entries]
    return {split: found.count(split) for split in dict.fromkeys(sorted(found))}


def test_shards_of_a_data_set(tmp_path: Path) -> None:
    source = open_source(data_settings(hub(tmp_path)))
    assert isinstance(source, ShardSource)
    assert splits(source) == {"test": 3, "train": 10, "val": 3}
    entry = next(one for one in source.entries if one.image_id == "data/train-00001-of-00002.parquet/row_3")
    assert (entry.label, entry.split) == ("healthy", "train")
    assert np.array_equal(pixels(source, entry.image_id), np.asarray(noise(12)))
    assert source.ignored == {"document": ["README.md"]}
    assert any("images from the column 'image', classes from 'label'" in note for note in source.notes)
    assert len([note for note in source.notes if "images from the column" in note]) == 1


def test_one_shard_and_the_folder_of_shards_are_sources_too(tmp_path: Path) -> None:
    hub(tmp_path)
    assert splits(open_source(data_settings(tmp_path / "data"))) == {"test": 3, "train": 10, "val": 3}
    one = open_source(data_settings(tmp_path / "data/train-00000-of-00002.parquet"))
    assert splits(one) == {"train": 7}
    assert [note for note in one.notes if "Warning" in note] == [
        f"Warning: {tmp_path}/data/train: 1 of 2 shards are there; fetch the others, or the study is of a part."
    ]


def test_folders_of_splits_as_the_hub_converts_them(tmp_path: Path) -> None:
    shard(tmp_path / "default/train/0000.parquet", [0, 1])
    shard(tmp_path / "default/test/0000.parquet", [1, 0], seed=5)
    assert splits(open_source(data_settings(tmp_path))) == {"test": 2, "train": 2}
    shard(tmp_path / "small/train/0000.parquet", [0, 1])
    with pytest.raises(
        StudyError, match=r"shards in several folders \(default, small\), as of several data sets; name"
    ):
        open_source(data_settings(tmp_path))


def test_images_are_read_in_any_order_and_in_another_process(tmp_path: Path) -> None:
    path = shard(tmp_path / "images.parquet", [0, 1, 2] * 13, group_rows=20)  # more than are read at once
    source = open_source(data_settings(path))
    for number in (39, 1, 20, 21, 2, 17, 18, 40 - 1, 3):
        image_id = f"images.parquet/row_{number:02}"
        for one in (source, pickle.loads(pickle.dumps(source))):
            assert np.array_equal(pixels(one, image_id), np.asarray(noise(number - 1)))


def test_bytes_alone_other_names_groups_and_further_columns(tmp_path: Path) -> None:
    path = shard(
        tmp_path / "train.parquet", ["a", "b", "a", "b"], names=None, image=pa.binary(), column="jpg",
        patient_id=["p", "p", "q", "r"], age=[1, 2, 3, None], embedding=[[0.5, 0.25]] * 4,
    )  # fmt: skip
    source = open_source(data_settings(path))
    assert [(entry.label, entry.group) for entry in source.entries] == [("a", "p"), ("b", "p"), ("a", "q"), ("b", "r")]
    assert {name: list(values) for name, values in source.columns.items()} == {"age": ["1", "2", "3", ""]}
    assert pixels(source, "train.parquet/row_1").shape == (12, 12)
    table = {"label": "age", "group": "none", "columns": []}
    assert [entry.label for entry in open_source(data_settings(path, table=table)).entries] == ["1", "2", "3"]


def test_class_names_of_the_configuration_go_over_those_of_the_file(tmp_path: Path) -> None:
    path = shard(tmp_path / "train.parquet", [0, 1, 2])
    source = open_source(data_settings(path, class_names={"healthy": "gesund"}))
    assert [entry.label for entry in source.entries] == ["angular_leaf_spot", "bean_rust", "gesund"]


def test_images_without_a_class_are_set_aside(tmp_path: Path) -> None:
    shard(tmp_path / "train.parquet", [0, 1, 2])
    shard(tmp_path / "test.parquet", [-1, -1], seed=9)  # as the hub has tests whose labels are kept back
    source = open_source(data_settings(tmp_path))
    assert splits(source) == {"train": 3}
    assert source.ignored == {"no_label": ["test.parquet/row_1", "test.parquet/row_2"]}


def test_a_row_without_an_image_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    cells = [{"bytes": png(0), "path": None}, {"bytes": None, "path": "images/1.png"}, {"bytes": b"no", "path": None}]
    pq.write_table(pa.table({"image": pa.array(cells, IMAGE), "label": [0, 1, 1]}), path)
    with pytest.raises(
        StudyError, match=r"row_2: no image in the row, only the path 'images/1\.png'.*\n.*row_3: not an"
    ):
        build_manifest(data_settings(path), split_settings(), workers=1, report=lambda line: None)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 7], r"train\.parquet, row 3, column 'label': found '7', allowed is a number from 0 to 2"),
        ([[0], [1], [1, 2]], r"row 3, column 'label': several classes for one image \(1, 2\)"),
    ],
)
def test_wrong_labels(tmp_path: Path, labels: list[Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        open_source(data_settings(shard(tmp_path / "train.parquet", labels)))


def test_no_column_with_the_class_and_two_with_images(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    cells = pa.array([{"bytes": png(0), "path": None}], IMAGE)
    pq.write_table(pa.table({"img": cells, "fine": [5], "coarse": [2]}), path)
    with pytest.raises(StudyError, match=r"no column with the class; found: 'img', 'fine', 'coarse'\. Name it"):
        open_source(data_settings(path))
    pq.write_table(pa.table({"left": cells, "right": cells, "label": [0]}), path)
    with pytest.raises(StudyError, match=r"columns 'left', 'right' hold images; name .*data\.table\.image"):
        open_source(data_settings(path))


def test_damaged_shards_are_named(tmp_path: Path) -> None:
    hub(tmp_path)
    broken = tmp_path / "data/train-00001-of-00002.parquet"
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(StudyError, match=r"train-00001-of-00002\.parquet: not a readable Parquet file .*fetch"):
        open_source(data_settings(tmp_path))
    broken.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(StudyError, match=r"train-00001-of-00002\.parquet: a Git LFS pointer"):
        open_source(data_settings(tmp_path))


def test_what_expands_too_far_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"the Parquet expands to .* bytes, allowed are max_unpacked_bytes = 1,000 "):
        open_source(data_settings(hub(tmp_path), max_unpacked_bytes=1000))


def test_a_new_shard_is_another_source(tmp_path: Path) -> None:
    data = data_settings(hub(tmp_path))
    before = source_fingerprint(data.source, data)
    assert source_fingerprint(data.source, data) == before
    shard(tmp_path / "data/test-00000-of-00001.parquet", [0, 1, 2, 2], seed=50)
    assert source_fingerprint(data.source, data) != before
