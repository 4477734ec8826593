"""Who is let in, and the headers of all that is answered."""

from __future__ import annotations

import secrets

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from radgaze.viewing.access import HEADERS, Access, Guarded, cookie_name, is_loopback


async def answer(request: Request) -> Response:
    if request.query_params.get("fails"):
        raise RuntimeError("Secretname^Jo")
    return PlainTextResponse("secret image")


def client(rule: Access, address: str = "http://127.0.0.1:8765") -> TestClient:
    routes = [Route("/", answer, methods=["GET", "POST"])]
    app = Starlette(routes=routes, middleware=[Middleware(Guarded, access=rule)])
    return TestClient(app, base_url=address, follow_redirects=False)


def test_every_response_has_the_policy_also_a_refusal() -> None:
    made = client(Access())
    for response in (
        made.get("/"),
        made.get("/nowhere"),
        made.get("/", headers={"host": "evil.example"}),
        made.get("/", headers={"origin": "http://["}),
        made.get("/?fails=1"),
    ):
        for name, value in HEADERS.items():
            assert response.headers[name] == value
    policy = HEADERS["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "localhost", "[::1]:9", "127.8.8.8"])
def test_this_machine_is_let_in_by_all_its_names(host: str) -> None:
    assert client(Access()).get("/", headers={"host": host}).text == "secret image"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8765", "localhost.evil.example", "192.168.1.4", "[", ""]
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(host: str) -> None:
    response = client(Access()).get("/", headers={"host": host})
    assert response.status_code == 421
    assert "secret" not in response.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:8765"}, 200),
        ({"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9000"}, 403),  # another page of this machine
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),  # no address
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403),  # a form of another page
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_only_the_page_itself_may_send(headers: dict[str, str], status: int) -> None:
    assert client(Access()).post("/", headers=headers).status_code == status


def test_a_link_may_lead_to_the_page_but_no_other_page_reads_it() -> None:
    made = client(Access())
    foreign = {"sec-fetch-site": "cross-site"}
    assert made.get("/", headers={**foreign, "sec-fetch-mode": "navigate"}).status_code == 200
    assert made.get("/", headers={**foreign, "sec-fetch-mode": "no-cors"}).status_code == 403


def test_elsewhere_a_token_is_needed_that_nobody_can_guess() -> None:
    rule = Access.on("0.0.0.0")
    assert rule.token is not None
    assert len(rule.token) >= 43  # 256 bits
    assert rule.token != Access.on("0.0.0.0").token
    assert Access.on("127.0.0.1").token is None
    assert Access.on("127.0.0.1", token=True).token is not None
    assert rule.address("192.168.1.4", 8765) == f"http://192.168.1.4:8765/?token={rule.token}"
    assert rule.address("::1", 1).startswith("http://[::1]:1/")
    assert "0.0.0.0" not in rule.address("0.0.0.0", 8765)  # no browser opens it


def test_the_token_goes_from_the_address_into_a_cookie_that_no_script_reads() -> None:
    rule = Access.on("0.0.0.0")
    made = client(rule, "http://192.168.1.4:8765")
    assert made.get("/").status_code == 401
    for wrong in ("", "x", f"{rule.token}x", str(rule.token)[:-1], "é"):
        assert made.get("/", params={"token": wrong}).status_code == 401
    assert made.post("/", params={"token": str(rule.token)}).status_code == 401
    first = made.get("/", params={"token": str(rule.token)})
    assert first.status_code == 303
    assert first.headers["location"] == "/"
    assert "HttpOnly" in first.headers["set-cookie"]
    assert "samesite=lax" in first.headers["set-cookie"].lower()
    assert made.get("/").text == "secret image"
    made.cookies.clear()
    assert made.get("/", headers={"authorization": f"Bearer {rule.token}"}).text == "secret image"
    assert made.get("/", headers={"cookie": f"{cookie_name('192.168.1.4:8765')}=wrong"}).status_code == 401


def test_two_pages_of_one_host_keep_their_tokens_beside_each_other() -> None:
    rules = [Access.on("127.0.0.1", token=True) for _ in range(2)]
    pages = [client(rule, f"http://127.0.0.1:{8765 + k}") for k, rule in enumerate(rules)]
    sent = "; ".join(
        page.get("/", params={"token": str(rule.token)}).headers["set-cookie"].partition(";")[0]
        for page, rule in zip(pages, rules, strict=True)
    )
    names = [word.partition("=")[0] for word in sent.split("; ")]
    assert len(set(names)) == 2  # of one name, a browser would keep the second alone
    for page in pages:
        page.cookies.clear()
        assert page.get("/", headers={"cookie": sent}).text == "secret image"


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr(secrets, "compare_digest", compare)
    rule = Access(secrets.token_urlsafe(32))
    assert client(rule).get("/", params={"token": "wrong"}).status_code == 401
    assert (b"wrong", str(rule.token).encode()) in compared


def test_an_error_of_the_program_is_told_without_its_message(capfd: pytest.CaptureFixture[str]) -> None:
    response = client(Access()).get("/?fails=1")
    said = capfd.readouterr()
    assert response.status_code == 500
    assert response.json()["wrong"]
    assert "RuntimeError" in said.err
    assert "Secretname" not in response.text + said.err + said.out


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("a.b", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
