"""The disk of a story: a FUSE file system served by the test program, that loses power on demand."""
import atexit
import os
import socket
import subprocess
import tempfile
import time


class Disk:
    def __init__(self):
        self.at = tempfile.mkdtemp(prefix="disk-")
        control = self.at + ".control"
        self.server = subprocess.Popen(
            [os.environ["RELEVO_FAULTS_PROGRAM"], "serve_the_disk", "--exact", "--ignored", "--nocapture"],
            env=dict(os.environ, RELEVO_FAULTS_DISK=self.at),
            stdout=subprocess.DEVNULL,
        )
        atexit.register(self.server.kill)
        end = time.monotonic() + 10
        while not os.path.exists(control):
            assert self.server.poll() is None and time.monotonic() < end, "the disk is not served"
            time.sleep(0.02)
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(control)
        self.lines = stream.makefile("rw")
        self.kept = self.lost = self.names_kept = self.names_lost = 0

    def ask(self, verb, number):
        self.lines.write(f"{verb} {number}\n")
        self.lines.flush()
        return self.lines.readline().strip()

    def cut(self, process, seed):
        """The power goes, for the disk and for the process on it, and comes back for the disk."""
        self.ask("dark", 1)
        process.kill()
        process.wait()
        end = time.monotonic() + 10
        # The kernel closes the files of a killed process in its own time.
        while subprocess.run(["umount", self.at], stderr=subprocess.DEVNULL).returncode != 0:
            assert time.monotonic() < end, "the disk is still in use"
            time.sleep(0.02)
        counts = [int(word) for word in self.ask("cut", seed).split()]
        self.kept += counts[0]
        self.lost += counts[1]
        self.names_kept += counts[2]
        self.names_lost += counts[3]
