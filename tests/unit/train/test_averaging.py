"""The average of the weights, against PyTorch's own."""

import pytest
import torch
from small_run import MODEL, RECIPE, SETTINGS, small_data, small_train
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from study.train import batches, learner, models
from study.train.averaging import WeightAverage


@pytest.mark.parametrize("steps", [1, 3])
def test_it_is_pytorchs_to_the_last_bit(steps):
    model = models.build(models.ModelSettings("vgg11_bn", width=0.0625), 3, 32, 0)
    ours = WeightAverage(model, 0.9, steps)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for step in range(7):
        with torch.no_grad():
            for k, tensor in enumerate((*model.parameters(), *model.buffers())):
                tensor.copy_(tensor * 0.5 + step + k)
        ours.step()
        if step % steps == 0:
            theirs.update_parameters(model)
        expected = theirs.module.state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in ours.model.state_dict().items())


def test_the_average_is_validated_and_saved():
    data, cpu = small_data(), torch.device("cpu")
    recipe = RECIPE.but(model_ema_decay=0.5)
    run = learner.Learner(recipe, SETTINGS, models.build(MODEL, 3, 32, 0), None, cpu)
    images = batches.Images.load(data.images["train"], data.labels["train"], cpu)
    learner.train_epoch(run, batches.training_batches(images, torch.arange(60), None, 16, batches.Normalize(cpu)))
    averaged = run.weights()
    own = run.model.state_dict()
    assert any(not torch.equal(averaged[name], own[name]) for name in own)
    found = learner.validate(run, images, batches.Normalize(cpu))
    run.model.load_state_dict(averaged)
    run.average = None
    assert learner.validate(run, images, batches.Normalize(cpu)) == found


def test_without_it_a_training_is_what_it_was():
    """The average changes nothing about the training itself."""
    plain, averaged = small_train(RECIPE), small_train(RECIPE, model_ema_decay=0.9)
    names = ("lr", "train_loss", "train_accuracy")
    assert [[row[name] for name in names] for row in plain.history] == [
        [row[name] for name in names] for row in averaged.history
    ]
    assert plain.history[-1]["val_nll"] != averaged.history[-1]["val_nll"]
