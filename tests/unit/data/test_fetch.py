"""A file is fetched whole and verified, or there is a clear error and no file at all. The server is a local one."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from study.data.fetch import fetch
from study.errors import StudyError

CONTENT = bytes(range(256)) * 12_000  # 3 MB, several blocks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/no-length":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: 1_500_000 if self.path == "/cut" else len(CONTENT)])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", ["/file", "/no-length"])
def test_a_file_is_fetched_and_verified(server: str, tmp_path: Path, path: str) -> None:
    target = tmp_path / "resources/weights.pth"
    fetch(server + path, target, sha256=SHA256, what="the weights")
    assert target.read_bytes() == CONTENT
    assert files(tmp_path) == ["resources/weights.pth"]


def test_the_first_digits_of_a_hash_are_enough(server: str, tmp_path: Path) -> None:
    fetch(server + "/file", tmp_path / "f", sha256=SHA256[:8].upper(), what="the weights")
    assert (tmp_path / "f").exists()


def test_a_file_placed_by_hand_is_verified_and_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "weights.pth"
    target.write_bytes(CONTENT)
    fetch("http://127.0.0.1:9/nowhere", target, sha256=SHA256, what="the weights")
    fetch(None, target, what="the weights")
    with pytest.raises(StudyError, match=r"weights\.pth: the file has the SHA-256 [0-9a-f]{64}, allowed is 0{64}"):
        fetch(None, target, sha256="0" * 64, what="the weights")
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "expected", "message"),
    [
        ("/file", {"sha256": "0" * 64}, f"the file has the SHA-256 {SHA256}, allowed is 0{{64}}"),
        ("/file", {"sha256": "0" * 8}, f"the file has the SHA-256 {SHA256}, allowed is one that begins with 0{{8}}"),
        ("/cut", {"sha256": SHA256}, "the connection was cut after 1,500,000 of 3,072,000 bytes"),
        ("/missing", {}, "the server answered 404 Not Found"),
    ],
)
def test_what_goes_wrong_is_said_and_leaves_no_file(
    server: str, tmp_path: Path, path: str, expected: dict, message: str
) -> None:
    target = tmp_path / "weights.pth"
    by_hand = rf"Place the weights by hand at {target} \(from {server}{path}\)\."
    with pytest.raises(StudyError, match=rf"{server}{path}: {message}\. {by_hand}"):
        fetch(server + path, target, what="the weights", **expected)
    assert files(tmp_path) == []


def test_a_missing_network_is_said_and_leaves_no_file(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
        with pytest.raises(
            StudyError, match=rf"{url}: not fetched, 0 bytes received \(.*refused.*\)\. Place the data by hand"
        ):
            fetch(url, tmp_path / "data.zip", what="the data")
    with pytest.raises(StudyError, match=r"not fetched, 0 bytes received \(.*\)\. Place the data by hand at"):
        fetch("http://no-such-host.invalid/file", tmp_path / "data.zip", what="the data")
    assert files(tmp_path) == []


def test_without_an_address_the_file_has_to_be_placed(tmp_path: Path) -> None:
    message = (
        r"data\.zip: the file does not exist, and no address .* Place FER2013 by hand at .*data\.zip\. Kaggle has it\."
    )
    with pytest.raises(StudyError, match=message):
        fetch("", tmp_path / "data.zip", what="FER2013", hint="Kaggle has it.")
    with pytest.raises(StudyError, match=r"images: the folder does not exist.* Place FER2013 by hand at .*images\.$"):
        fetch(None, tmp_path / "images", what="FER2013")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/file", "host/file"])
def test_other_addresses_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(StudyError, match=r"not an address to fetch from, allowed are http:// and https://"):
        fetch(url, tmp_path / "data.zip", what="the data")


def test_a_wrong_hash_in_the_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="found 'abc', allowed are 8 to 64 hexadecimal digits"):
        fetch(None, tmp_path / "data.zip", sha256="abc", what="the data")
