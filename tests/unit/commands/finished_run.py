"""A run small enough for a test, in the folders of a study."""

from pathlib import Path
from typing import Any

from small_run import NO_AUGMENTATION, RECIPE, SETTINGS, small_data, small_train, write

from study.data.packed import PackedData
from study.evaluate import metrics
from study.evaluate.prediction import predict
from study.evaluate.predictions import write_predictions
from study.files import write_json
from study.paths import RunPaths
from study.planned import PlannedStudy


def finish(
    results: Path,
    experiment: str,
    seed: int,
    epochs: int,
    channels: int = 1,
    data: PackedData | None = None,
    **columns: Any,
) -> RunPaths:
    """Train and evaluate one small run in the layout of a study."""
    data, run = data or small_data(channels), RunPaths(results, experiment, seed)
    recipe = RECIPE.but(experiment=experiment, max_epochs=epochs, **NO_AUGMENTATION, **columns)
    write(small_train(recipe, data=data, seed=seed), run.trained)
    predictions = predict(run.weights, data, recipe, SETTINGS)
    run.evaluated.mkdir(parents=True)
    write_predictions(predictions, run.predictions)
    write_json(metrics.evaluate(predictions.scores, 15), run.metrics)
    return run


def planned(results: Path, epochs: dict[str, int], seeds: tuple[int, ...] = (0, 1)) -> PlannedStudy:
    """The study with these experiments as `finish` trains them: experiment -> epochs."""
    recipe = RECIPE.but(**NO_AUGMENTATION)
    recipes = {name: recipe.but(experiment=name, max_epochs=number) for name, number in epochs.items()}
    config = {"seeds": list(seeds), "experiments": "small.tsv", "data": {"max_pixels": 1_000_000}}
    return PlannedStudy(results, config, recipes)
