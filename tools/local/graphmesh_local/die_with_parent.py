"""Execute a program that dies with the process that started it, even when that is killed with SIGKILL.

    python -I -S die_with_parent.py PARENT SIGNAL USER PROGRAM [ARGUMENT ...]

PARENT is the pid of the starting process, SIGNAL the number of the signal that the program gets at its death, USER the
name of the user to run as (empty: the current user). It is a program of its own because code between fork and exec is
not safe in a process with threads, as every process with gRPC is. Only Linux has the parent-death signal; elsewhere
the program starts without it.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def drop_privileges(user: str) -> None:
    """Switch to `user` and its primary group."""
    import pwd

    entry = pwd.getpwnam(user)
    os.setgroups([entry.pw_gid])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def set_parent_death_signal(parent: int, signal: int) -> None:
    """Have the kernel send `signal` to this process when `parent` dies. A change of user clears it, exec does not."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("the parent process has already ended")


def main() -> None:
    parent, signal, user, *argv = sys.argv[1:]
    if user:
        drop_privileges(user)
    set_parent_death_signal(int(parent), int(signal))
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        print(f"cannot run {argv[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main()
