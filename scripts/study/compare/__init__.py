"""From finished runs to tables and verdicts.

In come run.json, history.csv, metrics.json and predictions.csv of every run. Out go the tables of `all_tables`.

    runs                a run read back from its files; the runs of one recipe; which recipe is chosen
    comparison          all runs beside each other, made once: resamples, verdicts, every pair of recipes
    baseline            what always answering the largest class reaches
    statistics          intervals (Wilson's, Student's, bootstrap), paired tests, Holm's correction
    verdicts            the words that comparisons end in
    all_tables          every table, declared once
    case_table          the recipes of a case side by side
    run_table           every run in a row: comparison.csv
    effects             what each treatment does by itself
    conclusions         whether the reported findings hold here
    comparability       what the reported accuracies were made with, and what is here
    diagnosis           what happened in a run: saturation, plateaus, divergence, over-fitting
    outcome_in_words    why a run ended as it did: the sentences "collapsed", "diverged" …
    leakage             scores with and without the images that have a copy in training
    questionable        choices of a configuration that a careful reader would question
    ensemble            a vote of several runs
"""
