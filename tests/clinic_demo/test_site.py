"""The site of the demo: OHIF's files, and DICOMweb of a PACS behind a Unix socket."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from tools.clinic import site
from tools.clinic.ohif import CONFIG

from radgaze.errors import UserError

LARGE = bytes(range(256)) * 4096


class _Echo(BaseHTTPRequestHandler):
    """Answer with method, path, host and body."""

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        self._answer(self.rfile.read(int(length)) if length else _chunks(self.rfile))

    def do_GET(self) -> None:
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(202)
        for name, value in {
            "X-Asked": f"{self.command} {self.path} {self.headers['Host']} {self.headers['Accept']}",
            "X-Encoding": str(self.headers["Accept-Encoding"]),
            "Content-Type": "multipart/related; boundary=x",
            "Content-Length": str(len(body)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
        pass


def _chunks(file: object) -> bytes:
    body = b""
    while length := int(file.readline(), 16):  # type: ignore[attr-defined]
        body += file.read(length)  # type: ignore[attr-defined]
        file.readline()  # type: ignore[attr-defined]
    return body


@contextmanager
def _pacs() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pacs"
        with socketserver.ThreadingUnixStreamServer(str(path), _Echo) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield path
            server.shutdown()


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    folder = tmp_path / "ohif-3.1"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<html>the page</html>")
    (folder / "app-config.js").write_text("of the package")
    (folder / "assets" / "logo.svg").write_text("<svg/>")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


@pytest.fixture
def address(pages: Path) -> Iterator[str]:
    with _pacs() as pacs, site.serving(site.app(pages, pacs)) as address:
        yield address


def test_addresses_that_the_page_reads_itself_give_the_page_and_missing_files_do_not(address: str) -> None:
    assert "the page" in httpx.get(f"{address}/").text
    assert "the page" in httpx.get(f"{address}/viewer?StudyInstanceUIDs=1.2").text
    assert httpx.get(f"{address}/assets/logo.svg").text == "<svg/>"
    assert httpx.get(f"{address}/assets/missing.js").status_code == 404


def test_the_settings_of_ohif_are_those_of_the_demo(address: str) -> None:
    assert httpx.get(f"{address}/app-config.js").text == CONFIG.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt"])
def test_files_outside_ohif_are_out_of_reach(address: str, path: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    with httpx.Client() as client:
        request = client.build_request("GET", address)
        request.url = httpx.URL(address).copy_with(raw_path=path.encode())
        assert "secret" not in client.send(request).text, (host, port)


def test_the_browser_is_told_to_ask_no_other_host(address: str) -> None:
    policy = httpx.get(f"{address}/").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self' blob: data:;")
    assert "http" not in policy
    assert "*" not in policy


def test_dicomweb_is_passed_on_as_it_is_with_query_body_and_headers(address: str) -> None:
    host = address.removeprefix("http://")
    answer = httpx.get(f"{address}/dicom-web/studies?a=%20b&00080020=2020-", headers={"Accept": "x/y"})
    assert answer.headers["X-Asked"] == f"GET /dicom-web/studies?a=%20b&00080020=2020- {host} x/y"
    assert (answer.status_code, answer.headers["Content-Type"]) == (202, "multipart/related; boundary=x")
    client = httpx.Client()
    del client.headers["Accept-Encoding"]
    assert client.get(f"{address}/dicom-web/studies").headers["X-Encoding"] == "None"
    for content in (LARGE, iter([LARGE[:1000], LARGE[1000:]])):
        assert httpx.post(f"{address}/dicom-web/studies", content=content).content == LARGE


def test_nothing_but_dicomweb_is_passed_on(address: str) -> None:
    assert httpx.delete(f"{address}/dicom-web/studies/1").status_code == 405
    assert "X-Asked" not in httpx.get(f"{address}/instances").headers
    assert httpx.post(f"{address}/tools/execute-script", content=b"x").status_code == 405


def test_a_page_of_another_name_that_leads_here_is_refused(address: str) -> None:
    assert httpx.get(f"{address}/dicom-web/studies", headers={"Host": "evil.example"}).status_code == 400


def test_a_pacs_that_is_away_is_reported(pages: Path, tmp_path: Path) -> None:
    with site.serving(site.app(pages, tmp_path / "nothing")) as address:
        assert httpx.get(f"{address}/dicom-web/studies").status_code == 502


def test_a_taken_port_is_the_users_to_change(address: str, pages: Path) -> None:
    port = int(address.rpartition(":")[2])
    with (
        pytest.raises(UserError, match=f"port {port} of 127.0.0.1 is taken"),
        site.serving(site.app(pages, pages), port),
    ):
        pass
