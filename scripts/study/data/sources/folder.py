"""A folder of images."""

from pathlib import Path

from study.data.data_settings import DataSettings, files_below
from study.data.decode import FULL_DEPTH, Picture, decode
from study.data.folder_tree import Listing, check_name, read_tree


def recognises(source: str) -> bool:
    """Whether it names a folder."""
    return Path(source).is_dir()


class FolderSource(Listing):
    """A tree of image files; links are followed."""

    def __init__(self, data: DataSettings) -> None:
        self.folder, self.max_pixels = Path(data.source), data.max_pixels
        paths = files_below(self.folder)
        for path in paths:
            check_name(str(self.folder), path)
        tree = read_tree(data, paths)
        self.entries, self.ignored, self.notes = tree.entries, tree.ignored, tree.notes

    def read(self, image_id: str, bit_depth: int = FULL_DEPTH) -> Picture:
        return decode(self.folder / image_id, self.max_pixels, bit_depth)
