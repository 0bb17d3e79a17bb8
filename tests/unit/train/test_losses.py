import math

import pytest
import torch
from torch.nn import CrossEntropyLoss
from torch.nn.functional import one_hot

from study.recipe import HYPERPARAMETERS
from study.train.losses import ACTIVATIONS, LOSSES, Criterion, Loss, common_nll, probabilities


def logits_and_labels(batch: int = 32, classes: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(batch, classes, generator=generator)
    return logits, torch.randint(classes, (batch,), generator=generator)


def defaults_of(loss: str) -> dict[str, object]:
    """The defaults of the columns that the loss takes."""
    return {name: HYPERPARAMETERS[name].node["default"] for name in LOSSES[loss].takes}


def test_losses_and_activations_are_those_of_the_schema():
    column = HYPERPARAMETERS["loss"]
    assert tuple(LOSSES) == column.choices
    assert [name for name, loss in LOSSES.items() if loss.weighted] == column.node["weighted"]
    assert tuple(ACTIVATIONS) == HYPERPARAMETERS["activation"].choices


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
class TestEveryLoss:
    def test_takes_a_step_with_and_without_weights(self, loss, activation):
        weights = torch.linspace(0.5, 2, 7)
        logits, labels = logits_and_labels()
        logits.requires_grad_()
        losses, image_weights = Criterion(loss, activation, weights, defaults_of(loss))(logits, labels)
        assert losses.shape == image_weights.shape == labels.shape and losses.dtype == torch.float32
        assert torch.equal(image_weights, weights[labels] if LOSSES[loss].weighted else torch.ones(32))
        (losses.sum() / image_weights.sum()).backward()
        assert logits.grad.isfinite().all() and logits.grad.any()

    def test_a_mixed_image_counts_for_both_labels_by_their_shares(self, loss, activation):
        criterion = Criterion(loss, activation, torch.linspace(0.5, 2, 7), defaults_of(loss))
        logits, labels = logits_and_labels()
        others, share = labels.roll(1), torch.linspace(0, 1, 32)
        mixed = criterion(logits, labels, others, share)
        for both, one, other in zip(mixed, criterion(logits, labels), criterion(logits, others), strict=True):
            torch.testing.assert_close(both, share * one + (1 - share) * other)
            assert torch.equal(both[-1], one[-1]) and torch.equal(both[0], other[0])  # shares 1 and 0

    def test_a_weighted_loss_needs_its_weights(self, loss, activation):
        if LOSSES[loss].weighted:
            with pytest.raises(ValueError, match=f"{loss} needs the weights of the classes"):
                Criterion(loss, activation, columns=defaults_of(loss))
        else:
            assert Criterion(loss, activation, columns=defaults_of(loss)).weights is None


def test_what_a_loss_takes_is_what_the_schema_says():
    for name, loss in LOSSES.items():
        for column in loss.takes:
            assert name in HYPERPARAMETERS[column].node["only_with"]["loss"]


class TestCriterion:
    @pytest.mark.parametrize("names", [("no_such_loss", "logits"), ("cross_entropy", "no_such_activation")])
    def test_an_unknown_name_is_an_error(self, names):
        with pytest.raises(KeyError):
            Criterion(*names)

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    @pytest.mark.parametrize("loss", ["cross_entropy", "weighted_cross_entropy"])
    def test_mean_and_gradient_are_those_of_cross_entropy_loss(self, activation, loss):
        weights = torch.linspace(0.5, 2, 7) if loss == "weighted_cross_entropy" else None
        logits, labels = logits_and_labels()
        ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
        losses, image_weights = Criterion(loss, activation, weights)(ours, labels)
        mean = losses.sum() / image_weights.sum()
        expected = CrossEntropyLoss(weight=weights)(ACTIVATIONS[activation](theirs), labels)
        mean.backward()
        expected.backward()
        torch.testing.assert_close(mean, expected)
        torch.testing.assert_close(ours.grad, theirs.grad)

    def test_columns_that_a_loss_takes_reach_it(self, monkeypatch):
        tempered = Loss(lambda outputs, labels, temperature: outputs[:, 0] / temperature, False, ("temperature",))
        monkeypatch.setitem(LOSSES, "tempered", tempered)
        logits, labels = logits_and_labels()
        losses, _ = Criterion("tempered", "logits", columns={"temperature": 4.0, "lr": 0.1})(logits, labels)
        torch.testing.assert_close(losses, logits[:, 0] / 4)

    def test_sums_over_batches_give_the_mean_over_all_images(self):
        criterion = Criterion("weighted_cross_entropy", "logits", torch.linspace(0.5, 2, 7))
        logits, labels = logits_and_labels(33)
        parts = [criterion(logits[i : i + 8], labels[i : i + 8]) for i in range(0, 33, 8)]
        mean = sum(part[0].sum() for part in parts) / sum(part[1].sum() for part in parts)
        losses, weights = criterion(logits, labels)
        torch.testing.assert_close(mean, losses.sum() / weights.sum())

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_a_mixed_image_is_one_with_a_soft_target(self, activation):
        logits, labels = logits_and_labels()
        ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
        others, share = labels.roll(1), torch.linspace(0, 1, 32)
        losses, weights = Criterion("cross_entropy", activation)(ours, labels, others, share)
        soft = share[:, None] * one_hot(labels, 7) + (1 - share)[:, None] * one_hot(others, 7)
        expected = CrossEntropyLoss(reduction="none")(ACTIVATIONS[activation](theirs), soft)
        assert losses.dtype == torch.float32 and torch.equal(weights, torch.ones(32))
        torch.testing.assert_close(losses, expected)
        losses.mean().backward()
        expected.mean().backward()
        torch.testing.assert_close(ours.grad, theirs.grad)

    def test_half_precision_logits_give_a_float32_loss(self):
        logits, labels = logits_and_labels()
        losses, _ = Criterion("cross_entropy", "softmax")(logits.bfloat16(), labels)
        assert losses.dtype == torch.float32

    def test_log_softmax_in_front_changes_nothing(self):
        logits, labels = logits_and_labels()
        torch.testing.assert_close(
            Criterion("cross_entropy", "log_softmax")(logits, labels),
            Criterion("cross_entropy", "logits")(logits, labels),
        )

    def test_double_softmax_confines_the_loss(self):
        """For 7 classes between ln((e + 6) / e) = 1.1654 and ln(e + 6) = 2.1654."""
        certain = 100 * torch.eye(7)[:1]
        criterion = Criterion("cross_entropy", "softmax")
        right, wrong = (criterion(certain, torch.tensor([label]))[0].item() for label in (0, 1))
        assert right == pytest.approx(math.log((math.e + 6) / math.e)) == pytest.approx(1.1654, abs=5e-5)
        assert wrong == pytest.approx(math.log(math.e + 6)) == pytest.approx(2.1654, abs=5e-5)

    def test_double_softmax_shrinks_the_gradient(self):
        """To 1/7 at uniform output; for a confident mistake to 1e-4 at 10 logits and 5e-9 at 20."""

        def gradient(activation: str, logits: torch.Tensor, label: int) -> torch.Tensor:
            logits = logits.double().requires_grad_()
            loss = torch.nn.functional.cross_entropy(ACTIVATIONS[activation](logits), torch.tensor([label]))
            loss.backward()
            return logits.grad

        uniform = torch.zeros(1, 7)
        torch.testing.assert_close(gradient("softmax", uniform, 2), gradient("logits", uniform, 2) / 7)
        for size, expected in ((10, 1e-4), (20, 5e-9)):
            mistake = size * torch.eye(7)[:1]
            assert gradient("logits", mistake, 1).abs().max() > 0.99
            assert gradient("softmax", mistake, 1).abs().max() == pytest.approx(expected, rel=0.35)

    @pytest.mark.parametrize(("accuracy", "loss"), [(0.2422, 1.9232), (0.1667, 1.9987)])
    def test_a_saturated_run_sits_at_the_reported_loss(self, accuracy, loss):
        labels = (torch.arange(10_000) >= round(accuracy * 10_000)).long()  # class 0 is always predicted
        losses, _ = Criterion("cross_entropy", "softmax")(100 * torch.eye(7)[:1].expand(10_000, 7), labels)
        assert losses.mean().item() == pytest.approx(loss, abs=5e-5)


def test_common_nll_is_minus_log_probability_of_the_true_class():
    logits, labels = logits_and_labels()
    p = probabilities(logits)
    torch.testing.assert_close(p.sum(1), torch.ones(32))
    torch.testing.assert_close(common_nll(logits, labels), -p[torch.arange(32), labels].log())
