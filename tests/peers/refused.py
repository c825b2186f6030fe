"""Runs a command under a seccomp filter that refuses a kind of system call: `refused.py ring|netlink|patience COMMAND ...`.

As containers do it, and units of systemd."""
import ctypes
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
# The number of the call is at 0, the low half of its first argument at 16.
LOAD_NUMBER, LOAD_FIRST, EQUAL, RETURN = (0x20, 0, 0, 0), (0x20, 0, 0, 16), 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
AF_NETLINK, EPERM, EAFNOSUPPORT = 16, 1, 97
# socket, setpriority, sched_setscheduler
NUMBERS = {"x86_64": (41, 141, 144), "aarch64": (198, 140, 119)}


def refuse(numbers):
    program = [LOAD_NUMBER]
    for number in numbers:
        program += [(EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE | EPERM)]
    return [*program, (RETURN, 0, 0, ALLOW)]


def refuse_family(number, family):
    program = [LOAD_NUMBER, (EQUAL, 0, 3, number), LOAD_FIRST, (EQUAL, 0, 1, family), (RETURN, 0, 0, REFUSE | EAFNOSUPPORT)]
    return [*program, (RETURN, 0, 0, ALLOW)]


call_socket, call_priority, call_scheduler = NUMBERS[platform.machine()]
program = {
    # io_uring_setup, io_uring_enter and io_uring_register have these numbers on every architecture.
    "ring": refuse(range(425, 428)),
    "netlink": refuse_family(call_socket, AF_NETLINK),
    "patience": refuse([call_priority, call_scheduler]),
}[sys.argv[1]]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in program))


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


libc = ctypes.CDLL(None, use_errno=True)
whole = Program(len(program), ctypes.cast(code, ctypes.c_void_p))
for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(whole), 0, 0)):
    if libc.prctl(*arguments) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[2], sys.argv[2:])
