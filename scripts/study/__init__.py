"""The library behind the rules: everything here works, and is tested, without Snakemake.

Imports run one way, and `make lint` holds that: commands → report → compare → evaluate → train → data → this ground
floor. Each room's __init__ says what comes in, what goes out and what is in which module.

    batch_sizes     whether the batches of every recipe fit the training images
    combinations    which hyperparameters of a recipe fit each other
    continuing      which checkpoints a training may continue from
    elsewhere       recipes whose predictions come from a file
    errors          the one exception that stands for a mistake of the user
    files           tables, JSON, YAML, hashes, and files that are whole or not there
    machine         whether there is a GPU, and how trainings share the cores
    names           splits, outcomes, columns of history.csv: words that readers outside rely on
    networks        the networks by name, and how small their images may be
    paths           the folder of a run, and every file in it
    planned         what belongs to a study, and which finished runs no longer do
    planning        what goes with Snakemake's planning: refusals, time stamps, what will be trained again
    progress        a bar on the terminal, and work over several processes
    provenance      digests of code and data, versions, git: what made a result, and what runs again
    recipe          one row of the table of recipes: its columns, their treatments, their words
    recipe_table    experiments.tsv read and checked
    reference       what the schema allows, in words
    rule_log        the log of a rule's script, and how its errors end
    schema          the configuration's schema, loaded
    settings        the configuration, checked
    starts          which experiment's trained weights a recipe starts from
    submission      whether SLURM takes as many jobs as are about to be submitted
"""
