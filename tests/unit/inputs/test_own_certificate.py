"""A listener's certificate: renewed when its files change, kept when they are wrong, and warned of before its end."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog.testing

from collectord.certificates import TlsFiles
from collectord.clock import ManualClock
from collectord.errors import CertificateError
from collectord.inputs import own_certificate as module
from collectord.inputs.own_certificate import OwnCertificate, load
from collectord.model import NS_PER_S

from ...certificates import Authority, Pair
from .test_stream import until

DAY_NS = 86_400 * NS_PER_S


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("Site CA")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the next look."""
    monkeypatch.setattr(module, "LOOKED_AT_EVERY_S", 0.001)


@pytest.fixture
def logs() -> Iterator[list[structlog.typing.EventDict]]:
    with structlog.testing.capture_logs() as found:
        yield found


def of(pair: Pair, folder: Path) -> TlsFiles:
    return TlsFiles(None, *pair.write(folder, "own"))


def now_ns(pair: Pair, days: float) -> int:
    """So long before the end."""
    return int(pair.certificate.not_valid_after_utc.timestamp()) * NS_PER_S - int(days * DAY_NS)


def shown(certificate: OwnCertificate) -> int:
    leaf = certificate.loaded.leaf
    assert leaf is not None
    return leaf.serial_number


async def said(logs: list[structlog.typing.EventDict], event: str) -> structlog.typing.EventDict:
    """The first line with this event."""
    await until(lambda: any(each["event"] == event for each in logs))
    return next(each for each in logs if each["event"] == event)


async def test_renewed_files(authority: Authority, tmp_path: Path, logs: list[structlog.typing.EventDict]) -> None:
    """A wrong half of a pair changes nothing; with the other half they are used."""
    first, second = authority.signs("collector"), authority.signs("collector")
    files = of(first, tmp_path)
    certificate = OwnCertificate("tls", load(files, ssl.CERT_NONE), lambda: now_ns(first, 60))
    before = certificate.loaded.context
    async with asyncio.TaskGroup() as group:
        task = group.create_task(certificate.watch())
        (tmp_path / "own.pem").write_bytes(second.certificate_pem)
        told = await said(logs, "changed certificate is not used; the one before stays")
        assert (
            told["err"]
            == certificate.error
            == (f"the key in {tmp_path}/own.key does not belong to the certificate in {tmp_path}/own.pem")
        )
        assert (shown(certificate), certificate.loaded.context) == (first.certificate.serial_number, before)
        second.write(tmp_path, "own")
        await said(logs, "changed certificate is used from now on")
        assert (shown(certificate), certificate.error) == (second.certificate.serial_number, "")
        assert certificate.loaded.context is not before
        (tmp_path / "own.key").unlink()
        await until(lambda: bool(certificate.error))
        task.cancel()
    assert [each["event"] for each in logs].count("changed certificate is not used; the one before stays") == 2


async def test_a_reload_is_faster(
    authority: Authority, tmp_path: Path, logs: list[structlog.typing.EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it took up stays, whatever was read before."""
    first, second = authority.signs("collector"), authority.signs("collector")
    certificate = OwnCertificate("tls", load(of(first, tmp_path), ssl.CERT_NONE), lambda: now_ns(first, 60))
    (tmp_path / "other").mkdir()
    taken_up = load(of(second, tmp_path / "other"), ssl.CERT_NONE)
    async with asyncio.TaskGroup() as group:

        def slow(files: TlsFiles, clients: ssl.VerifyMode) -> module.Loaded:
            certificate.use(taken_up)
            return load(files, clients)

        monkeypatch.setattr(module, "load", slow)
        task = group.create_task(certificate.watch())
        authority.signs("collector").write(tmp_path, "own")
        await until(lambda: certificate.loaded is taken_up)
        for _ in range(10):
            await asyncio.sleep(0.001)
        task.cancel()
    assert certificate.loaded is taken_up


async def test_the_end_is_warned_of(
    authority: Authority, tmp_path: Path, logs: list[structlog.typing.EventDict]
) -> None:
    """Once at each of 30, 7 and 1 days, and when it has come."""
    pair = authority.signs("collector")
    clock = ManualClock(now_ns(pair, 31))
    certificate = OwnCertificate("tls", load(of(pair, tmp_path), ssl.CERT_NONE), clock.now_ns)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(certificate.watch())
        told = []
        for days in (29.5, 20, 6.5, 0.5, -0.5):
            clock.set(now_ns(pair, days))
            for _ in range(10):
                await asyncio.sleep(0.001)
            # Something that an earlier test left running may log as well.
            told.append([each["event"] for each in logs if each.get("listener") == "tls"])
        task.cancel()
    soon, over = "certificate ends soon", "certificate has expired"
    assert told == [[soon], [soon], [soon] * 2, [soon] * 3, [soon] * 3 + [over]]


def test_files_that_can_not_be_used(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="can't read"):
        load(TlsFiles(None, tmp_path / "a", tmp_path / "b"), ssl.CERT_NONE)
