"""SecretMask: no secret survives it, however it is written."""

from __future__ import annotations

import html
import json
from urllib.parse import quote, quote_plus

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from integration.core.redaction import MASK, MIN_SECRET, SecretMask

# A star in a secret could be confused with the mask's own.
secrets = st.text(min_size=MIN_SECRET).filter(lambda secret: "*" not in secret)
PASSWORD = "pä$s/w \"ö'rd\\\n"


def written(secret: str) -> dict[str, str]:
    """The forms in which the secret may appear in a text."""
    return {
        "plain": secret,
        "JSON": json.dumps(secret)[1:-1],
        "JSON in UTF-8": json.dumps(secret, ensure_ascii=False)[1:-1],
        "URL": quote(secret, safe=""),
        "URL's path": quote(secret),
        "form": quote_plus(secret),
        "repr": repr(secret)[1:-1],
        "repr among both quotes": repr(f"'\"{secret}")[4:-1],
    }


@given(secret=secrets, before=st.text(), after=st.text())
@example(secret=PASSWORD, before="", after="")
def test_no_secret_survives_in_any_form(secret: str, before: str, after: str) -> None:
    """Whatever a secret consists of and is surrounded by, no form of it remains."""
    mask = SecretMask([secret])
    for name, form in written(secret).items():
        assert form not in mask(f"{before}{form}{after}"), name


@pytest.mark.parametrize("secret", [PASSWORD, "four", 'it\'s "so" = <a&b>', "\x9b\x00\u2028!"])
def test_a_secret_is_masked_from_its_first_to_its_last_character(secret: str) -> None:
    """Not even a part of it remains; four characters are long enough for a secret."""
    mask = SecretMask([secret])
    masked = {name: mask(f"({form})") for name, form in written(secret).items()}
    assert masked == dict.fromkeys(masked, "(***)")


@given(st.lists(secrets, min_size=2, max_size=4))
def test_of_several_secrets_none_survives(given_secrets: list[str]) -> None:
    """A secret that is the start or a part of another does not hide it from the mask."""
    masked = SecretMask(given_secrets)(" ".join(given_secrets))
    assert not [secret for secret in given_secrets if secret in masked]


def test_a_secret_within_another_leaves_no_rest() -> None:
    """The longest is masked first, so that its end does not remain."""
    assert SecretMask(["pass", "pass-phrase"])("is pass-phrase") == f"is {MASK}"


@pytest.mark.parametrize("secret", ["", "a", "abc"])
def test_a_short_value_is_not_a_secret(secret: str) -> None:
    """Masking an empty or very short password would make every text unreadable."""
    text = f"a{secret}bc of cabbages"
    assert SecretMask([secret])(text) == text


@given(st.text(alphabet="abc {}\n"))
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    """The mask changes nothing else."""
    assert SecretMask(["geheim"])(text) == text


@pytest.mark.parametrize("text", ["{}", "Authorization: Bearer {}", '{{"token":"{}"}}', "b'{}'"])
def test_a_token_is_masked_without_being_known(text: str) -> None:
    """Tokens are created per user; each is recognized by its form."""
    token = jwt.encode({"email": "ada@example.com"}, "a-secret-of-thirty-two-bytes-or-so")
    assert SecretMask()(text.format(token)) == text.format(MASK)


def test_a_secret_of_the_environment_that_is_not_utf_8_is_masked() -> None:
    """Bytes that are not valid UTF-8 become surrogates, which no URL and no file can contain."""
    secret = b"geheim-\xe4-\xff".decode("utf-8", "surrogateescape")
    assert SecretMask([secret])(f"is {secret}, {secret!r}") == f"is {MASK}, '{MASK}'"


def test_the_mask_itself_shows_nothing() -> None:
    """It may appear in a traceback or a log."""
    assert repr(SecretMask(["geheim"])) == "SecretMask()"


def test_a_login_in_a_url_is_masked() -> None:
    """A proxy's password is not a setting of this program, but a secret all the same."""
    assert SecretMask()("via http://bob:s3cret word@proxy:99") == "via http://***@proxy:99"


@pytest.mark.parametrize("secret", ["geheim&<1>", 'it\'s "so"'])
def test_a_secret_in_html_is_masked(secret: str) -> None:
    """The form used by a proxy's error page."""
    assert SecretMask([secret])(f"<p>{html.escape(secret)}</p>") == f"<p>{MASK}</p>"
