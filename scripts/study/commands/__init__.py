"""What a person runs beside the rules: `python scripts/study COMMAND`.

In come the files of a study, finished or under way; out goes what the command is for. Each command is a module of its
name with `add_arguments(parser)` and `run(arguments)`; `study.__main__` lists them.

    init            a configuration, suggested by a look at a source of images
    predict         label new images with a trained run
    export          a trained run as one file that needs none of this code
    watch           every run of a study in the terminal, while it goes
    verify          a finished study against itself
    keep            finished runs without their weights, in docs/runs and back
    findings        docs/FINDINGS.md
    record          docs/RECORD.md
    imbalance       docs/IMBALANCE.md
    reference       the generated tables of config/README.md

    source_look     what a source of images holds, seen before a study is configured
    trained_run     a run by its name, and its network with its own preprocessing
    configuration   a study by its name, and its configuration merged as Snakemake merges it
"""
