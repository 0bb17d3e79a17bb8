"""Every optimizer: what the schema says of it, what reaches it, and one step."""

import inspect

import pytest
import torch
from small_run import MODEL, RECIPE, SETTINGS, small_data

from study.recipe import HYPERPARAMETERS, Recipe
from study.train import batches, learner, models
from study.train.optimizers import OPTIMIZERS, build_optimizer

# A value other than its default for the columns that go to an optimizer; another one is tested at its default.
VALUES = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "nesterov": True}
VALUES = {name: column.node.get("default") for name, column in HYPERPARAMETERS.items()} | VALUES


def recipe_of(name: str) -> Recipe:
    """With something in every column that the optimizer takes."""
    return RECIPE.but(optimizer=name, **{column: VALUES[column] for column in OPTIMIZERS[name].takes})


def test_they_are_those_of_the_schema():
    assert tuple(OPTIMIZERS) == HYPERPARAMETERS["optimizer"].choices


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError):
        build_optimizer(RECIPE.but(optimizer="NoSuchOptimizer"), torch.nn.Linear(2, 2))


@pytest.mark.parametrize("name", OPTIMIZERS)
class TestEveryOptimizer:
    def test_takes_the_columns_that_the_schema_gives_it(self, name):
        own = {
            column.name
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
        built = build_optimizer(recipe_of(name), torch.nn.Linear(2, 2))
        group = built.param_groups[0]
        assert {column: group[column] for column in OPTIMIZERS[name].takes} == {
            column: VALUES[column] for column in OPTIMIZERS[name].takes
        }

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
