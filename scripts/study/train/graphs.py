"""A training step as a CUDA graph: its kernels are recorded once and launched together, not one by one from Python.

A graph repeats kernels on the memory they were recorded with. So a batch is copied to where the recorded batch was, and
all that a step changes has to stay where it is. Numbers are part of the recording: a new learning rate needs a new one,
unless it is a tensor on the device (`Schedule.on_device`), which is written in place.
See PyTorch's notes on CUDA semantics, section "CUDA Graphs".
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from study.errors import StudyError
from study.train.devices import Precision

# Steps before a recording, as PyTorch's notes ask: libraries set themselves up in the first ones.
WARM_UP = 3

# Largest accepted difference between a replay and the step itself, as a share of what the step changes in a tensor,
# where kernels need not repeat to the last bit. On VGG19 at a quarter of its width, batches of 64, another order of
# summation in bf16 changed a tensor's share by up to 0.13 with SGD and 0.5 with Adam, another dropout mask by 0.86.
REPLAY_TOLERANCE = 0.6


def supported(device: torch.device, precision: Precision) -> bool:
    """Whether steps on this device can be recorded. With fp16 the loss scale depends on results that Python reads."""
    return device.type == "cuda" and precision.name != "fp16"


def capture(step: Callable[[], None]) -> Callable[[], None]:
    """Record what a step does on the current GPU; the returned function does it again, on the same memory.

    The step runs a few times for real before that.

    Raises:
        RuntimeError: if it does something that cannot be recorded, such as waiting for a result.
    """
    stream = _side_stream(torch.cuda.current_device())
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        step()
    return graph.replay


@functools.cache
def _side_stream(device: int) -> torch.cuda.Stream:
    """One for all recordings on a GPU: libraries keep a workspace for each stream they have seen."""
    return torch.cuda.Stream(device)


class GraphedStep:
    """A training step that replays a recording of itself, made anew for every learning rate that is a number.

    A recording is used only after it did what the step does from the same start: to the last bit where kernels are
    deterministic, else within REPLAY_TOLERANCE. If that fails, or the recording itself, the step runs as it is from
    then on. So does a batch of another size than the recorded one: the last of an epoch.

    Args:
        step: one step on a batch: images, labels, and what else belongs to them. Changes nothing but `tensors`, the
            optimizer's state and random numbers, tensors in place, and leaves no gradients.
        optimizer: of the step; what its first step creates has to start as zeros, or as `starts` says.
        tensors: parameters, buffers and sums that the step changes.
        deterministic: whether kernels repeat to the last bit.
        report: takes a line if the step is not recorded.
        starts: what a tensor of the optimizer's state begins with, by its name there, where that is not zero.

    Attributes:
        failed: whether the step runs as it is for good.
    """

    def __init__(
        self,
        step: Callable[..., None],
        optimizer: torch.optim.Optimizer,
        tensors: Sequence[Tensor],
        deterministic: bool,
        report: Callable[[str], None],
        starts: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self._step = step
        self._starts = starts
        self._optimizer = optimizer
        self._tensors = [tensor.detach() for tensor in tensors]
        self._limit = 0.0 if deterministic else REPLAY_TOLERANCE
        self._report = report
        self._replay: Callable[[], None] | None = None
        self._lr: list[float] | None = None
        self._batch: tuple[Tensor, ...] = (torch.empty(0),)
        self.failed = False

    def __call__(self, *batch: Tensor) -> None:
        """One training step.

        Raises:
            StudyError: if a recording failed and left the GPU unusable.
        """
        rates = (group["lr"] for group in self._optimizer.param_groups)
        lr = [rate for rate in rates if not isinstance(rate, Tensor)]
        if lr != self._lr and not self.failed:
            self._record(batch)
            self._lr = lr
        if self._replay is None or batch[0].shape != self._batch[0].shape:
            self._step(*batch)
        else:
            for recorded, tensor in zip(self._batch, batch, strict=True):
                recorded.copy_(tensor)
            self._replay()

    def _record(self, batch: tuple[Tensor, ...]) -> None:
        """Capture and check a step on this batch, then put everything back."""
        if batch[0].is_cuda:
            torch.cuda.synchronize(batch[0].device)  # the graph that goes away here may still be at work
        self._replay = None
        self._batch = tuple(tensor.clone() for tensor in batch)
        step = partial(self._step, *self._batch)
        with self._undone():
            step()
            expected = self._copies()
        try:
            with self._undone():
                replay = capture(step)
            with self._undone():
                replay()
                replayed = self._copies()
            difference = self._difference(expected, replayed)
            problem = None if difference <= self._limit else f"a replay differs by {difference:.2g} of a step"
        except RuntimeError as error:
            problem = f"it cannot be recorded: {str(error).splitlines()[0]}"
        if problem is None:
            self._replay = replay
        else:
            self.failed = True
            self._check_unharmed(step, expected, problem)
            self._report(f"The training step runs without a CUDA graph: {problem}")

    def _check_unharmed(self, step: Callable[[], None], expected: list[Tensor], problem: str) -> None:
        """A capture that breaks off can leave CUDA or, up to PyTorch 2.12, its random numbers unusable."""
        try:
            with self._undone():
                step()
                again = self._copies()
            unharmed = self._difference(expected, again) <= self._limit
        except RuntimeError as error:
            unharmed, problem = False, f"{problem}; then: {str(error).splitlines()[0]}"
        if not unharmed:
            raise StudyError(
                f"the training step does not work as a CUDA graph ({problem}), and trying it broke this process; set "
                "the config key 'resources.cuda_graphs' to false and run again, the run goes on from its checkpoint"
            )

    def _state(self) -> list[Tensor]:
        values = (value for state in self._optimizer.state.values() for value in state.values())
        return [*self._tensors, *(value for value in values if isinstance(value, Tensor))]

    def _copies(self) -> list[Tensor]:
        return [tensor.clone() for tensor in self._state()]

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Put back what happens inside: weights, sums, optimizer and random numbers."""
        before = {tensor: tensor.clone() for tensor in self._state()}
        devices = [self._batch[0].device] if self._batch[0].is_cuda else []
        try:
            with torch.random.fork_rng(devices):
                yield
        finally:
            self._optimizer.zero_grad(set_to_none=True)  # left where a step broke off
            states = self._optimizer.state.values()
            starts = {state[name]: value for state in states for name, value in self._starts.items() if name in state}
            for tensor in self._state():
                # Optimizers make their state in the first step, and go on from zeros as they do from nothing.
                if tensor in before:
                    tensor.copy_(before[tensor])
                else:
                    tensor.fill_(starts.get(tensor, 0.0))

    def _difference(self, expected: list[Tensor], actual: list[Tensor]) -> float:
        """Between two results of a step from the present state: the largest of any tensor, as a share of its change."""
        largest = 0.0
        for now, one, other in zip(self._state(), expected, actual, strict=True):
            if not ((one == other) | (one.isnan() & other.isnan())).all():
                one = one.double()
                share = ((other - one).norm() / (one - now).norm()).item()
                largest = max(largest, share if math.isfinite(share) else math.inf)
        return largest
