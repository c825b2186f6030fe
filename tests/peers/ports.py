"""Ports for servers that are started later, or on several addresses."""
import errno
import random
import socket

# Held as long as this process lives, each by the name of its port.
held = []


def free_port():
    """A port that nobody has, on any address, and that no other process which asks here is given meanwhile.

    None of those the kernel gives to whoever asks for any: between the choice and the start somebody's connection would have it.
    What holds it is an abstract socket, which is of the same network namespace as the port, and goes with the process.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        low, high = map(int, file.read().split())
    choice = [port for port in range(10_000, 32_000) if not low <= port <= high] or range(10_000, 32_000)
    for _ in range(200):
        port = random.SystemRandom().choice(choice)
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0relevo-test-port-{port}")
            check(port)
        except OSError:
            name.close()
            continue
        held.append(name)
        return port
    raise AssertionError("no port is free")


def check(port):
    """An OSError if anybody has it on any address, for TCP or UDP."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("0.0.0.0", port))
        try:
            with socket.socket(socket.AF_INET6, kind) as probe:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(("::", port))
        except OSError as error:
            # Others say that this machine has no IPv6.
            if error.errno == errno.EADDRINUSE:
                raise
