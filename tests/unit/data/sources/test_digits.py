import pytest
from example_images import data_settings, pixels

from study.data.sources import open_source


def test_digits_are_a_long_tail_of_the_asked_ratio() -> None:
    source = open_source(data_settings("digits", digits_imbalance=8))
    labels = [entry.label for entry in source.entries]
    counts = [labels.count(str(digit)) for digit in range(10)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] / counts[-1] == pytest.approx(8, rel=0.02)
    assert source.entries == open_source(data_settings("digits", digits_imbalance=8)).entries
    brightest = max(pixels(source, entry.image_id).max() for entry in source.entries)
    assert brightest == 255


def test_a_tail_in_training_alone_leaves_validation_and_test_balanced() -> None:
    source = open_source(data_settings("digits", digits_imbalance=20, digits_tail="train"))
    counts = {split: [0] * 10 for split in ("train", "val", "test")}
    for entry in source.entries:
        counts[entry.split][int(entry.label)] += 1
    assert counts["test"] == [52] * 10 and counts["val"] == [26] * 10
    assert counts["train"] == sorted(counts["train"], reverse=True) and sum(counts["train"][::9]) == 96 + 5
    assert len({entry.image_id for entry in source.entries}) == len(source.entries)
