import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_run
import torch
from safetensors.torch import load_file
from small_run import MODEL, NO_AUGMENTATION, RECIPE, SETTINGS, small_data, small_train, stored_larger, write

from study.errors import StudyError
from study.evaluate.metrics import evaluate
from study.evaluate.prediction import predict
from study.evaluate.predictions import Predictions, predictions_bytes
from study.recipe import Recipe
from study.train import augmentation, batches, learner, loop, losses, models, samplers
from study.train.run_files import history_csv
from study.train.schedules import schedule_of


def without_seconds(history: Path) -> list[str]:
    return [line.rsplit(",", 1)[0] for line in history.read_text().splitlines()]


def validated(monkeypatch, **scores: list[float]) -> None:
    """Let `validate` find these scores, one of each for every epoch; the others are always 0.5, the losses 1."""
    constant = {
        "loss": 1.0,
        "nll": 1.0,
        "accuracy": 0.5,
        "batch_accuracy": 0.5,
        "balanced_accuracy": 0.5,
        "macro_f1": 0.5,
    }
    rows = zip(*scores.values(), strict=True) if scores else itertools.repeat(())

    def validate(*_: object) -> learner.Validation:
        found = dict(zip(scores, next(rows), strict=True))
        return learner.Validation(**{**constant, **found}, predicted=[0, 1])

    monkeypatch.setattr(loop, "validate", validate)


class Wobble(torch.nn.Module):
    """The same pseudo-random logits for a batch of images, whatever they show."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.randn(len(images), 3, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def learned() -> loop.TrainingResult:
    """A run that learns the small data."""
    return small_train(RECIPE.but(max_epochs=15), **NO_AUGMENTATION)


class TestRun:
    def test_it_learns(self, learned):
        assert learned.outcome == "completed"
        assert learned.best_val_accuracy > 0.9
        assert learned.history[-1]["val_nll"] < learned.history[0]["val_nll"]

    def test_the_best_epoch_is_the_first_of_the_highest_accuracy(self, learned):
        accuracies = [row["val_accuracy"] for row in learned.history]
        assert learned.best_epoch == accuracies.index(max(accuracies)) + 1
        assert learned.best_val_accuracy == max(accuracies)

    def test_the_weights_are_those_of_the_best_epoch(self, learned):
        data = small_data()
        images = batches.Images.load(data.images["val"], data.labels["val"], torch.device("cpu"))
        network = models.build(MODEL, 3, 32, 0)
        network.load_state_dict(learned.weights)
        run = learner.Learner(RECIPE, SETTINGS, network, None, torch.device("cpu"))
        validation = learner.validate(run, images, batches.Normalize(torch.device("cpu")))
        best = learned.history[learned.best_epoch - 1]
        assert validation.accuracy == best["val_accuracy"]
        assert validation.loss == best["val_loss"]

    def test_the_mean_over_batches_counts_a_small_last_batch_like_the_others(self):
        data = small_data(sizes={"train": 8, "val": 17})
        images = batches.Images.load(data.images["val"], data.labels["val"], torch.device("cpu"))
        run = learner.Learner(
            RECIPE.but(batch_size=16), SETTINGS, models.build(MODEL, 3, 32, 1), None, torch.device("cpu")
        )
        normalize = batches.Normalize(torch.device("cpu"))
        validation = learner.validate(run, images, normalize)
        with torch.inference_mode():
            right = (run.model(normalize(images.images)).argmax(1) == images.labels).double()
        assert validation.accuracy == right.mean().item()
        assert validation.batch_accuracy == (right[:16].mean() + right[16]).item() / 2 != validation.accuracy

    @pytest.mark.parametrize("present", [[0, 1, 2], [0, 2]])
    def test_the_scores_of_an_epoch_are_those_of_the_evaluation(self, present):
        """A class that no image is of is left out of the means, though some image is called by its name."""
        data = small_data(sizes={"train": 8, "val": 40})
        labels = np.random.default_rng(5).choice(present, 40, p=[0.9, *[0.1 / (len(present) - 1)] * (len(present) - 1)])
        images = batches.Images.load(data.images["val"], labels, torch.device("cpu"))
        run = learner.Learner(RECIPE, SETTINGS, models.build(MODEL, 3, 32, 1), None, torch.device("cpu"))
        run.model = Wobble()
        validation = learner.validate(run, images, batches.Normalize(torch.device("cpu")))
        log_p = Wobble()(torch.zeros(40, 3)).log_softmax(1).numpy()
        ids, splits = [str(k) for k in range(80)], ["val"] * 40 + ["test"] * 40
        predictions = Predictions.of(ids, splits, np.tile(labels, 2), np.tile(log_p, (2, 1)), ["a", "b", "c"])
        expected = evaluate(predictions.scores, 15)["val"]
        assert validation.predicted == [0, 1, 2]
        assert validation.accuracy == expected["accuracy"]
        assert validation.balanced_accuracy == pytest.approx(expected["balanced_accuracy"], rel=1e-14)
        assert validation.macro_f1 == pytest.approx(expected["macro_f1"], rel=1e-14)

    def test_twice_gives_the_same_to_the_last_bit(self):
        first, second = small_train(), small_train()
        assert all(torch.equal(first.weights[key], second.weights[key]) for key in first.weights)
        for one, other in zip(first.history, second.history, strict=True):
            assert {**one, "seconds": 0} == {**other, "seconds": 0}
        assert small_train(seed=4).history[0]["train_loss"] != first.history[0]["train_loss"]

    def test_a_line_per_epoch_says_all(self):
        lines: list[str] = []
        small_train(RECIPE.but(max_epochs=2), report=lines.append)
        assert lines[0].startswith("small seed 3 starts: ")
        assert "60 training and 30 validation images, fp32 on cpu" in lines[0]
        number = r"\d+\.\d{4}"
        pattern = (
            rf"small seed 3  epoch 1/2  train loss {number}  val loss {number}  val accuracy {number}  "
            rf"best {number} \(epoch 1\)  lr 3e-03  [\d,]+ images/s  \d+:\d\d left  \d\.\d\d GiB"
        )
        assert re.fullmatch(pattern, lines[1])
        assert " 0:00 left " in lines[2]

    def test_the_study_caps_the_recipes_epochs(self):
        assert small_train(settings=replace(SETTINGS, max_epochs=2)).epochs == 2
        result = small_train(RECIPE.but(max_epochs=1), settings=replace(SETTINGS, max_epochs=2))
        assert (result.epochs, result.max_epochs) == (1, 1)

    def test_without_early_stopping_its_other_keys_are_not_needed(self):
        recipe = RECIPE.but(max_epochs=2, early_stopping_patience=None)
        assert small_train(Recipe.of("small", study={}, **recipe.deciding)).epochs == 2

    def test_the_best_epoch_comes_from_a_configured_one_on(self, monkeypatch):
        validated(monkeypatch, accuracy=[0.9, 0.8, 0.5, 0.6, 0.6])
        assert small_train(RECIPE.but(max_epochs=5), best_from_epoch=3).best_epoch == 4

    def test_the_best_epoch_can_be_chosen_by_the_mean_over_batches(self, monkeypatch):
        validated(monkeypatch, accuracy=[0.9, 0.8], batch_accuracy=[0.7, 0.75])
        result = small_train(RECIPE.but(max_epochs=2), best_by="batch_accuracy")
        assert (result.best_epoch, result.best_val_accuracy) == (2, 0.8)

    @pytest.mark.parametrize(
        ("best_by", "values"),
        [("balanced_accuracy", [0.5, 0.8, 0.8]), ("macro_f1", [0.4, 0.7, 0.6]), ("nll", [0.3, 0.2, 0.25])],
    )
    def test_the_best_epoch_can_be_chosen_by_other_scores(self, monkeypatch, best_by, values):
        """A tie goes to the earlier epoch; run.json has the accuracy of the epoch that was kept."""
        validated(monkeypatch, accuracy=[0.97, 0.9, 0.96], **{best_by: values})
        result = small_train(RECIPE.but(max_epochs=3), best_by=best_by)
        assert (result.best_epoch, result.best_val_accuracy) == (2, 0.9)
        assert result.facts["best_by"] == best_by

    def test_a_score_that_is_no_number_is_never_the_best(self, monkeypatch):
        validated(monkeypatch, nll=[math.nan, 0.9, math.nan])
        assert small_train(RECIPE.but(max_epochs=3), best_by="nll").best_epoch == 2

    def test_a_run_shorter_than_that_has_a_best_epoch_too(self, monkeypatch):
        validated(monkeypatch, accuracy=[0.7, 0.9])
        result = small_train(RECIPE.but(max_epochs=2), best_from_epoch=5)
        assert (result.best_epoch, result.best_val_accuracy) == (2, 0.9)

    @pytest.mark.skipif(
        "bf16" not in learner.devices.supported_precisions(torch.device("cpu")), reason="this processor has no bf16"
    )
    def test_bf16_learns_too(self):
        recipe = RECIPE.but(max_epochs=15)
        result = small_train(recipe, precision="auto", **NO_AUGMENTATION)
        assert result.precision == "bf16"
        assert result.best_val_accuracy > 0.9

    def test_colour_images_and_batch_norm(self):
        recipe = RECIPE.but(max_epochs=1, batch_size=59)  # 60 images: one is left over
        result = small_train(recipe, data=small_data(channels=3), name="vgg11_bn")
        assert result.outcome in ("completed", "collapsed")


class TestTwoStages:
    """A classifier trained anew on the backbone of another run (cRT)."""

    @pytest.mark.parametrize("name", ["vgg11_bn", "mobilenet_v3_small"])
    def test_a_frozen_backbone_stays_to_the_last_bit_and_the_head_learns(self, tmp_path, name):
        base = RECIPE.but(max_epochs=1, name=name, width=0.0625 if name == "vgg11_bn" else 1.0)
        first = small_train(base)
        write(first, tmp_path)
        recipe = base.but(init_part="backbone", freeze="backbone", sampler="balanced", max_epochs=2)
        second = small_train(recipe, initial_weights=tmp_path / "best.safetensors")
        moved = {key for key, value in second.weights.items() if not torch.equal(value, first.weights[key])}
        head, _ = models.head_of(models.build(models.ModelSettings(**recipe.section("model")), 3, 32, 0))
        assert moved and moved == {key for key in first.weights if key.startswith(f"{head}.")}
        assert second.parameters == first.parameters == first.trained_parameters
        assert second.trained_parameters == sum(first.weights[key].numel() for key in moved)
        write(second, tmp_path)
        predicted = predict(tmp_path / "best.safetensors", small_data(), recipe, SETTINGS)
        assert evaluate(predicted.scores, 15)["val"]["accuracy"] == pytest.approx(second.best_val_accuracy)

    def test_the_head_of_the_second_stage_is_drawn_as_that_of_a_first_one(self, tmp_path):
        write(small_train(RECIPE.but(max_epochs=1)), tmp_path)
        start = tmp_path / "best.safetensors"
        anew, fresh = (models.build(replace(MODEL, init_part="backbone"), 3, 32, 5, path) for path in (start, None))
        whole = models.build(MODEL, 3, 32, 5, start).state_dict()
        for key, value in anew.state_dict().items():
            expected = fresh.state_dict() if key.startswith("head.") else load_file(start)
            assert torch.equal(value, expected[key]) and torch.equal(whole[key], load_file(start)[key]), key

    def test_the_line_says_how_much_is_trained(self):
        lines: list[str] = []
        small_train(RECIPE.but(max_epochs=1, freeze="backbone"), report=lines.append)
        assert re.search(r"starts: [\d,]+ parameters, 579 of them trained, ", lines[0])


class TestMeans:
    """Mean losses and accuracies are exact over images, whatever the batches."""

    def setup(self, activation: str, weights: np.ndarray | None) -> tuple[learner.Learner, batches.Images]:
        torch.set_num_threads(1)
        data = small_data()
        loss = "cross_entropy" if weights is None else "weighted_cross_entropy"
        recipe = RECIPE.but(loss=loss, activation=activation, optimizer="SGD", lr=1e-30)  # a model that stays as it is
        network = models.build(replace(MODEL, dropout=0.0), 3, 32, 0)
        cpu = torch.device("cpu")
        run = learner.Learner(recipe, SETTINGS, network, weights, cpu)
        return run, batches.Images.load(data.images["train"], data.labels["train"], cpu)

    @pytest.mark.parametrize("activation", ["softmax", "logits"])
    @pytest.mark.parametrize("weights", [None, np.array([0.2, 1.0, 3.0])])
    def test_over_an_epoch(self, monkeypatch, activation, weights):
        run, images = self.setup(activation, weights)
        normalize = batches.Normalize(run.device)
        with torch.inference_mode():
            logits = run.model(normalize(images.images))
        in_front = learner.Criterion("cross_entropy", activation).activation(logits)
        weight = None if weights is None else torch.from_numpy(weights).float()
        expected = torch.nn.CrossEntropyLoss(weight=weight)(in_front, images.labels).item()
        accuracy = (logits.argmax(1) == images.labels).double().mean().item()

        steps = batches.training_batches(images, torch.arange(60), None, 7, normalize)
        assert learner.train_epoch(run, steps) == pytest.approx((expected, accuracy), rel=1e-5)
        monkeypatch.setattr(batches, "EVALUATION_PIXELS", 13 * 32**2)
        validation = learner.validate(run, images, normalize)
        assert validation.loss == pytest.approx(expected, rel=1e-5)
        assert validation.accuracy == accuracy
        nll = torch.nn.CrossEntropyLoss()(logits, images.labels).item()
        assert validation.nll == pytest.approx(nll, rel=1e-5)
        assert validation.predicted == sorted(set(logits.argmax(1).tolist()))

    def test_accuracy_of_mixed_images_is_that_of_the_heavier_label(self):
        run, images = self.setup("logits", None)
        draws = augmentation.draw_augmentation(augmentation.Augmentation(mixup_alpha=1.0), 60, 32, 0, 1)
        steps = list(batches.training_batches(images, torch.arange(60), draws, 7, batches.Normalize(run.device)))
        right = []
        for mixed, labels, others, share in steps:
            predicted = run.model(mixed).argmax(1)
            right.append(torch.where(share >= 0.5, predicted == labels, predicted == others))
        _, accuracy = learner.train_epoch(run, steps)
        assert 0 < accuracy == torch.cat(right).double().mean().item() < 1


def test_gradients_are_clipped_as_pytorch_does(monkeypatch):
    """The norm over all parameters; a larger one becomes the largest allowed, a smaller one stays."""
    norms: dict[float, list[float]] = {}
    for largest in (0.0, 0.05, 1e6):
        seen = norms.setdefault(largest, [])
        real = torch.optim.SGD.step

        def step(self, *arguments, seen=seen, real=real):
            gradients = [parameter.grad for group in self.param_groups for parameter in group["params"]]
            seen.append(torch.cat([gradient.flatten() for gradient in gradients]).norm().item())
            return real(self, *arguments)

        with monkeypatch.context() as patched:
            patched.setattr(torch.optim.SGD, "step", step)
            small_train(RECIPE.but(max_epochs=1, optimizer="SGD", clip_grad_norm=largest))
    assert norms[0.0] == norms[1e6] and min(norms[0.0]) > 0.05
    assert norms[0.05] == pytest.approx([0.05] * 4, rel=1e-4)


class TestSchedules:
    @pytest.mark.parametrize(
        "columns",
        [
            {"lr_scheduler": "OneCycleLR"},
            {"lr_scheduler": "CosineAnnealingLR", "lr_interval": "step", "lr_warmup_epochs": 1.5},
            {"lr_scheduler": "ExponentialLR", "lr_gamma": 0.9},
        ],
    )
    def test_every_step_has_its_rate(self, monkeypatch, columns):
        taken = []
        real = torch.optim.Adam.step

        def step(self, *arguments):
            taken.append(self.param_groups[0]["lr"])
            return real(self, *arguments)

        monkeypatch.setattr(torch.optim.Adam, "step", step)
        recipe = RECIPE.but(max_epochs=4, **columns)
        result = small_train(recipe, settings=replace(SETTINGS, max_epochs=3))
        expected = [schedule_of(recipe, 3).start().lr(epoch, step, 4) for epoch in range(3) for step in range(4)]
        assert taken == expected
        assert [row["lr"] for row in result.history] == expected[::4]

    @pytest.mark.parametrize(
        ("monitor", "values", "epochs"),
        [
            ("val_loss", {"loss": [0.5, 0.4, 0.6, 0.6]}, 4),
            ("val_nll", {"nll": [0.5, 0.6, 0.6, 0.1]}, 3),
            ("val_accuracy", {"accuracy": [0.5, 0.6, 0.7, 0.8, 0.8, 0.7]}, 6),
            ("val_macro_f1", {"macro_f1": [0.5, 0.4, 0.4]}, 3),
        ],
    )
    def test_early_stopping_watches_what_the_recipe_says(self, monkeypatch, monitor, values, epochs):
        validated(monkeypatch, **values)
        recipe = RECIPE.but(max_epochs=7, monitor=monitor)
        result = small_train(recipe, early_stopping_patience=2)
        assert (result.outcome, result.epochs) == ("early_stopped", epochs)

    def test_early_stopping_can_be_switched_off(self, monkeypatch):
        validated(monkeypatch)
        result = small_train(RECIPE.but(max_epochs=30), early_stopping_patience=None)
        assert (result.outcome, result.epochs, result.facts["early_stopping_patience"]) == ("completed", 30, None)


class TestPlateaus:
    def plateau(self, monkeypatch: pytest.MonkeyPatch, recipe=RECIPE, **settings: object) -> loop.TrainingResult:
        """A run whose validation loss never improves after the first epoch."""
        validated(monkeypatch)
        monkeypatch.setattr(loop, "train_epoch", lambda *_: (1.0, 0.5))
        return small_train(recipe.but(max_epochs=40), **settings)

    def test_the_learning_rate_falls_on_a_plateau_and_early_stopping_ends_it(self, monkeypatch):
        result = self.plateau(monkeypatch, scheduler_patience=2, early_stopping_patience=8)
        assert (result.outcome, result.epochs, result.lr_drops) == ("early_stopped", 9, [4, 7])
        assert [row["lr"] for row in result.history] == pytest.approx([3e-3] * 4 + [3e-4] * 3 + [3e-5] * 2)

    def test_min_lr_below_eps_is_never_reached(self, monkeypatch):
        """ReduceLROnPlateau ignores a reduction smaller than eps = 1e-8."""
        recipe = RECIPE.but(lr=1e-5, min_lr=1e-12)
        result = self.plateau(monkeypatch, recipe, scheduler_patience=1, early_stopping_patience=39)
        assert min(row["lr"] for row in result.history) == pytest.approx(1e-8)


class TestFailuresAreResults:
    def test_a_diverged_run_ends_with_its_last_finite_weights(self, tmp_path):
        result = small_train(RECIPE.but(optimizer="SGD", lr=1e30))
        run = write(result, tmp_path)
        assert run["outcome"] == "diverged"
        assert run["best_epoch"] is None
        assert run["best_val_accuracy"] is None
        assert all(value.isfinite().all() for value in load_file(tmp_path / "best.safetensors").values())
        history = pd.read_csv(tmp_path / "history.csv")
        assert len(history) == 1
        assert not math.isfinite(history["val_loss"][0])

    def test_a_run_that_diverges_later_keeps_its_best_epoch(self, monkeypatch):
        real = loop.train_epoch
        epochs = iter([1, 2, 3])
        monkeypatch.setattr(loop, "train_epoch", lambda *a: real(*a) if next(epochs) < 3 else (math.nan, 0.0))
        result = small_train()
        assert (result.outcome, result.epochs) == ("diverged", 3)
        assert result.best_epoch in (1, 2)

    def test_a_collapsed_run_says_into_which_class_and_since_when(self):
        """A high learning rate saturates the double softmax, as in the study's failed runs."""
        recipe = RECIPE.but(optimizer="SGD", lr=100.0, momentum=0.9, activation="softmax", max_epochs=4)
        result = small_train(recipe)
        assert result.outcome == "collapsed"
        only = result.facts["only_class"]
        assert only["name"] in small_data().classes and 1 <= only["since"] <= 4
        assert only["share"] == pytest.approx(1 / 3)
        weights = {"class_weights": np.array([1.0, 1.0, 2.0])}
        weighted = small_train(recipe.but(loss="weighted_cross_entropy"), **weights).facts["only_class"]
        assert weighted["share"] == pytest.approx(0.5 if weighted["name"] == "top" else 0.25)


def adjusted_loss_at_the_end(result) -> float:
    """Validation loss of the last epoch's weights by an independent logit-adjusted loss of labels smoothed by 0.1."""
    network = models.build(MODEL, 3, 32, 0)
    network.load_state_dict(result.weights)
    images = batches.Images.load(small_data().images["val"], small_data().labels["val"], torch.device("cpu"))
    with torch.no_grad():
        pixels = torch.cat([x for x, _ in batches.evaluation_batches(images, batches.Normalize(torch.device("cpu")))])
        logits = network.eval()(pixels)
    shifted = logits + 2.0 * torch.tensor([40, 15, 5]).div(60).log()
    return torch.nn.CrossEntropyLoss(label_smoothing=0.1)(shifted, images.labels).item()


def test_the_loss_knows_the_training_images_of_each_class():
    """Their shares come from the training split, and the validation loss is the recipe's own."""
    data = small_data()
    data.labels["train"] = np.repeat([0, 1, 2], [40, 15, 5])
    recipe = RECIPE.but(loss="logit_adjusted", logit_adjust_tau=2.0, label_smoothing=0.1, max_epochs=1)
    result = small_train(recipe, data=data)
    assert result.history[0]["val_loss"] == pytest.approx(adjusted_loss_at_the_end(result), rel=1e-5)


class TestDeferral:
    WEIGHTS = np.array([0.5, 1.0, 4.0])

    @pytest.mark.parametrize("changes", [{"loss": "weighted_cross_entropy"}, {"sampler": "balanced"}])
    def test_until_its_epoch_a_run_is_one_without(self, changes):
        """To the last bit; from there on it is another one."""
        common = {"class_weights": self.WEIGHTS, "scheduler_patience": 0}
        plain = small_train(**common).history
        deferred = small_train(RECIPE.but(defer_until=0.5, **changes), **common).history
        same = [{**a, "seconds": 0} == {**b, "seconds": 0} for a, b in zip(plain, deferred, strict=True)]
        assert same == [True] * 3 + [False] * 3

    @pytest.mark.parametrize("changes", [{"loss": "weighted_cross_entropy"}, {"sampler": "square_root"}])
    def test_from_its_epoch_on_weights_and_sampler_act(self, changes, monkeypatch):
        orders, weighed = [], []
        real_order, real_weigh = loop.draw_order, losses.Criterion.weigh
        monkeypatch.setattr(loop, "draw_order", lambda *a: orders.append(a[1]) or real_order(*a))
        monkeypatch.setattr(losses.Criterion, "weigh", lambda self, b: weighed.append(b) or real_weigh(self, b))
        small_train(RECIPE.but(defer_until=0.5, **changes), class_weights=self.WEIGHTS)
        assert weighed == [False] * 3 + [True] * 3
        assert orders == ["shuffle"] * 3 + [changes.get("sampler", "shuffle")] * 3

    def test_early_stopping_and_plateau_begin_with_it(self, monkeypatch):
        """Of a run whose validation loss is constant: both patiences count from epoch 5 on."""
        real = loop.validate
        monkeypatch.setattr(loop, "validate", lambda *a: replace(real(*a), loss=1.0))
        recipe = RECIPE.but(max_epochs=12, loss="weighted_cross_entropy", defer_until=0.34)
        patience = {"scheduler_patience": 2, "early_stopping_patience": 4, "min_lr": 0.0}
        result = small_train(recipe.but(**patience), class_weights=self.WEIGHTS)
        assert (result.outcome, result.epochs) == ("early_stopped", 9)
        assert [row["lr"] for row in result.history[:5]] == pytest.approx([0.003] * 4 + [0.0003])
        assert [row["lr"] for row in result.history[5:]] == pytest.approx([0.0003] * 3 + [3e-5])

    def test_losses_with_and_without_the_weights_do_not_choose_the_best_epoch_between_them(self, monkeypatch):
        recipe = RECIPE.but(max_epochs=4, loss="weighted_cross_entropy", defer_until=0.5, best_by="loss")
        for one, best in ((recipe, 4), (recipe.but(loss="cross_entropy", sampler="balanced"), 1)):
            validated(monkeypatch, loss=[0.1, 0.2, 0.9, 0.8])
            assert small_train(one, class_weights=self.WEIGHTS).best_epoch == best


class TestBadInput:
    def test_a_batch_larger_than_the_training_set(self):
        message = "experiment 'small', column 'batch_size': found 61, allowed is at most the number .*, 60"
        with pytest.raises(StudyError, match=message):
            small_train(RECIPE.but(batch_size=61))

    @pytest.mark.parametrize(("weights", "found"), [(None, "none"), (np.ones(2), "2")])
    def test_a_weighted_loss_without_its_weights(self, weights, found):
        message = f"'small', column 'loss': weighted_cross_entropy needs .* each of the 3 classes, found {found}"
        with pytest.raises(StudyError, match=message):
            small_train(RECIPE.but(loss="weighted_cross_entropy"), class_weights=weights)

    def test_a_loss_that_takes_counts_needs_an_image_of_every_class(self):
        data = small_data()
        data.labels["train"][data.labels["train"] == 1] = 0
        with pytest.raises(
            StudyError, match="logit_adjusted needs a training image of every class, found none of right"
        ):
            small_train(RECIPE.but(loss="logit_adjusted"), data=data)

    def test_no_validation_image(self):
        with pytest.raises(StudyError, match="validation split holds no image, allowed is at least 1"):
            small_train(data=small_data(sizes={"train": 60, "val": 0, "test": 30}))


class TestResume:
    def test_killed_runs_end_as_an_uninterrupted_one(self, tmp_path):
        """Real processes, killed with SIGKILL: once between epochs and once wherever it happens to be."""
        epochs = 8

        def command(folder: Path) -> list[str]:
            return [sys.executable, small_run.__file__, str(folder), str(epochs), "1"]

        environment = {**os.environ, "PYTHONPATH": str(Path(loop.__file__).parents[2])}
        whole, broken = tmp_path / "whole", tmp_path / "broken"
        write(small_train(RECIPE.but(max_epochs=epochs)), whole)
        for epoch, delay in ((2, 0.0), (5, 0.03)):
            process = subprocess.Popen(command(broken), env=environment, stdout=subprocess.PIPE, text=True)
            for line in process.stdout:
                if f"epoch {epoch}/{epochs}" in line:
                    time.sleep(delay)
                    process.send_signal(signal.SIGKILL)
                    break
            process.stdout.close()
            assert process.wait() == -signal.SIGKILL
            assert not (broken / "run.json").exists()
        last = subprocess.run(command(broken), env=environment, check=True, capture_output=True, text=True)
        assert re.search(r"small seed 3 continues after epoch [4567]: ", last.stdout)
        assert without_seconds(broken / "history.csv") == without_seconds(whole / "history.csv")
        assert (broken / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()
        assert json.loads((broken / "run.json").read_text())["provenance"]["resumes"] == 2
        assert not (broken / "checkpoints").exists()

    @pytest.mark.parametrize(
        ("every", "recipe"),
        [
            (1, RECIPE.but(max_epochs=7, loss="weighted_cross_entropy", sampler="balanced", activation="softmax")),
            (3, RECIPE.but(max_epochs=7, optimizer="SGD", lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)),
            (1, RECIPE.but(max_epochs=7, loss="weighted_ldam", sampler="balanced", defer_until=0.5)),
            (3, RECIPE.but(max_epochs=7, loss="logit_adjusted", label_smoothing=0.1, sampler="progressive")),
            (1, RECIPE.but(max_epochs=7, mixup_alpha=0.4, cutmix_alpha=1.0, crop_padding=4, auto_augment="ta_wide")),
            (3, RECIPE.but(max_epochs=7, name="vgg11_bn", freeze="backbone", dropout=0.2)),
            (1, RECIPE.but(max_epochs=7, lr_scheduler="CosineAnnealingLR", lr_interval="step", lr_warmup_epochs=1.5)),
            (3, RECIPE.but(max_epochs=7, lr_warmup_epochs=2, monitor="val_macro_f1")),
            (
                1,
                RECIPE.but(max_epochs=7, optimizer="NAdam", model_ema_decay=0.9, model_ema_steps=3, clip_grad_norm=0.5),
            ),
            (3, RECIPE.but(max_epochs=7, optimizer="AdamW", weight_decay=0.1, norm_weight_decay=0.0, layer_decay=0.8)),
        ],
    )
    def test_interrupted_after_any_epoch(self, tmp_path, recipe, every):
        """Optimizer, schedule and early stopping continue where they were, with plateaus in the way."""
        common = {"class_weights": np.array([0.5, 1, 2]), "scheduler_patience": 0, "early_stopping_patience": 4}
        whole = small_train(recipe, **common)

        class Interrupted(Exception):
            pass

        for epoch in (1, 4, 6):
            folder = tmp_path / str(epoch)

            def interrupt(line: str, stop: str = f"epoch {epoch}/7") -> None:
                if stop in line:
                    raise Interrupted

            with pytest.raises(Interrupted):
                small_train(recipe, checkpoint_dir=folder, checkpoint_every=every, report=interrupt, **common)
            resumed = small_train(recipe, checkpoint_dir=folder, checkpoint_every=every, **common)
            assert all(torch.equal(whole.weights[key], resumed.weights[key]) for key in whole.weights)
            strip = [{**row, "seconds": 0} for row in whole.history]
            assert [{**row, "seconds": 0} for row in resumed.history] == strip
            names = ("outcome", "facts", "best_epoch", "lr_drops", "epochs")
            assert [getattr(resumed, name) for name in names] == [getattr(whole, name) for name in names]

    def test_a_finished_run_that_was_not_written_trains_nothing_again(self, tmp_path, monkeypatch):
        first = small_train(checkpoint_dir=tmp_path / "c")
        monkeypatch.setattr(loop, "train_epoch", lambda *_: pytest.fail("trained again"))
        second = small_train(checkpoint_dir=tmp_path / "c")
        assert second.history == first.history
        assert second.outcome == first.outcome

    @pytest.mark.parametrize(
        ("columns", "epochs"),
        [
            ({"scheduler_patience": 0, "loss": "weighted_cross_entropy", "sampler": "balanced"}, (3, 7)),
            (
                {"lr_scheduler": "MultiStepLR", "lr_milestones": [2, 5], "lr_warmup_epochs": 1.5, "momentum": 0.9},
                (4, 6),
            ),
            ({"model_ema_decay": 0.9, "mixup_alpha": 0.4, "optimizer": "AdamW"}, (1, 2)),
            ({"lr": 1e-12, "early_stopping_patience": 2, "early_stopping_equal_improves": False}, (3, 7)),
            ({"lr": 1e30}, (4, 5)),
        ],
        ids=["plateau", "milestones", "average", "early stopping", "diverged"],
    )
    def test_with_more_epochs_a_finished_run_goes_on_as_if_it_had_been_so_long(self, tmp_path, columns, epochs):
        """Also where the end is the same: a run that early stopping ends, if only now, or one that diverged."""
        few, more = (RECIPE.but(max_epochs=number, **columns) for number in epochs)
        assert more.bound_to_epochs is None
        common = {"class_weights": np.array([0.5, 1, 2])}
        whole = small_train(more, **common)
        lines: list[str] = []
        kept = {"checkpoint_dir": tmp_path / "checkpoints", "keep_last": True, **common}
        shorter = small_train(few, **kept)
        write(shorter, tmp_path)
        assert len(list((tmp_path / "checkpoints").iterdir())) == 1
        longer = small_train(more, report=lines.append, **kept)
        assert f"continues after epoch {shorter.epochs}: " in lines[0]
        assert all(torch.equal(whole.weights[key], longer.weights[key]) for key in whole.weights)
        names = ("outcome", "facts", "best_epoch", "lr_drops", "epochs", "max_epochs", "recipe", "description")
        for name in names:  # as text, in which a loss that is not a number is equal to itself
            assert repr(getattr(longer, name)) == repr(getattr(whole, name))
        one, other = (history_csv([{**row, "seconds": 0} for row in run.history]) for run in (longer, whole))
        assert one == other
        record = write(longer, tmp_path)
        assert record["provenance"]["resumes"] == 1 and record["epochs"] == len(whole.history)

    def test_fewer_epochs_begin_anew(self, tmp_path):
        kept = {"checkpoint_dir": tmp_path / "checkpoints", "keep_last": True}
        write(small_train(RECIPE.but(max_epochs=3), **kept), tmp_path)
        lines: list[str] = []
        shorter = small_train(RECIPE.but(max_epochs=2), report=lines.append, **kept)
        assert "after epoch 3, which is beyond the 2 that the run may take" in lines[0] and " starts: " in lines[1]
        assert shorter.history[-1]["epoch"] == 2

    def test_what_a_longer_run_could_not_continue_from_is_not_kept(self, tmp_path):
        recipe = RECIPE.but(max_epochs=2, lr_scheduler="CosineAnnealingLR")
        write(small_train(recipe, checkpoint_dir=tmp_path / "checkpoints", keep_last=True), tmp_path)
        assert recipe.bound_to_epochs == "training.lr_scheduler" and not (tmp_path / "checkpoints").exists()

    @pytest.mark.parametrize("change", ["key", "seed", "experiment"])
    def test_a_checkpoint_of_another_run_is_not_used(self, tmp_path, change):
        small_train(checkpoint_dir=tmp_path / "c")
        lines: list[str] = []
        recipe = RECIPE.but(experiment="other") if change == "experiment" else RECIPE
        changes = {"key": {"run_key": "other"}, "seed": {"seed": 4}, "experiment": {}}[change]
        small_train(recipe, checkpoint_dir=tmp_path / "c", report=lines.append, **changes)
        assert any("starts: " in line for line in lines)

    def test_tensorboard_is_whole_after_a_resume(self, tmp_path):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        class Interrupted(Exception):
            pass

        def interrupt(line: str) -> None:
            if "epoch 4/6" in line:
                raise Interrupted

        folders = {"checkpoint_dir": tmp_path / "c", "tensorboard_dir": tmp_path / "t"}
        with pytest.raises(Interrupted):
            small_train(report=interrupt, **folders)
        small_train(**folders)
        assert len(list((tmp_path / "t").iterdir())) == 1
        events = EventAccumulator(str(tmp_path / "t")).Reload()
        assert [e.step for e in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]


def test_a_run_sees_the_middle_of_larger_stored_images_or_crops_of_them(tmp_path):
    plain, larger = small_data(), stored_larger(small_data())
    whole, middles = (small_train(RECIPE.but(max_epochs=2), data=data) for data in (plain, larger))
    assert all(torch.equal(whole.weights[key], middles.weights[key]) for key in whole.weights)
    assert "stored_size" not in whole.description and middles.description["stored_size"] == 40
    cropped = small_train(RECIPE.but(max_epochs=2, random_crop=True), data=larger)
    assert not all(torch.equal(whole.weights[key], cropped.weights[key]) for key in whole.weights)
    write(cropped, tmp_path)
    recipe = RECIPE.but(max_epochs=2, random_crop=True)
    predicted = predict(tmp_path / "best.safetensors", larger, recipe, SETTINGS)
    found = evaluate(predicted.scores, 15)["val"]["accuracy"]
    assert found == pytest.approx(cropped.history[cropped.best_epoch - 1]["val_accuracy"])
    with pytest.raises(StudyError, match="trained with stored_size 40, used with stored_size 32"):
        predict(tmp_path / "best.safetensors", plain, recipe, SETTINGS)


def test_augmentation_and_order_are_the_same_for_every_recipe_of_a_seed():
    """Paired comparisons: what a recipe sees in an epoch depends on the seed alone, not on batch size or loss."""
    seen = {}
    for batch_size in (16, 60):
        data = small_data()
        images = batches.Images.load(data.images["train"], data.labels["train"], torch.device("cpu"))
        order = samplers.draw_order(data.labels["train"], "shuffle", 3, 2, 9)
        draws = augmentation.draw_augmentation(
            augmentation.Augmentation(**RECIPE.section("augmentation")), 60, 32, 3, 2
        )
        normalize = batches.Normalize(torch.device("cpu"))
        steps = batches.training_batches(images, order, draws, batch_size, normalize)
        seen[batch_size] = torch.cat([batch for batch, _ in steps])
    torch.testing.assert_close(seen[16], seen[60])


def test_images_that_stay_memory_mapped_give_the_same_run(monkeypatch, tmp_path):
    results, predictions = [], []
    for resident, words in ((True, "images in its memory"), (False, "images memory-mapped")):
        monkeypatch.setattr("study.train.devices.fits", lambda *_, answer=resident: answer)
        lines: list[str] = []
        results.append(small_train(RECIPE.but(max_epochs=3), report=lines.append))
        assert lines[0].endswith(words)
        write(results[-1], tmp_path)
        predictions.append(predict(tmp_path / "best.safetensors", small_data(), RECIPE, SETTINGS))
    one, other = results
    assert [{**row, "seconds": 0} for row in one.history] == [{**row, "seconds": 0} for row in other.history]
    assert all(torch.equal(one.weights[key], other.weights[key]) for key in one.weights)
    assert predictions_bytes(predictions[0]) == predictions_bytes(predictions[1])


def test_the_library_trains_without_snakemake():
    code = "import sys; sys.modules['snakemake'] = None; import study.train.loop, study.evaluate.prediction"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(loop.__file__).parents[2])
