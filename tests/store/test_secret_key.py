"""Where the keys of a control plane come from, and what happens when they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpctl.errors import InvalidSetting
from mcpctl.server.command import prepare
from mcpctl.server.settings import ServerSettings, load
from mcpctl.services.keyring import generate_key
from mcpctl.store.schema import Secret, SecretValue


def settings(directory: Path, **more: object) -> ServerSettings:
    return ServerSettings.model_validate({"data_dir": directory, "admin_password": "a long password", **more})


def keep_a_secret(directory: Path) -> None:
    control = prepare(settings(directory))
    with control.database.write() as transaction:
        secret = Secret(name="github", created_at=1.0, updated_at=1.0)
        transaction.session.add(secret)
        transaction.session.flush()
        sealed = control.keyring.seal("hunter2", f"{secret.id}/github/token")
        transaction.session.add(SecretValue(secret_id=secret.id, key="token", **sealed._asdict()))
    control.database.close()


def test_on_sqlite_the_first_start_makes_a_key_that_nobody_else_can_read_and_keeps_it(tmp_path: Path) -> None:
    keep_a_secret(tmp_path)
    path = tmp_path / "secret-key"
    kept = path.read_text()
    assert 0o600 == path.stat().st_mode & 0o777
    prepare(settings(tmp_path)).database.close()
    assert kept == path.read_text()


def test_no_new_key_is_made_while_values_need_the_one_that_is_gone(tmp_path: Path) -> None:
    keep_a_secret(tmp_path)
    path = tmp_path / "secret-key"
    kept = path.read_text()
    path.unlink()
    with pytest.raises(InvalidSetting, match="which is not there, holds no key: restore it there"):
        prepare(settings(tmp_path))
    assert not path.exists()
    path.write_text(kept)
    prepare(settings(tmp_path)).database.close()


def test_a_wrong_key_is_refused_by_where_it_came_from_and_by_what_it_is_called(tmp_path: Path) -> None:
    keep_a_secret(tmp_path)
    (tmp_path / "wrong").write_text(generate_key())
    with pytest.raises(InvalidSetting, match=f"need the key [0-9a-f]{{16}}, and {tmp_path / 'wrong'} holds [0-9a-f]{{16}}"):
        prepare(settings(tmp_path, secret_key_file=tmp_path / "wrong"))


def test_a_key_and_a_file_of_keys_are_not_both_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCPCTL_SECRET_KEY_FILE", str(tmp_path / "keys"))
    (tmp_path / "settings.toml").write_text(f'secret_key = "{generate_key()}"')
    with pytest.raises(InvalidSetting, match="are both set"):
        load({}, tmp_path / "settings.toml")
