"""Predict the validation and test images with the best epoch's weights, and score the predictions."""

from pathlib import Path

from study.rule_log import logged

with logged(snakemake.log[0], threads=snakemake.threads) as say:
    import torch

    from study.data import packed
    from study.evaluate import metrics, prediction
    from study.evaluate.predictions import write_predictions
    from study.files import write_json
    from study.recipe import Recipe
    from study.train.loop import TrainingSettings

    torch.set_num_threads(snakemake.threads)
    params, slots = snakemake.params, snakemake.config["resources"]["gpu_slots"]
    predictions = prediction.predict(
        Path(snakemake.input.weights),
        packed.load(Path(snakemake.input.index).parent),
        Recipe.of(snakemake.wildcards.experiment, study={}, **params.recipe, **params.evaluation),
        TrainingSettings(**params.settings["training"], gpu_slots=slots),
        report=say,
    )
    write_predictions(predictions, Path(snakemake.output.predictions))
    scores = metrics.evaluate(predictions.scores, params.ece_bins)
    write_json(scores, snakemake.output.metrics)
    say(metrics.in_lines(scores))
