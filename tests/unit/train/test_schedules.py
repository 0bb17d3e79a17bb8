"""What each schedule does, and what is told of it, against PyTorch's own."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import RECIPE

from study.train import schedules
from study.train.schedules import SCHEDULES, ReduceLROnPlateau, schedule_of

SCHEDULED = RECIPE.but(lr=1e-2, min_lr=1e-10)


def optimizer(lr: float = 1e-2) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def plateau(lr: float = 1e-2, min_lr: float = 1e-10, **settings: float) -> ReduceLROnPlateau:
    return ReduceLROnPlateau(RECIPE.but(lr=lr, min_lr=min_lr, **settings))


def told(schedule: ReduceLROnPlateau, *lr: float) -> list[str]:
    return schedule.sentences(np.array(lr), np.arange(len(lr)) + 1)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=list(SCHEDULES))
class TestEverySchedule:
    def test_is_put_to_work_saved_and_continued(self, schedule):
        rates = []
        for interrupted in (False, True):
            held = optimizer()
            scheduler = schedule(SCHEDULED).start(held)
            for epoch in range(20):
                scheduler.after_epoch(1.0)
                rates.append(held.param_groups[0]["lr"])
                if interrupted and epoch == 11:
                    state, held_state = scheduler.state_dict(), held.state_dict()
                    held = optimizer()
                    held.load_state_dict(held_state)
                    scheduler = schedule(SCHEDULED).start(held)
                    scheduler.load_state_dict(state)
        assert rates[:20] == rates[20:]

    def test_tells_of_any_run(self, schedule):
        made = schedule(SCHEDULED)
        assert 0 < made.floor() <= 1e-2
        for lr in ([1e-2], [1e-2, 1e-2, 1e-3, 1e-3]):
            assert made.drops(lr).tolist() == ([] if len(lr) == 1 else [2])
            assert all(text.endswith(".") for text in made.sentences(np.array(lr), np.arange(len(lr)) + 1))

    def test_bears_the_name_of_pytorchs(self, schedule):
        (name,) = [name for name, value in SCHEDULES.items() if value is schedule]
        assert hasattr(torch.optim.lr_scheduler, name)


def test_every_recipe_has_a_schedule():
    assert isinstance(schedule_of(SCHEDULED), ReduceLROnPlateau)


def test_the_comparison_needs_no_pytorch():
    code = "import sys; sys.modules['torch'] = None; import study.train.schedules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(schedules.__file__).parents[2])


class TestReduceLROnPlateau:
    @pytest.mark.parametrize(("factor", "eps"), [(0.1, 1e-8), (0.5, 1e-8), (0.1, 0.0), (0.9, 1e-4), (0.5, 1.0)])
    def test_the_floor_is_where_pytorch_ends_on_a_constant_loss(self, factor, eps):
        for lr, min_lr in itertools.product([1e-2, 5e-4, 1e-5, 1e-8, 3e-8], [0.0, 1e-12, 1e-10, 1e-8, 1e-7, 1e-3]):
            held = optimizer(lr)
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
                held, factor=factor, patience=0, min_lr=min_lr, eps=eps
            )
            for _ in range(400):
                scheduler.step(1.0)
            floor = plateau(lr, min_lr, scheduler_factor=factor, scheduler_eps=eps).floor()
            assert floor == held.param_groups[0]["lr"], (lr, min_lr)

    def test_at_work_it_is_pytorchs(self):
        losses = [1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8]
        ours, theirs = optimizer(), optimizer()
        scheduler = plateau(scheduler_patience=1, scheduler_factor=0.5).start(ours)
        reference = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, factor=0.5, patience=1, min_lr=1e-10)
        for loss in losses:
            scheduler.after_epoch(loss)
            reference.step(loss)
            assert ours.param_groups[0]["lr"] == theirs.param_groups[0]["lr"]

    def test_a_drop_is_every_fall_and_no_rise(self):
        assert plateau().drops([1e-2, 1e-2, 1e-3, 1e-4, 1e-3]).tolist() == [2, 3]


class TestSentences:
    def test_drops_floor_and_a_min_lr_out_of_reach(self):
        lr = 1e-2 * 0.1 ** np.array([0, 0, 1, 2, 3, 4, 5, 6, 6, 6])
        assert told(plateau(), *lr) == [
            "The lr fell 6 times, from 1e-2 to 1e-8, after epochs 2, 3, 4, 5, 6 and 7; 3 epochs at its floor of 1e-8, "
            "from epoch 8 on.",
            "The recipe's min_lr of 1e-10 is never reached: ReduceLROnPlateau ignores reductions of eps = 1e-8 or "
            "less.",
        ]

    def test_a_min_lr_within_reach_is_the_floor(self):
        assert told(plateau(min_lr=1e-3), 1e-2, 1e-2, 1e-3) == [
            "The lr fell once, from 1e-2 to 1e-3, after epoch 2; 1 epoch at its floor of 1e-3, from epoch 3 on."
        ]

    def test_an_lr_that_stays(self):
        assert told(plateau(), 1e-2, 1e-2)[0] == "The lr stayed at 1e-2; its floor of 1e-8 was not reached."
        assert told(plateau(min_lr=1e-2), 1e-2, 1e-2) == ["The lr stayed at 1e-2 and cannot fall."]

    def test_many_drops_are_cut_short(self):
        sentence = told(plateau(), *(1e-2 * 0.9 ** np.arange(30)))[0]
        assert "fell 29 times, from 1e-2 to 4.71e-4, after epochs 1, 2, 3, 4, 5, 6, …, 29;" in sentence
