"""`make soak T=10m`: the daemon under load, restarts, reloads and faults for so long; see ``soak.py``."""

import os
from pathlib import Path

import pytest

from collectord.quantity import duration_s

from .soak import Soak


@pytest.mark.e2e
def test_soak(tmp_path: Path) -> None:
    """For as long as COLLECTORD_SOAK says."""
    soak = Soak(tmp_path / "soak", duration_s(os.environ.get("COLLECTORD_SOAK", "10m")))
    print()
    soak.run()
