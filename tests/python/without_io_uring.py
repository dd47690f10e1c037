"""Runs a program to which the kernel refuses io_uring: without_io_uring.py ERRNO PROGRAM ARGUMENT...

A seccomp filter (seccomp(2)) answers all three calls with that errno, as the default profiles of
Docker and containerd do with EPERM.
"""

import ctypes
import os
import struct
import sys

# Numbers that all architectures share (asm-generic/unistd.h).
IO_URING_SETUP, IO_URING_REGISTER = 425, 427

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 38, 22
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000

# Classic BPF (linux/filter.h): load a word, compare, return.
LOAD, AT_LEAST, MORE_THAN, RETURN = 0x20, 0x35, 0x25, 0x06


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def main():
    errno, command = int(sys.argv[1]), sys.argv[2:]
    code = [
        # The number of the call is the first word of what a filter sees.
        (LOAD, 0, 0, 0),
        (AT_LEAST, 0, 1, IO_URING_SETUP),
        (MORE_THAN, 0, 1, IO_URING_REGISTER),
        (RETURN, 0, 0, SECCOMP_RET_ALLOW),
        (RETURN, 0, 0, SECCOMP_RET_ERRNO | errno),
    ]
    filter = b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
    program = Program(len(code), filter)
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in [
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ]:
        if libc.prctl(*arguments) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    os.execvp(command[0], command)


main()
