"""Become a program that dies with the process that started it, even when that is killed with SIGKILL.

    python -I -S leash.py PARENT SIGNAL USER PROGRAM [ARGUMENT ...]

PARENT is the pid of the starting process, SIGNAL the number of the signal that the program then gets, USER the name of
the user to become (empty: stay). It is a program of its own because code between fork and exec is not safe in a
process with threads, as every process with gRPC is. Only Linux has such a leash; elsewhere the program just starts.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def become(user: str) -> None:
    """Drop all rights but those of `user`."""
    import pwd

    entry = pwd.getpwnam(user)
    os.setgroups([entry.pw_gid])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def bind(parent: int, signal: int) -> None:
    """Ask the kernel for `signal` at the death of the parent. A change of user clears it, exec does not."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")


def main() -> None:
    parent, signal, user, *argv = sys.argv[1:]
    if user:
        become(user)
    bind(int(parent), int(signal))
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        print(f"cannot run {argv[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main()
