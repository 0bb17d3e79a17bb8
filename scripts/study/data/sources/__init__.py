"""One way in for every source of images. Nothing else touches raw files.

A source lists its images without decoding them, and decodes one at a time. It can be pickled, so that other processes
decode as well. To add one: a module beside this one, its record in READERS, and the description of `data.source` in
config/schemas/config.schema.yaml.

Entry points:
    open_source(data) -> Source                            what `data.source` names, whatever its form
    reader_of(data) -> Reader                              which of READERS that is
    forms_in_words() -> str                                "the word 'digits' …, a folder …, a zip or …"
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from study.data.data_settings import DIGITS, DataSettings, TableSettings, tables_in
from study.data.decode import FULL_DEPTH, Picture
from study.data.folder_tree import OFFICIAL_SPLITS, Entry, NoClassFolderError
from study.data.sources import arrays, digits, fer2013_csv, ferplus, folder, shards, table, zip_archive
from study.data.sources.column_names import some_of
from study.errors import StudyError


class Source(Protocol):
    """Images that can be listed and decoded.

    Attributes:
        entries: every image, sorted by id where the source has no order of its own.
        ignored: files that are read as no image of a class, by a key of `study.data.leftovers.KINDS`.
        notes: sentences for the log: how the source was read, and what may be wrong about it.
        columns: what else the source says of each image, as text in the order of `entries`, by the name of the column.
    """

    entries: list[Entry]
    ignored: dict[str, list[str]]
    notes: list[str]
    columns: Mapping[str, Sequence[str]]

    def read(self, image_id: str, bit_depth: int = FULL_DEPTH) -> Picture:
        """Decode one image.

        Args:
            bit_depth: bits that samples of 16 bits use, where the source may hold such.

        Raises:
            UnreadableError: there is no image in it.
        """


@dataclass(frozen=True)
class Reader:
    """One form that a source of images may have.

    Attributes:
        form: in words, as it stands in a list of what `data.source` may name.
        recognises: whether `data.source` is of this form; may look at the file. It is of the first that says so.
        open: lists the images; a StudyError says what is wrong with them.
        official_splits: in words, where the source's own splits are taken from; empty if it has none.
        suffix: of a file that somebody may have left inside a folder or zip without naming it; empty for none.
        names_classes: whether it calls its classes by `data.class_names`.
        reads_table: whether it reads a table by `data.table`.
    """

    form: str
    recognises: Callable[[str], bool]
    open: Callable[[DataSettings], Source]
    official_splits: str = ""
    suffix: str = ""
    names_classes: bool = False
    reads_table: bool = False


TABLE = Reader(
    "a table of images and their classes (CSV, TSV, Parquet, JSON lines, COCO's JSON), or the folder that holds it",
    table.recognises,
    table.TableSource,
    "the table's column of splits, or the name of its file (train.csv, test.csv)",
    names_classes=True,
    reads_table=True,
)
READERS = (
    Reader(
        f"the word '{DIGITS}' (scikit-learn's, nothing to fetch)",
        digits.recognises,
        digits.DigitsSource,
        "data.digits_tail: train",
    ),
    TABLE,
    Reader(
        "Parquet with the images in it, or a folder of such shards (train-00000-of-00002.parquet)",
        shards.recognises,
        shards.ShardSource,
        "the names of the shards (train-…, test-…) or of their folders",
        names_classes=True,
        reads_table=True,
    ),
    Reader(
        "arrays of NumPy (.npz with train_images, train_labels …)",
        arrays.recognises,
        arrays.ArraySource,
        "the names of the arrays (train_images, x_test)",
        suffix=".npz",
        names_classes=True,
    ),
    Reader("a folder with one folder per class", folder.recognises, folder.FolderSource, OFFICIAL_SPLITS),
    Reader("a zip of class folders", zip_archive.recognises, zip_archive.ZipSource, OFFICIAL_SPLITS, suffix=".zip"),
    Reader(
        "a CSV with the columns emotion, pixels, Usage (fer2013.csv, icml_face_data.csv)",
        fer2013_csv.recognises,
        fer2013_csv.Fer2013Source,
        "the CSV's column Usage",
        suffix=".csv",
    ),
    Reader(
        "FER+'s fer2013new.csv beside FER2013's",
        ferplus.recognises,
        ferplus.FerPlusSource,
        "the CSV's column Usage",
        names_classes=True,
        reads_table=True,
    ),
)


def open_source(data: DataSettings) -> Source:
    """List the images of `data.source`.

    Raises:
        StudyError: the source is missing, empty, of another form, unsafe, or its tree or table is not as expected.
    """
    reader = reader_of(data)
    if reader.official_splits != OFFICIAL_SPLITS:
        for key, found, nothing in (
            ("folder", data.folder, "null"),
            ("split_folders", data.split_folders, "{}"),
            ("class_level", "" if data.class_level == "auto" else data.class_level, "auto"),
        ):
            if found:
                raise StudyError(
                    f"config key data.{key}: found {found}, but {data.source} is read as {reader.form}, not by its "
                    f"folders; allowed is {nothing}"
                )
    if data.class_names and not reader.names_classes:
        raise StudyError(
            f"config key data.class_names: found {len(data.class_names)} names, but the classes of {data.source} have "
            "names; allowed is {}, as names are given to the labels of a table or an array"
        )
    if data.table != TableSettings() and not reader.reads_table:
        raise StudyError(
            f"config key data.table: {data.source} is read as {reader.form}, not by a table; allowed is {{}}, or the "
            f"table's path as data.source{_tables_there(Path(data.source))}"
        )
    try:
        return reader.open(data)
    except NoClassFolderError as error:
        raise StudyError(f"{error}{_hint(error.files)}") from None


def reader_of(data: DataSettings) -> Reader:
    """The reader that has `data.source`.

    Raises:
        StudyError: the source is missing, empty or of another form.
    """
    for reader in READERS:
        if reader.recognises(data.source) or (reader is TABLE and table.takes_folder(data)):
            return reader
    path = Path(data.source)
    if path.is_file() and path.stat().st_size == 0:
        raise StudyError(f"{path}: the file is empty; fetch or copy it again")
    if path.is_file():
        what = zip_archive.what_it_is(path) or (
            "the file is no source of images that can be read, or it is damaged; fetch or copy it again"
        )
    else:
        what = "the source of images does not exist"
    raise StudyError(f"{path}: {what} (config key data.source); allowed are {forms_in_words()}")


def _tables_there(path: Path) -> str:
    """The tables in a folder, as the end of a sentence."""
    found = tables_in(path) if path.is_dir() else []
    return f" (found: {some_of(str(table) for table in found)})" if found else ""


def _hint(files: list[str]) -> str:
    """What to do where a folder or a zip holds another source instead of folders of classes."""
    suffixes = tuple(reader.suffix for reader in READERS if reader.suffix)
    inside = [name for name in files if name.lower().endswith(suffixes)]
    return f"; to read '{inside[0]}' in it, name that file (unpacked) as data.source" if inside else ""


def forms_in_words() -> str:
    """Every form that `data.source` may have."""
    return _joined([reader.form for reader in READERS])


def official_splits_in_words() -> str:
    """Every place that official splits are taken from."""
    return _joined([reader.official_splits for reader in READERS if reader.official_splits])


def _joined(phrases: list[str]) -> str:
    *most, last = dict.fromkeys(phrases)
    return f"{', '.join(most)} or {last}" if most else last
