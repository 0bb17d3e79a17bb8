"""A zip of a folder of images. It may come from anywhere, so its entries are checked before one is read.

Entry points:
    recognises(source), what_it_is(path)                   whether a file is a zip; what else it may be
    ZipSource(data)                                        a source of images
    members_of(path, name_encoding), refuse_a_bomb(path, members, max_unpacked_bytes)
                                                           the checked entries of any zip, and the limit to their size
    Directory(names, members)                              where the entries are, in little memory
"""

import io
import stat
import struct
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from study.data.data_settings import DataSettings
from study.data.decode import FULL_DEPTH, Picture, decode
from study.data.file_kinds import ARCHIVES, HEAD, UnreadableError, is_web_page
from study.data.folder_tree import Listing, check_name, read_tree
from study.errors import StudyError, naming_trouble

ENCRYPTED, NAME_IS_UTF8 = 0x1, 0x800  # of an entry's flags
UNICODE_PATH = 0x7075  # extra field of Info-ZIP: the name in UTF-8
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
END = struct.Struct("<4s4H2LH")  # of a zip: signature, number of this part, number of the directory's part, …
LONGEST_NAME = 4096  # characters, as on Linux
EMPTY_ZIP = b"PK\5\6" + bytes(18)
# What zipfile asks of an entry to read it, by its names in ZipInfo.
PLACE = np.dtype(
    [
        *(("header_offset", "u8"), ("compress_size", "u8"), ("file_size", "u8")),
        *(("CRC", "u4"), ("flag_bits", "u2"), ("compress_type", "u2")),
    ]
)


def recognises(source: str) -> bool:
    """Whether it names a zip, by what is in the file."""
    path = Path(source)
    if not path.is_file():
        return False
    with naming_trouble(path), path.open("rb") as file:
        return zipfile.is_zipfile(file)


def what_it_is(path: Path) -> str:
    """What is wrong with a file that is no whole zip: in words, with what to do; "" if it cannot be told."""
    with path.open("rb") as file:
        start = file.read(HEAD)
    for offset, magic, name in ARCHIVES:
        if start.startswith(magic, offset):
            return f"the file is {name}, which is not read; unpack it and name the folder"
    if start.startswith(b"PK\x07\x08"):
        return "the file is the first of several parts of a zip; join them (zip -s 0 FILE.zip --out WHOLE.zip)"
    if start.startswith(b"PK\x03\x04"):
        return (
            "the file begins as a zip, but its end is missing: an incomplete download, or the first of several parts; "
            "fetch or copy it again, or join the parts"
        )
    if is_web_page(start):
        return "the file is a web page, not the data: the download may need a log-in; fetch it again"
    return ""


class Directory:
    """Where the entries of a zip are: some 100 bytes each instead of the kilobyte of a ZipInfo, for every process.

    Args:
        members: the entries by the names they are read by.
    """

    def __init__(self, members: Mapping[str, zipfile.ZipInfo]) -> None:
        names = sorted(members)
        in_order = [members[name] for name in names]
        self.names = pa.array(names, pa.large_string())
        self.original_names = pa.array([member.orig_filename for member in in_order], pa.large_string())
        self.places = np.fromiter(
            (tuple(getattr(member, name) for name in PLACE.names or ()) for member in in_order), PLACE, len(names)
        )

    def __getitem__(self, name: str) -> zipfile.ZipInfo:
        index = bisect_left(range(len(self.names)), name, key=lambda place: self.names[place].as_py())
        if index == len(self.names) or self.names[index].as_py() != name:
            raise KeyError(name)
        member = zipfile.ZipInfo(name)
        member.orig_filename = self.original_names[index].as_py()
        for field, value in zip(PLACE.names or (), self.places[index].tolist(), strict=True):
            setattr(member, field, value)
        return member


def _opened(path: Path) -> zipfile.ZipFile:
    """A zip whose entries can be read, without the list of them, which zipfile keeps as ZipInfos."""
    archive = zipfile.ZipFile(io.BytesIO(EMPTY_ZIP))
    archive.fp = path.open("rb")
    return archive


class ZipSource(Listing):
    """A zip of a tree of image files, read in place: nothing is unpacked to disk."""

    def __init__(self, data: DataSettings) -> None:
        self.path, self.max_pixels = Path(data.source), data.max_pixels
        members, guessed = members_of(self.path, data.name_encoding)
        refuse_a_bomb(self.path, members, data.max_unpacked_bytes)
        tree = read_tree(data, members)
        self.entries, self.ignored, self.notes = tree.entries, tree.ignored, tree.notes
        if guessed:
            self.notes.insert(
                0,
                f"Warning: {self.path}: the zip does not say how {len(guessed):,} names are encoded and they are not "
                f"UTF-8; they are read as cp437, such as '{guessed[0]}'. If that is wrong, name the encoding (config "
                "key data.name_encoding).",
            )
        self.directory, self.zip = Directory(members), _opened(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "zip": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, zip=_opened(state["path"]))

    def read(self, image_id: str, bit_depth: int = FULL_DEPTH) -> Picture:
        member, where = self.directory[image_id], f"{self.path}, {image_id}"
        try:
            with naming_trouble(where), self.zip.open(member) as file:
                content = file.read(member.file_size + 1)  # never more than the header declared and the limit counted
                file.read(1)  # makes zipfile compare the checksum
        except StudyError:
            raise
        except Exception as error:  # a damaged entry makes zipfile and its decompressors raise nearly anything
            raise UnreadableError(f"damaged zip entry: {error or type(error).__name__}") from None
        return decode(io.BytesIO(content), self.max_pixels, bit_depth, where)


def members_of(path: Path, name_encoding: str) -> tuple[dict[str, zipfile.ZipInfo], list[str]]:
    """The checked entries of a zip by their names, and those names whose encoding was guessed."""
    _refuse_a_part(path)
    try:
        with naming_trouble(path), zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except UnicodeDecodeError as error:
        raise StudyError(
            f"{path}: the name of an entry is said to be UTF-8 and is not ({error.object!r}); make the zip again, "
            "or unpack it and name the folder"
        ) from None
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError, struct.error) as error:
        raise StudyError(f"{path}: not a readable zip ({error}); fetch or copy it again") from None
    members: dict[str, zipfile.ZipInfo] = {}
    guessed = []
    for member in infos:
        name, is_guessed = _name(path, member, name_encoding)
        _check_member(path, member, name)
        name = "/".join(part for part in name.split("/") if part not in ("", ".")) + "/" * name.endswith("/")
        if name in members and not name.endswith("/"):
            raise StudyError(f"{path}: the zip holds the entry '{name}' twice; allowed is once")
        members[name] = member
        guessed += [name] * is_guessed
    return members, guessed


def refuse_a_bomb(path: Path, members: Mapping[str, zipfile.ZipInfo], max_unpacked_bytes: int) -> None:
    """Limit what all entries say that they unpack to; `ZipSource.read` holds each of them to what it said."""
    total = sum(member.file_size for member in members.values())
    if total > max_unpacked_bytes:
        raise StudyError(
            f"{path}: the zip expands to {total:,} bytes, allowed are max_unpacked_bytes = {max_unpacked_bytes:,} "
            "(config key data.max_unpacked_bytes)"
        )


def _refuse_a_part(path: Path) -> None:
    """zipfile takes the last of several parts for the whole."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (END.size + 0xFFFF)))
        tail = file.read()
    start = tail.rfind(b"PK\5\6")
    if start < 0 or len(tail) - start < END.size:
        return
    _, part, part_of_directory, *_ = END.unpack_from(tail, start)
    if part != part_of_directory or 0 < part < 0xFFFF:
        raise StudyError(
            f"{path}: the zip is in {part + 1} parts, and this is the last; join them (zip -s 0 {path.name} --out "
            "WHOLE.zip) and name the whole"
        )


def _name(path: Path, member: zipfile.ZipInfo, encoding: str) -> tuple[str, bool]:
    """The name of an entry with "/" between the parts, and whether its encoding was guessed.

    The format has a flag for UTF-8, and cp437 without it. Many programs write other encodings without saying so: Finder
    and Linux's zip UTF-8, Windows its own code page.
    """
    name, guessed = member.orig_filename, False
    if not member.flag_bits & NAME_IS_UTF8 and not name.isascii():
        raw = name.encode("cp437")  # as it stands in the file
        if (unicode_path := _unicode_path(member, raw)) is not None:
            name = unicode_path
        elif encoding != "auto":
            name = _decoded(path, raw, encoding)
        else:
            try:
                name = raw.decode("utf-8")
            except UnicodeDecodeError:
                guessed = True
    # Some programs on Windows write "\" between the parts. In a name that was guessed it may be half a character.
    if not (guessed and "/" in name):
        name = name.replace("\\", "/")
    return name.partition("\0")[0], guessed


def _unicode_path(member: zipfile.ZipInfo, raw: bytes) -> str | None:
    """The name in Info-ZIP's extra field, if there is one that belongs to the name beside it."""
    extra = member.extra
    while len(extra) >= 4:
        tag, size = struct.unpack_from("<HH", extra)
        content, extra = extra[4 : 4 + size], extra[4 + size :]
        if tag == UNICODE_PATH and len(content) > 5 and content[0] == 1:
            if struct.unpack_from("<L", content, 1)[0] != zlib.crc32(raw):
                return None
            return content[5:].decode("utf-8", errors="replace")
    return None


def _decoded(path: Path, raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        raise StudyError(
            f"{path}: the name {raw!r} of a zip entry is not {encoding} (config key data.name_encoding); name another "
            "encoding, or auto"
        ) from None


def _check_member(path: Path, member: zipfile.ZipInfo, name: str) -> None:
    check_name(str(path), name)
    if name.startswith("/") or name[1:2] == ":":
        raise StudyError(f"{path}: the zip entry '{name}' has an absolute path; allowed are paths inside the zip")
    if ".." in name.split("/"):
        raise StudyError(f"{path}: the zip entry '{name}' leaves its folder by '..'; allowed are paths inside the zip")
    if len(name) > LONGEST_NAME:
        raise StudyError(
            f"{path}: the zip entry '{name[:40]}…' has {len(name):,} characters, allowed are {LONGEST_NAME:,}"
        )
    if stat.S_ISLNK(member.external_attr >> 16):
        raise StudyError(f"{path}: the zip entry '{name}' is a link; allowed are files and folders")
    if name.endswith("/"):
        return
    if member.flag_bits & ENCRYPTED:
        raise StudyError(
            f"{path}: the zip entry '{name}' is encrypted; unpack the zip with its password and name the folder"
        )
    if member.compress_type not in METHODS:
        method = getattr(zipfile, "compressor_names", {}).get(member.compress_type, "unknown")
        raise StudyError(
            f"{path}: the zip entry '{name}' is compressed by method {member.compress_type} ({method}), allowed are "
            "store, deflate, bzip2, lzma; unpack the zip and name the folder"
        )
