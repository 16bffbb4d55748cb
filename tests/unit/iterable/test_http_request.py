"""Requests as bytes."""

from __future__ import annotations

import pytest

from integration.iterable.http_request import RequestWriter

KEY = {"Api-Key": "k"}


def head_of(request: bytes) -> list[str]:
    """The lines before the body."""
    return request.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")


def test_a_body_is_posted_as_json() -> None:
    """With its length in bytes, and after the headers of every request and of this one."""
    writer = RequestWriter("https://api.iterable.com", {"User-Agent": "me"})

    assert writer.write("/api/users/update", KEY, '{"a":"é"}'.encode()) == (
        b"POST /api/users/update HTTP/1.1\r\n"
        b"Host: api.iterable.com\r\n"
        b"Accept-Encoding: identity\r\n"
        b"User-Agent: me\r\n"
        b"Api-Key: k\r\n"
        b"Content-Type: application/json\r\n"
        b"Content-Length: 10\r\n"
        b"\r\n"
        b'{"a":"\xc3\xa9"}'
    )


def test_without_a_body_it_is_a_get() -> None:
    """It has neither a length nor a type."""
    request = RequestWriter("https://a.example", {}).write("/b?c=d", KEY, None)

    assert request.endswith(b"\r\n\r\n")
    assert head_of(request)[0] == "GET /b?c=d HTTP/1.1"
    assert "Content-" not in request.decode()


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("https://API.iterable.com", "api.iterable.com"),
        ("https://api.iterable.com:443", "api.iterable.com"),
        ("https://api.iterable.com:8443", "api.iterable.com:8443"),
        ("http://127.0.0.1:80", "127.0.0.1"),
        ("HTTP://127.0.0.1:443", "127.0.0.1:443"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("https://[fe80::1%25eth0]", "[fe80::1]"),
        ("https://bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_the_host_is_named_without_the_usual_port(base_url: str, host: str) -> None:
    """RFC 9110, section 7.2: as in the URL, in ASCII; a zone is local to this machine."""
    assert f"Host: {host}" in head_of(RequestWriter(base_url, {}).write("/", {}, None))


def test_a_proxy_is_given_the_whole_url() -> None:
    """RFC 9112, section 3.2.2; the `Host` is still that of the server."""
    writer = RequestWriter("http://iterable.invalid", {}, through_proxy=True)

    lines = head_of(writer.write("/api", {}, None))

    assert lines[:2] == ["GET http://iterable.invalid/api HTTP/1.1", "Host: iterable.invalid"]


@pytest.mark.parametrize("value", ["a\r\nX: forged", "a\nb", "a\rb", "€"])
@pytest.mark.parametrize("of_all", [True, False])
def test_a_header_that_would_be_more_than_one_is_refused(*, value: str, of_all: bool) -> None:
    """Nothing can be added to a request through a value."""
    headers = {"X-Name": value}
    writer = RequestWriter("https://a.example", headers if of_all else {})
    with pytest.raises(ValueError, match=r"line break|latin-1"):
        writer.write("/", {} if of_all else headers, b"{}")
