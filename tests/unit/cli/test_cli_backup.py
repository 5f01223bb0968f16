"""`collectord backup` and `collectord restore`."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from collectord.errors import EX_USAGE, StoreError
from collectord.store import meta
from collectord.store.db import Database

from .conftest import Run


@pytest.fixture
def database(config: Path) -> Path:
    """A database with a note."""
    path = config.parent / "state" / "collectord.db"
    with Database(path) as database, database.transaction("note") as connection:
        meta.write(connection, "note", "first")
    return path


def note(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT value FROM meta WHERE key = 'note'").fetchone()[0])


def test_there_and_back(run: Run, database: Path, tmp_path: Path) -> None:
    """What was done is told, and where the database of before is."""
    made = run("backup", str(tmp_path / "kept.tar.zst"))
    assert made.stdout.startswith(f"{tmp_path}/kept.tar.zst: ")
    with Database(database) as opened, opened.transaction("note") as connection:
        meta.write(connection, "note", "second")

    done = run("restore", str(tmp_path / "kept.tar.zst"))

    assert note(database) == "first"
    assert f"kept as {database}.replaced" in done.stdout
    assert "restored:" in done.stdout
    assert "schema:" not in done.stdout


def test_into_a_folder(run: Run, database: Path, tmp_path: Path) -> None:
    """Named after machine and time, so that each has its own."""
    (tmp_path / "kept").mkdir()
    run("backup", str(tmp_path / "kept"))
    (found,) = (tmp_path / "kept").iterdir()
    assert found.name.startswith("collectord-")
    assert found.name.endswith("Z.tar.zst")


def test_with_the_configuration(run: Run, database: Path, config: Path, tmp_path: Path) -> None:
    run("backup", "--with-config", str(tmp_path / "kept.tar.zst"))
    run("restore", str(tmp_path / "kept.tar.zst"), "--config-to", str(tmp_path / "unpacked"))
    assert (tmp_path / "unpacked" / "collectord.toml").read_text() == config.read_text()


def test_what_is_there_stays(run: Run, database: Path, tmp_path: Path) -> None:
    """Unless it is said so."""
    kept = tmp_path / "kept.tar.zst"
    kept.write_text("mine")
    refused = run("backup", str(kept))
    assert (refused.exit_code, kept.read_text()) == (EX_USAGE, "mine")
    assert "--force" in refused.stderr
    assert run("backup", "--force", str(kept)).exit_code == 0


def test_no_folder(run: Run, database: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no folder"):
        run("backup", str(tmp_path / "not" / "there"))
