"""What a file is that is not read as an image, by its first bytes or its name, and what to do about it."""

import re
from pathlib import PurePath


class UnreadableError(Exception):
    """The file holds no image that can be decoded; the message says why."""


HEAD = 1 << 16  # bytes: more than enough to know a file, and all of a small one
CONVERT = "which is not read: convert it to JPEG or PNG"
HEIC = f"HEIC (an iPhone's picture), {CONVERT}"
RAW = f"a camera's raw file, {CONVERT}"
DICOM = f"DICOM, {CONVERT}"
VIDEO = "a video, not an image: take single frames out of it, as JPEG or PNG"
PACKED = "a compressed archive, not an image: unpack it"
WEB_PAGE = "a web page (HTML), not an image: the download failed, fetch the file again"
XML = "XML, not an image"

# Offset and first bytes of archives that are not read, neither as a source nor as an image.
ARCHIVES = (
    (0, b"\x1f\x8b", "a gzip archive (.tar.gz)"),
    (0, b"BZh", "a bzip2 archive (.tar.bz2)"),
    (0, b"\xfd7zXZ\0", "an xz archive (.tar.xz)"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive (.tar.zst)"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\7", "a rar archive"),
    (257, b"ustar", "a tar archive"),
)
# Offset and first bytes of what is never read as an image.
NEVER_READ = (
    *((0, magic, RAW) for magic in (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"IIU\0", b"FOVb", b"\0MRM")),
    (8, b"CR\2\0", RAW),
    (128, b"DICM", DICOM),
    (0, b"\xff\x0a", f"JPEG XL, {CONVERT}"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", f"JPEG XL, {CONVERT}"),
    (0, b"II\xbc\1", f"JPEG XR, {CONVERT}"),
    (0, b"%!PS", f"PostScript (EPS), {CONVERT}"),
    (0, b"\xc5\xd0\xd3\xc6", f"PostScript (EPS), {CONVERT}"),
    (0, b"%PDF", f"a PDF, {CONVERT}"),
    (0, b"gimp xcf", f"GIMP's own format (XCF), {CONVERT}"),
    (0, b"v/1\1", f"OpenEXR, {CONVERT}"),
    (0, b"#?RADIANCE", f"Radiance HDR, {CONVERT}"),
    (0, b"SIMPLE  =", f"FITS, {CONVERT}"),
    (0, b"\x89HDF\r\n\x1a\n", f"HDF5, {CONVERT}"),
    (0, b"\x93NUMPY", f"a NumPy array, {CONVERT}"),
    (0, b"\x1a\x45\xdf\xa3", VIDEO),  # WebM, Matroska
    (8, b"AVI ", VIDEO),
    (0, b"\0\0\1\xba", VIDEO),
    (0, b"\0\0\1\xb3", VIDEO),
    (0, b"FLV\1", VIDEO),
    (0, b"OggS", VIDEO),
    *((offset, magic, PACKED) for offset, magic, _ in ((0, b"PK\3\4", "a zip"), *ARCHIVES)),
    (
        *(0, b"version https://git-lfs.github.com/spec"),
        "a Git LFS pointer, not the image itself: fetch the images with `git lfs pull`",
    ),
)
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
AVIF_BRANDS = {b"avif", b"avis", b"mif1", b"msf1"}
# Raw files of most cameras are TIFFs that hold a thumbnail in front, so their name decides.
RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".k25", ".kdc", ".mef", ".mos", ".mrw"),
    *(".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)
SUFFIXES = {
    **dict.fromkeys((".heic", ".heif", ".hif"), HEIC),
    **dict.fromkeys((".dcm", ".dicom"), DICOM),
    **dict.fromkeys((".eps", ".ps"), f"PostScript (EPS), {CONVERT}"),
    **dict.fromkeys(RAW_SUFFIXES, RAW),
}
MOST_COMMON = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")  # JPEG and PNG, whatever their name
# Formats that are read, for a file of one of them that could not be.
READ = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    *((0, magic, "TIFF") for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (8, b"WEBP", "WebP"),
    *((4, b"ftyp" + brand, "AVIF") for brand in sorted(AVIF_BRANDS)),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"8BPS", "PSD"),
    (0, b"DDS ", "DDS"),
    (0, b"qoif", "QOI"),
    (0, b"\1\xda", "SGI"),
    (0, b"\0\0\1\0", "ICO"),
)


def never_read(head: bytes, name: str) -> str | None:
    """What a file is, in words, if it is surely none of the formats that are read; None for any other.

    Args:
        head: its first `HEAD` bytes, or all of them.
        name: of the file; may be empty.
    """
    if head.startswith(MOST_COMMON):
        return None
    if not head:
        return "an empty file, not an image: fetch or copy it again"
    for offset, magic, words in NEVER_READ:
        if head.startswith(magic, offset):
            return words
    if head[4:8] == b"ftyp":
        return _media_file(head)
    if PurePath(name).suffix.lower() in RAW_SUFFIXES:
        return RAW
    return _markup(head)


def is_web_page(head: bytes) -> bool:
    """Whether a file is HTML, as a download is that needed a log-in."""
    return _markup(head) == WEB_PAGE


def unreadable(content: bytes, name: str) -> str:
    """What to say of a file that no reader took: what it seems to be, by its first bytes or its name."""
    for offset, magic, format in READ:
        if content.startswith(magic, offset):
            return (
                f"damaged image: {format} by its first bytes, but its header is damaged or of a kind that is not read"
            )
    if words := SUFFIXES.get(PurePath(name).suffix.lower()):
        return words
    if not content.strip(b"\0"):
        return "nothing but zero bytes: the download or copy broke off, fetch or copy it again"
    return "not an image, or its header is damaged"


def _media_file(head: bytes) -> str | None:
    """Of the ISO base media formats, by all brands that the file says it is compatible with."""
    length = int.from_bytes(head[:4])
    brands = {head[8:12], *(head[start : start + 4] for start in range(16, min(length, len(head)), 4))}
    if brands & {b"avif", b"avis"}:
        return None
    if brands & HEIC_BRANDS:
        return HEIC
    if b"crx " in brands:
        return RAW
    return None if brands & AVIF_BRANDS else VIDEO


def _markup(head: bytes) -> str | None:
    """What kind of text between angle brackets a file is; None for any other."""
    text = head[:4096].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not text.startswith(b"<"):
        return None
    if re.search(rb"<svg[\s>]", text):
        return f"SVG, {CONVERT}"
    if re.search(rb"<(!doctype\s+html|html|head|body|title|script)[\s>]", text):
        return WEB_PAGE
    return XML if text.startswith(b"<?xml") else None
