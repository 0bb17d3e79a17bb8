"""What a tree of paths says: the class and the original split of every file."""

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from study.data.data_settings import DataSettings
from study.data.layout import Folder, folder_inside, read_layout, tree_of
from study.data.leftovers import kind_of
from study.errors import StudyError

# Where `read_tree` takes the split of a file from, in words.
OFFICIAL_SPLITS = "folders (train, val, test), file names (Training_…, PublicTest_…, PrivateTest_…)"
USAGES = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}  # FER2013's names for its splits


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a source.

    Attributes:
        image_id: unique in the source.
        label: its class.
        split: the source's own, "train", "val", "test" or "" for none.
        group: the patient, object or place that it shows; "" for an image that belongs with no other.
    """

    image_id: str
    label: str
    split: str
    group: str = ""


class Listing:
    """What a source lists. It stays where it was listed: the source in another process can only read.

    Attributes:
        entries, ignored, notes, columns: as `study.data.sources.Source` has them.
    """

    entries: list[Entry]
    ignored: dict[str, list[str]]
    notes: list[str]
    columns: Mapping[str, Sequence[str]] = MappingProxyType({})

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in Listing.__annotations__}


@dataclass(frozen=True)
class Tree:
    """What a tree of files holds.

    Attributes:
        entries: every image, sorted by id, which is its path. Labels are in Unicode's composed form (NFC).
        ignored: the other files, sorted, by a key of `study.data.leftovers.KINDS`; no key without files.
        notes: sentences about how the tree was read.
    """

    entries: list[Entry]
    ignored: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class NoClassFolderError(StudyError):
    """A tree without a folder of a class.

    Attributes:
        files: what the tree holds instead.
    """

    def __init__(self, source: str, files: list[str]) -> None:
        super().__init__(f"{source}: no class folder found; expected is one folder of images per class")
        self.files = files


def read_tree(data: DataSettings, paths: Iterable[str]) -> Tree:
    """Read a class-per-folder tree, as `study.data.layout.read_layout` tells it.

    A split in the file name (`Training_…`, `PublicTest_…`, `PrivateTest_…`) wins over the folder's: FER2013's `test/`
    holds both test sets. What is no image by its name (`study.data.leftovers`) is ignored.

    Args:
        data: source is what messages call the tree; folder, split_folders and class_level say how to read it.
        paths: relative paths with "/" between the parts; a folder's ends in "/".

    Raises:
        NoClassFolderError: no class folder.
        StudyError: a class folder without a file, a tree that can be read in two ways, classes whose names differ too
            little, a class that the training split lacks.
    """
    images: list[str] = []
    others: list[str] = []  # other files, and folders
    ignored: dict[str, list[str]] = defaultdict(list)
    for path in sorted(paths):
        kind = kind_of(path)
        if not kind and not path.endswith("/"):
            images.append(path)
        elif kind != "system":
            others.append(path)
        if kind and not path.endswith("/"):
            ignored[kind].append(path)
    root = folder_inside(tree_of(images, others), data)
    inside = f"{root.path}/" if root.path else ""
    ignored = {kind: kept for kind, names in ignored.items() if (kept := [n for n in names if n.startswith(inside)])}
    if not root.full:
        raise NoClassFolderError(data.source + f", '{root.path}'" * bool(root.path), sum(ignored.values(), root.images))
    layout = read_layout(root, data)
    if not layout.classes:
        raise NoClassFolderError(data.source, root.images)
    entries = [
        Entry(path, label, _split_of_name(path) or split)
        for folder, label, split in layout.classes
        for path in folder.all_images()
    ]
    entries.sort(key=lambda entry: entry.image_id)
    for kind, folders in (("unlabelled", layout.unlabelled), ("set_to_ignore", layout.ignored)):
        if found := sorted(path for folder in folders for path in folder.all_images()):
            ignored[kind] = found
    known = {entry.image_id for entry in entries}.union(*ignored.values())
    if outside := [path for path in images if path.startswith(inside) and path not in known]:
        ignored["outside"] = outside
    _check_likeness(data.source, layout.classes)
    check_labels(data.source, entries)
    return Tree(entries, ignored, layout.notes)


def _split_of_name(path: str) -> str:
    return USAGES.get(path[path.rfind("/") + 1 :].partition("_")[0], "")


def _check_likeness(source: str, classes: Iterable[tuple[Folder, str, str]]) -> None:
    """Raise StudyError for two classes whose names differ in case or blanks alone."""
    folder_of: dict[str, str] = {}
    for folder, label, _ in classes:
        folder_of.setdefault(label, folder.path)
    if alike := alike_names(folder_of):
        one, other = (folder_of[label] for label in alike)
        raise StudyError(
            f"{source}: the class folders '{one}' and '{other}' differ only in upper and lower case or in "
            "blanks; give them one name if they are one class, or names that differ more"
        )


def alike_names(names: Iterable[str]) -> tuple[str, str] | None:
    """The first two different names that differ in case or blanks alone; None if no two do."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(" ".join(name.split()).casefold(), name)
        if other != name:
            return other, name
    return None


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
        what = "is not valid UTF-8; rename the file"
        if sys.getfilesystemencoding() != "utf-8":
            what = f"cannot be read in the locale's {sys.getfilesystemencoding()}; set LC_ALL=C.UTF-8 and run again"
        raise StudyError(f"{source}: the file name {name!a} {what}") from None
