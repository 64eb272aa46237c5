"""The named detectors of the stage ``redact``. What each looks for is the gateway's part."""

from __future__ import annotations

from typing import Final

ALWAYS_ON: Final = "mcpctl-token"
"""Looked for by every ``redact``, whatever its options say."""

DETECTORS: Final = {
    ALWAYS_ON: "a token or session of this installation (always looked for)",
    "private-key": "a private key in PEM form",
    "aws-access-key": "an AWS access key and what is beside it",
    "github-token": "a GitHub token",
    "slack-token": "a Slack token",
    "jwt": "a JSON Web Token",
    "bearer-header": "the credential after 'Authorization: Bearer'",
    "basic-auth-url": "user and password in a URL",
    "email": "an e-mail address",
    "credit-card": "a credit card number (Luhn)",
}
"""Each detector and what it looks for, in the order in which they are tried."""
