"""Which folders of a tree are the classes, which are splits, which only wrap: told from the whole tree.

What can be read in two ways is a StudyError that names the folders and the keys of the configuration that decide:
`data.folder`, `data.split_folders`, `data.class_level`. Nothing is guessed silently: `Layout.notes` says what was read
how, and `Layout.unlabelled` what was set aside.

Entry points:
    tree_of(images, others) -> Folder                      paths as a tree of folders
    read_layout(root, data) -> Layout                      the folders of classes
    split_in(name) -> str                                  the split that a name speaks of
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from study.data.data_settings import DataSettings, as_yaml, composed
from study.errors import StudyError
from study.names import SPLITS

# Words that say of a folder which split it is.
SPLIT_WORDS = {
    "train": ("train", "training", "trn", "trainset"),
    "val": ("val", "valid", "validation", "validate", "valset", "dev", "devel", "development", "devset"),
    "test": ("test", "testing", "tst", "testset", "holdout"),
    # The one of val and test that is not there; the test split if neither is, because validation images can be taken
    # from the training split.
    "eval": ("eval", "evaluation", "evaluate"),
    # Images to be labelled: no split, but beside splits no class either.
    "unlabelled": ("pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled", "submission"),
}
SPLIT_OF_WORD = {word: split for split, words in SPLIT_WORDS.items() for word in words}
# Of folders that are pieces of one collection: images_part_1, images_part_2.
PIECE_WORDS = {"part", "batch", "chunk", "shard", "fold", "volume", "vol", "subset"}
# Of a folder inside a folder of a split that says nothing of a class: test/images/…, test/unknown/…
NO_CLASS_WORDS = {"image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "data", "all", "unknown"}
SHOWN = 4  # folders named in a message


@dataclass(eq=False)
class Folder:
    """A folder of a tree.

    Attributes:
        path: from the source, "" for the source itself.
        images: paths of files in it that may be images.
        folders: the folders in it, sorted.
        files: number of files in it and below, of any kind.
        full: the folders in it that hold an image or have one below.
        branches: whether two such folders lie side by side in it, or in the only one that it has, and so on.
    """

    path: str
    images: list[str] = field(default_factory=list)
    folders: list["Folder"] = field(default_factory=list)
    files: int = 0
    full: list["Folder"] = field(default_factory=list)
    branches: bool = False

    @property
    def name(self) -> str:
        return composed(self.path.rpartition("/")[2])

    def all_images(self) -> Iterator[str]:
        """Of the folder and those below."""
        waiting = [self]
        while waiting:
            folder = waiting.pop()
            yield from folder.images
            waiting += folder.full


def tree_of(images: Iterable[str], others: Iterable[str]) -> Folder:
    """The tree of sorted relative paths.

    Args:
        images: files that may be images.
        others: files of other kinds, and folders (ending in "/"): a folder without an image is part of the tree too.
    """
    root = Folder("")
    known = {"": root}

    def folder_at(path: str) -> Folder:
        missing = []
        while path not in known:
            missing.append(path)
            path = path.rpartition("/")[0]
        for below in reversed(missing):
            known[below] = Folder(below)
            known[path].folders.append(known[below])
            path = below
        return known[path]

    for path in images:
        folder = folder_at(path.rpartition("/")[0])
        folder.images.append(path)
        folder.files += 1
    for path in others:
        folder_at(path.rpartition("/")[0]).files += not path.endswith("/")
    for path in reversed(known):  # a folder comes after the one it lies in
        if path:
            known[path.rpartition("/")[0]].files += known[path].files
    _count(known)
    return root


def _count(known: dict[str, Folder]) -> None:
    for folder in reversed(known.values()):
        folder.folders.sort(key=lambda below: below.path)
        folder.full = [below for below in folder.folders if below.images or below.full]
        folder.branches = len(folder.full) > 1 or any(below.branches for below in folder.full)


@dataclass
class Layout:
    """What a tree was read as.

    Attributes:
        classes: folder of a class, its name, its split ("" for none). All images in it and below are of this class.
        unlabelled: folders of splits without folders of classes; their images are set aside.
        ignored: folders that `data.split_folders` says to ignore.
        notes: sentences for the log.
    """

    classes: list[tuple[Folder, str, str]] = field(default_factory=list)
    unlabelled: list[Folder] = field(default_factory=list)
    ignored: list[Folder] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def folder_inside(root: Folder, data: DataSettings) -> Folder:
    """The folder that `data.folder` names, or the root.

    Raises:
        StudyError: there is none of this name.
    """
    here = root
    for name in (data.folder or "").replace("\\", "/").split("/"):
        if name in ("", "."):
            continue
        inside = [folder for folder in here.folders if folder.name == composed(name)]
        if not inside:
            where = f"'{here.path}' of {data.source}" if here.path else data.source
            found = ", ".join(f"'{folder.name}'" for folder in here.folders) or "none"
            raise StudyError(f"config key data.folder: no folder '{name}' in {where}; found: {found}")
        here = inside[0]
    return here


def read_layout(root: Folder, data: DataSettings) -> Layout:
    """Tell the folders of classes and of splits in a tree.

    Splits are folders that are called so (`train`, `Testing`, `dev`; `seg_train`, `01_train`, `train_images` where all
    folders beside them are called like splits as well), with folders of classes inside, or, in every class, folders of
    images called so. A folder with nothing but one folder of folders is a wrapping, wherever it is.

    Args:
        root: the folder to read.
        data: its `source` is what messages call the tree; `split_folders` and `class_level` decide.

    Raises:
        StudyError: it cannot be told which folders the classes are; a folder of a class without an image; a key of
            `data.split_folders` that names no folder.
    """
    reader = _Reader(data)
    reader.leave_out(root)
    reader.read(root)
    reader.check_use(root)
    return reader.layout


class _Reader:
    def __init__(self, data: DataSettings) -> None:
        self.data, self.layout = data, Layout()
        self.told = {composed(name).strip("/"): split for name, split in data.split_folders.items()}
        self.used: set[str] = set()  # paths and names of folders that were read as `told` says
        self.level = None if data.class_level == "auto" else int(data.class_level)

    def leave_out(self, root: Folder) -> None:
        """Take the folders to ignore out of the tree."""
        if not self.told:
            return
        known: dict[str, Folder] = {}
        waiting = [root]
        names: set[str] = set()
        while waiting:
            folder = waiting.pop()
            known[folder.path] = folder
            for below in folder.folders:
                names |= {composed(below.path), below.name}
                if self._told(below) == "ignore":
                    self.layout.ignored.append(below)
                    self._use(below)
            folder.folders = [below for below in folder.folders if self._told(below) != "ignore"]
            waiting += folder.folders
        for key in self.told:
            if key not in names:
                raise StudyError(
                    f"config key data.split_folders: no folder '{key}' in {_where(root, self.data.source)}; found: "
                    f"{_names(_end(root).folders) or 'none'}"
                )
        _count(known)

    def _told(self, folder: Folder) -> str:
        """What `data.split_folders` says of a folder, by its path or its name."""
        return self.told.get(composed(folder.path)) or self.told.get(folder.name, "")

    def _use(self, folder: Folder) -> None:
        self.used |= {composed(folder.path), folder.name}

    def check_use(self, root: Folder) -> None:
        for key, split in self.told.items():
            if key not in self.used:
                raise StudyError(
                    f"config key data.split_folders: '{key}' is said to be of the {split} split, but lies inside a "
                    f"folder of a class or of a split in {_where(root, self.data.source)}; name a folder above the "
                    "classes, or ignore it"
                )

    def read(self, root: Folder) -> None:
        top = self._unwrapped(root)
        splits = self._splits(top)
        if not splits:
            self._add_classes(top, "", set())
            if top is not root:
                labels = {label for _, label, _ in self.layout.classes}
                self.layout.notes.append(f"{self.data.source}: read is '{top.path}' (classes: {len(labels)}).")
        else:
            self._read_splits(top, splits)

    def _read_splits(self, top: Folder, splits: dict[str, str]) -> None:
        source = self.data.source
        holders: list[tuple[str, Folder]] = []
        for folder in top.folders:
            split = splits.get(folder.path, "")
            self._use(folder)
            if not (folder.images or folder.full):
                if split and folder.files == 0:
                    self.layout.notes.append(f"{source}: the folder '{folder.path}' of a split is empty.")
            elif not split:
                example = next(below for below in top.full if below.path in splits)
                raise StudyError(
                    f"{source}: beside the folder '{example.path}' of a split there is the folder '{folder.path}', "
                    "which is not called like one; say what it is (config key data.split_folders: "
                    f"{{{_key(folder)}: ignore}}, or train, val, test), or read one folder alone "
                    f"(data.folder: {_key(folder)})"
                )
            elif _is_flat(folder):
                if split == "train":
                    raise StudyError(
                        f"{source}: the folder '{folder.path}' of the training split holds images but no class "
                        "folders; put its images into one folder per class, or leave it out (config key "
                        f"data.split_folders: {{{_key(folder)}: ignore}})"
                    )
                self.layout.unlabelled.append(folder)
                count = sum(1 for _ in folder.all_images())
                self.layout.notes.append(
                    f"{source}: the folder '{folder.path}' holds {count:,} images but no class folders; they have no "
                    "label and are set aside."
                )
            elif split == "unlabelled":
                raise StudyError(
                    f"{source}: the folder '{folder.path}' is called like one of images without labels, but holds "
                    f"folders ({_names(folder.full)}); say what it is (config key data.split_folders: "
                    f"{{{_key(folder)}: test}}, or train, val, ignore)"
                )
            else:
                holders.append((split, folder))
        self._refuse_two_of_one_split(holders)
        read, unexpected = [], False
        known: set[str] = set()  # names of classes of the training split
        wrappers: set[str] | None = None  # names of folders that wrap it, where the level of the classes was told
        for split, folder in sorted(holders, key=lambda one: (SPLITS.index(one[0]), one[1].path)):
            holder = self._unwrapped(folder, split, known, wrappers)
            if self._splits(holder):
                raise StudyError(
                    f"{source}: the folder '{folder.path}' of a split holds folders of splits ({_names(holder.full)}); "
                    f"read one of the two levels (config key data.folder: {_key(holder)}), or leave folders out "
                    f"(data.split_folders: {{{_key(holder.full[0])}: ignore}})"
                )
            self._add_classes(holder, split, known)
            if split == "train":
                known |= {label for _, label, of in self.layout.classes if of == split}
                if self.level is not None:
                    wrappers = (wrappers or set()) | set(composed(holder.path).split("/"))
            labels = {label for _, label, of in self.layout.classes if of == split}
            read.append(f"{split} from '{holder.path}' (classes: {len(labels)})")
            if holder.path != split:
                unexpected = True
        if unexpected:
            self.layout.notes.append(f"{source}: read is {', '.join(read)}.")

    def _unwrapped(
        self, folder: Folder, split: str = "", known: Iterable[str] = (), wrappers: set[str] | None = None
    ) -> Folder:
        """Down through folders that only wrap one folder of folders.

        Args:
            split: that the folder is of; one in it that is called like this split wraps too, as in train/train.
            known: names of classes, which are no wrapping.
            wrappers: names of the only folders that are; None for any.
        """
        while len(folder.full) == 1:
            only = folder.full[0]
            if not only.full or only.name in known or self._told(only):
                break
            if wrappers is not None and only.name not in wrappers and not _says_no_class(only, folder):
                break
            same = split and (_word(only.name) == _word(folder.name) or SPLIT_OF_WORD.get(_word(only.name)) == split)
            if SPLIT_OF_WORD.get(_word(only.name)) and not same and not self._splits(only):
                break
            if empty := [below for below in folder.folders if below.files == 0]:
                raise self._without_image(empty[0])
            folder = only
        return folder

    def _splits(self, folder: Folder) -> dict[str, str]:
        """Path of each folder inside that is one of a split -> split; empty if these folders are none of splits."""
        told = {below.path: split for below in folder.full if (split := self._told(below))}
        exact = {below.path: split for below in folder.folders if (split := SPLIT_OF_WORD.get(_word(below.name), ""))}
        named = {below.path: split for below in folder.folders if (split := split_in(below.name))} | exact | told
        deep = [below for below in folder.full if not _is_flat(below)]
        all_named = all(below.path in named for below in folder.full)
        if not told and not (deep and all_named and len(folder.full) > 1):
            if self.level is not None and not (all_named and deep):
                return {}  # these folders may be classes that are called like splits: their level was told
            if not any(exact.get(below.path, "unlabelled") != "unlabelled" for below in deep):
                self._refuse_flat_splits(folder, exact, named if all_named else {})
                return {}
        return self._evals_resolved(folder, named if all_named else exact | told)

    def _refuse_flat_splits(self, folder: Folder, exact: dict[str, str], named: dict[str, str]) -> None:
        """Folders of images, called like splits, without folders of classes. One called train may be a class."""
        if self.level is not None or not all(_is_flat(below) for below in folder.full):
            return
        if named and (set(named) & set(exact) or len(set(named.values())) > 1):
            raise StudyError(
                f"{self.data.source}: no class folders in {_names(folder.full)}, which are called like splits; put the "
                "images into one folder per class inside, or say that these folders are the classes (config key "
                "data.class_level: 1)"
            )
        for below in folder.full:
            if exact.get(below.path, "train") != "train":
                beside = _names([other for other in folder.full if other is not below])
                raise StudyError(
                    f"{self.data.source}: the folder '{below.path}' is not called like a class and holds images but no "
                    f"class folders, beside {beside}; say what it is: not to be read (config key data.split_folders: "
                    f"{{{_key(below)}: ignore}}), or a class like the others (data.class_level: 1)"
                )

    def _evals_resolved(self, folder: Folder, splits: dict[str, str]) -> dict[str, str]:
        for path in [path for path, split in splits.items() if split == "eval"]:
            others = {"val", "test"} & set(splits.values())
            if len(others) == 2:
                name = _key(next(below for below in folder.folders if below.path == path))
                raise StudyError(
                    f"{self.data.source}: the folder '{path}' may be of the validation or of the test split, and there "
                    f"are folders for both ({_names(folder.folders)}); say what it is (config key data.split_folders: "
                    f"{{{name}: test}}, or train, val, ignore)"
                )
            splits[path] = "val" if "test" in others else "test"
        return splits

    def _refuse_two_of_one_split(self, holders: list[tuple[str, Folder]]) -> None:
        for split in SPLITS:
            same = [folder for of, folder in holders if of == split]
            if len(same) > 1 and not _are_pieces(same) and sum(not self._told(folder) for folder in same) > 1:
                raise StudyError(
                    f"{self.data.source}: {_names(same)} are all folders of the {split} split, so that they may be "
                    "pieces of it or variants of the same images; say what each is (config key data.split_folders: "
                    f"{{{_key(same[0])}: {split}, {_key(same[1])}: ignore}}; {split} for each of them reads all)"
                )

    def _add_classes(self, holder: Folder, split: str, known: set[str]) -> None:
        """The classes of a folder that holds their folders.

        Args:
            known: names of classes, whatever is in their folders.
        """
        if self.level is not None:
            self._add_level(holder, split)
            return
        if len(holder.full) > 1 and _are_pieces(holder.full):
            self._add_pieces(holder, split, known)
            return
        branching = [folder for folder in holder.full if folder.branches and folder.name not in known]
        if branching and not split and (of_images := self._splits_inside_classes(holder)):
            self.layout.classes += of_images
            self.layout.notes.append(f"{self.data.source}: the splits are folders inside the folders of the classes.")
            return
        # images that lie in a folder itself are of its class; beside a folder of images alone, that settles the level
        clear = any(folder.images and not folder.branches for folder in holder.full)
        if branching and not (clear and all(folder.images for folder in branching)):
            raise self._cannot_be_told(holder, branching)
        self._add(holder.folders, split)

    def _add(self, folders: Sequence[Folder], split: str) -> None:
        for folder in folders:
            if not (folder.images or folder.full):
                raise self._without_image(folder)
            self.layout.classes.append((folder, folder.name, split))

    def _add_level(self, holder: Folder, split: str) -> None:
        """The folders `data.class_level` levels down; a folder of images that lies less deep is a class as well."""
        assert self.level is not None
        folders, deepest = [holder], 0
        for level in range(1, self.level + 1):
            inside = [below for folder in folders for below in (folder.full if level < self.level else folder.folders)]
            if not inside:
                break
            deepest = level
            self._add([folder for folder in inside if level == self.level or not folder.full], split)
            folders = [self._unwrapped(folder) for folder in inside if folder.full]
        if deepest < self.level:
            raise StudyError(
                f"config key data.class_level: found {self.level}, allowed is at most {deepest}, the deepest level of "
                f"folders of images in {_where(holder, self.data.source)}"
            )

    def _add_pieces(self, holder: Folder, split: str, known: set[str]) -> None:
        """Numbered parts of one collection, merged: nothing says that they hold the same images, and the audit would
        find these as copies."""
        source = self.data.source
        if flat := [folder for folder in holder.full if not folder.full]:
            raise StudyError(
                f"{source}: the folders {_names(holder.full)} are called like pieces of one collection, and "
                f"'{flat[0].path}' holds images but no class folders; put the images into one folder per class, or say "
                "that these folders are the classes (config key data.class_level: 1)"
            )
        self.layout.notes.append(
            f"{source}: {_names(holder.full)} are read as pieces of one collection; folders of one name in them are "
            "one class (config key data.folder reads one of them alone)."
        )
        for piece in holder.full:
            inside = self._unwrapped(piece, split, known)
            if not split and (splits := self._splits(inside)):
                self._read_splits(inside, splits)
            else:
                self._add_classes(inside, split, known)

    def _splits_inside_classes(self, holder: Folder) -> list[tuple[Folder, str, str]]:
        """`class/split/…`: what each folder of images is, if all of them are called like splits; else nothing."""
        found = []
        for folder in holder.full:
            if folder.images:
                return []
            for below in folder.full:
                split = SPLIT_OF_WORD.get(_word(below.name), "")
                if below.branches or split not in SPLITS:
                    return []
                found.append((below, folder.name, split))
        return found

    def _without_image(self, folder: Folder) -> StudyError:
        only = f" (files of other kinds: {folder.files:,})" if folder.files else ""
        return StudyError(
            f"{self.data.source}: the class folder '{folder.path}/' holds no image{only}; add images, remove the "
            f"folder, or leave it out (config key data.split_folders: {{{_key(folder)}: ignore}})"
        )

    def _cannot_be_told(self, holder: Folder, branching: list[Folder]) -> StudyError:
        """Classes with folders inside, or folders of classes: the message says what was found and how to decide."""
        below = [_end(folder).full for folder in branching]
        inside = list({folder.name: folder for folders in below for folder in folders}.values())
        shared = len(below) > 1 and len(inside) < sum(map(len, below))
        level_1, level_2 = _names(holder.full), _names(inside, by_name=True)
        deep = set(branching)
        alone = [folder for folder in holder.full if folder not in deep]
        if alone:
            found = f"there are images in {_names(alone)}, but folders ({level_2}) in {_names(branching)}"
        elif shared:
            found = f"there are folders of the same names ({level_2}) in {level_1}"
        else:
            found = f"there are folders ({level_2}) in {level_1}"
        ways = [f"data.class_level: 1 if {level_1} are the classes"]
        if not any(split_in(folder.name) for folder in inside):
            level_2 = _names(list({folder.name: folder for folder in (*inside, *alone)}.values()), by_name=True)
            ways.append(f"data.class_level: 2 if {level_2} are" + ", one of each name" * shared)
        if shared:
            ways.append(f"data.folder: {_key(holder.full[0])} if they are variants of the same images")
        fewer = min(alone or branching, branching, key=len)
        ways.append(f"data.split_folders: {{{_key(fewer[-1])}: ignore}}, or train, val, test, if it is no class")
        return StudyError(
            f"{_where(holder, self.data.source)}: it cannot be told which folders the classes are: {found}. Say it in "
            f"the configuration: {'; or '.join(ways)}"
        )


def _word(name: str) -> str:
    """A name in lower case without numbers and signs around it: "01_Train" is "train"."""
    return re.sub(r"^[\W\d_]+|[\W\d_]+$", "", name.lower())


def split_in(name: str) -> str:
    """The split that the words of a name speak of: "seg_train", "TestImages", "train2017"; "" for none or several."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.findall(r"[^\W\d_]+", spaced.lower())
    joined = [first + second for first, second in pairwise(words)]  # "hold_out"
    splits = {SPLIT_OF_WORD[word] for word in (*words, *joined) if word in SPLIT_OF_WORD}
    return splits.pop() if len(splits) == 1 else ""


def _is_flat(folder: Folder) -> bool:
    """Whether a folder of a split holds no class folders: images, or one folder of images not called like a class."""
    while len(folder.full) == 1:
        only = folder.full[0]
        if not _says_no_class(only, folder):
            return False
        folder = only
    return not folder.full


def _says_no_class(folder: Folder, above: Folder) -> bool:
    """Whether a folder is called like the one above, like a split or by a word such as "images"."""
    return folder.name == above.name or _word(folder.name) in NO_CLASS_WORDS or bool(split_in(folder.name))


def _are_pieces(folders: Sequence[Folder]) -> bool:
    """Whether names differ in a number alone and have a word such as "part"."""
    stems = {re.sub(r"[\W\d_]+", " ", folder.name.lower()).strip() for folder in folders}
    return len(stems) == 1 and bool(PIECE_WORDS & set(stems.pop().split()))


def _end(folder: Folder) -> Folder:
    """The folder where several lie side by side, down from one that wraps it."""
    while len(folder.full) == 1:
        folder = folder.full[0]
    return folder


def _where(folder: Folder, source: str) -> str:
    return f"{source}, '{folder.path}'" if folder.path else source


def _names(folders: Sequence[Folder], by_name: bool = False) -> str:
    names = [f"'{folder.name if by_name else folder.path}'" for folder in folders[:SHOWN]]
    more = f" and {len(folders) - SHOWN} more" if len(folders) > SHOWN else ""
    return ", ".join(names) + more


def _key(folder: Folder) -> str:
    """A folder's path as it stands in YAML."""
    return as_yaml(folder.path)
