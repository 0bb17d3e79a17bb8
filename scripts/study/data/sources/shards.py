"""Parquet shards with the images in them, as Hugging Face's hub has data sets: `train-00000-of-00002.parquet`.

Entry points:
    recognises(source), ShardSource(data)
"""

import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from study.data.data_settings import DataSettings, TableSettings, files_below
from study.data.decode import FULL_DEPTH, Picture, decode
from study.data.file_kinds import HEAD, UnreadableError, never_read
from study.data.folder_tree import Listing, check_labels
from study.data.leftovers import kind_of
from study.data.sources.column_names import plain, split_in_name, usual_columns
from study.data.sources.image_files import Found
from study.data.sources.table import Part, Read, listed, read_rows, refuse_idle_words, usable
from study.data.sources.table_columns import NoLabelError, columns_of
from study.data.sources.table_labels import named, refuse_an_id
from study.data.sources.tables import PARQUET, Cells, as_text
from study.errors import StudyError, naming_trouble

DEPTH = 2  # folders below the source in which shards may lie: data/, default/train/
NUMBERED = re.compile(r"-(\d{5})-of-(\d{5})$")  # behind the name of a split, which shard of how many it is
AT_ONCE = 16  # images in memory of each process
BUFFER = 1 << 20  # bytes read at once


def recognises(source: str) -> bool:
    """Whether it names Parquet with images in it, or a folder with such shards."""
    return any(_is_shard(path) for path in _parquet_files(Path(source)))


def _parquet_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path] if path.suffix.lower() == PARQUET and path.is_file() else []
    found = [file for depth in range(DEPTH + 1) for file in path.glob("*/" * depth + f"*{PARQUET}") if file.is_file()]
    return sorted(file for file in found if kind_of(file.relative_to(path).as_posix()) != "system")


def _is_shard(path: Path) -> bool:
    """Whether Parquet holds images; a damaged file does if it is called like a shard."""
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return bool(NUMBERED.search(path.stem))
    return any(_holds_images(field) for field in schema)


def _holds_images(field: pa.Field) -> bool:
    """Whether a column is `struct<bytes, path>`, or bytes under a usual name of images."""
    if pa.types.is_struct(field.type):
        return any(inner.name == "bytes" and _is_bytes(inner.type) for inner in field.type)
    return _is_bytes(field.type) and plain(field.name) in ("image", "img", "jpg", "jpeg", "png", "webp", "picture")


def _is_bytes(type_: pa.DataType) -> bool:
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_)


@dataclass(frozen=True)
class Shard:
    """Where the images of one file are.

    Attributes:
        path: of the file.
        column: with the images.
        ends: number of rows up to the end of each row group, that included.
    """

    path: Path
    column: str
    ends: tuple[int, ...]

    def batches(self, group: int) -> Iterator[pa.Array]:
        """The images of a row group, `AT_ONCE` at a time."""
        with pq.ParquetFile(self.path, buffer_size=BUFFER, pre_buffer=False) as file:
            for batch in file.iter_batches(AT_ONCE, row_groups=[group], columns=[self.column], use_threads=False):
                yield batch.column(0)


class ShardSource(Listing):
    """Images in the rows of Parquet: `<shard>/row_<n>` is row n of the file, from 1.

    Splits are those of the names (`train-00000-of-00002.parquet`, `test/0000.parquet`), classes have the names that the
    file itself gives to their numbers (ClassLabel, in the schema's metadata). Other columns are read as a table's.

    Images are read forwards, a few at a time, so that a shard of any size takes little memory.
    """

    def __init__(self, data: DataSettings) -> None:
        source = Path(data.source)
        self.root = source if source.is_dir() else source.parent
        self.max_pixels = data.max_pixels
        files = [path for path in _parquet_files(source) if _is_shard(path)]
        _refuse_several_sets(source, [path.relative_to(self.root) for path in files])
        self.shards, read = {}, []
        self.notes = [f"{data.source}: images in {len(files):,} files of Parquet.", *_missing_shards(files)]
        unpacked = 0
        for path in files:
            name = path.relative_to(self.root).as_posix()
            part = Part(path, _split_of(path.relative_to(self.root)))
            with naming_trouble(path):
                metadata = _metadata(path)
                self.shards[name] = _shard(path, metadata, data.table)
                unpacked += sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
                if metadata.num_rows == 0:
                    continue
                try:
                    read.append(_read(part, name, self.shards[name], data.table))
                except NoLabelError:
                    if part.split in ("", "train"):
                        raise
                    self.notes.append(f"{path}: no column with the class; the images of this file are set aside.")
        if unpacked > data.max_unpacked_bytes:
            raise StudyError(
                f"{data.source}: the Parquet expands to {unpacked:,} bytes, allowed are max_unpacked_bytes = "
                f"{data.max_unpacked_bytes:,} (config key data.max_unpacked_bytes)"
            )
        if not read:
            raise StudyError(f"{data.source}: no row in {len(files)} files of Parquet; each row is one image")
        self.notes += _notes(read)
        refuse_idle_words(read, data.table)
        rows, self.ignored = usable(read)
        if source.is_dir():
            self.ignored |= _other_files(source, self.shards)
        rows["label"] = named(rows["label"], data.class_names, data.source)
        refuse_an_id(rows["label"], read[0].columns.label[0], read[0].cells.path)
        self.entries, self.columns = listed(rows)
        check_labels(data.source, self.entries)
        self._rewind()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "max_pixels": self.max_pixels, "shards": self.shards}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._rewind()

    def read(self, image_id: str, bit_depth: int = FULL_DEPTH) -> Picture:
        name, _, row = image_id.rpartition("/row_")
        path = self.root / name
        try:
            with naming_trouble(path):
                cell = self._cell(self.shards[name], int(row) - 1)
        except (pa.ArrowException, OSError) as error:
            raise StudyError(f"{path}: damaged ({error}); fetch or copy the file again") from None
        content, hint = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
        if content is None:
            beside = f", only the path '{hint}': save the data set with its images in it" if hint else ""
            raise UnreadableError(f"no image in the row{beside}")
        return decode(io.BytesIO(content), self.max_pixels, bit_depth, hint or image_id)

    def _rewind(self) -> None:
        self._place: tuple[str, int] | None = None  # of the row group that is being read
        self._first, self._batch, self._batches = 0, pa.array([]), iter(())

    def _cell(self, shard: Shard, row: int) -> Any:
        """The image of a row, from 0. One behind the last one is found further on, any other from its group's start."""
        group = int(np.searchsorted(shard.ends, row, side="right"))
        inside = row - (shard.ends[group - 1] if group else 0)
        if self._place != (shard.path.as_posix(), group) or inside < self._first:
            self._rewind()
            self._place, self._batches = (shard.path.as_posix(), group), shard.batches(group)
        while inside >= self._first + len(self._batch):
            self._first += len(self._batch)
            self._batch = next(self._batches)
        return self._batch[inside - self._first].as_py()


def _metadata(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        with path.open("rb") as file:
            what = never_read(file.read(HEAD), path.name) or f"not a readable Parquet file ({error})"
        raise StudyError(f"{path}: {what}; fetch or copy it again") from None


def _shard(path: Path, metadata: pq.FileMetaData, settings: TableSettings) -> Shard:
    rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    schema = metadata.schema.to_arrow_schema()
    columns = [field.name for field in schema if _holds_images(field)]
    if settings.image is not None:
        chosen = [name for name in columns if plain(name) == plain(str(settings.image))]
    else:
        chosen = usual_columns(columns)["image"][:1] or columns
    if len(chosen) != 1:
        raise StudyError(
            f"{path}: the columns {', '.join(map(repr, columns))} hold images; name the one that is to be read (config "
            "key data.table.image)"
        )
    return Shard(path, chosen[0], tuple(np.cumsum(rows).tolist()))


def _read(part: Part, name: str, shard: Shard, settings: TableSettings) -> Read:
    """The rows of a shard but for their images."""
    schema = pq.read_schema(part.path)
    flat = [field.name for field in schema if _is_flat(field, settings) and field.name != shard.column]
    table = pq.read_table(part.path, columns=flat) if flat else pa.table({})
    rows = shard.ends[-1]
    ids = [f"{name}/row_{row:0{len(str(rows))}}" for row in range(1, rows + 1)]
    of_images = pd.DataFrame({shard.column: pd.Series(ids, dtype="str")})
    cells = Cells(part.path, of_images.join(as_text(part.path, table)) if flat else of_images, 1)
    columns = columns_of(cells, replace(settings, image=shard.column))
    read = read_rows(part, cells, columns, Found(ids, set(), []), settings)
    names = _class_names(schema, columns.label[0]) if len(columns.label) == 1 else []
    if names:
        labels = read.rows["label"]
        known = {str(number): label for number, label in enumerate(names)} | {"": "", "-1": ""}  # −1: no label
        if unknown := sorted(set(labels.unique()) - set(known)):
            raise StudyError(
                f"{cells.row(labels.index[labels == unknown[0]][0])}, column '{columns.label[0]}': found "
                f"'{unknown[0]}', allowed is a number from 0 to {len(names) - 1} ({', '.join(names[:8])} …), or -1 for "
                "none"
            )
        read.rows["label"] = labels.map(known).astype("str")
    return read


def _is_flat(field: pa.Field, settings: TableSettings) -> bool:
    """Whether a column is read as one of a table; a list is where it may be the class, which is then refused."""
    if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
        return bool(usual_columns([field.name])["label"]) or field.name == settings.label
    return not pa.types.is_nested(field.type) and not _is_bytes(field.type)


def _class_names(schema: pa.Schema, column: str) -> Sequence[str]:
    """The names of a column's numbers, as Hugging Face's `datasets` writes them into the schema; none without."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, TypeError, ValueError):
        return []
    return [str(name) for name in names]


def _split_of(path: Path) -> str:
    """The split that the name of a shard speaks of, or that of a folder it lies in."""
    return next((split for name in (path.stem, *reversed(path.parent.parts)) if (split := split_in_name(name))), "")


def _refuse_several_sets(source: Path, files: Sequence[Path]) -> None:
    """Raise StudyError for shards that lie in several folders which are no splits, as those of several data sets do."""
    folders = {"/".join(name for name in path.parent.parts if not split_in_name(name)) for path in files}
    if len(folders) > 1:
        raise StudyError(
            f"{source}: shards in several folders ({', '.join(sorted(name or '.' for name in folders))}), as of "
            "several data sets; name the one that is to be read (config key data.source)"
        )


def _missing_shards(files: Sequence[Path]) -> Iterator[str]:
    """A warning for each set of numbered shards that is not whole."""
    found, said = Counter[Path](), {}
    for path in files:
        if match := NUMBERED.search(path.stem):
            kind = path.with_name(path.stem[: match.start()])
            found[kind] += 1
            said[kind] = int(match[2])
    for kind, count in said.items():
        if found[kind] < count:
            yield (
                f"Warning: {kind}: {found[kind]} of {count} shards are there; fetch the others, or the study is of a "
                "part."
            )


def _notes(read: Sequence[Read]) -> list[str]:
    """What was read how, once for all files of which the same is said."""
    files: dict[str, list[str]] = {}
    for one in read:
        for note in one.notes:
            where, _, said = note.partition(": ")
            files.setdefault(re.sub(r"^[\d,]+ rows, ", "", said), []).append(where)
    return [f"{paths[0]}{f' and {len(paths) - 1:,} more' * (len(paths) > 1)}: {said}" for said, paths in files.items()]


def _other_files(folder: Path, shards: Mapping[str, Shard]) -> dict[str, list[str]]:
    """What lies beside the shards, by a key of `study.data.leftovers.KINDS`."""
    ignored: dict[str, list[str]] = {}
    for name in files_below(folder):
        if not name.endswith("/") and name not in shards:
            ignored.setdefault(kind_of(name) or "outside", []).append(name)
    return ignored
