"""What a tree of paths says: the class and the original split of every file."""

from collections.abc import Iterable
from dataclasses import dataclass

from study.errors import StudyError

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# Where `read_tree` takes the split of a file from, in words.
OFFICIAL_SPLITS = "folders (train, val, test), file names (Training_…, PublicTest_…, PrivateTest_…)"
USAGES = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}  # FER2013's names for its splits
NEVER_IMAGES = ("__macosx", "thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Entry:
    """One image of a source: its id, its class, and its original split ("train", "val", "test" or "" for none)."""

    image_id: str
    label: str
    split: str


class NoClassFolderError(StudyError):
    """A tree without a folder of a class.

    Attributes:
        files: what the tree holds instead.
    """

    def __init__(self, source: str, files: list[str]) -> None:
        super().__init__(f"{source}: no class folder found; expected is one folder of images per class")
        self.files = files


def read_tree(source: str, paths: Iterable[str]) -> tuple[list[Entry], list[str]]:
    """Sorted entries of a class-per-folder tree, and the files that belong to no class.

    The tree is `class/…/file` or `split/class/…/file`, below one wrapping folder or none. A split in the file name
    (`Training_…`, `PublicTest_…`, `PrivateTest_…`) wins over the folder's: FER2013's `test/` holds both test sets.

    Args:
        source: what to call the source in messages.
        paths: relative paths with "/" between the parts; a folder's ends in "/".

    Raises:
        NoClassFolderError: no class folder.
        StudyError: a class folder without a file, splits beside other folders, a class that the
            training split lacks.
    """
    paths = sorted(path for path in paths if not _is_hidden(path))
    top = _wrapping_folder(paths)
    parts = [path.removeprefix(top).split("/") for path in paths]
    splits = _split_folders(source, parts)
    entries, ignored = [], []
    filled: dict[str, bool] = {}  # class folder -> whether it holds a file
    for path, names in zip(paths, parts, strict=True):
        folder = splits.get(names[0], "")
        inside = names[1:] if folder else names
        if len(inside) < 2:  # a file beside the class folders, or the folder of a split itself
            if names[-1]:
                ignored.append(path)
            continue
        class_folder = path[: len(path) - len("/".join(inside[1:]))]
        filled[class_folder] = filled.get(class_folder, False) or names[-1] != ""
        if names[-1]:
            entries.append(Entry(path, inside[0], _split_of_name(names[-1]) or folder))
    _check(source, entries, filled, ignored)
    return entries, ignored


def _is_hidden(path: str) -> bool:
    return any(name.startswith(".") or name.lower() in NEVER_IMAGES for name in path.split("/"))


def _split_of_name(name: str) -> str:
    return USAGES.get(name.partition("_")[0], "")


def _wrapping_folder(paths: list[str]) -> str:
    """The one top folder, as "name/", if it is no split and has folders with files in it; else ""."""
    tops = {path.split("/")[0] for path in paths if "/" in path}
    nested = any(path.count("/") > 1 and not path.endswith("/") for path in paths)
    top = "".join(tops)
    return f"{top}/" if len(tops) == 1 and nested and top.lower() not in SPLIT_FOLDERS else ""


def _split_folders(source: str, parts: list[list[str]]) -> dict[str, str]:
    """Top folder -> split, for a tree whose top folders are splits; empty for one whose top folders are classes."""
    nested = {names[0] for names in parts if len(names) > 2 and names[1]}  # it holds a folder, so it is no plain class
    tops = {names[0] for names in parts if len(names) > 1}
    splits = {name: SPLIT_FOLDERS[name.lower()] for name in tops if name.lower() in SPLIT_FOLDERS and name in nested}
    if splits and (others := sorted(tops - set(splits))):
        raise StudyError(
            f"{source}: beside the folder '{min(splits)}' of a split there is the folder '{others[0]}'; allowed are "
            f"either folders of splits only ({', '.join(SPLIT_FOLDERS)}), with the classes inside, or folders of "
            "classes only"
        )
    return splits


def _check(source: str, entries: list[Entry], filled: dict[str, bool], ignored: list[str]) -> None:
    if not filled:
        raise NoClassFolderError(source, ignored)
    if empty := sorted(folder for folder, has_file in filled.items() if not has_file):
        raise StudyError(f"{source}: the class folder '{empty[0]}' holds no image; add images or remove the folder")
    check_labels(source, entries)


def check_labels(source: str, entries: list[Entry]) -> None:
    """Raise StudyError for a single class, or for one that the original training split lacks."""
    labels = {entry.label for entry in entries}
    if len(labels) < 2:
        raise StudyError(f"{source}: a single class found, '{min(labels)}'; at least 2 are needed")
    trained = {entry.label for entry in entries if entry.split == "train"}
    for entry in entries:
        if trained and entry.split and entry.label not in trained:
            raise StudyError(
                f"{source}: the class '{entry.label}' is in the {entry.split} split ('{entry.image_id}') but not in "
                f"the training split, whose classes are {', '.join(sorted(trained))}"
            )


def check_name(source: str, name: str) -> None:
    """Raise StudyError for a file name that no table could hold."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise StudyError(f"{source}: the file name {name!a} is not valid UTF-8; rename the file") from None
