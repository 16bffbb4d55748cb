"""Who may read, and which request ids are kept."""

from __future__ import annotations

from base64 import b64encode

import pytest

from integration.service.access import Access, host_name, presented_token, request_id

TOKEN = "s3cret:with-colon"


def basic(credentials: str) -> str:
    """The header of these credentials."""
    return f"Basic {b64encode(credentials.encode()).decode()}"


class TestAToken:
    """What a client has to present."""

    @pytest.mark.parametrize(
        "authorization", [f"Bearer {TOKEN}", f"bearer  {TOKEN} ", basic(f"any:{TOKEN}")]
    )
    def test_opens_every_path(self, authorization: str) -> None:
        """Opens every path."""
        assert Access(TOKEN).allows("/data", authorization)

    @pytest.mark.parametrize(
        "authorization",
        [
            None,
            "",
            "Bearer",
            "Bearer wrong",
            f"Bearer {TOKEN}x",
            TOKEN,
            f"Token {TOKEN}",
            basic(TOKEN.replace(":", "")),
            basic("any:"),
            "Basic ===",
            "Basic é",
            "Bearer \udcff",
        ],
    )
    def test_that_is_wrong_or_missing_is_refused(self, authorization: str | None) -> None:
        """That is wrong or missing is refused."""
        assert not Access(TOKEN).allows("/data", authorization)

    def test_is_not_needed_for_live(self) -> None:
        """Is not needed for live."""
        assert Access(TOKEN).allows("/live", None)
        assert not Access(TOKEN).allows("/live/", None)

    def test_is_in_no_repr(self) -> None:
        """Is in no repr."""
        assert TOKEN not in repr(Access(TOKEN))

    def test_of_basic_is_what_follows_the_first_colon(self) -> None:
        """Of basic is what follows the first colon."""
        assert presented_token(basic("user:a:b")) == b"a:b"


class TestWithoutAToken:
    """Clients of this machine only."""

    def test_every_path_is_open(self) -> None:
        """Every path is open."""
        assert Access().allows("/data", None)

    @pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
    def test_names_of_this_machine_are_served(self, host: str) -> None:
        """Names of this machine are served."""
        assert Access().serves_host(host)

    @pytest.mark.parametrize(
        "host", [None, "", "evil.example", "127.0.0.1.evil.example:8000", "a:b:c", "[::1]x"]
    )
    def test_other_names_are_not(self, host: str | None) -> None:
        """A site could reach the service through a visitor's browser."""
        assert not Access().serves_host(host)
        assert Access(TOKEN).serves_host(host)


def test_the_name_in_a_host_header() -> None:
    """The name in a host header."""
    assert host_name("Example.com:80") == "example.com"
    assert host_name("[::1]:80") == "::1"
    assert host_name("a b:80:90") == ""


class TestARequestId:
    """The id in log and answer."""

    def test_of_the_client_is_kept(self) -> None:
        """Of the client is kept."""
        assert request_id({"x-request-id": "a-1_2.b"}) == "a-1_2.b"

    @pytest.mark.parametrize("given", ["", "a b", "a\nb", "x" * 65, "<b>", "é"])
    def test_that_could_forge_a_log_line_is_replaced(self, given: str) -> None:
        """That could forge a log line is replaced."""
        made = request_id({"x-request-id": given})

        assert made != given
        assert made.isalnum()

    def test_is_new_each_time(self) -> None:
        """Is new each time."""
        assert request_id({}) != request_id({})
