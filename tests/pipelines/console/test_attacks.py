"""The usual attacks on forms, addresses, cookies and headers, on a real process."""

import re
from collections.abc import Callable

import httpx
import pytest

from pipelines.console.pages.entry import local
from pipelines.console.shield import LARGEST_BODY
from tests.pipelines.console.visiting import PASSWORD, Visitor
from tests.pipelines.test_report_page import HOSTILE

VisitorNamed = Callable[[str], Visitor]

INJECTIONS = (
    "' OR '1'='1",
    "'; DROP TABLE alerts; --",
    '" UNION SELECT password FROM users --',
    "%' AND 1=0 UNION SELECT name, password FROM users --",
)


def test_text_of_messages_never_becomes_markup(visitor: VisitorNamed) -> None:
    ann = visitor("ann")
    for path in ("/messages?q=alert", "/messages?company=AMZN", "/companies/AMZN"):
        page = ann.get(path).text
        assert "alert(" in page
        for tag in ("<script>", "<img", "<svg onload", "<style>"):
            assert tag not in page
    page = ann.get("/messages/t:100").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "⟦U+202E⟧" in ann.get("/messages/t:102").text
    for number in (100, 101, 103):  # javascript:, data:, a name before the host
        assert 'target="_blank"' not in ann.get(f"/messages/t:{number}").text
    assert 'href="https://news.example/a?b=1&amp;c=2"' in ann.get("/messages/t:102").text


@pytest.mark.parametrize("text", [*HOSTILE[:2], HOSTILE[4], '"><script>alert(9)</script>'])
def test_nothing_that_is_typed_comes_back_as_markup(visitor: VisitorNamed, text: str) -> None:
    ann = visitor("ann")
    for path, name in (("/messages", "q"), ("/messages", "company"), ("/login", "next")):
        page = ann.http.get(path, params={name: text}).text
        assert text not in page
    refused = ann.http.post("/login", data={"name": text[:64], "password": "x", "next": text})
    assert text not in refused.text
    page = ann.post("/account/keys", {"label": text[:64], "scope": "read", "days": "1"}).text
    assert text[:64] not in page


@pytest.mark.parametrize("text", INJECTIONS)
def test_sql_in_fields_stays_text(visitor: VisitorNamed, text: str) -> None:
    ann = visitor("ann")
    before = ann.get("/api/v1/alerts").json()
    for path, name in (
        ("/messages", "q"),
        ("/messages", "topic"),
        ("/messages", "company"),
        ("/api/v1/alerts", "key"),
        ("/api/v1/messages", "q"),
    ):
        answer = ann.http.get(path, params={name: text})
        assert answer.status_code == 200, (path, name)
        assert "$argon2id$" not in answer.text
        assert '<li class="message">' not in answer.text
    for path in ("/alerts/", "/companies/", "/topics/", "/messages/", "/api/v1/alerts/"):
        assert ann.http.get(path + text).status_code == 404
    assert ann.http.get("/alerts", params={"after": text}).status_code == 422
    stranger = Visitor(str(ann.http.base_url))
    assert stranger.log_in(text).status_code == 401
    assert ann.get("/api/v1/alerts").json() == before


def test_a_form_without_its_token_or_with_that_of_another_session_does_nothing(
    visitor: VisitorNamed,
) -> None:
    carl, cleo = visitor("carl"), visitor("cleo")
    (alert, *_) = carl.get("/api/v1/alerts").json()["items"]
    before = carl.get(f"/api/v1/alerts/{alert['id']}/events").json()
    for token in ("", "0" * 64, cleo.csrf, "é"):
        answer = carl.http.post(f"/alerts/{alert['id']}/comment", data={"csrf": token, "text": "x"})
        assert answer.status_code == 403
    assert carl.get(f"/api/v1/alerts/{alert['id']}/events").json() == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_form_that_another_sites_page_sends_is_refused_even_at_the_log_in(
    visitor: VisitorNamed, headers: dict[str, str]
) -> None:
    carl = visitor("carl")
    token = carl.csrf
    for path in ("/login", "/logout", "/account/keys"):
        answer = carl.http.post(path, data={"csrf": token, "name": "carl"}, headers=headers)
        assert answer.status_code == 403
    assert carl.get("/account").status_code == 200


def test_a_session_that_somebody_planted_is_not_taken_on(url: str) -> None:
    victim = Visitor(url)
    victim.http.cookies.set("foreshock", "planted-by-another", domain="127.0.0.1")
    answer = victim.log_in("ann")
    given = re.search(r"foreshock=([\w-]+);", answer.headers["set-cookie"])
    assert given
    assert given[1] != "planted-by-another"
    thief = Visitor(url)
    thief.http.cookies.set("foreshock", "planted-by-another", domain="127.0.0.1")
    assert thief.get("/account").status_code == 303


def test_logging_in_again_ends_the_session_before_and_logging_out_all_of_it(url: str) -> None:
    ann = Visitor(url, "ann")
    before = ann.http.cookies["foreshock"]
    ann.log_in("ann")
    after = ann.http.cookies["foreshock"]
    old = httpx.get(f"{url}/account", cookies={"foreshock": before})
    assert (before != after, old.status_code) == (True, 303)
    ann.post("/logout")
    assert httpx.get(f"{url}/account", cookies={"foreshock": after}).status_code == 303


def test_the_cookie_is_for_http_and_this_site_alone(url: str) -> None:
    cookie = Visitor(url).log_in("ann").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert "Path=/" in cookie
    assert "domain" not in cookie.lower()


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "http:evil.example",
        "/%0d%0aSet-Cookie:x\r\nLocation: https://evil.example",
        "",
    ],
)
def test_a_log_in_leads_to_pages_of_the_console_alone(url: str, target: str) -> None:
    assert local(target) == "/"
    answer = Visitor(url).log_in("ann", next=target)
    assert answer.headers["location"] == "/"
    assert local("/alerts?shelf=all") == "/alerts?shelf=all"


def test_after_some_wrong_passwords_the_right_one_has_to_wait_too(
    url: str, visitor: VisitorNamed
) -> None:
    fields = {"name": "otto", "role": "analyst", "password": PASSWORD}
    assert visitor("ada").post("/users", fields).status_code == 303
    for _ in range(5):
        assert Visitor(url).log_in("otto", "wrong wrong wrong").status_code == 401
    answer = Visitor(url).log_in("otto")
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert Visitor(url).log_in("cleo").status_code == 303


def test_who_is_unknown_gets_the_same_answer_as_who_mistypes(url: str) -> None:
    one, other = (Visitor(url).log_in(name, "wrong wrong wrong") for name in ("ada", "nobody"))
    assert one.status_code == other.status_code == 401
    assert one.text == other.text


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/..%2f..%2fserver.py",
        "/static/%2e%2e%2fapp.py",
        "/static//etc/passwd",
        "/static/console.css%00.js",
        "/messages/../../etc/passwd",
        "/alerts/..%2f..%2fusers",
    ],
)
def test_no_address_leads_to_files(visitor: VisitorNamed, path: str) -> None:
    answer = visitor("ann").http.request("GET", path)
    assert answer.status_code in (400, 403, 404)
    assert "root:" not in answer.text
    assert "import" not in answer.text


def test_nobody_sees_or_ends_what_is_anothers(visitor: VisitorNamed) -> None:
    carl, cleo = visitor("carl"), visitor("cleo")
    page = carl.post("/account/keys", {"label": "mine-alone", "scope": "read", "days": "1"}).text
    key = re.search(r"fsk_(\w{16})_", page)
    assert key
    assert "mine-alone" not in cleo.get("/account").text
    assert cleo.post(f"/account/keys/{key[1]}/revoke").status_code == 422
    assert f"/account/keys/{key[1]}/revoke" in carl.get("/account").text


def test_another_name_for_the_console_is_not_answered(url: str) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[::1"):
        assert httpx.get(f"{url}/login", headers={"Host": host}).status_code in (400, 421)


def test_headers_stand_on_every_answer(visitor: VisitorNamed) -> None:
    ann = visitor("ann")
    for path in ("/login", "/alerts", "/nowhere", "/static/console.js", "/api/v1/alerts"):
        headers = ann.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers
        if not path.startswith("/static"):
            assert headers["cache-control"] == "no-store"


def test_pages_hold_no_script_or_style_of_their_own(visitor: VisitorNamed) -> None:
    ann = visitor("ann")
    for path in ("/login", "/alerts", "/mood", "/messages", "/account", "/companies/AMZN"):
        page = ann.get(path).text
        assert not re.search(r"<script(?![^>]*(src=|type=\"application/json\"))", page), path
        assert not re.search(r"<[^>]+\s(on\w+|style)=", page), path
        assert "<style" not in page


def test_what_is_typed_does_not_reach_headers(visitor: VisitorNamed) -> None:
    ann = visitor("ann")
    answer = ann.http.get("/alerts/x%0d%0aSet-Cookie:%20evil=1")
    assert answer.status_code == 404
    assert "set-cookie" not in answer.headers
    carl = visitor("carl")
    answer = carl.post("/alerts/a%0d%0aX-Evil:%201/export", {"form": "jsonl"})
    assert answer.status_code == 404
    assert "x-evil" not in answer.headers


def test_what_is_too_long_is_not_read(visitor: VisitorNamed, url: str) -> None:
    ann = visitor("ann")
    long = "x" * (LARGEST_BODY + 1)
    assert ann.http.post("/login", data={"name": long}).status_code == 413

    def endless():
        for _ in range(40):
            yield b"name=" + b"x" * 50_000

    answer = ann.http.post(
        "/login",
        content=endless(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code in (400, 413)


def test_the_password_is_asked_for_before_it_is_changed(visitor: VisitorNamed) -> None:
    cleo = visitor("cleo")
    fields = {"old": "wrong wrong wrong", "new": "nine quiet lemurs"}
    assert cleo.post("/account/password", fields).status_code == 422
    assert cleo.log_in("cleo", PASSWORD).status_code == 303
