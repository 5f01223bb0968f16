"""Files with secrets: what is refused, and that no refusal tells what they hold."""

import os
import traceback
from pathlib import Path

import pytest

from collectord import secret_files
from collectord.errors import SecretError

SECRET = "hush-4711-hush"


def secret_file(tmp_path: Path, content: bytes = SECRET.encode(), mode: int = 0o600) -> Path:
    """A file with a mode whatever the umask."""
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o660])
@pytest.mark.parametrize("content", [b"hush-4711-hush", b"hush-4711-hush\n", b" hush-4711-hush\r\n\n"])
def test_read(tmp_path: Path, content: bytes, mode: int) -> None:
    """Blanks around it are what an editor left; the group may have it."""
    assert secret_files.read(secret_file(tmp_path, content, mode)) == SECRET


def test_read_other_scripts(tmp_path: Path) -> None:
    """A secret is UTF-8 and may have blanks inside."""
    assert secret_files.read(secret_file(tmp_path, "größer als 7".encode())) == "größer als 7"


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        (SECRET.encode(), 0o604, "everybody can read or write "),
        (SECRET.encode(), 0o602, "(mode 0602)"),
        (b"", 0o600, " is empty"),
        (b" \n\t\n", 0o600, " is empty"),
        (SECRET.encode() + b"\nsecond", 0o600, "has more than one line, or control characters"),
        (SECRET.encode() + b"\0", 0o600, "has more than one line, or control characters"),
        (SECRET.encode() + b"\xff", 0o600, ": not utf-8"),
        (SECRET.encode() * 300, 0o600, "has more than 4096 bytes"),
        (SECRET[:7].encode(), 0o600, "has 7 characters, expected at least 8"),
    ],
)
def test_refused(tmp_path: Path, content: bytes, mode: int, expected: str) -> None:
    """With the path and the reason, and without the secret, however much of the error somebody writes down."""
    path = secret_file(tmp_path, content, mode)
    with pytest.raises(SecretError) as caught:
        secret_files.read(path, least_characters=8)

    assert expected in str(caught.value)
    assert str(path) in str(caught.value)
    everything = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caught.value.hint
    assert SECRET[:7] not in everything.replace(__file__, "")


def test_absent(tmp_path: Path) -> None:
    """With what a name without a folder may mean."""
    with pytest.raises(SecretError, match=r"can't read .*absent: no such file or directory") as caught:
        secret_files.read(tmp_path / "absent")

    assert "LoadCredential=absent:" in caught.value.hint


def test_no_file(tmp_path: Path) -> None:
    """Neither a folder nor a pipe that nobody writes to holds us up."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SecretError, match="pipe is not a file"):
        secret_files.read(tmp_path / "pipe")
    with pytest.raises(SecretError, match="is not a file"):
        secret_files.read(tmp_path)


def test_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd sees to the modes in its folder, and only there."""
    path = secret_file(tmp_path, mode=0o644)
    with pytest.raises(SecretError, match="everybody can read"):
        secret_files.read(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert secret_files.read(path) == SECRET
    (tmp_path / "below").mkdir()
    with pytest.raises(SecretError, match="everybody can read"):
        secret_files.read(secret_file(tmp_path / "below", mode=0o644))


def test_names_of_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a bare name of what is there."""
    path = secret_file(tmp_path)
    assert secret_files.credential("secret") == "secret"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert secret_files.credential("secret") == path
    others = ("absent", "./secret", f"{tmp_path}/secret", "..", ".", "", 5, None, path)
    assert [secret_files.credential(value) for value in others] == list(others)
