import math

import pytest
import torch
from torch.nn import CrossEntropyLoss
from torch.nn.functional import one_hot
from torchvision.ops import sigmoid_focal_loss

from study.recipe import HYPERPARAMETERS
from study.train.losses import ACTIVATIONS, LOSSES, Criterion, Loss, common_nll, probabilities


def logits_and_labels(batch: int = 32, classes: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(batch, classes, generator=generator)
    return logits, torch.randint(classes, (batch,), generator=generator)


COUNTS = torch.tensor([500, 300, 90, 50, 30, 20, 10])
WEIGHTS = torch.linspace(0.5, 2, 7)


def allowed_pairs() -> list[tuple[str, str]]:
    """Losses and activations: a softmax stands in front of a cross entropy only."""
    cross_entropies = HYPERPARAMETERS["loss"].node["cross_entropies"]
    return [(loss, front) for loss in LOSSES for front in ACTIVATIONS if front != "softmax" or loss in cross_entropies]


def criterion_of(loss: str, activation: str = "logits", **keys: float) -> Criterion:
    """With weights and counts of seven classes, and values of the keys of the section `loss`."""
    return Criterion(loss, activation, WEIGHTS, {f"loss.{key}": value for key, value in keys.items()}, COUNTS)


def with_gradient(
    criterion: Criterion, logits: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean loss of a batch, and its gradient by the logits."""
    logits = logits.clone().requires_grad_()
    losses, weights = criterion(logits, labels)
    mean = losses.sum() / weights.sum()
    mean.backward()
    return mean.detach(), logits.grad


def mean_and_gradient(function, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of any function of the logits, computed in float64."""
    logits = logits.double().requires_grad_()
    mean = function(logits)
    mean.backward()
    return mean.detach().float(), logits.grad.float()


def test_losses_and_activations_are_those_of_the_schema():
    column = HYPERPARAMETERS["loss"]
    assert tuple(LOSSES) == column.choices
    assert [name for name, loss in LOSSES.items() if loss.weighted] == column.node["weighted"]
    assert [name for name, loss in LOSSES.items() if loss.from_counts] == column.node["from_counts"]
    assert tuple(ACTIVATIONS) == HYPERPARAMETERS["activation"].choices


@pytest.mark.parametrize(("loss", "activation"), allowed_pairs())
class TestEveryLoss:
    def test_takes_a_step_with_and_without_weights(self, loss, activation):
        logits, labels = logits_and_labels()
        logits.requires_grad_()
        losses, image_weights = criterion_of(loss, activation)(logits, labels)
        assert losses.shape == image_weights.shape == labels.shape and losses.dtype == torch.float32
        assert torch.equal(image_weights, WEIGHTS[labels] if LOSSES[loss].weighted else torch.ones(32))
        (losses.sum() / image_weights.sum()).backward()
        assert logits.grad.isfinite().all() and logits.grad.any()

    def test_is_finite_for_certain_answers(self, loss, activation):
        logits = 1e4 * torch.eye(7)
        for labels in (torch.arange(7), torch.arange(7).roll(1)):
            mean, gradient = with_gradient(criterion_of(loss, activation), logits, labels)
            assert mean.isfinite() and gradient.isfinite().all()

    def test_sums_over_batches_give_the_mean_over_all_images(self, loss, activation):
        criterion = criterion_of(loss, activation)
        logits, labels = logits_and_labels(33)
        parts = [criterion(logits[i : i + 8], labels[i : i + 8]) for i in range(0, 33, 8)]
        mean = sum(part[0].sum() for part in parts) / sum(part[1].sum() for part in parts)
        losses, weights = criterion(logits, labels)
        torch.testing.assert_close(mean, losses.sum() / weights.sum())

    def test_half_precision_logits_give_a_float32_loss(self, loss, activation):
        logits, labels = logits_and_labels()
        losses, _ = criterion_of(loss, activation)(logits.bfloat16(), labels)
        assert losses.dtype == torch.float32

    def test_log_softmax_in_front_changes_nothing(self, loss, activation):
        logits, labels = logits_and_labels()
        if activation != "softmax":
            expected = criterion_of(loss, "logits")(logits, labels)
            torch.testing.assert_close(criterion_of(loss, activation)(logits, labels), expected)

    def test_a_mixed_image_counts_for_both_labels_by_their_shares(self, loss, activation):
        criterion = criterion_of(loss, activation)
        logits, labels = logits_and_labels()
        others, share = labels.roll(1), torch.linspace(0, 1, 32)
        mixed = criterion(logits, labels, others, share)
        for both, one, other in zip(mixed, criterion(logits, labels), criterion(logits, others), strict=True):
            torch.testing.assert_close(both, share * one + (1 - share) * other)
            assert torch.equal(both[-1], one[-1]) and torch.equal(both[0], other[0])  # shares 1 and 0

    def test_needs_its_weights_and_counts(self, loss, activation):
        needs = {"weights": LOSSES[loss].weighted, "training images": LOSSES[loss].from_counts}
        for words, needed in needs.items():
            given = {
                "weights": None if words == "weights" else WEIGHTS,
                "counts": None if "images" in words else COUNTS,
            }
            if needed:
                with pytest.raises(ValueError, match=f"{loss} needs the {words}"):
                    Criterion(loss, activation, **given)
            else:
                Criterion(loss, activation, **given)

    def test_weights_of_one_are_no_weights(self, loss, activation):
        """To the last bit, so that a loss with deferred weights begins as the one without."""
        plain = loss.removeprefix("weighted_")
        logits, labels = logits_and_labels()
        ones = Criterion(loss, activation, torch.ones(7), counts=COUNTS)
        for one, other in zip(
            with_gradient(ones, logits, labels), with_gradient(criterion_of(plain, activation), logits, labels),
            strict=True,
        ):  # fmt: skip
            assert torch.equal(one, other)


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
        scaled = Loss(lambda outputs, labels, classes, dropout: outputs[:, 0] / dropout, False, ("model.dropout",))
        monkeypatch.setitem(LOSSES, "scaled", scaled)
        logits, labels = logits_and_labels()
        losses, _ = Criterion("scaled", "logits", columns={"model.dropout": 4.0, "lr": 0.1})(logits, labels)
        torch.testing.assert_close(losses, logits[:, 0] / 4)

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


class TestDeferredWeights:
    def test_they_come_and_go_in_place(self):
        criterion = criterion_of("weighted_focal")
        tensor, (logits, labels) = criterion.weights, logits_and_labels()
        criterion.weigh(by_class=False)
        assert torch.equal(criterion(logits, labels)[1], torch.ones(32)) and torch.equal(tensor, torch.ones(7))
        criterion.weigh(by_class=True)
        assert torch.equal(criterion(logits, labels)[1], WEIGHTS[labels]) and criterion.weights is tensor
        assert torch.equal(criterion.class_weights, WEIGHTS)

    def test_a_loss_without_weights_has_none_to_defer(self):
        criterion = criterion_of("focal")
        criterion.weigh(by_class=True)
        assert criterion.weights is criterion.class_weights is None


class TestLabelSmoothing:
    @pytest.mark.parametrize("activation", ACTIVATIONS)
    @pytest.mark.parametrize("loss", ["cross_entropy", "weighted_cross_entropy"])
    def test_mean_and_gradient_are_those_of_cross_entropy_loss(self, loss, activation):
        logits, labels = logits_and_labels()
        weights = WEIGHTS.double() if LOSSES[loss].weighted else None
        theirs = CrossEntropyLoss(weights, label_smoothing=0.1)
        expected = mean_and_gradient(lambda z: theirs(ACTIVATIONS[activation](z), labels), logits)
        torch.testing.assert_close(
            with_gradient(criterion_of(loss, activation, label_smoothing=0.1), logits, labels), expected
        )

    def test_it_is_a_soft_target(self):
        logits, labels = logits_and_labels()
        losses, _ = criterion_of("cross_entropy", label_smoothing=0.1)(logits, labels)
        soft = 0.9 * one_hot(labels, 7) + 0.1 / 7
        torch.testing.assert_close(losses, -(soft * logits.log_softmax(1)).sum(1))

    def test_mixed_labels_are_smoothed_as_one_soft_target(self):
        logits, labels = logits_and_labels()
        others, share = labels.roll(1), torch.linspace(0, 1, 32)
        losses, _ = criterion_of("cross_entropy", label_smoothing=0.1)(logits, labels, others, share)
        soft = share[:, None] * one_hot(labels, 7) + (1 - share)[:, None] * one_hot(others, 7)
        theirs = CrossEntropyLoss(reduction="none", label_smoothing=0.1)
        torch.testing.assert_close(losses, theirs(logits, soft))


class TestLogitAdjusted:
    @pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
    def test_it_is_the_papers_formula(self, tau):
        """Equation 11: ln(1 + Σ over the other classes of (π_c / π_y)^τ · e^(z_c − z_y))."""
        logits, labels = logits_and_labels()
        priors = (COUNTS / COUNTS.sum()).double()

        def formula(z: torch.Tensor) -> torch.Tensor:
            ratio = (priors / priors[labels][:, None]) ** tau
            terms = ratio * (z - z.gather(1, labels[:, None])).exp() * (1 - one_hot(labels, 7))
            return terms.sum(1).log1p().mean()

        expected = mean_and_gradient(formula, logits)
        ours = with_gradient(criterion_of("logit_adjusted", logit_adjust_tau=tau), logits, labels)
        torch.testing.assert_close(ours, expected)

    def test_with_tau_1_it_is_balanced_softmax(self):
        """Ren et al. 2020, equation 3: −ln of n_y e^(z_y) over the sum of n_c e^(z_c)."""
        logits, labels = logits_and_labels()
        scaled = COUNTS * logits.double().exp()
        expected = -(scaled.gather(1, labels[:, None])[:, 0] / scaled.sum(1)).log()
        torch.testing.assert_close(criterion_of("logit_adjusted")(logits, labels)[0], expected.float())

    def test_with_tau_0_it_is_cross_entropy(self):
        logits, labels = logits_and_labels()
        for smoothing in (0.0, 0.1):
            ours = criterion_of("logit_adjusted", logit_adjust_tau=0.0, label_smoothing=smoothing)
            plain = criterion_of("cross_entropy", label_smoothing=smoothing)
            torch.testing.assert_close(with_gradient(ours, logits, labels), with_gradient(plain, logits, labels))


class TestFocal:
    @pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
    @pytest.mark.parametrize("loss", ["focal", "weighted_focal"])
    def test_it_is_the_papers_formula(self, loss, gamma):
        logits, labels = logits_and_labels()
        weights = (WEIGHTS if LOSSES[loss].weighted else torch.ones(7)).double()[labels]

        def formula(z: torch.Tensor) -> torch.Tensor:
            p = (z.exp() / z.exp().sum(1, keepdim=True)).gather(1, labels[:, None])[:, 0]
            return -(weights * (1 - p) ** gamma * p.log()).sum() / weights.sum()

        expected = mean_and_gradient(formula, logits)
        torch.testing.assert_close(with_gradient(criterion_of(loss, focal_gamma=gamma), logits, labels), expected)

    def test_of_two_classes_it_is_torchvisions_with_a_sigmoid(self):
        generator = torch.Generator().manual_seed(0)
        logits = 3 * torch.randn(32, 2, generator=generator)
        labels = torch.randint(2, (32,), generator=generator)
        losses, _ = Criterion("focal", "logits", columns={"loss.focal_gamma": 1.5})(logits, labels)
        expected = sigmoid_focal_loss(logits[:, 1] - logits[:, 0], labels.float(), alpha=-1, gamma=1.5)
        torch.testing.assert_close(losses, expected)

    def test_it_has_a_gradient_of_zero_where_an_image_is_certain(self):
        mean, gradient = with_gradient(criterion_of("focal", focal_gamma=0.5), 1e4 * torch.eye(7), torch.arange(7))
        assert mean == 0 and not gradient.any()


class TestLDAM:
    @pytest.mark.parametrize("loss", ["ldam", "weighted_ldam"])
    @pytest.mark.parametrize(("max_m", "s"), [(0.5, 30.0), (0.2, 10.0), (0.0, 1.0)])
    def test_it_is_the_authors_loss(self, loss, max_m, s):
        """kaidic/LDAM-DRW, losses.py, on cosines: margins max_m · m / max(m) with m = n^(−1/4), s on all logits."""
        logits, labels = logits_and_labels()
        cosines = logits.tanh()
        margins = 1 / COUNTS.double() ** 0.25
        margins *= max_m / margins.max()
        weights = WEIGHTS.double() if LOSSES[loss].weighted else torch.ones(7, dtype=torch.float64)

        def formula(cos: torch.Tensor) -> torch.Tensor:
            index = torch.zeros(32, 7, dtype=torch.bool).scatter_(1, labels[:, None], True)
            output = torch.where(index, cos - margins[labels][:, None], cos)
            return torch.nn.functional.cross_entropy(s * output, labels, weight=weights)

        expected, gradient = mean_and_gradient(formula, cosines)
        mean, ours = with_gradient(criterion_of(loss, ldam_max_m=max_m, ldam_s=s), s * cosines, labels)
        torch.testing.assert_close(mean, expected)
        torch.testing.assert_close(s * ours, gradient, rtol=1e-4, atol=1e-6)  # by the cosine, not by the logit

    def test_the_rarest_class_has_the_largest_margin(self):
        criterion = criterion_of("ldam")
        costs = criterion(torch.zeros(7, 7), torch.arange(7))[0]
        assert (costs.diff() > 0).all()
        assert costs[-1] == pytest.approx(math.log1p(6 * math.exp(15)), rel=1e-6)


def test_common_nll_is_minus_log_probability_of_the_true_class():
    logits, labels = logits_and_labels()
    p = probabilities(logits)
    torch.testing.assert_close(p.sum(1), torch.ones(32))
    torch.testing.assert_close(common_nll(logits, labels), -p[torch.arange(32), labels].log())
