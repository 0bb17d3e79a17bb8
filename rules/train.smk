# Needs:  packed arrays, class weights (recipes with a weighted loss), pretrained weights (if configured), files of
#         predictions (rows that name one).
# Makes:  {RESULTS}/train/{experiment}/seed_{seed}/      history.csv, best.safetensors, run.json, tensorboard/
#         {RESULTS}/evaluate/{experiment}/seed_{seed}/   predictions.parquet, metrics.json


rule train:
    """One recipe with one seed. A run that collapses or diverges is a result, not an error."""
    input:
        index=rules.pack.output.index,
        # ancient: pack.json, compared by content, holds the arrays' hashes
        arrays=ancient(PACKED),
        class_weights=class_weights_of,
        # ancient: of another run, its run.json, compared by content, holds the weights' hash
        initial_weights=ancient(initial_weights_file),
        initial_run=initial_run_file,
    output:
        # update: what a finished run left stays until the new one is whole
        history=update(RUN.history),
        weights=update(RUN.weights),
        run=update(RUN.run),
        tensorboard=directory(RUN.tensorboard),
    log:
        RUN.log("train"),
    benchmark:
        RUN.benchmark("train")
    wildcard_constraints:
        experiment=one_of(TRAINED),
    conda:
        "../envs/train.yaml"
    threads: training_threads
    resources:
        gpu=gpus_of_a_job,
        mem_mb=config["resources"]["train_mem_mb"],
        runtime=config["resources"]["train_runtime_minutes"],
    params:
        recipe=recipe_of,
        settings=training_settings,
        code=script_digest("train"),
    script:
        "../scripts/train.py"


rule evaluate:
    """Predictions of the best epoch for validation and test images, and their metrics."""
    input:
        index=rules.pack.output.index,
        arrays=ancient(PACKED),
        # ancient: run.json, compared by content, holds the weights' hash
        weights=ancient(weights_of),
        run=run_of,
    output:
        predictions=RUN.predictions,
        metrics=RUN.metrics,
    log:
        RUN.log("evaluate"),
    benchmark:
        RUN.benchmark("evaluate")
    wildcard_constraints:
        experiment=one_of(EVALUATED),
    conda:
        "../envs/train.yaml"
    threads: evaluation_threads
    resources:
        gpu=gpus_of_a_job,
        mem_mb=8000,
        runtime=60,
    params:
        ece_bins=lookup(dpath="metrics/ece_bins", within=config),
        recipe=recipe_of,
        evaluation=evaluation_of,
        settings=training_settings,
        code=script_digest("evaluate"),
    script:
        "../scripts/evaluate.py"


rule adjust:
    """Predictions of a row without training: another experiment's, adjusted, and their metrics."""
    input:
        index=rules.pack.output.index,
        predictions=predictions_of,
    output:
        predictions=RUN.predictions,
        metrics=RUN.metrics,
    log:
        RUN.log("adjust"),
    benchmark:
        RUN.benchmark("adjust")
    wildcard_constraints:
        experiment=one_of(ADJUSTED),
    conda:
        "../envs/compare.yaml"
    params:
        ece_bins=lookup(dpath="metrics/ece_bins", within=config),
        recipe=recipe_of,
        evaluation=evaluation_of,
        code=script_digest("adjust"),
    script:
        "../scripts/adjust.py"


rule import_predictions:
    """Predictions of a row that names a file of them, checked against the images, and their metrics."""
    input:
        index=rules.pack.output.index,
        arrays=ancient(PACKED),
        # ancient: pack.json, compared by content, has the images that count
        manifest=ancient(rules.manifest.output.manifest),
        # ancient: what counts is its hash below, not its time stamp
        file=ancient(predictions_file_of),
    output:
        predictions=RUN.predictions,
        metrics=RUN.metrics,
    log:
        RUN.log("import_predictions"),
    benchmark:
        RUN.benchmark("import_predictions")
    wildcard_constraints:
        experiment=one_of(IMPORTED),
    conda:
        "../envs/compare.yaml"
    params:
        ece_bins=lookup(dpath="metrics/ece_bins", within=config),
        file=predictions_identity,
        code=script_digest("import_predictions"),
    script:
        "../scripts/import_predictions.py"
