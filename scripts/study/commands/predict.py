"""Label the images of a folder with a trained run.

Entry point:
    label_images(classifier, folder, max_pixels, report) -> DataFrame      image, predicted, p_<class> …
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from study.commands.configuration import planned_study
from study.commands.trained_run import Classifier, add_run_arguments, find_run
from study.data.data_settings import files_below
from study.data.decode import decode, resize
from study.data.file_kinds import UnreadableError
from study.data.folder_tree import check_name
from study.data.leftovers import in_words, kind_of
from study.data.packed import middle
from study.errors import StudyError
from study.files import write_table
from study.names import PROBABILITY

BATCH = 256
SHOWN_PROBLEMS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("images", type=Path, help="folder of images, searched with its subfolders")
    add_run_arguments(parser)
    parser.add_argument("--out", type=Path, default=Path("predictions.csv"), help="CSV to write")


def run(arguments: argparse.Namespace) -> None:
    """Do what the command is for."""
    study = planned_study(arguments.study)
    trained = find_run(study, arguments.run)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    labelled = label_images(
        Classifier.of(trained, study.recipes.get(trained.experiment), device),
        arguments.images,
        study.config["data"]["max_pixels"],
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_table(labelled, arguments.out)
    print(f"{len(labelled)} images labelled by {trained.experiment}, seed {trained.seed}: {arguments.out}")


def label_images(
    classifier: Classifier, folder: Path, max_pixels: int, report: Callable[[str], None] = print
) -> pd.DataFrame:
    """Class and probabilities of every image below a folder; what is no readable image is reported and skipped.

    Args:
        max_pixels: width × height above which an image counts as unreadable.
        report: takes a line on what was skipped and what had to be changed.

    Returns:
        image (path below the folder), predicted, and a column p_<class> for each class.

    Raises:
        StudyError: no such folder, no file in it, no file that can be read, or the machine's trouble.
    """
    files = _files(folder, report)
    names: list[str] = []
    parts, problems, changed = [], [], Counter[str]()
    for start in range(0, len(files), BATCH):
        pictures = []
        for path in files[start : start + BATCH]:
            name = path.relative_to(folder).as_posix()
            try:
                pictures.append(_prepared(classifier, path, max_pixels, changed))
                names.append(name)
            except UnreadableError as error:
                problems.append(f"{name}: {error}")
        if pictures:
            parts.append(classifier.probabilities(np.stack(pictures)))
    _tell(problems, changed, len(files), classifier.bit_depth, report)
    if not parts:
        raise StudyError(f"{folder}: none of the {len(files)} files is a readable image; the first: {problems[0]}")
    probabilities = np.concatenate(parts)
    predicted = np.array(classifier.classes, dtype=object)[probabilities.argmax(axis=1)]
    columns = [PROBABILITY + name for name in classifier.classes]
    table = pd.DataFrame({"image": names, "predicted": predicted})
    return pd.concat([table, pd.DataFrame(probabilities, columns=columns)], axis=1)


def _files(folder: Path, report: Callable[[str], None]) -> list[Path]:
    """Every file below the folder that may be an image, sorted; how many others there are is reported."""
    if not folder.is_dir():
        raise StudyError(f"{folder}: not a folder; name one that holds images")
    files, ignored = [], defaultdict(list)
    for name in files_below(folder):
        if name.endswith("/"):
            continue
        check_name(str(folder), name)
        if kind := kind_of(name):
            ignored[kind].append(name)
        else:
            files.append(folder / name)
    if ignored:
        report(f"not read as images: {in_words(ignored)}")
    if not files:
        raise StudyError(f"{folder}: no image in the folder; put images into it, or name another one")
    return files


def _prepared(classifier: Classifier, path: Path, max_pixels: int, changed: Counter[str]) -> np.ndarray:
    """uint8 (C, S, S), as packing makes it; what had to be changed is counted."""
    picture = decode(path, max_pixels, classifier.bit_depth)
    image = picture.image
    size = classifier.stored_side
    changed["wide"] += picture.largest is not None
    changed["size"] += image.size != (size, size)
    changed["gray"] += classifier.channels == 1 and image.mode != "L"
    changed["colour"] += classifier.channels == 3 and image.mode == "L"
    return middle(resize(image, size, classifier.channels, classifier.keep_aspect), classifier.seen_side)


def _tell(
    problems: Sequence[str], changed: Counter[str], files: int, bit_depth: int, report: Callable[[str], None]
) -> None:
    for problem in problems[:SHOWN_PROBLEMS]:
        report(f"skipped {problem}")
    if len(problems) > SHOWN_PROBLEMS:
        report(f"skipped {len(problems) - SHOWN_PROBLEMS} more")
    words = {
        "wide": f"with samples of 16 bits, read as {bit_depth} bits as the run's were",
        "size": "resized to the run's size",
        "gray": "turned from colour to the grayscale that the run was trained on",
        "colour": "grayscale, repeated over the three channels that the run was trained on",
    }
    for what, count in changed.items():
        if count:
            report(f"{count} of {files} images: {words[what]}")
