"""Train one recipe with one seed on the packed images."""

from pathlib import Path

from study.rule_log import logged

with logged(snakemake.log[0], threads=snakemake.threads) as say:
    import torch

    from study import provenance
    from study.compare.outcome_in_words import reason
    from study.continuing import run_key
    from study.data import packed
    from study.data.class_weights import read_class_weights
    from study.files import file_sha256
    from study.paths import CHECKPOINTS
    from study.recipe import Recipe
    from study.train import loop, pretrained

    torch.set_num_threads(snakemake.threads)
    # Read from the configuration, not from params: neither these nor checkpoints decide anything about a result.
    resources = {name: snakemake.config["resources"][name] for name in ("gpu_slots", "cuda_graphs")}
    # Only what does not stand at its default: neither params nor digest change when a column is added to the table.
    wildcards, settings, deciding = snakemake.wildcards, snakemake.params.settings, dict(snakemake.params.recipe)
    recipe = Recipe.of(wildcards.experiment, study={}, **deciding)
    data = packed.load(Path(snakemake.input.index).parent)
    weights = snakemake.input.class_weights
    start = snakemake.input.initial_run  # of the run that is started from
    origin = provenance.collect(
        code=snakemake.params.code,
        data=data.digest,
        recipe=deciding,
        settings=settings,
        class_weights=file_sha256(str(weights)) if weights else None,
        initial_weights=file_sha256(str(snakemake.input.initial_weights)) if start else None,
    )
    checkpoints = Path(snakemake.output.run).parent / CHECKPOINTS
    initial_weights = Path(str(snakemake.input.initial_weights)) if snakemake.input.initial_weights else None
    if initial_weights and recipe["model.weights"] == "imagenet":
        pretrained.check(initial_weights, recipe["model.name"])  # placed by hand, perhaps
    result = loop.train(
        recipe,
        seed=int(wildcards.seed),
        data=data,
        class_weights=read_class_weights(Path(str(weights)))["weight"].to_numpy(copy=True) if weights else None,
        settings=loop.TrainingSettings(**settings["training"], **resources),
        initial_weights=initial_weights,
        checkpoint_dir=checkpoints,
        checkpoint_every=snakemake.config["checkpoints"]["every"],
        keep_last=snakemake.config["checkpoints"]["keep_last"],
        run_key=run_key(recipe, settings, **{part: origin[part] for part in ("code", "data", "initial_weights")}),
        tensorboard_dir=Path(snakemake.output.tensorboard),
        report=say,
    )
    out = snakemake.output
    record = loop.write_outputs(result, Path(out.history), Path(out.weights), Path(out.run), origin)
    say(f"{wildcards.experiment}: {result.outcome}. {reason(record, result.history)}")
