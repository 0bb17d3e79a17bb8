"""Words that several rooms and readers outside rely on: splits, outcomes, columns. Each is written down here alone."""

SPLITS = ("train", "val", "test")
EVALUATED_SPLITS = ("val", "test")

# What became of a run, in run.json. A run that failed is a result: its job succeeds and its row is in the tables.
COMPLETED, EARLY_STOPPED, COLLAPSED, DIVERGED = "completed", "early_stopped", "collapsed", "diverged"
OUTCOMES = (COMPLETED, EARLY_STOPPED, COLLAPSED, DIVERGED)
FAILURES = (COLLAPSED, DIVERGED)

HISTORY_COLUMNS = (
    *("epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_nll", "val_accuracy"),
    *("val_batch_accuracy", "val_balanced_accuracy", "val_macro_f1", "predicted_classes", "seconds"),
)

PROBABILITY = "p_"  # p_<class> is the column of `predict`'s CSV with the probability of a class
