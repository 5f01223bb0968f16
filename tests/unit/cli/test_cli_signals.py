"""Signals that end a command."""

import os
import signal
import tempfile
from pathlib import Path

import pytest

from collectord.cli.signals import cleaned_up


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_nothing_temporary_is_left(tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended, cleaned_up(), tempfile.TemporaryDirectory(dir=tmp_path):
        os.kill(os.getpid(), number)
        # The handler runs before the next line does.
        raise AssertionError("it went on")
    assert ended.value.code == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is before
