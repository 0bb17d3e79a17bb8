"""FER+: ten people's votes on each image of FER2013 (`fer2013new.csv` beside `fer2013.csv`), Barsoum et al. 2016.

The class is the one with most votes. Soft labels, a probability for each class, are not read.

Entry points:
    recognises(source), FerPlusSource(data)
"""

from pathlib import Path

from study.data.data_settings import DataSettings, TableSettings
from study.data.decode import FULL_DEPTH, Picture
from study.data.folder_tree import Entry, Listing, check_labels
from study.data.sources import fer2013_csv
from study.data.sources.column_names import plain, split_of_word
from study.data.sources.table_labels import labels_of, named
from study.data.sources.tables import Cells, first_row, is_table, read_cells
from study.errors import StudyError

VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
NO_CLASS = ("unknown", "NF")  # NF: not a face
PIXELS = ("fer2013.csv", "icml_face_data.csv")  # files that the rows may belong to


def recognises(source: str) -> bool:
    """Whether it names a table with FER+'s columns."""
    path = Path(source)
    if path.suffix.lower() != ".csv" or not is_table(path):
        return False
    try:
        names = set(map(plain, first_row(path, TableSettings())))
    except StudyError:
        return False
    return {*map(plain, (*VOTES, *NO_CLASS)), "imagename", "usage"} <= names


def pixel_table(source: str, root: str | None = None) -> Path:
    """FER2013's own table, in the folder of FER+'s or in `data.table.root`, whose row i belongs to row i.

    Raises:
        StudyError: there is none.
    """
    folder = Path(root) if root else Path(source).parent
    for name in PIXELS:
        if (folder / name).is_file():
            return folder / name
    raise StudyError(f"{source}: FER+ has no images; place {' or '.join(PIXELS)} beside it ({folder})")


class FerPlusSource(Listing):
    """The images of `fer2013.csv` under the classes that most voted for; `row_<n>` as there.

    Rows that FER+ removed (no name) and those that most think unknown or no face are left out and counted.
    """

    def __init__(self, data: DataSettings) -> None:
        path = Path(data.source)
        self.images = fer2013_csv.Fer2013Source(
            DataSettings(**vars(data) | {"source": str(pixel_table(data.source, data.table.root))})
        )
        cells = read_cells(path, data.table)
        of_pixels = self.images.entries
        if len(cells.table) != len(of_pixels):
            raise StudyError(
                f"{path}: {len(cells.table):,} rows, but {self.images.path} has {len(of_pixels):,}; row i of one "
                "belongs to row i of the other: fetch both again"
            )
        columns = {plain(name): name for name in cells.table.columns}
        votes = [columns[plain(name)] for name in (*VOTES, *NO_CLASS)]
        named_rows = cells.table[columns["imagename"]].str.strip() != ""
        winners = labels_of(Cells(path, cells.table[named_rows], cells.first), votes)
        without = winners.labels.isin(votes[len(VOTES) :])
        labels = named(winners.labels[~without], data.class_names, str(path)).to_dict()
        numbers = dict(zip(cells.table.index, of_pixels, strict=True))
        splits = cells.table[columns["usage"]].map(split_of_word)
        self.entries = [
            Entry(numbers[index].image_id, label, self._split(cells, index, splits[index], numbers[index].split))
            for index, label in labels.items()
        ]
        removed = [numbers[index].image_id for index in cells.table.index[~named_rows]]
        no_class = [numbers[index].image_id for index in winners.labels.index[without]]
        self.ignored = {"removed": removed + no_class} if removed or no_class else {}
        self.notes = [
            *winners.notes,
            f"{path}: left out are {len(removed):,} images that FER+ removed and {len(no_class):,} that most think "
            "unknown or no face.",
        ]
        check_labels(str(path), self.entries)

    def _split(self, cells: Cells, index: int, split: str, of_pixels: str) -> str:
        if of_pixels and split != of_pixels:
            raise StudyError(
                f"{cells.row(index)}: 'Usage' says {split or 'nothing known'}, but {of_pixels} in the same row of "
                f"{self.images.path}; row i of one belongs to row i of the other: fetch both again"
            )
        return split

    def read(self, image_id: str, bit_depth: int = FULL_DEPTH) -> Picture:
        return self.images.read(image_id, bit_depth)
