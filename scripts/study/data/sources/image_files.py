"""The files of images that the rows of a table name.

Entry points:
    ImageFiles(root, suffix)                               what lies below a folder
    ImageFiles.find(names, folder, row) -> Found           the file of each name
"""

import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from study.data.data_settings import files_below
from study.data.folder_tree import check_name
from study.data.leftovers import kind_of
from study.data.sources.tables import IMAGE_SUFFIXES
from study.errors import StudyError

HOW = {
    "suffix": "by data.table.suffix",
    "extension": "by their names without extension",
    "below": "in folders that the table does not name",
}
Row = Callable[[], str]  # what messages call the row of a name
SUFFIXES = frozenset(IMAGE_SUFFIXES)
AMBIGUOUS = ""  # in an index, for what several files are called


@dataclass(frozen=True)
class Found:
    """What a table's names were found to be.

    Attributes:
        files: the path of each name from the root, with "/" between the parts; the name itself where there is no file.
        missing: names without a file.
        notes: sentences for the log.
    """

    files: list[str]
    missing: set[str]
    notes: list[str]


class ImageFiles:
    """Files below a folder, found by what tables call them.

    A name is tried as a path from the table's folder and from the root, then with `suffix` in the place of its own
    extension or behind it, then with any other extension. Only a name without folders is then looked for below the
    root, where it must be the only one.

    Args:
        root: the folder. Nothing outside it is read.
        suffix: `data.table.suffix`.
    """

    def __init__(self, root: Path, suffix: str | None = None) -> None:
        if not root.is_dir():
            raise StudyError(f"config key data.table.root: the folder {root} does not exist; name the images' folder")
        self.root, self.suffix = root, suffix
        self.names = [name for name in files_below(root) if not name.endswith("/") and not kind_of(name)]
        self.exact = set(self.names)
        self._without_extension: dict[str, str] = {}
        self._by_name: dict[str, str] = {}
        self._by_stem: dict[str, str] = {}

    def find(self, names: Sequence[str], folder: Path, row: Callable[[int], str]) -> Found:
        """The file of each name.

        Args:
            names: as the table has them.
            folder: of the table.
            row: what messages call the row of the name at a place.

        Raises:
            StudyError: a path outside the root, a name that fits several files, no file for any name.
        """
        here = _inside(folder, self.root)
        files: list[str] = []
        missing: set[str] = set()
        known: dict[str, tuple[str, str]] = {}
        ways = Counter[str]()
        for place, name in enumerate(names):
            if name not in known:
                known[name] = self._file(partial(row, place), name, here)
            file, way = known[name]
            ways[way] += 1
            if not file:
                missing.add(file := name)
            files.append(file)
        if names and len(missing) == len(known):
            raise StudyError(
                f"{row(0)}: no file '{names[0]}' below {self.root}, and none for any other row; name the folder "
                "that the paths start from (config key data.table.root), or what is appended to the names "
                "(data.table.suffix)"
            )
        notes = [f"{count:,} images were found {HOW[way]}." for way, count in ways.items() if way in HOW]
        return Found(files, missing, notes)

    def without_row(self, found: Iterable[str]) -> list[str]:
        """Files that may be images and that no row names, in the uppermost folders that hold named ones."""
        named = self.exact.intersection(found)
        folders = {_uppermost(name) for name in named}
        return [name for name in self.names if name not in named and _uppermost(name) in folders]

    def _file(self, row: Row, name: str, here: str | None) -> tuple[str, str]:
        """The file of a name ("" for none), and how it was found."""
        paths = self._paths(row, name, here)
        for path in paths:
            if path in self.exact:
                return path, ""
        if self.suffix:
            for path in paths:
                for candidate in (path + self.suffix, _stem(path) + self.suffix):
                    if candidate in self.exact:
                        return candidate, "suffix"
        self._index()
        if not self.suffix:
            for path in paths:
                if file := self._only(row, name, self._without_extension, _stem(path)):
                    return file, "extension"
        if "/" in name or "\\" in name:
            return "", "missing"
        if self.suffix:
            wanted = [name + self.suffix, _stem(name) + self.suffix]
            files = [self._only(row, name, self._by_name, one) for one in wanted]
        else:
            files = [self._only(row, name, self._by_name, name), self._only(row, name, self._by_stem, _stem(name))]
        file = next((one for one in files if one), "")
        return file, "below" if file else "missing"

    def _paths(self, row: Row, name: str, here: str | None) -> list[str]:
        """A name as paths from the root: as it stands in the table's folder, and as it stands in the root."""
        check_name(str(self.root), name)
        path = name.replace("\\", "/")
        if path.startswith("/") or path[1:3] == ":/":
            inside = _inside(Path(path), self.root)
            candidates = [inside] if inside is not None else []
        elif path[:1] != "." and "//" not in path and "/." not in path and not (here or "").startswith("."):
            candidates = [f"{here}/{path}", path] if here else [path]
        else:
            candidates = [posixpath.normpath(posixpath.join(start, path)) for start in (here, "") if start is not None]
            candidates = [one for one in dict.fromkeys(candidates) if one != ".." and not one.startswith("../")]
        if not candidates:
            raise StudyError(
                f"{row()}: the path '{name}' leads out of {self.root}; allowed are paths below it. If the images lie "
                "elsewhere, name the folder that holds them all (config key data.table.root)"
            )
        return candidates

    def _index(self) -> None:
        if self._by_name or not self.names:
            return
        for path in self.names:
            for index, key in zip((self._without_extension, self._by_name, self._by_stem), _keys(path), strict=True):
                index[key] = AMBIGUOUS if key in index else path

    def _only(self, row: Row, name: str, index: dict[str, str], key: str) -> str:
        """The file that an index has for a key; "" for none."""
        file = index.get(key)
        if file == AMBIGUOUS:
            several = [one for one in self.names if key in _keys(one)]
            raise StudyError(
                f"{row()}: the name '{name}' fits several files below {self.root} ({', '.join(several[:3])}); say "
                "which folder or ending is meant (config keys data.table.root, data.table.suffix)"
            )
        return file or ""


def _inside(path: Path, root: Path) -> str | None:
    """A path as it stands below the root, "" for the root itself; None for one outside."""
    for one, other in ((path.absolute(), root.absolute()), (path.resolve(), root.resolve())):
        relative = os.path.relpath(one, other).replace(os.sep, "/")
        if relative == ".":
            return ""
        if relative != ".." and not relative.startswith("../"):
            return relative
    return None


def _keys(path: str) -> tuple[str, str, str]:
    """What a file may be called: its path without extension, its name, its name without extension."""
    name = path.rpartition("/")[2]
    return _stem(path), name, _stem(name)


def _uppermost(path: str) -> str:
    """The uppermost folder of a path, "" for a file that lies in the root."""
    return path.partition("/")[0] if "/" in path else ""


def _stem(path: str) -> str:
    """A path without the extension of an image."""
    dot = path.rfind(".")
    return path[:dot] if path[dot:].lower() in SUFFIXES else path
