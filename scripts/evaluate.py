"""Predict the validation and test images with the best epoch's weights, and score the predictions."""

from pathlib import Path

from study.rule_log import logged

with logged(snakemake.log[0], threads=snakemake.threads) as say:
    import torch

    from study.data import packed
    from study.evaluate import metrics, prediction
    from study.files import write_json, write_table
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
    write_table(predictions, snakemake.output.predictions)
    # Of the file, not of the float32 values in memory: whoever reads it gets the same metrics to the last digit.
    scores = metrics.evaluate(metrics.read_predictions(snakemake.output.predictions), params.ece_bins)
    write_json(scores, snakemake.output.metrics)
    say(metrics.in_lines(scores))
