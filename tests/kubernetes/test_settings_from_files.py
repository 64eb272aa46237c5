"""The password and the database's URL out of mounted files."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpctl.errors import InvalidSetting
from mcpctl.server.settings import FROM_FILES, load

VALUES = {"database_url": "postgresql://mcpctl:hush@postgresql/mcpctl", "admin_password": "correct horse battery"}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FROM_FILES:
        monkeypatch.delenv(f"MCPCTL_{name.upper()}", raising=False)


@pytest.mark.parametrize("name", FROM_FILES)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_file_says_what_the_variable_would(name: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "value").write_bytes((VALUES[name] + end).encode())
    monkeypatch.setenv(f"MCPCTL_{name.upper()}_FILE", str(tmp_path / "value"))
    assert VALUES[name] == getattr(load({}), name)


@pytest.mark.parametrize("name", FROM_FILES)
def test_both_at_once_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "value").write_text(VALUES[name])
    monkeypatch.setenv(f"MCPCTL_{name.upper()}_FILE", str(tmp_path / "value"))
    monkeypatch.setenv(f"MCPCTL_{name.upper()}", "another value")
    with pytest.raises(InvalidSetting) as refused:
        load({})
    variable = f"MCPCTL_{name.upper()}"
    assert f"{variable}_FILE and {variable} are both set; which of them counts? set one" == refused.value.detail


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read: No such file"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff", "is not UTF-8")],
)
@pytest.mark.parametrize("name", FROM_FILES)
def test_a_file_that_says_nothing_is_named(
    name: str, content: bytes | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "value").write_bytes(content)
    monkeypatch.setenv(f"MCPCTL_{name.upper()}_FILE", str(tmp_path / "value"))
    with pytest.raises(InvalidSetting) as refused:
        load({})
    assert f"MCPCTL_{name.upper()}_FILE: {tmp_path / 'value'} {said}" in refused.value.detail


def test_a_password_that_is_too_short_is_said_by_its_file_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "value").write_text("hush")
    monkeypatch.setenv("MCPCTL_ADMIN_PASSWORD_FILE", str(tmp_path / "value"))
    with pytest.raises(InvalidSetting) as refused:
        load({})
    assert ["MCPCTL_ADMIN_PASSWORD_FILE"] == [error.field for error in refused.value.errors]
    assert "hush" not in str(refused.value.as_json())
