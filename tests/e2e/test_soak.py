"""The soak in short: everything that `make soak` does once, in some 20 s of load."""

from pathlib import Path

import pytest

from ..soak.soak import Soak


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_short_soak(tmp_path: Path) -> None:
    Soak(tmp_path / "soak", 20.0).run()
