"""Label the images of a folder with a trained run (`make predict IMAGES=folder RUN=best`)."""

import argparse
import sys
from pathlib import Path

import torch

from study.commands.inference import Classifier, find_run, label_images
from study.errors import StudyError

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="folder of images, searched with its subfolders")
    parser.add_argument("--run", default="best", help="best, an experiment, or one with its seed: sgd_ver3/seed_0")
    parser.add_argument("--study", default="digits", help="name of the study (default: digits)")
    parser.add_argument("--out", type=Path, default=Path("predictions.csv"), help="CSV to write")
    given = parser.parse_args()
    try:
        run = find_run(Path("results", given.study), given.run)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        labelled = label_images(Classifier.load(run, device), given.images)
    except StudyError as error:
        sys.exit(f"Error: {error}")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    labelled.to_csv(given.out, index=False, lineterminator="\n")
    print(f"{len(labelled)} images labelled by {run.parent.name}, {run.name.replace('_', ' ')}: {given.out}")
