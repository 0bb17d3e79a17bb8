"""From finished runs to tables and verdicts.

In come run.json, history.csv, metrics.json and predictions.parquet of every run. Out go the tables of `all_tables`.

    runs                a run read back from its files; the runs of one recipe; which recipe is chosen
    comparison          all runs beside each other, made once: resamples, verdicts, every pair of recipes
    baseline            what always answering the largest class reaches
    statistics          intervals (Wilson's, Student's, bootstrap), paired tests, Holm's correction
    seeds_and_images    two recipes over several seeds: one test, its power, the seeds and images it needs
    points              differences in words, as percentage points
    tested_pairs        which pairs of recipes are tested; those that differ in one treatment alone
    verdicts            the words that comparisons end in
    all_tables          every table, declared once
    case_table          the recipes of a case side by side
    run_table           every run in a row: comparison.csv
    effects             what each treatment does by itself
    cost                what trainings took, and which recipes no other one beats in accuracy and time
    power               what the study could have found; the seeds and images that a smaller difference needs
    conclusions         whether the reported findings hold here
    settling            the epochs, seeds and images that would settle what a claim leaves open
    comparability       what the reported accuracies were made with, and what is here
    diagnosis           what happened in a run: saturation, plateaus, divergence, over-fitting
    outcome_in_words    why a run ended as it did: the sentences "collapsed", "diverged" …
    leakage             scores with and without the images that have a copy in training
    subgroups           scores by what else the source says of the images: age, sex, site, device
    label_hints         images whose label may be wrong, as good recipes agree on another class
    questionable        choices of a configuration that a careful reader would question
    ensemble            a vote of several runs
"""
