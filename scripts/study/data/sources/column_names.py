"""The usual names of a table's columns, and the words for splits in its cells. Light: nothing is read here.

Entry points:
    COLUMNS                                                what a column may be for -> its usual names, the best first
    usual_columns(names) -> {use: [name]}                  which of a table's columns have such names
    split_of_word(word) -> str                             "train", "val", "test", or "" for any other word
    split_in_name(name) -> str                             the split that a file's or folder's name speaks of, or ""
    some_of(words) -> str                                  the first of many words, for a message
"""

import re
from collections.abc import Iterable

from study.data.folder_tree import USAGES
from study.data.layout import SPLIT_OF_WORD, split_in
from study.names import SPLITS

# Read off data sets as they are published. Of several in one table the first counts; a note says so.
COLUMNS = {
    "image": (
        *("file_name", "image_path", "img_path", "filepath", "file_path", "fpath", "path", "file", "fname", "image"),
        *("img", "image_name", "img_name", "image_id", "img_id", "id_code", "isic_id", "subdirectory_file_path"),
        *("image_index", "picture", "photo"),
    ),
    "label": (
        *("label", "labels", "class", "class_name", "class_label", "label_name", "target", "dx", "diagnosis"),
        *("expression", "emotion", "class_id", "label_id", "category", "category_name", "category_id", "species", "y"),
    ),
    "split": ("split", "phase", "usage", "subset", "partition", "set", "fold"),
    "group": (
        *("group", "group_id", "patient", "patient_id", "subject", "subject_id", "participant", "participant_id"),
        *("person", "person_id", "lesion", "lesion_id", "sequence", "sequence_id", "seq_id", "sequence_remapped"),
        *("track", "track_id"),
    ),
}
FER2013 = {usage.lower(): split for usage, split in USAGES.items()}
USES = {name.replace("_", ""): use for use, names in COLUMNS.items() for name in names}
SHOWN = 8  # words of many in a message


def plain(name: str) -> str:
    """A name as it is compared: lower case, letters and digits alone. "Image Name" and "image_name" are one."""
    return re.sub(r"[\W_]+", "", name.lower())


def says_what_it_is(name: str) -> bool:
    """Whether it is one of the usual names of a column."""
    return plain(name) in USES


def usual_columns(names: Iterable[str]) -> dict[str, list[str]]:
    """For each use in `COLUMNS` the names that are usual for it, the best first."""
    found: dict[str, list[str]] = {use: [] for use in COLUMNS}
    for name in names:
        if use := USES.get(plain(name)):
            found[use].append(name)
    for use, usual in COLUMNS.items():
        order = [plain(name) for name in usual]
        found[use].sort(key=lambda name: order.index(plain(name)))
    return found


def split_of_word(word: str) -> str:
    """The split that a cell names, such as `Training` or `PrivateTest`; "" for any other word."""
    lower = plain(word)
    split = FER2013.get(lower) or SPLIT_OF_WORD.get(lower, "")
    return split if split in SPLITS else ""


def split_in_name(name: str) -> str:
    """The split that the name of a file or folder speaks of: `train.csv`, `ImageNet_LT_val`, `train2018`; or ""."""
    split = split_in(name)
    return split if split in SPLITS else ""


def some_of(words: Iterable[str]) -> str:
    """The first words, with "…" behind them where there are more."""
    words = list(words)
    return ", ".join(words[:SHOWN]) + ", …" * (len(words) > SHOWN)
