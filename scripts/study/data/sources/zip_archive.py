"""A zip of a folder of images. It may come from anywhere, so its entries are checked before one is read."""

import io
import stat
import zipfile
from pathlib import Path
from typing import Any

from study.data.data_settings import DataSettings
from study.data.decode import Picture, UnreadableError, decode
from study.data.folder_tree import check_name, read_tree
from study.errors import StudyError


def recognises(source: str) -> bool:
    """Whether it names a zip, by what is in the file."""
    return zipfile.is_zipfile(source)


class ZipSource:
    """A zip of a tree of image files, read in place: nothing is unpacked to disk."""

    def __init__(self, data: DataSettings) -> None:
        path = Path(data.source)
        self.max_pixels = data.max_pixels
        try:
            self.zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise StudyError(f"{path}: not a readable zip ({error}); fetch or copy it again") from None
        self.members: dict[str, zipfile.ZipInfo] = {}
        for member in self.zip.infolist():
            name = member.filename.replace("\\", "/")  # as some programs on Windows write it
            _check_member(path, member, name)
            if name in self.members:
                raise StudyError(f"{path}: the zip holds the entry '{name}' twice; allowed is once")
            self.members[name] = member
        self._refuse_a_bomb(path, data.max_unpacked_bytes)
        self.entries, self.ignored = read_tree(str(path), self.members)

    def _refuse_a_bomb(self, path: Path, max_unpacked_bytes: int) -> None:
        """Limit what all entries say that they unpack to; `read` holds each of them to what it said."""
        total = sum(member.file_size for member in self.members.values())
        if total > max_unpacked_bytes:
            raise StudyError(
                f"{path}: the zip expands to {total:,} bytes, allowed are max_unpacked_bytes = {max_unpacked_bytes:,} "
                "(config key data.max_unpacked_bytes)"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "zip": self.zip.filename}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, zip=zipfile.ZipFile(state["zip"]))

    def read(self, image_id: str) -> Picture:
        member = self.members[image_id]
        try:
            with self.zip.open(member) as file:
                content = file.read(member.file_size + 1)  # never more than the header declared and the limit counted
                file.read(1)  # makes zipfile compare the checksum
        except Exception as error:  # a damaged entry makes zipfile and its decompressors raise nearly anything
            raise UnreadableError(f"damaged zip entry: {error or type(error).__name__}") from None
        return decode(io.BytesIO(content), self.max_pixels)


def _check_member(path: Path, member: zipfile.ZipInfo, name: str) -> None:
    check_name(str(path), name)
    if name.startswith("/") or name[1:2] == ":":
        raise StudyError(f"{path}: the zip entry '{name}' has an absolute path; allowed are paths inside the zip")
    if ".." in name.split("/"):
        raise StudyError(f"{path}: the zip entry '{name}' leaves its folder by '..'; allowed are paths inside the zip")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise StudyError(f"{path}: the zip entry '{name}' is a link; allowed are files and folders")
