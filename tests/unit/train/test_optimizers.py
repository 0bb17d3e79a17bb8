"""Every optimizer: what the schema says of it, what reaches it, and one step."""

import inspect

import pytest
import torch
from small_run import MODEL, RECIPE, SETTINGS, small_data

from study.recipe import HYPERPARAMETERS, Recipe
from study.train import batches, learner, models
from study.train.optimizers import OPTIMIZERS, Optimizer, build_optimizer, set_lr

# A value other than its default for the columns that go to an optimizer; another one is tested at its default.
VALUES = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "nesterov": True}
VALUES |= {"betas": [0.8, 0.99], "eps": 1e-6, "alpha": 0.9}
VALUES = {column.key: column.node.get("default") for column in HYPERPARAMETERS.values()} | VALUES


def recipe_of(name: str) -> Recipe:
    """With something in every column that the optimizer takes."""
    return RECIPE.but(optimizer=name, **{column: VALUES[column] for column in OPTIMIZERS[name].takes})


def network() -> torch.nn.Module:
    return models.build(MODEL, 3, 32, 0)


def one_step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.linspace(-1, 2, parameter.numel()).reshape(parameter.shape)
    optimizer.step()


@pytest.mark.parametrize("name", ["Adadelta", "Adamax"])
def test_one_more_of_pytorchs_is_its_name_in_the_schema(monkeypatch, name):
    monkeypatch.setitem(OPTIMIZERS, name, Optimizer.named(name))
    model = network()
    before = model.head[0].weight.clone()
    built = build_optimizer(RECIPE.but(optimizer=name), model)
    one_step(model, built)
    assert type(built) is getattr(torch.optim, name)
    assert not torch.equal(model.head[0].weight, before)


def test_they_are_those_of_the_schema():
    assert tuple(OPTIMIZERS) == HYPERPARAMETERS["optimizer"].choices


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError):
        build_optimizer(RECIPE.but(optimizer="NoSuchOptimizer"), torch.nn.Linear(2, 2))


@pytest.mark.parametrize("name", OPTIMIZERS)
class TestEveryOptimizer:
    def test_takes_the_columns_that_the_schema_gives_it(self, name):
        own = {
            column.key
            for column in HYPERPARAMETERS.values()
            if column.treatment == "optimizer" and name in column.node.get("only_with", {}).get("optimizer", ())
        }
        assert set(OPTIMIZERS[name].takes) == {"lr", "weight_decay"} | own

    def test_is_pytorchs_and_has_these_arguments(self, name):
        optimizer = OPTIMIZERS[name]
        assert optimizer.build is getattr(torch.optim, name)
        arguments = inspect.signature(optimizer.build).parameters
        assert {*optimizer.takes, *optimizer.always, *optimizer.on_cuda} <= set(arguments)

    def test_can_be_part_of_a_cuda_graph(self, name):
        optimizer = OPTIMIZERS[name]
        if "capturable" in inspect.signature(optimizer.build).parameters:
            assert optimizer.on_cuda.get("capturable"), (
                "its count of steps has to stay on the GPU, see study.train.graphs"
            )

    def test_gets_what_the_recipe_says(self, name):
        built = build_optimizer(recipe_of(name), network())
        group = built.param_groups[0]
        expected = {column: VALUES[column] for column in OPTIMIZERS[name].takes}
        expected |= {"betas": tuple(VALUES["betas"])} if "betas" in expected else {}
        assert {column: group[column] for column in OPTIMIZERS[name].takes} == expected

    def test_steps_are_those_of_pytorchs_own(self, name):
        """To the last bit, at a learning rate that changes."""
        optimizer = OPTIMIZERS[name]
        ours, theirs = network(), network()
        built = build_optimizer(recipe_of(name), ours)
        arguments = {column: VALUES[column] for column in optimizer.takes}
        reference = getattr(torch.optim, name)(theirs.parameters(), **arguments, **optimizer.always)
        for step in range(4):
            for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
                one.grad = torch.linspace(-2, 3, one.numel()).reshape(one.shape) / (step + 1)
                other.grad = one.grad.clone()
            lr = 0.01 / (step + 1)
            set_lr(built, lr)
            reference.param_groups[0]["lr"] = lr
            built.step()
            reference.step()
            assert all(torch.equal(*pair) for pair in zip(ours.parameters(), theirs.parameters(), strict=True))

    def test_its_state_begins_as_the_record_says(self, name):
        """A recording puts the state back to that, see `graphs`: a step from there is a first step."""
        optimizer = OPTIMIZERS[name]
        ours, theirs = network(), network()
        fresh, made = build_optimizer(recipe_of(name), ours), build_optimizer(recipe_of(name), theirs)
        start = {key: value.clone() for key, value in theirs.state_dict().items()}
        one_step(theirs, made)
        for state in made.state.values():
            for key, value in state.items():
                if isinstance(value, torch.Tensor):
                    value.fill_(optimizer.starts.get(key, 0.0))
        theirs.load_state_dict(start)
        for _ in range(2):
            one_step(ours, fresh)
            one_step(theirs, made)
        assert all(torch.equal(*pair) for pair in zip(ours.parameters(), theirs.parameters(), strict=True))

    def test_takes_a_training_step(self, name):
        data, cpu = small_data(), torch.device("cpu")
        run = learner.Learner(recipe_of(name), SETTINGS, models.build(MODEL, 3, 32, 0), None, cpu)
        before = run.weights()
        images = batches.Images.load(data.images["train"], data.labels["train"], cpu)
        steps = batches.training_batches(images, torch.arange(16), None, 16, batches.Normalize(cpu))
        loss, _ = learner.train_epoch(run, steps)
        assert 0 < loss < 10
        after = run.weights()
        assert all(value.isfinite().all() for value in after.values())
        assert not torch.equal(after["head.0.weight"], before["head.0.weight"])
