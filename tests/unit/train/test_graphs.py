"""The training step as a CUDA graph. Without a GPU a stand-in for the recording shows all of it but the recording."""

import gc
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from small_run import RECIPE, small_train
from torch.optim.lr_scheduler import ReduceLROnPlateau

from study.errors import StudyError
from study.train import graphs, learner
from study.train.devices import Precision
from study.train.loop import TrainingResult

# Plateaus: the learning rate falls often.
ADAM = RECIPE.but(max_epochs=5, scheduler_patience=0, dropout=0.5)
SGD = ADAM.but(optimizer="SGD", lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)


class Recorder:
    """Stands in for `graphs.capture` on a CPU: repeats the step at the learning rate of the recording.

    Args:
        on_device: keep the learning rate in a tensor, as a GPU does where the schedule says so.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, on_device: bool = False) -> None:
        self.rates: list[float] = []
        self.replays = 0
        self.optimizer: torch.optim.Optimizer | None = None
        monkeypatch.setattr(graphs, "supported", lambda device, precision: True)
        monkeypatch.setattr(graphs, "capture", self.capture)
        build = learner.build_optimizer

        def keep(recipe, model, lr_on_device=False):
            self.optimizer = build(recipe, model, on_device)
            return self.optimizer

        monkeypatch.setattr(learner, "build_optimizer", keep)

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        for _ in range(graphs.WARM_UP):
            step()
        (group,) = self.optimizer.param_groups
        recorded = group["lr"]
        self.rates.append(recorded)

        def replay() -> None:
            self.replays += 1
            now, group["lr"] = group["lr"], recorded
            self.run(step)
            group["lr"] = now

        return replay

    def run(self, step: Callable[[], None]) -> None:
        step()


def same(one: TrainingResult, other: TrainingResult) -> bool:
    histories = [[{**row, "seconds": 0} for row in result.history] for result in (one, other)]
    return histories[0] == histories[1] and all(torch.equal(one.weights[k], other.weights[k]) for k in one.weights)


def small(recipe=SGD, **changes) -> TrainingResult:
    return small_train(recipe, **changes)


@pytest.fixture(scope="module")
def eager() -> TrainingResult:
    return small()


class TestReplays:
    @pytest.mark.parametrize(
        "recipe",
        [
            SGD,
            SGD.but(lr=0.3, momentum=0.0, nesterov=False),
            ADAM,
            ADAM.but(loss="weighted_cross_entropy", sampler="balanced", activation="softmax", batch_size=15),
        ],
    )
    def test_change_nothing(self, monkeypatch, recipe):
        # no loss is an improvement: the learning rate falls after every epoch but the first
        never = partial(ReduceLROnPlateau, threshold=1e9, threshold_mode="abs")
        monkeypatch.setattr("torch.optim.lr_scheduler.ReduceLROnPlateau", never)
        weights = {"class_weights": np.array([0.5, 1, 2])}
        plain = small(recipe, **weights)
        recorder = Recorder(monkeypatch)
        replayed = small(recipe, **weights)
        assert same(plain, replayed)
        assert plain.provenance["step"] == "eager" and replayed.provenance["step"] == "graph"
        rates = list(dict.fromkeys(row["lr"] for row in plain.history))
        assert recorder.rates == rates  # recorded once for each learning rate
        assert len(rates) > 1
        # 60 images: three batches of 16 and one of 12, which runs eagerly, or four of 15; and one to check a recording
        assert recorder.replays == recipe.max_epochs * (3 if recipe.batch_size == 16 else 4) + len(rates)

    @pytest.mark.parametrize("recipe", [SGD, ADAM])
    @pytest.mark.parametrize("lr_scheduler", ["CosineAnnealingLR", "OneCycleLR"])
    def test_a_rate_on_the_device_needs_one_recording(self, monkeypatch, recipe, lr_scheduler):
        """Another rate for every step; the recorded one finds it where it was."""
        recipe = recipe.but(lr_scheduler=lr_scheduler, lr_interval="step", lr_warmup_epochs=0)
        with monkeypatch.context() as eagerly:
            Recorder(eagerly, on_device=True)
            plain = small(recipe, cuda_graphs=False)
        recorder = Recorder(monkeypatch, on_device=True)
        replayed = small(recipe)
        assert same(plain, replayed)
        assert replayed.provenance["step"] == "graph" and len(recorder.rates) == 1
        assert recorder.replays == 5 * 3 + 1
        assert recorder.optimizer.param_groups[0]["lr"] is recorder.rates[0]
        # float32 in place of float64 makes no difference beyond rounding
        numbers = small(recipe, cuda_graphs=False, report=print)
        assert [row["lr"] for row in numbers.history] == [row["lr"] for row in plain.history]
        for name, weight in plain.weights.items():
            torch.testing.assert_close(weight, numbers.weights[name], rtol=1e-2, atol=1e-3)

    @pytest.mark.parametrize("optimizer", ["AdamW", "RMSprop", "NAdam", "RAdam"])
    def test_change_nothing_with_any_optimizer(self, monkeypatch, optimizer):
        recipe = ADAM.but(optimizer=optimizer, clip_grad_norm=0.5, model_ema_decay=0.9, max_epochs=2)
        plain = small(recipe)
        Recorder(monkeypatch)
        assert same(plain, small(recipe))

    def test_a_rate_on_the_device_after_a_resume(self, monkeypatch, tmp_path):
        recipe = SGD.but(lr_scheduler="OneCycleLR")

        class Interrupted(Exception):
            pass

        def interrupt(line: str) -> None:
            if "epoch 3/5" in line:
                raise Interrupted

        Recorder(monkeypatch, on_device=True)
        whole = small(recipe)
        with pytest.raises(Interrupted):
            small(recipe, checkpoint_dir=tmp_path, report=interrupt)
        assert same(whole, small(recipe, checkpoint_dir=tmp_path))

    def test_change_nothing_with_batch_norm(self, monkeypatch):
        plain = small(ADAM, name="vgg11_bn")
        Recorder(monkeypatch)
        assert same(plain, small(ADAM, name="vgg11_bn"))

    def test_change_nothing_after_a_resume(self, monkeypatch, tmp_path, eager):
        class Interrupted(Exception):
            pass

        def interrupt(line: str) -> None:
            if "epoch 3/5" in line:
                raise Interrupted

        Recorder(monkeypatch)
        with pytest.raises(Interrupted):
            small(checkpoint_dir=tmp_path, report=interrupt)
        assert same(eager, small(checkpoint_dir=tmp_path))

    def test_are_a_setting(self, monkeypatch):
        recorder = Recorder(monkeypatch)
        result = small(cuda_graphs=False)
        assert recorder.replays == 0
        assert result.provenance["step"] == "eager"

    @pytest.mark.parametrize(
        ("device", "precision", "expected"),
        [("cuda:0", "bf16", True), ("cuda:0", "tf32", True), ("cuda:0", "fp16", False), ("cpu", "fp32", False)],
    )
    def test_where_they_are_possible(self, device, precision, expected):
        assert graphs.supported(torch.device(device), Precision(precision, None)) is expected

    def test_of_a_run_that_diverges(self, monkeypatch):
        """Not-a-number is the same result as not-a-number."""
        recipe = SGD.but(lr=1e30)
        plain = small(recipe)
        recorder = Recorder(monkeypatch)
        replayed = small(recipe)
        assert replayed.provenance["step"] == "graph" and recorder.replays == 4
        assert plain.outcome == replayed.outcome == "diverged"


class TestFailures:
    """Whatever goes wrong, the run is the one without a graph, and one line says why."""

    def lines(self, eager: TrainingResult, **changes) -> list[str]:
        lines: list[str] = []
        result = small(report=lines.append, **changes)
        assert same(eager, result)
        assert result.provenance["step"] == "eager"
        return [line for line in lines if "CUDA graph" in line]

    @pytest.mark.parametrize("wrong", ["nothing", "twice", "other dropout", "other batch", "sums"])
    def test_a_replay_that_does_something_else(self, monkeypatch, eager, wrong):
        recorder = Recorder(monkeypatch)

        def run(step: Callable[[], None]) -> None:
            if wrong == "other dropout":
                torch.manual_seed(99)
            batch = step.args[1].clone()
            if wrong == "other batch":
                step.args[1].zero_()
            if wrong != "nothing":
                step()
            step.args[1].copy_(batch)
            if wrong == "twice":
                step()
            if wrong == "sums":
                step.args[0].totals[2] += 1

        recorder.run = run
        (line,) = self.lines(eager)
        assert line.startswith("The training step runs without a CUDA graph: a replay differs by ")
        assert recorder.replays == 1

    def test_a_step_that_cannot_be_recorded(self, monkeypatch, eager):
        recorder = Recorder(monkeypatch)

        def capture(step: Callable[[], None]) -> Callable[[], None]:
            step()
            next(iter(recorder.optimizer.param_groups[0]["params"])).grad = torch.ones(4, 3, 3, 3)  # broke off here
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

        monkeypatch.setattr(graphs, "capture", capture)
        assert self.lines(eager) == [
            "The training step runs without a CUDA graph: it cannot be recorded: operation not permitted when stream "
            "is capturing"
        ]

    def test_a_recording_that_fails_later(self, monkeypatch, eager):
        recorder = Recorder(monkeypatch)

        def capture(step: Callable[[], None]) -> Callable[[], None]:
            if recorder.rates:
                raise torch.OutOfMemoryError("out of memory")
            return recorder.capture(step)

        monkeypatch.setattr(graphs, "capture", capture)
        assert len(self.lines(eager)) == 1
        assert recorder.replays > 1

    @pytest.mark.parametrize("how", ["differs", "raises"])
    def test_a_recording_that_breaks_the_step_itself(self, monkeypatch, how):
        Recorder(monkeypatch)
        broken = False
        real = torch.nn.functional.dropout

        def dropout(*arguments, **more):
            if broken and how == "raises":
                raise RuntimeError("Offset increment outside graph capture encountered unexpectedly.")
            return real(*arguments, **more) * (2 if broken else 1)

        def capture(step: Callable[[], None]) -> Callable[[], None]:
            nonlocal broken
            broken = True
            raise RuntimeError("capture failed")

        monkeypatch.setattr(torch.nn.functional, "dropout", dropout)
        monkeypatch.setattr(graphs, "capture", capture)
        with pytest.raises(StudyError, match=r"set the config key 'resources\.cuda_graphs' to false and run again"):
            small()


class TestTolerance:
    """Where kernels do not repeat to the last bit, rounding is accepted and a wrong graph is not."""

    @pytest.mark.parametrize("recipe", [SGD, ADAM])
    @pytest.mark.parametrize("wrong", ["rounding", "dropout"])
    def test_it_tells_rounding_from_something_else(self, monkeypatch, recipe, wrong):
        recorder = Recorder(monkeypatch)

        def run(step: Callable[[], None]) -> None:
            batch = step.args[1].clone()
            if wrong == "dropout":
                torch.manual_seed(99)
            else:
                step.args[1].mul_(1 + 1e-6)
            step()
            step.args[1].copy_(batch)

        recorder.run = run
        result = small(recipe.but(max_epochs=1), deterministic=False)
        assert result.provenance["step"] == ("graph" if wrong == "rounding" else "eager")
        exact = small(recipe.but(max_epochs=1))
        assert exact.provenance["step"] == "eager"


@pytest.mark.parametrize(("nesterov", "weight_decay"), [(False, 0.0), (True, 0.1)])
def test_sgd_starts_from_zero_momentum_as_from_none(nesterov, weight_decay):
    def steps(zeros: bool) -> list[torch.Tensor]:
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 11))
        sgd = torch.optim.SGD([weight], lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=weight_decay, fused=True)
        if zeros:
            sgd.state[weight]["momentum_buffer"] = torch.zeros(11)
        seen = []
        for step in range(3):
            weight.grad = torch.linspace(3, -2, 11) * (step + 1)
            sgd.step()
            seen.append(weight.detach().clone())
        return seen

    assert all(torch.equal(one, other) for one, other in zip(steps(False), steps(True), strict=True))


class TestDifference:
    def step(self, *tensors: torch.Tensor) -> graphs.GraphedStep:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
        return graphs.GraphedStep(lambda images, labels: None, optimizer, tensors, True, print)

    def test_is_relative_to_what_the_step_changes(self):
        step = self.step(torch.zeros(2), torch.tensor([10.0, 0.0]))
        expected = [torch.zeros(2), torch.tensor([10.0, 2.0])]
        assert step._difference(expected, [torch.zeros(2), torch.tensor([10.0, 1.0])]) == pytest.approx(0.5)
        assert step._difference(expected, expected) == 0

    def test_of_a_tensor_that_should_not_change(self):
        step = self.step(torch.zeros(1))
        assert step._difference([torch.zeros(1)], [torch.ones(1)]) == math.inf

    def test_of_what_is_not_finite(self):
        step = self.step(torch.zeros(2))
        strange, finite = torch.tensor([math.nan, math.inf]), torch.tensor([1.0, 1.0])
        assert step._difference([strange], [strange.clone()]) == 0
        assert step._difference([strange], [finite]) == step._difference([finite], [strange]) == math.inf


cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@cuda
class TestCuda:
    """The real thing: recorded by the driver, on the GPU."""

    def train(self, recipe, *, precision="fp32", cuda_graphs=True, **changes) -> TrainingResult:
        lines: list[str] = []
        changes |= {"precision": precision, "cuda_graphs": cuda_graphs, "device": "cuda"}
        result = small(recipe, report=lines.append, **changes)
        gc.collect()  # a graph and its memory
        expected = "graph" if cuda_graphs and precision != "fp16" else "eager"
        assert result.provenance["step"] == expected, lines
        return result

    @pytest.mark.parametrize("precision", ["fp32", "auto", "fp16"])
    @pytest.mark.parametrize(
        "recipe",
        [
            SGD,
            ADAM,
            ADAM.but(activation="softmax", batch_size=15),
            SGD.but(lr_scheduler="CosineAnnealingLR", lr_warmup_epochs=2),
            ADAM.but(lr_scheduler="OneCycleLR"),
            *(
                ADAM.but(optimizer=name, lr_scheduler="ExponentialLR")
                for name in ("AdamW", "RMSprop", "NAdam", "RAdam")
            ),
            SGD.but(clip_grad_norm=0.5, model_ema_decay=0.9, layer_decay=0.8, norm_weight_decay=0.0),
        ],
    )
    def test_a_graph_gives_the_bytes_of_the_eager_step(self, recipe, precision):
        graph = self.train(recipe, precision=precision)
        assert same(graph, self.train(recipe, precision=precision, cuda_graphs=False))
        assert same(graph, self.train(recipe, precision=precision))

    def test_with_batch_norm(self):
        assert same(self.train(ADAM, name="vgg11_bn"), self.train(ADAM, name="vgg11_bn", cuda_graphs=False))

    def test_a_resumed_run_ends_as_an_uninterrupted_one(self, tmp_path):
        class Interrupted(Exception):
            pass

        def interrupt(line: str) -> None:
            if "epoch 3/5" in line:
                raise Interrupted

        with pytest.raises(Interrupted):
            small(device="cuda", checkpoint_dir=tmp_path, report=interrupt)
        assert same(self.train(SGD), self.train(SGD, checkpoint_dir=tmp_path))

    def test_images_read_from_a_memory_map(self, monkeypatch):
        resident = self.train(SGD)
        monkeypatch.setattr("study.train.devices.fits", lambda *_: False)
        assert same(resident, self.train(SGD))

    def test_kernels_that_do_not_repeat(self):
        self.train(SGD, deterministic=False)

    def test_a_step_that_waits_for_a_result_runs_eagerly_or_says_what_to_do(self, monkeypatch):
        real = learner.train_step

        def waits(run, images, labels):
            real(run, images, labels)
            run.totals.tolist()

        plain = self.train(ADAM, cuda_graphs=False)
        monkeypatch.setattr(learner, "train_step", waits)
        lines: list[str] = []
        try:
            result = small(ADAM, device="cuda", report=lines.append)
        except StudyError as error:  # up to PyTorch 2.12 the GPU's random numbers do not survive it
            assert "resources.cuda_graphs" in str(error)
            return
        assert result.provenance["step"] == "eager"
        assert any("it cannot be recorded" in line for line in lines)
        assert same(plain, result)
