"""A token in a file: taken only from one that nobody else reads or writes, and only if it is one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mcpctl.errors import InvalidSetting
from mcplocal.token_file import TokenFile
from tests.gateway.test_http_sse import put


def refused_by(make: Callable[[Path], Path], tmp_path: Path) -> str:
    with pytest.raises(InvalidSetting) as raised:
        TokenFile(make(tmp_path / "token"), "MCPLOCAL_SSE_TOKEN_FILE").read()
    return raised.value.detail


TOKEN = "mcpctl_pat_" + "a" * 43


def pipe(path: Path) -> Path:
    os.mkfifo(path, 0o600)
    return path


def directory(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path, "cannot be read"),
        (lambda path: put(path, TOKEN, 0o640), "chmod 600"),
        (lambda path: put(path, TOKEN, 0o604), "chmod 600"),
        (lambda path: put(path, ""), "something else"),
        (lambda path: put(path, TOKEN + "\n" + TOKEN), "something else"),
        (lambda path: put(path, "mcpctl_ses_" + "a" * 43), "something else"),
        (lambda path: put(path, "ü"), "something else"),
        (lambda path: put(path, TOKEN + "a" * 5000), "something else"),
        (directory, "not a file"),
        (pipe, "not a file"),
    ],
)
def test_a_token_file_that_others_read_or_that_holds_none_is_refused_in_words(
    tmp_path: Path, make: Callable[[Path], Path], said: str
) -> None:
    assert said in refused_by(make, tmp_path)
    assert "aaaa" not in refused_by(lambda path: path, tmp_path)


def test_a_token_file_may_be_a_link_as_kubernetes_makes_them(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(put(tmp_path / "data", TOKEN, 0o400))
    assert TOKEN == TokenFile(link, "MCPLOCAL_SSE_TOKEN_FILE").read()
