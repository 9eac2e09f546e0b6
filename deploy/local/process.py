"""Processes that never outlive whoever started them, and PostgreSQL's refusal to run as root."""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from services.kit.errors import LetheiaError

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_SECUREBITS: Final = 28
_SECBIT_NO_SETUID_FIXUP: Final = 1 << 2
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAP_DAC_OVERRIDE: Final = 1

_PASSED_ON: Final = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "JAVA_HOME")
"""Of this process's environment: what makes programs run, nothing that could change what they do."""

_PYTHON: Final = {"PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"}
"""Logs at once; and no module from whatever folder the stack was started in."""


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which started it, dies. Cleared by a change of user."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(1)


def _bound() -> Callable[[], None]:
    """A `preexec_fn` that binds a child to this process."""
    parent = os.getpid()
    return lambda: die_with(parent)


def spawn(command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a part: a process group of its own, output to its log, bound to this process. Call in the main thread."""
    inherited = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env={**inherited, **_PYTHON, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_bound(),
        )


def complete(command: Sequence[str], given: str = "") -> None:
    """Run a program of a part's own to its end, bound to this process. Raises `LetheiaError` when it fails."""
    done = subprocess.run(command, input=given.encode(), check=False, preexec_fn=_bound())
    if done.returncode != 0:
        raise LetheiaError(f"{Path(command[0]).name} ended with {done.returncode}: what it said is above")


def launch(main: Callable[[], None]) -> None:
    """Run a part's program; the house's own errors end it with their sentence."""
    try:
        main()
    except LetheiaError as error:
        sys.exit(f"letheia: {error}")


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a part and of its children."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def stop_being_root() -> None:
    """Go on as `nobody` if this process is root's, still able to read and write what root can (capabilities(7)).

    That ability is kept because a home or a `.venv` may well lie in a folder that only root may enter. It is no
    protection: it serves programs that refuse user id 0. Raises `LetheiaError` where the machine forbids it.
    """
    if os.geteuid() != 0:
        return
    parent, nobody = os.getppid(), pwd.getpwnam("nobody")
    # Not only is the ability kept when the user changes: access(2), which initdb asks about its own programs, heeds it.
    _LIBC.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
    mask = 1 << _CAP_DAC_OVERRIDE
    capabilities = (_Data * 2)(_Data(mask, mask, mask))
    set_ = _LIBC.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), capabilities)
    raised = _LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)
    if set_ != 0 or raised != 0:
        raise LetheiaError("this machine lets root start nothing as another user: run `letheia up` as another user")
    die_with(parent)
