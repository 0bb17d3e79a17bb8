"""What always answering the largest class reaches: the baseline that stands beside every accuracy.

Where one class has nearly all images this is most of what an accuracy says. Entry point:
    baseline_of(class_weights, run) -> Baseline
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from study.compare.runs import Run
from study.names import EVALUATED_SPLITS


@dataclass(frozen=True)
class Baseline:
    """The answer that is the same for every image.

    Attributes:
        name: of the class that has most training images; of equal ones the first.
        accuracy: split -> share of its images that are of the class.
        balanced_accuracy: split -> mean recall: one of as many classes as the split has images of.
    """

    name: str
    accuracy: Mapping[str, float]
    balanced_accuracy: Mapping[str, float]


def baseline_of(class_weights: pd.DataFrame, run: Run) -> Baseline:
    """The baseline of a study.

    Args:
        class_weights: as `read_class_weights` gives it; its counts are those of the training images.
        run: any of the study's; how many images of each class the other splits have.
    """
    name = str(class_weights.loc[class_weights["count"].idxmax(), "class"])
    accuracy, balanced = {}, {}
    for split in EVALUATED_SPLITS:
        counts = run.by_class(split, "images")
        of_class = counts[run.classes.index(name)]
        accuracy[split] = float(of_class / counts.sum())
        balanced[split] = float((of_class > 0) / (counts > 0).sum())
    return Baseline(name, accuracy, balanced)
