"""Plays the part of the service manager that holds sockets: starts a program with them, as sd_listen_fds(3) says."""

import sys
from collections.abc import Sequence

_HAND_OVER = """
import fcntl, os, sys
count = int(sys.argv[1])
given = [int(each) for each in sys.argv[2 : 2 + count]]
aside = [fcntl.fcntl(each, fcntl.F_DUPFD, 200) for each in given]
for each in given:
    os.close(each)
for number, each in enumerate(aside):
    os.dup2(each, 3 + number)
    os.close(each)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execvp(sys.argv[2 + count], sys.argv[2 + count :])
"""


def handing_over(descriptors: Sequence[int], command: Sequence[str]) -> list[str]:
    """
    The command line that runs ``command`` with these descriptors from 3 on.

    Whoever runs it passes them (``pass_fds``) and sets LISTEN_FDS and LISTEN_FDNAMES.
    """
    return [sys.executable, "-S", "-c", _HAND_OVER, str(len(descriptors)), *map(str, descriptors), *command]
