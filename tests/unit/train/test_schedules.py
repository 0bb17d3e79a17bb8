"""What each schedule does, and what is told of it, against PyTorch's own."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_run import RECIPE
from torch.optim import lr_scheduler

from study.recipe import HYPERPARAMETERS, Recipe
from study.train import schedules
from study.train.schedules import SCHEDULES, ReduceLROnPlateau, schedule_of

EPOCHS, STEPS = 20, 7  # of the runs below, and of their epochs
SCHEDULED = RECIPE.but(lr=1e-2, min_lr=1e-10, max_epochs=EPOCHS)

# What a schedule is tested with, columns and PyTorch's own arguments; it has to have a line here.
CASES: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {
    "CosineAnnealingLR": [({}, {"eta_min": 1e-10}), ({"min_lr": 1e-3}, {"eta_min": 1e-3})],
    "StepLR": [({}, {"step_size": 30}), ({"lr_step_size": 3, "lr_gamma": 0.5}, {"step_size": 3, "gamma": 0.5})],
    "MultiStepLR": [
        ({"lr_milestones": [5, 6, 11]}, {"milestones": [5, 6, 11]}),
        ({"lr_milestones": [2, 30], "lr_gamma": 0.7}, {"milestones": [2, 30], "gamma": 0.7}),
    ],
    "ExponentialLR": [({"lr_gamma": 0.9}, {"gamma": 0.9})],
    "OneCycleLR": [
        ({}, {}),
        *(
            ({"pct_start": p, "div_factor": d, "final_div_factor": f},) * 2
            for p, d, f in [(0.0, 10.0, 1.0), (0.5, 1.0, 100.0), (0.9, 25.0, 1e4), (1 / 140, 5.0, 5.0)]
        ),
    ],
    "ConstantLR": [({}, {"factor": 1.0})],
    "ReduceLROnPlateau": [({}, {"min_lr": 1e-10})],
}
BY_FORMULA = [name for name in SCHEDULES if name != "ReduceLROnPlateau"]


def scheduled(name: str, **columns: Any) -> Recipe:
    """A recipe with this schedule and what it needs."""
    return SCHEDULED.but(lr_scheduler=name, **{**CASES[name][0][0], **columns})


def optimizer(lr: float = 1e-2) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def plateau(lr: float = 1e-2, min_lr: float = 1e-10, **settings: Any) -> ReduceLROnPlateau:
    return ReduceLROnPlateau(RECIPE.but(lr=lr, min_lr=min_lr, **settings))


def told(schedule: schedules.Schedule, *lr: float) -> list[str]:
    return schedule.sentences(np.array(lr), np.arange(len(lr)) + 1)


def rates_of(recipe: Recipe, epochs: int = EPOCHS, losses: float = 1.0) -> list[float]:
    """What every step of a run has, epoch by epoch."""
    scheduler, seen = schedule_of(recipe, epochs).start(), []
    for epoch in range(epochs):
        seen += [scheduler.lr(epoch, step, STEPS) for step in range(STEPS)]
        scheduler.after_epoch(epoch + 1, losses)
    return seen


def pytorchs(
    name: str, arguments: dict[str, Any], warm_up: int = 0, method: str = "linear", per: int = 1
) -> list[float]:
    """The rates of PyTorch's own schedulers, `per` of them in an epoch."""
    held, count = optimizer(), EPOCHS * per
    longer = {key: [v * per for v in value] if key == "milestones" else value for key, value in arguments.items()}
    if "step_size" in longer:
        longer["step_size"] *= per
    if name == "CosineAnnealingLR":
        longer["T_max"] = count - warm_up * per
    if name == "ExponentialLR":
        longer["gamma"] **= 1 / per
    if name == "OneCycleLR":
        longer |= {"max_lr": 1e-2, "total_steps": count, "cycle_momentum": False}
    main = getattr(lr_scheduler, name)(held, **longer)
    if warm_up:  # as torchvision's references/classification/train.py has it
        first = (
            lr_scheduler.LinearLR(held, start_factor=0.01, total_iters=warm_up * per)
            if method == "linear"
            else lr_scheduler.ConstantLR(held, factor=0.01, total_iters=warm_up * per)
        )
        main = lr_scheduler.SequentialLR(held, [first, main], milestones=[warm_up * per])
    seen = []
    for _ in range(count):
        seen.append(held.param_groups[0]["lr"])
        held.step()
        main.step()
    return seen


@pytest.mark.parametrize("name", SCHEDULES)
class TestEverySchedule:
    @pytest.mark.parametrize("warm_up", [0, 3])
    def test_is_put_to_work_saved_and_continued(self, name, warm_up):
        schedule = schedule_of(scheduled(name, lr_warmup_epochs=warm_up, scheduler_patience=1), EPOCHS)
        rates = []
        for interrupted in (False, True):
            scheduler = schedule.start()
            for epoch in range(EPOCHS):
                rates.append(scheduler.lr(epoch, 0, STEPS))
                scheduler.after_epoch(epoch + 1, 1.0)
                if interrupted and epoch == 11:
                    state = scheduler.state_dict()
                    scheduler = schedule.start()
                    scheduler.load_state_dict(state)
        assert rates[:EPOCHS] == rates[EPOCHS:]

    def test_tells_of_any_run(self, name):
        for columns, _ in CASES[name]:
            for warm_up in (0, 2):
                made = schedule_of(scheduled(name, **columns, lr_warmup_epochs=warm_up), EPOCHS)
                assert 0 < made.floor() <= 1e-2
                lr = rates_of(made.recipe)[::STEPS]
                for epochs in (1, 2, 3, 7, EPOCHS):
                    said = told(made, *lr[:epochs])
                    assert said and all(text.endswith(".") for text in said)
                    assert set(made.drops(lr[:epochs])) <= set(range(1, epochs))

    def test_bears_the_name_of_pytorchs(self, name):
        assert hasattr(lr_scheduler, name)

    def test_a_run_of_one_epoch_has_a_rate(self, name):
        made = schedule_of(scheduled(name), 1)
        assert 0 < made.start().lr(0, 0, 1) <= 1e-2
        assert 0 < made.floor() <= 1e-2


def test_they_are_those_of_the_schema():
    assert tuple(SCHEDULES) == HYPERPARAMETERS["training.lr_scheduler"].choices


@pytest.mark.parametrize("name", [name for name in BY_FORMULA if name != "OneCycleLR"])
class TestByFormula:
    @pytest.mark.parametrize("method", ["linear", "constant"])
    @pytest.mark.parametrize("warm_up", [0, 1, 5])
    def test_of_every_epoch_it_is_pytorchs(self, name, warm_up, method):
        for columns, arguments in CASES[name]:
            recipe = scheduled(name, **columns, lr_warmup_epochs=warm_up, lr_warmup_method=method)
            rates = rates_of(recipe)
            assert rates[::STEPS] == pytest.approx(pytorchs(name, arguments, warm_up, method), rel=1e-9)
            assert all(len(set(rates[k : k + STEPS])) == 1 for k in range(0, len(rates), STEPS))

    @pytest.mark.parametrize("warm_up", [0, 4])
    def test_of_every_step_it_is_pytorchs(self, name, warm_up):
        for columns, arguments in CASES[name]:
            recipe = scheduled(name, **columns, lr_interval="step", lr_warmup_epochs=warm_up)
            assert rates_of(recipe) == pytest.approx(pytorchs(name, arguments, warm_up, per=STEPS), rel=1e-9)


@pytest.mark.parametrize(("columns", "arguments"), CASES["OneCycleLR"])
def test_one_cycle_is_pytorchs_step_by_step(columns, arguments):
    if columns.get("pct_start") == 1 / 140:  # a rise of no length: PyTorch divides by zero
        assert rates_of(scheduled("OneCycleLR", **columns))[0] == 1e-2
        return
    rates = rates_of(scheduled("OneCycleLR", **columns))
    assert rates == pytest.approx(pytorchs("OneCycleLR", arguments, per=STEPS), rel=1e-9)
    assert max(rates) <= 1e-2 * (1 + 1e-12)


def test_a_warm_up_of_half_an_epoch():
    rates = rates_of(scheduled("ConstantLR", lr_interval="step", lr_warmup_epochs=0.5))
    assert rates[:4] == pytest.approx([1e-2 * (0.01 + 0.99 * k / 3.5) for k in range(4)])
    assert rates[4:] == [1e-2] * (len(rates) - 4)


def test_steps_of_fractions_of_an_epoch():
    rates = [
        schedule_of(scheduled("StepLR", lr_interval="step", lr_step_size=0.3)).start().lr(0, k, 10) for k in range(10)
    ]
    assert rates == pytest.approx([1e-2] * 3 + [1e-3] * 3 + [1e-4] * 3 + [1e-5])


def test_a_shortened_run_has_a_shortened_schedule():
    assert rates_of(scheduled("CosineAnnealingLR"), 4) == rates_of(scheduled("CosineAnnealingLR", max_epochs=4), 4)


def test_the_plateau_waits_until_the_warm_up_is_over():
    recipe = scheduled("ReduceLROnPlateau", lr_warmup_epochs=4, scheduler_patience=1)
    rates = rates_of(recipe, 12)[::STEPS]
    warm = [1e-2 * (0.01 + 0.99 * k / 4) for k in range(4)]
    # the first epoch after it sets the best loss, the two after that do not improve on it
    assert rates == pytest.approx([*warm, *[1e-2] * 3, *[1e-3] * 2, *[1e-4] * 2, 1e-5])
    assert schedule_of(recipe).on_device and not schedule_of(SCHEDULED).on_device


@pytest.mark.parametrize(("monitor", "falls"), [("val_accuracy", False), ("val_nll", True), ("val_macro_f1", False)])
def test_the_plateau_watches_what_the_recipe_says(monitor, falls):
    """A score that rises is an improvement of an accuracy and none of a loss."""
    scheduler = plateau(scheduler_patience=0, monitor=monitor).start()
    for epoch, value in enumerate([0.5, 0.6, 0.7], 1):
        scheduler.after_epoch(epoch, value)
    assert (scheduler.lr(3) < 1e-2) is falls
    constant = plateau(scheduler_patience=0, monitor=monitor).start()
    for epoch in (1, 2, 3):
        constant.after_epoch(epoch, 0.5)
    assert constant.lr(3) == pytest.approx(1e-4)


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
        theirs = optimizer()
        scheduler = plateau(scheduler_patience=1, scheduler_factor=0.5).start()
        reference = lr_scheduler.ReduceLROnPlateau(theirs, factor=0.5, patience=1, min_lr=1e-10)
        for epoch, loss in enumerate(losses, 1):
            scheduler.after_epoch(epoch, loss)
            reference.step(loss)
            assert scheduler.lr(epoch) == theirs.param_groups[0]["lr"]

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

    @pytest.mark.parametrize(
        ("recipe", "epochs", "expected"),
        [
            (scheduled("CosineAnnealingLR"), 5,
             "The lr followed half a cosine from 1e-2 to 9.045e-3 in epoch 5, on its "
             "way to 1e-10 at the end of epoch 20."),
            (scheduled("StepLR", lr_step_size=3), 5,
             "The lr was multiplied by 0.1 every 3 epochs: from 1e-2 to 1e-3, after epoch 3."),
            (scheduled("StepLR"), 20, "The lr stayed at 1e-2, to be multiplied by 0.1 every 30 epochs."),
            (scheduled("MultiStepLR", lr_milestones=[2, 4, 30]), 20,
             "The lr was multiplied by 0.1 at its milestones: from 1e-2 to 1e-4, after epochs 2 and 4. Its milestone "
             "30 is beyond the 20 epochs that it may take."),
            (scheduled("ExponentialLR", lr_gamma=0.9), 3,
             "The lr was multiplied by 0.9 every epoch, from 1e-2 to 8.1e-3 in epoch 3."),
            (scheduled("OneCycleLR"), 3,
             "The lr rose from 4e-4 to 2.907e-3 in epoch 3; its highest, 1e-2, was to come."),
            (scheduled("OneCycleLR"), 20,
             "The lr rose from 4e-4 to 1e-2 in epoch 6 and fell to 9.224e-5 by epoch 20 of 20."),
            (scheduled("ConstantLR"), 3, "The lr stayed at 1e-2, as its schedule is constant."),
            (scheduled("ConstantLR", lr_warmup_epochs=2), 3,
             "The lr warmed up for 2 epochs, from 1e-4 to 1e-2. The lr stayed at 1e-2, as its schedule is constant."),
            (scheduled("ConstantLR", lr_warmup_epochs=5), 3, "The run ended before its warm-up of 5 epochs was over."),
        ],
    )  # fmt: skip
    def test_of_schedules_by_a_formula(self, recipe, epochs, expected):
        assert " ".join(told(schedule_of(recipe), *rates_of(recipe)[::STEPS][:epochs])) == expected
