"""The figures of a study, each drawn from loaded data to one SVG file.

Entry points (runs come from `study.compare.runs.load_runs`; every function returns nothing and writes `path`):
    curves(runs, experiment, path)                       one recipe: loss and accuracy per epoch; histories needed
    case_curves(runs, case, question, path)              the recipes of a case side by side; histories needed
    comparison(runs, confidence, reported, path)         every recipe's test accuracy; predictions needed
    lr_batch(runs, optimizer, train_images, path)        learning rate × batch size, with steps and wall time
    effects(table, path)                                 effects.csv as a forest plot
    recall(runs, path)                                   recall per class and recipe
    confusion(runs, experiment, path)                    confusion matrix on the test images
    reliability(runs, bins, path)                        confidence against accuracy per recipe; predictions needed
    class_recall(runs, confidence, path)                 recall per class with intervals, of the best recipes
    confused_pairs(runs, experiment, images, image_ids, path)    with packed test images as examples
    class_counts(pack, weights, path)                    pack.json's content, class_weights.csv as a table
    samples(images, labels, classes, path, per_class=10) packed uint8 images (N, C, S, S) with class indices (N,)

`runs` is always the whole study; each function takes what it needs.
"""

from study.report.figures.classes import class_counts, confusion, recall, samples
from study.report.figures.curves import case_curves, curves
from study.report.figures.effects import effects
from study.report.figures.errors import class_recall, confused_pairs, reliability
from study.report.figures.recipes import comparison, lr_batch

__all__ = [
    "case_curves",
    "class_counts",
    "class_recall",
    "comparison",
    "confused_pairs",
    "confusion",
    "curves",
    "effects",
    "lr_batch",
    "recall",
    "reliability",
    "samples",
]
