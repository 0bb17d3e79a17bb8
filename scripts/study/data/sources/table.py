"""A table of images and the folder that they lie in: in one file, in one per split, beside the images as Hugging Face's
imagefolder has it, or as COCO's JSON.

Entry points:
    recognises(source), TableSource(data)
    takes_folder(data)                                     whether a folder is read by the tables in it
    tables_of(source, settings) -> [Part]                  the tables that a file or folder is read by
    fingerprint(data) -> str                               what changes with the tables and with their images
    read_rows(…) -> Read, usable([Read]), listed(rows)     from the rows of tables to entries, for shards too
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from study.data.data_settings import DataSettings, TableSettings, as_yaml, files_below, names_and_sizes, tables_in
from study.data.decode import FULL_DEPTH, Picture, decode
from study.data.file_kinds import UnreadableError
from study.data.folder_tree import Entry, Listing, check_labels, read_tree
from study.data.sources import fer2013_csv, ferplus
from study.data.sources.coco_json import read_coco
from study.data.sources.column_names import plain, some_of, split_in_name, split_of_word, usual_columns
from study.data.sources.image_files import Found, ImageFiles
from study.data.sources.table_columns import NONE, Columns, NoLabelError, columns_of
from study.data.sources.table_labels import labels_of, named, refuse_an_id
from study.data.sources.tables import Cells, begins_with_an_image, first_row, is_table, read_cells
from study.errors import StudyError
from study.files import file_sha256

METADATA = "metadata"  # the stem of Hugging Face's tables
FILE_NAME = "filename"  # the column that they have, as `plain` writes it
# Where the names of images may say their split: train/1.jpg, train_1.jpg.
NAMED_SPLITS = {"folder": r"(?:\./)?([^/]+)/", "beginning": r"(?:.*/)?([A-Za-z]+)[_-][^/]*$"}


@dataclass(frozen=True)
class Part:
    """One table of a source.

    Attributes:
        path: of its file.
        split: that all its rows are of, by the name of the file or of its folder; "" if these say nothing.
    """

    path: Path
    split: str = ""


def recognises(source: str) -> bool:
    """Whether it names a table that is none of FER2013's, or a folder with `metadata.csv`, `.jsonl` or `.parquet`."""
    path = Path(source)
    if path.is_dir():
        return bool(_metadata(tables_in(path)))
    return _is_readable_form(path) and not fer2013_csv.recognises(source) and not ferplus.recognises(source)


def takes_folder(data: DataSettings) -> bool:
    """Whether a folder is read by the tables in it: it has no class folders, or `data.table` says how.

    One whose folders the configuration tells how to read is not; beside metadata `open_source` refuses that.

    `metadata.csv` and its like always are; `recognises` knows those.
    """
    path = Path(data.source)
    by_folders = data.folder or data.split_folders or data.class_level != "auto"
    if not path.is_dir() or by_folders or not tables_of(data.source, data.table):
        return False
    if data.table != TableSettings():
        return True
    try:
        read_tree(data, files_below(path))
    except StudyError:
        return True
    return False


def tables_of(source: str, settings: TableSettings) -> list[Part]:
    """The tables that a source is read by; none if it is a folder that has none or several of which none says a split.

    Raises:
        StudyError: several tables of one split, or metadata in several formats.
    """
    path = Path(source)
    if not path.is_dir():
        return [Part(path)]
    tables = tables_in(path)
    if metadata := _metadata(tables):
        if len({table.suffix.lower() for table in metadata}) > 1:
            raise StudyError(
                f"{path}: metadata in several formats ({some_of(map(str, metadata))}); allowed is one of them"
            )
        return [Part(table, _split_of_folder(table.parent.relative_to(path))) for table in metadata]
    tables = [table for table in tables if table.parent == path and _names_images(table, settings)]
    parts = [Part(table, split) for table in tables if (split := split_in_name(table.stem))]
    for part in parts:
        if several := [str(other.path) for other in parts if other.split == part.split and other != part]:
            raise StudyError(
                f"{path}: two tables of the {part.split} split, {part.path} and {several[0]}; name the one table that "
                "is to be read, or put the tables of one study into a folder of their own (config key data.source)"
            )
    return parts or ([Part(tables[0])] if len(tables) == 1 else [])


def _metadata(tables: Iterable[Path]) -> list[Path]:
    found = [table for table in tables if table.stem.lower() == METADATA and is_table(table)]
    return [table for table in found if FILE_NAME in map(plain, first_row(table, TableSettings()))]


def _is_readable_form(path: Path) -> bool:
    return is_table(path) or (path.suffix.lower() == ".json" and path.is_file() and path.stat().st_size > 0)


def _names_images(path: Path, settings: TableSettings) -> bool:
    """Whether a file in a folder is a table of images, by the names of its columns or by its first row."""
    if path.suffix.lower() == ".json":
        return b'"annotations"' in path.read_bytes()
    if not is_table(path) or fer2013_csv.recognises(str(path)) or ferplus.recognises(str(path)):
        return False
    try:
        names = first_row(path, settings)
    except StudyError:
        return False
    without_header = settings != TableSettings() and names[:2] == ["1", "2"]  # a list, as the configuration says
    usual = settings.image is not None or bool(usual_columns(names)["image"])
    return usual or without_header or begins_with_an_image(path, settings)


def _split_of_folder(folder: Path) -> str:
    return next((split for name in folder.parts if (split := split_in_name(name))), "")


@dataclass(frozen=True)
class Read:
    """One table, read and its files found; index of `rows` as of `cells.table`."""

    part: Part
    cells: Cells
    columns: Columns
    rows: pd.DataFrame  # image_id, label, split ("ignore" to leave out), group, and the kept columns behind `kept.`
    found: Found
    notes: list[str]


def _root(data: DataSettings) -> Path:
    if data.table.root is not None:
        return Path(data.table.root)
    path = Path(data.source)
    return path if path.is_dir() else path.parent


def _cells(path: Path, settings: TableSettings) -> Cells:
    return read_coco(path) if path.suffix.lower() == ".json" else read_cells(path, settings)


def _found(cells: Cells, image: str, files: ImageFiles) -> Found:
    names = cells.table[image].str.strip()
    if (empty := names == "").any():
        raise StudyError(
            f"{cells.row(names.index[empty][0])}, column '{image}': empty, allowed is the name of an image"
        )
    index = cells.table.index
    return files.find(_listed(names), cells.path.parent, lambda place: cells.row(index[place]))


def fingerprint(data: DataSettings) -> str:
    """What changes with a source's tables and with the names and sizes of their images; "" if no table is read.

    Raises:
        StudyError: as `TableSource` does.
    """
    if ferplus.recognises(data.source):
        tables = [Path(data.source), ferplus.pixel_table(data.source, data.table.root)]
        return hashlib.sha256("".join(map(file_sha256, tables)).encode()).hexdigest()
    if not (recognises(data.source) or takes_folder(data)):
        return ""
    tables = [part.path for part in tables_of(data.source, data.table)]
    digest = names_and_sizes(_root(data), _files_named(data, tables))
    for table in tables:
        digest.update(file_sha256(table).encode())
    return digest.hexdigest()


def _files_named(data: DataSettings, tables: Iterable[Path]) -> list[str]:
    """Every path that tables name, and every image beside them, sorted; from the root."""
    files = ImageFiles(_root(data), data.table.suffix)
    names: set[str] = set()
    for path in tables:
        cells = _cells(path, data.table)
        try:
            image = columns_of(cells, data.table).image
        except NoLabelError:
            continue
        names.update(_found(cells, image, files).files)
    return sorted({*names, *files.without_row(names)})


class TableSource(Listing):
    """The images that a table names, or several tables together.

    The id of an image is its path from the root. A row without a file is an image that cannot be read: it counts
    against `data.max_unreadable`, and the manifest says why it was dropped.
    """

    def __init__(self, data: DataSettings) -> None:
        self.root, self.max_pixels = _root(data), data.max_pixels
        parts = tables_of(data.source, data.table)
        files = ImageFiles(self.root, data.table.suffix)
        self.notes, read = [], []
        for part in parts:
            try:
                read.append(_read(part, data, files))
            except NoLabelError:
                if part.split in ("", "train"):
                    raise
                self.notes.append(f"{part.path}: no column with the class; the images of this table are set aside.")
        self.notes += dict.fromkeys(note for one in read for note in one.notes)
        refuse_idle_words(read, data.table)
        rows, self.ignored = usable(read)
        named_ids = {name for one in read for name in one.found.files}
        if beside := files.without_row(named_ids):
            self.ignored["without_row"] = beside
            self.notes.append(f"{data.source}: {len(beside):,} images in the same folders have no row in the table.")
        rows["label"] = named(rows["label"], data.class_names, data.source)
        for one in read:
            refuse_an_id(rows["label"], one.columns.label[0], one.cells.path)
        rows = _once(rows, read, self.notes)
        self.entries, self.columns = listed(rows)
        missing = sorted({name for one in read for name in one.found.missing} & set(rows["image_id"]))
        if missing:
            self.notes.append(
                f"Warning: {data.source}: {len(missing):,} images of the table have no file below {self.root} "
                f"({some_of(missing)}); they count as unreadable (config key data.max_unreadable)."
            )
        check_labels(data.source, self.entries)

    def read(self, image_id: str, bit_depth: int = FULL_DEPTH) -> Picture:
        path = self.root / image_id
        if not path.exists():
            raise UnreadableError("no file of this name, which a row of the table has")
        return decode(path, self.max_pixels, bit_depth)


def refuse_idle_words(read: list[Read], settings: TableSettings) -> None:
    """Raise StudyError for `data.table.splits` where no table has its splits from a column."""
    by_name = settings.split is None
    if settings.splits and not any(one.columns.split and not (by_name and one.part.split) for one in read):
        cells = read[0].cells
        raise StudyError(
            f"config key data.table.splits: {some_of(map(repr, settings.splits))} found, but no column of {cells.path} "
            f"is read for its splits; name it (data.table.split; found: {cells.found()}), or leave the words out"
        )


def usable(read: list[Read]) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """All rows but those to leave out and those without a class, and these images by a key of `leftovers.KINDS`.

    `table` and `row` say where each row stands: in which of `read`, and with which index.

    Raises:
        StudyError: no row is left.
    """
    rows = pd.concat([one.rows.assign(table=number, row=one.rows.index) for number, one in enumerate(read)])
    rows = rows.fillna("").reset_index(drop=True)
    left_out, unlabelled = rows["split"] == "ignore", rows["label"] == ""
    ignored = {}
    for kind, where in (("left_out", left_out), ("no_label", unlabelled & ~left_out)):
        if where.any():
            ignored[kind] = sorted(set(rows.loc[where, "image_id"]))
    rows = rows[~left_out & ~unlabelled].reset_index(drop=True)
    if rows.empty:
        raise StudyError(f"{read[0].cells.path}: no row is left with a class and a split that is not 'ignore'")
    return rows, ignored


def listed(rows: pd.DataFrame) -> tuple[list[Entry], dict[str, Sequence[str]]]:
    """The rows as entries, sorted by id, and what else they say, as `Source.columns` has it."""
    rows = rows.sort_values("image_id", kind="stable")
    cells = zip(*(_listed(rows[name]) for name in ("image_id", "label", "split", "group")), strict=True)
    kept = [name for name in rows.columns if name.startswith("kept.")]
    return [Entry(*row) for row in cells], {name.removeprefix("kept."): rows[name].array for name in kept}


def _read(part: Part, data: DataSettings, files: ImageFiles) -> Read:
    cells = _cells(part.path, data.table)
    columns = columns_of(cells, data.table)
    return read_rows(part, cells, columns, _found(cells, columns.image, files), data.table)


def read_rows(part: Part, cells: Cells, columns: Columns, found: Found, settings: TableSettings) -> Read:
    """What the rows of a table say, once their columns and files are known.

    Raises:
        StudyError: several classes in a row, or a word for a split that is none.
    """
    labels = labels_of(cells, columns.label)
    splits, note = _splits(cells, columns, part, settings)
    rows = pd.DataFrame({"image_id": pd.Series(found.files, cells.table.index, dtype="str"), "label": labels.labels})
    rows["split"] = splits
    rows["group"] = cells.table[columns.group].str.strip() if columns.group else ""
    for name in columns.kept:
        rows[f"kept.{name}"] = cells.table[name]
    of_files = [f"{part.path}: {sentence}" for sentence in found.notes]
    return Read(part, cells, columns, rows, found, [columns.note, *labels.notes, *([note] if note else []), *of_files])


def _splits(cells: Cells, columns: Columns, part: Part, settings: TableSettings) -> tuple[pd.Series | str, str]:
    """The split of each row, and a sentence on where it is taken from if no column or file says it."""
    if settings.split == NONE:
        return "", ""
    if part.split and settings.split is None:
        return part.split, f"{part.path}: read as the {part.split} split, by its name or its folder's."
    if columns.split:
        return _mapped(cells, columns.split, settings), ""
    names = cells.table[columns.image].str.replace("\\", "/", regex=False)
    for what, pattern in NAMED_SPLITS.items():
        if not re.match(pattern, names.iloc[0]):
            continue
        words = names.str.extract(pattern, expand=False).fillna("")
        splits = words.map({word: split_of_word(word) for word in words.unique()}).astype("str")
        found = sorted(splits.unique())
        if "" not in found and len(found) > 1:
            return splits, f"{part.path}: splits ({', '.join(found)}) from the {what} of the images' names."
    return "", ""


def _mapped(cells: Cells, column: str, settings: TableSettings) -> pd.Series:
    """The splits that the cells of a column say, "ignore" included.

    Raises:
        StudyError: a word that is no split and that the configuration does not explain.
    """
    words = cells.table[column].str.strip()
    known = {word: settings.splits.get(word) or split_of_word(word) for word in words.unique()}
    if unknown := sorted(word for word, split in known.items() if word and not split):
        are = "are" if len(unknown) > 1 else "is"
        raise StudyError(
            f"{cells.path}, column '{column}': {some_of(map(repr, unknown))} {are} no split; say what each is "
            f"(config key data.table.splits: {{{as_yaml(unknown[0])}: train}}, or val, test, ignore), or that the "
            "column is none (data.table.split: none)"
        )
    if idle := sorted(set(settings.splits) - set(known)):
        raise StudyError(
            f"config key data.table.splits: no cell of the column '{column}' of {cells.path} is '{idle[0]}'; found: "
            f"{some_of(map(repr, sorted(known)))}"
        )
    return words.map(known).astype("str")


def _once(rows: pd.DataFrame, read: list[Read], notes: list[str]) -> pd.DataFrame:
    """One row per image.

    Raises:
        StudyError: rows of one image that have different classes, splits or groups.
    """
    again = rows["image_id"].duplicated()
    if not again.any():
        return rows
    several = rows[rows["image_id"].duplicated(keep=False)]
    for column, what in (("label", "classes"), ("split", "splits"), ("group", "groups")):
        values = several.groupby("image_id", sort=False)[column].nunique()
        if (values > 1).any():
            image = values.index[values > 1][0]
            of_image = several[several["image_id"] == image].drop_duplicates(column).head(2)
            where = " and ".join(read[row.table].cells.row(row.row) for row in of_image.itertuples())
            raise StudyError(
                f"{where}: the image '{image}' has different {what}, {some_of(map(repr, of_image[column]))}; every "
                f"image has one: correct the table, or remove rows ({int((values > 1).sum()):,} images are so)"
            )
    notes.append(
        f"{int(again.sum()):,} rows name an image that an earlier row has, with the same class; it counts once."
    )
    return rows[~again]


def _listed(column: pd.Series) -> list[str]:
    """Its cells as Python's strings, all at once: one by one takes ten times as long."""
    return list(column.to_numpy(dtype=object))
