"""Secrets come from the environment or a file, and an error names neither."""

from pathlib import Path

import pytest

from alerting.channels.secrets import checked_name, needed, secret, variable
from alerting.errors import ConfigurationError


def test_the_environment_goes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("from the file\n")
    assert secret("us-desk", "password", tmp_path / "password") == "from the file"
    monkeypatch.setenv(variable("us-desk", "password"), "from the environment")
    assert variable("us-desk", "password") == "FORESHOCK_CHANNEL_US_DESK_PASSWORD"
    assert secret("us-desk", "password", tmp_path / "password") == "from the environment"


def test_an_empty_file_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("\n")
    with pytest.raises(ConfigurationError, match="password_file"):
        needed("desk", "password", tmp_path / "password")


@pytest.mark.parametrize("content", [None, b"\xff\xfehunter2"])
def test_a_file_that_cannot_be_read_is_named_and_not_quoted(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as error:
        secret("desk", "password", path)
    assert str(path) in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("name", ["", "A", "a b", "a_b", "-a", "a" * 65, "a\n"])
def test_a_name_that_no_variable_could_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="name of a channel"):
        checked_name(name)
