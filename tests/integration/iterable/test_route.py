"""The route to Iterable that the environment sets; the proxies are real, on loopback ports."""

from __future__ import annotations

import base64
import io
import os
import shutil
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from integration.core.redaction import SecretMask
from integration.iterable.route import RouteError, route_to, tls_context
from tests.integration.iterable.test_http_connection import BODIES, answers_for
from tests.integration.iterable.test_transport import PATH, post, transport_to
from tests.support.proxy import (
    BASE_URL,
    HOST,
    Certificate,
    forward_to,
    make_certificate,
    refusing_proxy,
    refusing_tls_proxy,
    tunnelling_proxy,
)
from tests.support.runs import database_of, environment_for, run
from tests.support.scripted_server import body_of, ok

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.process import SandboxProcess

CLOSED_PORT = "http://127.0.0.1:9"
LOGIN = "corporate%2Duser:s%40cret-w0rd"
NEEDS_LOGIN = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no CA except what a test sets."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}:
            monkeypatch.delenv(name)


@pytest.fixture(scope="module", name="certificate")
def certificate_fixture(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One for all tests."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_https_goes_through_the_proxy_of_the_environment(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The proxy is asked for a tunnel, and Iterable's answer comes through it."""
    with tunnelling_proxy(certificate, lambda request: ok(body_of(request))) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
        answers = answers_for(BASE_URL)

    assert [answer.body for answer in answers] == BODIES
    assert [request.split()[:2] for request in proxy.requests] == [
        [b"CONNECT", f"{HOST}:443".encode()]
    ]


def test_http_goes_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each scheme has its own proxy; this one receives the complete URL."""
    with refusing_proxy(ok(b"{}")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("HTTPS_PROXY", CLOSED_PORT)
        answer = post(f"http://{HOST}")

    assert answer.status == 200
    assert proxy.requests[0].startswith(f"POST http://{HOST}/api/users/update ".encode())


def test_a_proxy_for_http_gets_its_login_with_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no tunnel that could be opened with it."""
    with refusing_proxy(ok(b"{}")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", f"//{LOGIN}@"))
        assert post(f"http://{HOST}").status == 200

    credentials = base64.b64encode(b"corporate-user:s@cret-w0rd")
    assert b"proxy-authorization: basic %b\r\n" % credentials.lower() in proxy.requests[0].lower()


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_a_host_of_no_proxy_is_called_directly(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Written as 127.1, this machine does not count as a loopback that bypasses proxies."""
    url = sandbox.url.replace("127.0.0.1", "127.1")
    monkeypatch.setenv("HTTP_PROXY", CLOSED_PORT)
    assert post(url).error == "connection_error"

    monkeypatch.setenv(variable, "127.1")
    assert post(url).status == 200


def test_a_proxy_without_a_scheme_is_one_for_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs interpret it the same way."""
    with refusing_proxy(ok(b"{}")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
        assert post(f"http://{HOST}").status == 200


@pytest.mark.parametrize(
    "value",
    [
        "http://[bad",
        "foo:notaport",
        "http://bob:s3cret@proxy.invalid:99999",
        "http://",
        "://bob:s3cret@proxy.invalid",
        "socks5://127.0.0.1:9",
        "ftp://127.0.0.1:9",
        "http://a b:80",
        "http://us€r:w@proxy.invalid:80",
        "http://pr\udce4xy.invalid:80",
    ],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
def test_an_invalid_proxy_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """The variable and the expected form are named; its value may contain a password."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(RouteError, match=f"^{variable} is a value that is not shown") as refused:
        route_to(BASE_URL)

    assert "s3cret" not in str(refused.value)


def test_a_proxy_that_does_not_apply_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for another scheme, for a host of NO_PROXY, or for the loopback."""
    monkeypatch.setenv("HTTPS_PROXY", "http://[bad")
    assert route_to(f"http://{HOST}").proxies == {}
    assert route_to("https://127.0.0.1:8080").proxies == {}
    monkeypatch.setenv("NO_PROXY", HOST)
    assert route_to(BASE_URL).proxies == {}


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_missing_ca_bundle_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """It would fail every call; bytes that are not valid UTF-8 are shown escaped."""
    monkeypatch.setenv(variable, "/no/b\udce4ndle.pem")
    message = rf"^{variable} is '/no/b\\udce4ndle\.pem' \(No such file"
    with pytest.raises(RouteError, match=message):
        tls_context(route_to(BASE_URL))


def test_a_ca_bundle_without_a_certificate_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Any other file."""
    other = tmp_path / "notes.txt"
    other.write_text("none here\n", encoding="utf-8")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    with pytest.raises(RouteError, match="which holds no certificate"):
        tls_context(route_to(BASE_URL))


def test_a_folder_of_certificates_is_a_ca_bundle(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """OpenSSL looks up certificates in it by hashed names."""
    command = ["openssl", "x509", "-noout", "-subject_hash", "-in", str(certificate.file)]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    shutil.copy(certificate.file, tmp_path / f"{name}.0")
    with tunnelling_proxy(certificate, lambda _: ok(b"{}")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
        assert post(BASE_URL).status == 200


def test_the_ca_bundle_is_read_once_for_all_connections(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading it takes longer than all the rest of a connection; no other is read."""
    loaded = []
    load = ssl.SSLContext.load_verify_locations

    def record_and_load(context: ssl.SSLContext, *arguments: Any) -> None:
        loaded.append(arguments)
        load(context, *arguments)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", record_and_load)
    closing_answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    with tunnelling_proxy(certificate, lambda _: closing_answer) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
        with transport_to(BASE_URL) as transport:
            answers = [transport.send(PATH, b"{}", {}) for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert proxy.connections == 3
    assert loaded == [(str(certificate.file),)]


@pytest.mark.parametrize("trusted", [True, False])
def test_a_proxy_that_is_reached_by_tls_needs_a_trusted_certificate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, trusted: bool
) -> None:
    """The CA bundle applies to it as well."""
    certificate = make_certificate(tmp_path, "localhost")
    with refusing_tls_proxy(certificate, NEEDS_LOGIN) as address:
        monkeypatch.setenv("HTTPS_PROXY", address)
        if trusted:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
        answer = post(BASE_URL)

    assert ("Tunnel connection failed: 407" in answer.reason) is trusted
    assert ("The certificate cannot be verified" in answer.stop_reason) is not trusted


def test_many_connections_are_opened_at_once(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads share what a connection needs for TLS."""
    with tunnelling_proxy(certificate, lambda request: ok(body_of(request))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
        bodies = [b'"%d"' % number for number in range(64)]
        with transport_to(BASE_URL, connections=16) as transport, ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(lambda body: transport.send(PATH, body, {}), bodies))

    assert [answer.body for answer in answers] == bodies


def test_without_tls_the_ca_bundle_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo uses plain http."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file.pem")
    route_to("http://127.0.0.1:8080")


def login_forms() -> list[str]:
    """The forms in which the proxy's login may be written."""
    encoded = base64.b64encode(b"corporate-user:s@cret-w0rd").decode()
    plain = ["corporate-user", "s@cret-w0rd", "corporate-user:s@cret-w0rd"]
    return [*LOGIN.split(":"), LOGIN, *plain, encoded, encoded.rstrip("=")]


def test_a_proxys_echo_of_its_login_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """User and password: as written in the URL, decoded, and as encoded in the header."""
    for form in login_forms():
        refusal = b"HTTP/1.1 503 Who is %b\r\n\r\n" % form.encode()
        with refusing_proxy(refusal) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", f"//{LOGIN}@"))
            answer = post(BASE_URL)

        assert b"Proxy-Authorization: Basic " in proxy.requests[0]
        assert "503 Who is ***" in answer.reason
        assert "corporate" not in answer.reason


def test_a_page_with_the_login_is_masked(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that inspects TLS may answer instead of Iterable."""
    page = " ".join(["<p>", *login_forms()]).encode()
    with tunnelling_proxy(certificate, lambda _: ok(page)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", f"//{LOGIN}@"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
        answer = post(BASE_URL)

    assert answer.body == b"<p> " + b" ".join([b"***"] * len(login_forms()))


def test_a_success_is_parsed_even_if_it_contains_the_proxys_user(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise `user` would be removed from every email address of a bulk answer."""
    body = b'{"code":"Success","user":"user1@example.com"}'
    with tunnelling_proxy(certificate, lambda _: ok(body)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:s3cret@"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
        assert post(BASE_URL).body == body


def test_bytes_after_an_answer_within_tls_are_assigned_to_no_user(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that were decrypted with the answer, but exceed what is read, are detected too."""
    # With its headers an answer exactly fills the buffer of one read.
    room = io.DEFAULT_BUFFER_SIZE - len(ok(b" " * 8000)) + 8000
    bodies = [body.ljust(room) for body in BODIES]
    rest = ok(b"another")
    with tunnelling_proxy(certificate, lambda request: ok(body_of(request)) + rest) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
        answers = answers_for(BASE_URL, bodies)

    assert [answer.body for answer in answers] == bodies
    assert len(proxy.requests) == len(bodies)


def test_a_long_body_passes_through_tls_complete(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body of many TLS records, in both directions."""
    body = bytes(range(97, 123)) * 100_000
    with tunnelling_proxy(certificate, lambda request: ok(body_of(request))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
        (answer,) = answers_for(BASE_URL, [body])

    assert answer.body == body


@pytest.fixture(name="variables")
def variables_fixture(tmp_path: Path) -> dict[str, str]:
    """A complete configuration for two users, with an Iterable that only a proxy can reach."""
    database = database_of(tmp_path / "customers.sqlite", ["ada@example.com", "bob@example.com"])
    return environment_for(tmp_path, None, database) | {"ITERABLE_API_BASE_URL": BASE_URL}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTPS_PROXY", "http://[bad"),
        ("HTTPS_PROXY", "foo:notaport"),
        ("ALL_PROXY", "socks5h://bob:s3cret@127.0.0.1:9"),
        ("REQUESTS_CA_BUNDLE", "/no/such/file.pem"),
        ("CURL_CA_BUNDLE", "/no/such/file.pem"),
    ],
)
def test_a_wrong_variable_ends_the_program_before_anything_else(
    tmp_path: Path, variables: dict[str, str], variable: str, value: str
) -> None:
    """One line that names it, exit code 78; nothing was read or sent."""
    ran = run(tmp_path, variables | {variable: value})

    assert ran.exit_code == 78
    (line,) = ran.stderr.splitlines()
    assert f" - ERROR - {variable} is " in line
    assert "s3cret" not in ran.stderr + ran.log
    assert not list(tmp_path.glob("*.csv"))


def test_a_certificate_that_cannot_be_verified_stops_the_run(
    tmp_path: Path, variables: dict[str, str], certificate: Certificate
) -> None:
    """Retrying is pointless: one attempt, the rest is skipped, and the line says what to check."""
    with tunnelling_proxy(certificate, lambda _: b"") as proxy:
        ran = run(tmp_path, variables | {"HTTPS_PROXY": proxy.url})

    assert ran.exit_code == 69
    assert "certificate cannot be verified (self" in ran.stderr.splitlines()[-1]
    assert "check REQUESTS_CA_BUNDLE" in ran.stderr.splitlines()[-1]
    assert "Retrying" not in ran.stderr
    assert [record["users_update"]["error"] for record in ran.records.values()] == [
        "connection_error",
        "not_attempted",
    ]
    assert ran.results["status"] == "stopped"
    assert len(proxy.requests) == 1


def test_a_proxy_that_wants_a_login_stops_the_run(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """Like a rejected key; the proxy's login is in no file."""
    with refusing_proxy(NEEDS_LOGIN.replace(b"Auth", LOGIN.encode() + b" Auth")) as proxy:
        address = proxy.url.replace("//", f"//{LOGIN}@")
        ran = run(tmp_path, variables | {"HTTPS_PROXY": address})

    assert ran.exit_code == 69
    assert "check HTTPS_PROXY" in ran.stderr.splitlines()[-1]
    assert ran.results["not_attempted"] == 1
    assert len(proxy.requests) == 1
    written = ran.stdout + ran.stderr + ran.log + str(ran.results)
    assert not [form for form in login_forms() if form in written]


def test_a_407_within_the_tunnel_also_comes_from_a_proxy(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Iterable never sends it."""
    with tunnelling_proxy(certificate, lambda _: NEEDS_LOGIN) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
        answer = post(BASE_URL)

    assert (answer.status, "HTTPS_PROXY" in answer.stop_reason) == (407, True)


def test_a_run_goes_through_a_proxy_whose_certificate_is_trusted(
    tmp_path: Path, variables: dict[str, str], certificate: Certificate, sandbox: SandboxProcess
) -> None:
    """Both variables together, as needed in a corporate network."""
    with tunnelling_proxy(certificate, forward_to(sandbox.url)) as proxy:
        trust = {"HTTPS_PROXY": proxy.url, "REQUESTS_CA_BUNDLE": str(certificate.file)}
        ran = run(tmp_path, variables | trust)

    assert (ran.exit_code, ran.stderr) == (0, "")
    assert set(sandbox.state()["users"]) == {"ada@example.com", "bob@example.com"}
    assert SecretMask()(ran.log) == ran.log
