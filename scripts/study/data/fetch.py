"""Download a file once, verified, all of it or nothing."""

import hashlib
import os
import re
import tempfile
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO

from study.errors import StudyError
from study.files import file_sha256
from study.progress import progress

TIMEOUT = 30.0  # seconds without a byte
BLOCK = 1 << 20  # bytes read at once


def fetch(
    url: str | None,
    target: Path | str,
    *,
    sha256: str | None = None,
    what: str = "the file",
    hint: str = "",
) -> None:
    """Put the file of `url` at `target`; a file that is there already is verified and left alone.

    Args:
        url: http or https address; None or empty if the file has to be placed by hand.
        target: where the file goes. It appears there complete and verified, or not at all.
        sha256: hash the file must have, in full or its first digits (8 at least, as in the names of PyTorch's weights).
        what: the file in words, such as "the FER2013 images".
        hint: sentences for whoever has to place the file by hand, such as where to get it.

    Raises:
        StudyError: no address, no network, a cut connection, another hash; it says where to get the file
            and where to place it.
    """
    target = Path(target)
    by_hand = f"Place {what} by hand at {target}" + (f" (from {url})." if url else ".") + (f" {hint}" if hint else "")
    if sha256 and not re.fullmatch(r"[0-9a-f]{8,64}", sha256.lower()):
        raise StudyError(f"sha256 of {what}: found '{sha256}', allowed are 8 to 64 hexadecimal digits")
    if target.exists():
        _verify(target, file_sha256(target), sha256, by_hand)
        return
    if not url:
        kind = "file" if target.suffix else "folder"
        raise StudyError(f"{target}: the {kind} does not exist, and no address to fetch it from is set. {by_hand}")
    if not url.lower().startswith(("http://", "https://")):
        raise StudyError(f"{url}: not an address to fetch from, allowed are http:// and https://. {by_hand}")
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            digest = _download(url, file, what, by_hand)
        _verify(url, digest, sha256, by_hand)
        temporary.chmod(0o644)  # mkstemp's is for the owner alone
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _verify(where: Path | str, digest: str, sha256: str | None, by_hand: str) -> None:
    if sha256 and not digest.startswith(sha256.lower()):
        allowed = sha256.lower() if len(sha256) == len(digest) else f"one that begins with {sha256.lower()}"
        raise StudyError(f"{where}: the file has the SHA-256 {digest}, allowed is {allowed}. {by_hand}")


def _download(url: str, file: BinaryIO, what: str, by_hand: str) -> str:
    """Write the body of `url` to `file`; returns its sha256."""
    digest = hashlib.sha256()
    received = 0
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            announced = int(response.headers.get("Content-Length") or 0)
            with progress(f"Fetching {what}", announced or None) as advance:
                for block in iter(lambda: response.read(BLOCK), b""):
                    file.write(block)
                    digest.update(block)
                    received += len(block)
                    advance(len(block))
    except urllib.error.HTTPError as error:
        raise StudyError(f"{url}: the server answered {error.code} {error.reason}. {by_hand}") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise StudyError(f"{url}: not fetched, {received:,} bytes received ({reason}). {by_hand}") from None
    if announced and received != announced:
        raise StudyError(f"{url}: the connection was cut after {received:,} of {announced:,} bytes. {by_hand}")
    return digest.hexdigest()
