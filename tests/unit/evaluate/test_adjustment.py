"""Post-hoc adjustment beside independent implementations: brute force, scikit-learn, the formulas written out."""

import json
import math
from pathlib import Path

import made_runs
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score, log_loss

from study.errors import StudyError
from study.evaluate.adjustment import ADJUSTED, KEY, METHODS, TAUS, Adjustment, adjust
from study.evaluate.metrics import evaluate
from study.evaluate.predictions import Predictions, read_predictions, write_predictions
from study.files import file_sha256
from study.recipe import HYPERPARAMETERS, Recipe

CLASSES = ("common", "other", "rare")
PRIOR = np.array([0.8, 0.15, 0.05])
COUNTS = dict(zip(CLASSES, [800, 150, 50], strict=True))


def row(posthoc: str, **columns: object) -> Recipe:
    return made_runs.recipe("row", trained_as="a", posthoc=posthoc, **columns)


def calibrated(images: int = 4000, seed: int = 0) -> Predictions:
    """Images whose classes have the shares `PRIOR`, and p the true probability of each class given the image."""
    random = np.random.default_rng(seed)
    labels = random.choice(3, 2 * images, p=PRIOR)
    means = 1.5 * np.eye(3)
    x = random.normal(means[labels])
    density = np.exp(-0.5 * ((x[:, None] - means) ** 2).sum(axis=2)) * PRIOR
    p = density / density.sum(axis=1, keepdims=True)
    ids, splits = [f"{k:05d}" for k in range(2 * images)], ["val"] * images + ["test"] * images
    return Predictions.of(ids, splits, labels, np.log(p), CLASSES)


def changed(table: Predictions, p: np.ndarray, labels: np.ndarray | None = None) -> Predictions:
    """The same images with other probabilities, or other labels."""
    codes = table.scores["label"].cat.codes if labels is None else labels
    return Predictions.of(table.scores["image_id"], table.scores["split"], codes, np.log(p), CLASSES)


def over_confident(temperature: float = 2.5) -> Predictions:
    """The same, every logit times the temperature."""
    table = calibrated()
    return changed(table, softmax(temperature * np.log(probabilities(table)), axis=1))


def probabilities(table: Predictions, split: str = "") -> np.ndarray:
    p = np.exp(table.log_p.astype(float))
    return p[table.scores["split"] == split] if split else p


def labels(table: Predictions, split: str) -> np.ndarray:
    return table.scores.loc[table.scores["split"] == split, "label"].astype(str).to_numpy()


def test_the_registry_is_what_the_schema_allows() -> None:
    assert ["none", *METHODS] == list(HYPERPARAMETERS["evaluation.posthoc"].choices)


def test_the_temperature_is_that_of_brute_force() -> None:
    table = over_confident(2.5)
    _, made = adjust(table, row("temperature"), COUNTS)
    log_p, y = np.log(probabilities(table, "val")), labels(table, "val")
    grid = np.linspace(1, 5, 4001)
    nll = [log_loss(y, softmax(log_p / t, axis=1), labels=CLASSES) for t in grid[::40]]
    near = grid[::40][int(np.argmin(nll))]
    fine = grid[np.abs(grid - near) < 0.05]
    best = fine[int(np.argmin([log_loss(y, softmax(log_p / t, axis=1), labels=CLASSES) for t in fine]))]
    assert made.value == pytest.approx(best, abs=1.1e-3)
    assert made.value == pytest.approx(2.5, rel=0.05)  # what made the network too sure


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_temperature_leaves_every_answer_and_lowers_the_nll(temperature: float) -> None:
    table = over_confident(temperature)
    after, made = adjust(table, row("temperature"), COUNTS)
    assert (probabilities(after).argmax(axis=1) == probabilities(table).argmax(axis=1)).all()
    before, now = evaluate(table.scores, 15), evaluate(after.scores, 15)
    assert now["val"]["nll"] <= before["val"]["nll"]
    for split in ("val", "test"):
        assert now[split]["accuracy"] == before[split]["accuracy"]
    np.testing.assert_allclose(
        probabilities(after), softmax(np.log(probabilities(table)) / made.value, axis=1), rtol=1e-5
    )


def test_a_network_without_a_mistake_does_not_lose() -> None:
    """Every colder temperature is better than the last."""
    table = calibrated(100)
    table = changed(table, np.eye(3)[table.scores["label"].cat.codes] * 0.98 + 0.01 / 1.5)
    after, made = adjust(table, row("temperature"), COUNTS)
    assert 0 < made.value < 1 and evaluate(after.scores, 15)["val"]["nll"] <= evaluate(table.scores, 15)["val"]["nll"]


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
def test_logit_adjustment_is_the_formula(tau: float) -> None:
    table = calibrated()
    after, made = adjust(table, row("logit_adjustment", posthoc_tau=tau), COUNTS)
    weighted = probabilities(table) / PRIOR**tau
    np.testing.assert_allclose(probabilities(after), weighted / weighted.sum(axis=1, keepdims=True), rtol=1e-5)
    assert made.value == tau and made.in_words() == f"τ = {tau:.4g}"


def test_tau_of_one_makes_calibrated_probabilities_right_for_balanced_classes() -> None:
    table = calibrated(20_000)
    scores = {tau: balanced(table, tau) for tau in (0.0, 1.0, 3.0)}
    assert scores[1.0] > scores[0.0] + 0.1 and scores[1.0] > scores[3.0]


def balanced(table: Predictions, tau: float, split: str = "test") -> float:
    after, _ = adjust(table, row("logit_adjustment", posthoc_tau=tau), COUNTS)
    predicted = np.array(CLASSES)[probabilities(after, split).argmax(axis=1)]
    return float(balanced_accuracy_score(labels(after, split), predicted))


def test_the_tuned_tau_is_the_smallest_of_the_best_on_validation() -> None:
    table = calibrated(500)
    after, made = adjust(table, row("tuned_logit_adjustment"), COUNTS)
    on_val = [balanced(table, float(tau), "val") for tau in TAUS]
    assert made.value == TAUS[[round(score, 12) for score in on_val].index(round(max(on_val), 12))]
    assert evaluate(after.scores, 15)["val"]["balanced_accuracy"] == pytest.approx(max(on_val))
    codes = table.scores["label"].cat.codes.where(table.scores["split"] == "val", 2)  # test labels play no part
    other = changed(table, probabilities(table), codes)
    assert adjust(other, row("tuned_logit_adjustment"), COUNTS)[1] == made


def test_a_tie_goes_to_the_smaller_tau() -> None:
    table = calibrated(50)
    with np.errstate(divide="ignore"):  # −inf is the logarithm of a probability of zero
        table = changed(table, np.eye(3)[table.scores["label"].cat.codes])
    assert adjust(table, row("tuned_logit_adjustment"), COUNTS)[1].value == 0


@pytest.mark.parametrize("method", METHODS)
def test_the_record_says_what_was_done(tmp_path: Path, method: str) -> None:
    path = tmp_path / "predictions.parquet"
    write_predictions(over_confident(), path)
    table = read_predictions(path)
    after, made = adjust(table, row(method), COUNTS)
    record = json.loads(json.dumps({KEY: made.record(path)}, allow_nan=False))
    assert Adjustment.of(record) == made and record[KEY][ADJUSTED] == file_sha256(path)
    np.testing.assert_array_equal(Adjustment.of(record).apply(table.log_p).astype(np.float32), after.log_p)
    assert after.classes == table.classes and after.scores["image_id"].equals(table.scores["image_id"])
    assert Adjustment.of({"val": {}}) is None


def test_the_order_of_the_counts_does_not_matter() -> None:
    table = calibrated(200)
    other = dict(reversed(COUNTS.items()))
    recipe = row("logit_adjustment")
    np.testing.assert_array_equal(adjust(table, recipe, other)[0].log_p, adjust(table, recipe, COUNTS)[0].log_p)


@pytest.mark.parametrize("method", METHODS)
def test_a_diverged_network_stays_as_it_is(method: str) -> None:
    table = calibrated(100)
    table.log_p[:, 2] = math.nan
    after, made = adjust(table, row(method), COUNTS)
    assert after is table and made.value is None and "not finite" in made.in_words()


@pytest.mark.parametrize("counts", [{"common": 1, "other": 1}, {**COUNTS, "rare": 0}, {**COUNTS, "new": 3}])
def test_classes_without_training_images_are_named(counts: dict[str, int]) -> None:
    with pytest.raises(StudyError, match=r"needs training images of each of common, other, rare; found: common \("):
        adjust(calibrated(100), row("logit_adjustment"), counts)
