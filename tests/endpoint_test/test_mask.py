"""No part of a secret is shown that could be used, and nobody writes lines of a report but the report."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import pytest

from mcpctl.endpoint_test.exchange import Exchange
from mcpctl.endpoint_test.mask import Mask

SECRET = "s3cr+t/of~the=tests?yes"
MASKING = Mask([SECRET, "Basic dXNlcjpwYXNzd29yZA=="])
FORMS = {
    "raw": SECRET,
    "percent": quote(SECRET, safe=""),
    "all percent": "".join(f"%{byte:02X}" for byte in SECRET.encode()),
    "all percent, small": "".join(f"%{byte:02x}" for byte in SECRET.encode()),
    "hex": SECRET.encode().hex(),
    "HEX": SECRET.encode().hex().upper(),
    "base64": b64encode(SECRET.encode()).decode(),
    "base64 behind a name": b64encode(b"user:" + SECRET.encode()).decode(),
    "base64 behind another": b64encode(b"me:" + SECRET.encode() + b"!").decode(),
    "base64 for addresses": urlsafe_b64encode(SECRET.encode()).decode(),
    "behind its scheme": "dXNlcjpwYXNzd29yZA==",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_hidden_in_every_usual_form(form: str) -> None:
    shown = MASKING.text(f"before {FORMS[form]} after")
    assert "•••" in shown
    middle = FORMS[form][8:-6]
    assert middle not in shown


@pytest.mark.parametrize("length", range(8, len(SECRET)))
def test_the_beginning_of_a_secret_that_was_cut_is_hidden_wherever_it_stands(length: int) -> None:
    cut = SECRET[:length]
    assert "it has ••• and more" == MASKING.text(f"it has {cut} and more")
    assert "it has •••" == MASKING.text(f"it has {cut}")


def test_an_excerpt_that_ends_in_a_secret_shows_no_part_of_it() -> None:
    raw = b"x" * 3190 + SECRET.encode()
    for place in range(780, 801):
        exchange = Exchange("GET", "http://a/", status=200, raw=b" " * place + SECRET.encode() + raw, size=5000)
        assert "s3cr+t/o" not in MASKING.show(exchange).received
    header = Exchange("GET", "http://a/", status=200, answered=(("x-a", "y" * 290 + SECRET),))
    assert "s3cr+t/o" not in MASKING.show(header).received


def test_what_is_said_is_one_line_of_bounded_length() -> None:
    shown = MASKING.line("a\n::error::\tb\r" + "c" * 3_000_000)
    assert shown.startswith("a\\n::error::\\tb\\rccc")
    assert 501 == len(shown)
