"""Becomes a program to which sockets are passed: passing.py KIND NAME ADDRESS... -- PROGRAM ARGUMENT...

As a service manager does it (sd_listen_fds(3)): they are descriptors 3 and following, and the
environment says whose they are, how many, and their names. KIND is tcp, unix, udp or connection.
"""

import os
import socket
import sys

FIRST = 3


def made(kind, address):
    if kind == "unix":
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(address)
        listening.listen()
        return listening
    host, port = address.rsplit(":", 1)
    if kind == "udp":
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind((host, int(port)))
        return datagrams
    listening = socket.create_server((host, int(port)))
    if kind == "connection":
        return socket.create_connection(listening.getsockname())
    return listening


def main():
    end = sys.argv.index("--")
    words, command = sys.argv[1:end], sys.argv[end + 1 :]
    rows = [words[i : i + 3] for i in range(0, len(words), 3)]
    # Copies beyond those numbers first: what is made may have one of them.
    sockets = [made(kind, address) for kind, _, address in rows]
    copies = [os.dup2(s.fileno(), 100 + i) for i, s in enumerate(sockets)]
    for number, copy in enumerate(copies, FIRST):
        os.dup2(copy, number)
        os.close(copy)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(rows))
    os.environ["LISTEN_FDNAMES"] = ":".join(name for _, name, _ in rows)
    os.execvp(command[0], command)


main()
