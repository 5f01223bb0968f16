"""The files that come with the program are found, in a source tree and in an installed package."""

from pathlib import Path

import pytest

from collectord import data, toml


def test_profiles_and_rules_are_files_of_the_package() -> None:
    """Sorted by name, each one TOML file in its folder."""
    for folder, paths in (("profiles", data.profiles()), ("rules", data.rules())):
        assert list(paths) == sorted(paths, key=lambda path: path.stem)
        assert all(path.parent == data.PACKAGE / folder and path.suffix == ".toml" for path in paths)


def test_mib() -> None:
    """The MIB lies in the package."""
    assert data.PACKAGE / "mibs" / "COLLECTORD-MIB.txt" == data.mib()


def test_conf_of_this_tree() -> None:
    """The shipped configuration can be read where it is."""
    assert toml.load(data.conf("collectord.toml")).values


@pytest.mark.parametrize("installed", [True, False])
def test_conf_in_both_layouts(tmp_path: Path, installed: bool) -> None:
    """In a wheel inside the package, in a source tree beside it; the package's own comes first."""
    package = tmp_path / "collectord"
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "x.toml").touch()
    (package / "conf").mkdir(parents=True)
    if installed:
        (package / "conf" / "x.toml").touch()
    expected = package / "conf" / "x.toml" if installed else tmp_path / "conf" / "x.toml"

    assert expected == data.conf("x.toml", package)
