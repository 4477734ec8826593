"""Address and credentials of a PACS: none on the command line or in a message, nothing for a stranger."""

from __future__ import annotations

import base64
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from radgaze.cli import main
from radgaze.clinic.worker import patience
from radgaze.clinic.worker.address import CA, PASSWORD, TOKEN, USER, session
from radgaze.clinic.worker.answers import judged
from radgaze.clinic.worker.faults import AttemptError, AwayError
from radgaze.clinic.worker.multipart import only_part
from radgaze.clinic.worker.options import WorkerOptions
from radgaze.clinic.worker.patience import Patience, pause
from radgaze.clinic.worker.running import run_worker
from radgaze.errors import UserError
from tests.clinic.fake_pacs import FakePacs, maker, radiograph, served


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (USER, PASSWORD, TOKEN, CA):
        monkeypatch.delenv(name, raising=False)


def work(pacs: FakePacs, folder: Path, **options: Any) -> int:
    chosen = WorkerOptions(dicomweb=pacs.url, journal=folder / "journal", patience=0.0, **options)
    return run_worker(maker, chosen, tell_study=lambda _: None, tell_file=lambda *_: None).stored


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://jo:s3cret@pacs.example/dicom-web", "must hold no user or password"),
        ("https://s3cret@pacs.example/dicom-web", "must hold no user or password"),
        ("https://pacs.example/dicom-web?token=s3cret", "must hold nothing after"),
        ("https://pacs.example/dicom-web#s3cret", "must hold nothing after"),
        ("ftp://pacs.example/s3cret", "must be an address such as"),
        ("pacs.example/s3cret", "must be an address such as"),
        ("http://[s3cret", "is no address"),
        ("http://pacs.example:s3cret/", "is no address"),
    ],
)
def test_an_address_with_credentials_or_of_no_service_is_refused_and_not_repeated(
    address: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["worker", "run", "--dicomweb", address]) == 2
    printed = "".join(capsys.readouterr())
    assert said in printed
    assert "s3cret" not in printed


@pytest.mark.parametrize(
    ("settings", "needs"),
    [
        ({USER: "jö", PASSWORD: "pä:ss"}, "Basic " + base64.b64encode("jö:pä:ss".encode()).decode()),
        ({TOKEN: "abc.def"}, "Bearer abc.def"),
    ],
)
def test_credentials_come_from_the_environment(
    settings: dict[str, str],
    needs: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with served(FakePacs()) as pacs:
        pacs.add(radiograph("a study"))
        pacs.needs = needs
        with pytest.raises(UserError, match=f"refuses access .401 Unauthorized.; .*{TOKEN}"):
            work(pacs, tmp_path)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        assert work(pacs, tmp_path) == 1
        assert set(pacs.authorizations[1:]) == {needs}
    for secret in (*settings.values(), needs):
        assert secret not in caplog.text
        assert secret.encode() not in (tmp_path / "journal").read_bytes()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({USER: "jo"}, "must be set both"),
        ({PASSWORD: "s3cret"}, "must be set both"),
        ({USER: "jo", PASSWORD: "s3cret", TOKEN: "s3cret"}, "which is meant"),
        ({TOKEN: "s3cret\r\nX-Evil: yes"}, "must have no line break"),
    ],
)
def test_credentials_that_are_incomplete_or_ambiguous_are_told(
    settings: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=said) as caught:
        session("https://pacs.example", None)
    assert "s3cret" not in str(caught.value)


def test_credentials_of_a_file_are_not_used_and_a_way_that_is_not_encrypted_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login jo password s3cret")
    monkeypatch.setenv("HOME", str(tmp_path))
    with served(FakePacs()) as pacs:
        work(pacs, tmp_path)
        assert set(pacs.authorizations) == {""}
    session("http://pacs.example/dicom-web", None)
    assert "http://pacs.example/dicom-web is not encrypted (http): images and patient data" in caplog.text
    caplog.clear()
    monkeypatch.setenv(TOKEN, "s3cret")
    session("http://127.0.0.1:8042/dicom-web", None)
    session("https://pacs.example/dicom-web", None)
    assert "not encrypted" not in caplog.text
    made = session("http://pacs.example/dicom-web", None)
    assert "http://pacs.example/dicom-web is not encrypted (http): credentials, images" in caplog.text
    assert "s3cret" not in caplog.text + repr(made.auth)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for this machine, with its key, that no public authority signed."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=pacs"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "-", "-out", "-"]
    try:
        file.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("openssl is not installed, or too old")
    return file


@pytest.fixture
def encrypted(certificate: Path) -> Iterator[FakePacs]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with served(FakePacs(), lambda raw: context.wrap_socket(raw, server_side=True)) as pacs:
        pacs.add(radiograph("a study"))
        yield pacs


def test_a_certificate_is_trusted_if_its_authority_is_named(
    encrypted: FakePacs, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=f"the certificate of 127.0.0.1 is not trusted; .*{CA}"):
        work(encrypted, tmp_path)
    assert not encrypted.requests
    assert work(encrypted, tmp_path, ca=certificate) == 1
    encrypted.add(radiograph("another study"))
    monkeypatch.setenv(CA, str(certificate))
    assert work(encrypted, tmp_path) == 1
    with pytest.raises(UserError, match="there is no file of certificates"):
        work(encrypted, tmp_path, ca=tmp_path / "nowhere.pem")


FILE = b"--\r\n--DICM\r\n\r\n\x00\x01\r\n"


def test_the_part_of_a_response_is_taken_byte_by_byte() -> None:
    kind = 'Multipart/Related; type="application/dicom"; boundary="a b"'
    head = b"Content-Type: application/dicom\r\n\r\n"
    body = b"--a b\r\n" + head + FILE + b"\r\n--a b--"
    assert only_part(body, kind) == FILE
    assert only_part(b"before\r\n" + body + b"\r\nafter", kind) == FILE
    assert only_part(b"\r\n" + body, kind) == FILE
    assert only_part(FILE, "application/dicom; transfer-syntax=1.2") == FILE


def test_a_response_that_is_cut_anywhere_is_not_taken_for_a_whole_one() -> None:
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + FILE + b"\r\n--b--"
    for length in range(len(body) - 1):
        with pytest.raises(AttemptError):
            only_part(body[:length], "multipart/related; boundary=b")


@pytest.mark.parametrize("kind", ["text/html", "", "multipart/related", "multipart/form-data; boundary=b"])
def test_a_response_of_another_kind_is_none(kind: str) -> None:
    with pytest.raises(AttemptError, match="something else"):
        only_part(b"--b\r\n\r\n--b--", kind)


def test_pauses_double_to_a_minute_and_differ() -> None:
    for attempt in range(20):
        whole = min(2**attempt, 60)
        drawn = [pause(attempt) for _ in range(50)]
        assert all(whole / 2 <= each <= whole for each in drawn)
        assert len(set(drawn)) > 40
    assert 30 <= pause(10**6) <= 60


def test_a_pacs_is_waited_for_as_long_as_it_asks_and_no_longer_than_the_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, slept = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    answers = iter([AwayError("503", 20.0), AwayError("503"), AwayError("503", 10.0**6)])

    def call() -> str:
        fault = next(answers, None)
        if fault is not None:
            raise fault
        return "an answer"

    assert Patience(None, sleep=sleep, clock=lambda: now[0])(call) == "an answer"
    assert slept[0] == 20
    assert 1 <= slept[1] <= 2
    assert slept[2] == patience.LONGEST_ASKED

    def never() -> None:
        raise AwayError("no connection")

    began = now[0]
    with pytest.raises(UserError, match="no connection"):
        Patience(100.0, sleep=sleep, clock=lambda: now[0])(never)
    assert 40 <= now[0] - began <= 100


def test_an_error_of_a_library_is_judged_without_its_text() -> None:
    for error in (ValueError("Secretname"), KeyError("Secretname"), AttributeError("Secretname")):
        assert "Secretname" not in str(judged(error, "https://pacs.example"))
