"""The weights of every scheme, and that the schema offers the schemes that there are."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from study.data.class_weights import CLASS_WEIGHT_SCHEMES, class_weights, read_class_weights
from study.errors import StudyError
from study.schema import choices

COUNTS = [3962, 875, 4096, 7191, 4958, 4861, 3201]  # FER2013's training images in the original study


def test_the_schema_names_every_scheme() -> None:
    assert set(choices("loss.class_weights")) == set(CLASS_WEIGHT_SCHEMES)


@pytest.mark.parametrize("scheme", CLASS_WEIGHT_SCHEMES)
def test_every_scheme_gives_the_rarest_class_no_less_than_the_others(scheme: str) -> None:
    weights = class_weights(COUNTS, scheme, 0.999)
    assert weights.shape == (7,) and weights.dtype == np.float64 and (weights > 0).all()
    assert weights.argmax() == (1 if scheme != "none" else 0)
    assert (np.diff(weights[np.argsort(COUNTS)]) <= 0).all()


def test_none_is_all_ones() -> None:
    assert class_weights(COUNTS, "none", 0).tolist() == [1.0] * 7


def test_complement_is_one_minus_the_share() -> None:
    weights = class_weights(COUNTS, "complement", 0)
    assert weights[1] == pytest.approx(1 - 875 / 29144)
    assert weights.sum() == pytest.approx(6)


def test_balanced_is_scikit_learns() -> None:
    labels = np.repeat(np.arange(7), COUNTS)
    expected = compute_class_weight("balanced", classes=np.arange(7), y=labels)
    np.testing.assert_allclose(class_weights(COUNTS, "balanced", 0), expected, rtol=1e-15)


def test_sqrt_inverse_is_the_square_root_of_scikit_learns() -> None:
    labels = np.repeat(np.arange(7), COUNTS)
    expected = np.sqrt(compute_class_weight("balanced", classes=np.arange(7), y=labels))
    np.testing.assert_allclose(class_weights(COUNTS, "sqrt_inverse", 0), expected, rtol=1e-15)


def test_effective_number_by_hand() -> None:
    # E_n = 1 + β + … + β^(n−1), the geometric series behind (1 − β^n) / (1 − β)
    effective = np.array([sum(0.9**i for i in range(n)) for n in (1, 3, 20)])
    expected = (1 / effective) * 3 / (1 / effective).sum()
    np.testing.assert_allclose(class_weights([1, 3, 20], "effective_number", 0.9), expected)


def test_effective_number_runs_from_equal_to_inverse_counts() -> None:
    np.testing.assert_allclose(class_weights(COUNTS, "effective_number", 0.0), 1)
    almost = class_weights(COUNTS, "effective_number", 1 - 1e-9)
    inverse = 1 / np.array(COUNTS)
    np.testing.assert_allclose(almost, inverse * 7 / inverse.sum(), rtol=1e-4)


def test_an_empty_class_is_refused() -> None:
    with pytest.raises(StudyError, match=r"training images per class are \[3, 0\], allowed is at least 1 each"):
        class_weights([3, 0], "balanced", 0)


def test_weights_that_are_no_weights_are_refused() -> None:
    with pytest.raises(StudyError, match=r"'loss.class_weights: complement' gives \[0.0\] for \[5\] training images, "):
        class_weights([5], "complement", 0)


def test_names_like_numbers_are_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "class_weights.csv").write_text("class,count,weight\n007,3,0.5\nNA,4,0.25\n")
    assert read_class_weights(tmp_path / "class_weights.csv")["class"].tolist() == ["007", "NA"]
