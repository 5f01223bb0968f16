"""
A clean Debian 12 in a folder, and in it the daemon as the installed unit says.

The folder is made by debootstrap once and kept as an archive in ``.cache``; each use unpacks it anew. Programs run in
it by chroot, with a /proc of their own that goes with them, and share the machine's network.
"""

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..e2e.servers import PATIENCE_S, wait_for

CACHE = Path(__file__).resolve().parents[2] / ".cache"
MIRROR = os.environ.get("COLLECTORD_DEBIAN_MIRROR", "http://deb.debian.org/debian")

INCLUDED = ("ca-certificates", "python3", "systemd", "tzdata")
"""What the package depends on and a minimal system lacks; it is there before, so that the install needs no network."""

MINUTES = 60.0

# The mounts live as long as the program: they are in a namespace of its own.
_ENTER = 'mount -t proc proc "$1/proc" && root=$1 && shift && exec chroot "$root" "$@"'
# As in a container whose root file system is read-only, but for the one volume.
_ENTER_READ_ONLY = (
    'mount --bind "$1" "$1" && mount -t proc proc "$1/proc" && mount --bind "$1/var/lib/collectord" '
    '"$1/var/lib/collectord" && mount -o remount,bind,ro "$1" && root=$1 && shift && exec chroot "$root" "$@"'
)

_NOT_OURS = ("proc", "dev", "sys", "tmp", "root", "var/cache", "var/lib/apt", "var/lib/dpkg", "var/log")
"""What changes with any package, or with nobody's."""


class Machine:
    """A minimal Debian in ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        _unpack(root)

    def run(
        self, *command: str, network: bool = True, expect: int | None = 0, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """
        Run a program in it as root, to its end.

        Args:
            command: The program with its arguments.
            network: False: there is none at all.
            expect: Its exit status; None: any.
            environment: In place of the few variables of a login.
        """
        result = subprocess.run(
            self._entered(*command, network=network),
            env=_LOGIN if environment is None else environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10 * MINUTES,
            check=False,
        )
        assert expect in (None, result.returncode), f"{shlex.join(command)}: {result.stdout}{result.stderr}"
        return result

    def install(self, package: Path, *options: str) -> str:
        """``apt-get install ./PACKAGE`` without any network; what it said."""
        shutil.copy(package, self.root / "root")
        said = self.run("apt-get", "install", "-y", *options, f"/root/{package.name}", network=False)
        return said.stdout + said.stderr

    def read_only(self, *command: str) -> list[str]:
        """The command that runs a program in it while nothing can be written but /var/lib/collectord."""
        return ["unshare", "--mount", "sh", "-c", _ENTER_READ_ONLY, "sh", str(self.root), *command]

    def files(self) -> dict[str, str]:
        """Path -> kind, mode and owner of all that is in it, without what is nobody's."""
        found = {}
        for folder, names, files in os.walk(self.root):
            place = Path(folder).relative_to(self.root)
            names[:] = [name for name in names if str(place / name) not in _NOT_OURS]
            for name in [*names, *files]:
                status = (self.root / place / name).lstat()
                found[str(place / name)] = f"{status.st_mode:o} {status.st_uid} {status.st_gid}"
        return found

    def _entered(self, *command: str, network: bool = True) -> list[str]:
        alone = [] if network else ["--net"]
        return ["unshare", "--mount", *alone, "sh", "-c", _ENTER, "sh", str(self.root), *command]


class Service:
    """The daemon, started as ``collectord.service`` in a machine says: commands, user, folders, environment."""

    def __init__(self, machine: Machine, log: Path) -> None:
        self.machine = machine
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def setting(self) -> dict[str, str]:
        """The unit's settings by name; of lists the last entry."""
        lines = (self.machine.root / "lib/systemd/system/collectord.service").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    @contextlib.contextmanager
    def running(self) -> Iterator["Service"]:
        """Started as systemd does it, until it says that it is ready; ended by SIGTERM with the block."""
        notify = self.machine.root / "run" / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(str(notify))
            notify.chmod(0o777)
            told.setblocking(False)
            self.start()
            try:
                self.wait(lambda: _received(told, b"READY=1"), "READY=1", 3 * PATIENCE_S)
                yield self
                assert self._process is not None
                self._process.send_signal(signal.SIGTERM)
                assert self._process.wait(3 * PATIENCE_S) == 0, self.said()
            finally:
                self.close()
                notify.unlink()

    def start(self) -> None:
        """``ExecStartPre``, which has to pass, then ``ExecStart``."""
        self._folders()
        check = self.machine.run(*self._as_user(self.setting["ExecStartPre"]))
        assert "configuration:" in check.stdout
        command = self.machine._entered(*self._as_user(self.setting["ExecStart"]))
        with self.log.open("ab") as sink:
            self._process = subprocess.Popen(
                command, env=_LOGIN, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
            )

    def ended(self) -> int:
        """Its exit status, as soon as it has ended."""
        assert self._process is not None
        return self._process.wait(3 * PATIENCE_S)

    def close(self) -> None:
        """Whatever happened, it does not run any more."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE_S)

    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait(self, condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
        """The condition's first true value."""

        def looked_at() -> Any:
            if self._process is None or self._process.poll() is not None:
                pytest.fail(f"the daemon has ended: {self.said()}")
            return condition()

        return wait_for(looked_at, what, patience_s)

    def command(self, *arguments: str, expect: int = 0) -> str:
        """What the installed command says, run by root as an administrator would: without naming a configuration."""
        done = self.machine.run("collectord", *arguments, expect=expect, environment=_LOGIN)
        return done.stdout + done.stderr

    def _as_user(self, line: str) -> list[str]:
        user, group = self.setting["User"], self.setting["Group"]
        bare = ["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        environment = [f"{name}={value}" for name, value in (_SERVICE | {"NOTIFY_SOCKET": "/run/notify"}).items()]
        umask = ["sh", "-c", f'umask {self.setting["UMask"]}; exec "$@"', "sh"]
        become = ["setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups", *bare]
        return [*become, *umask, "env", *environment, *shlex.split(line)]

    def _folders(self) -> None:
        """``StateDirectory`` and ``RuntimeDirectory``, which systemd makes."""
        for place, mode in (("var/lib", "StateDirectory"), ("run", "RuntimeDirectory")):
            folder = f"/{place}/{self.setting[mode]}"
            self.machine.run("mkdir", "-p", folder)
            self.machine.run("chown", f"{self.setting['User']}:{self.setting['Group']}", folder)
            self.machine.run("chmod", self.setting[f"{mode}Mode"], folder)


_LOGIN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
_SERVICE = {"STATE_DIRECTORY": "/var/lib/collectord", "RUNTIME_DIRECTORY": "/run/collectord"}


def _received(told: socket.socket, words: bytes) -> bool:
    with contextlib.suppress(BlockingIOError):
        return words in told.recv(4096)
    return False


def _unpack(root: Path) -> None:
    archive = CACHE / "debian-12.tar"
    if not archive.exists():
        folder = archive.with_suffix(".new")
        shutil.rmtree(folder, ignore_errors=True)
        include = f"--include={','.join(INCLUDED)}"
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", include, "bookworm", str(folder), MIRROR],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        subprocess.run(["tar", "-C", str(folder), "-cf", str(archive.with_suffix(".part")), "."], check=True)
        shutil.rmtree(folder)
        archive.with_suffix(".part").rename(archive)
    root.mkdir(mode=0o755)
    subprocess.run(["tar", "-C", str(root), "-xpf", str(archive)], check=True)


def removed(root: Path) -> None:
    """Take a machine's folder away."""
    shutil.rmtree(root)
