"""Runs a command as a container's seccomp profile would that refuses io_uring: `no_ring.py COMMAND ...`."""
import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_NUMBER, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, EPERM = 0x7FFF0000, 0x00050001
# io_uring_setup, io_uring_enter and io_uring_register have these numbers on every architecture.
FIRST, LAST = 425, 427

program = [(LOAD_NUMBER, 0, 0, 0)]
for number in range(FIRST, LAST + 1):
    program += [(EQUAL, 0, 1, number), (RETURN, 0, 0, EPERM)]
program.append((RETURN, 0, 0, ALLOW))
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in program))


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


libc = ctypes.CDLL(None, use_errno=True)
whole = Program(len(program), ctypes.cast(code, ctypes.c_void_p))
for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(whole), 0, 0)):
    if libc.prctl(*arguments) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[1], sys.argv[1:])
