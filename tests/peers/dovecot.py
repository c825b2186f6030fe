"""A real mail store: Dovecot's LMTP, over TCP and a Unix socket."""
import atexit
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time

from ports import free_port


class Dovecot:
    """`mailboxes`: the storage each address may use, as Dovecot writes it (`10M`)."""

    def __init__(self, mailboxes):
        # Dovecot delivers as somebody who is not root; the directory has a short name, as paths of sockets are bounded.
        self.directory = tempfile.mkdtemp(prefix="dovecot-", dir="/tmp")
        self.port, self.socket = free_port(), f"{self.directory}/lmtp"
        os.chmod(self.directory, 0o755)
        os.mkdir(f"{self.directory}/mail")
        root = os.getuid() == 0
        user = pwd.getpwnam("nobody") if root else pwd.getpwuid(os.getuid())
        if root:
            os.chown(f"{self.directory}/mail", user.pw_uid, user.pw_gid)
        with open(f"{self.directory}/users", "w") as file:
            for address, storage in mailboxes.items():
                home = f"{self.directory}/mail/{address}"
                file.write(
                    f"{address}:{{PLAIN}}x:{user.pw_uid}:{user.pw_gid}::{home}::userdb_quota_rule=*:storage={storage}\n"
                )
        own = "" if root else f"default_internal_user = {user.pw_name}\ndefault_login_user = {user.pw_name}\n"
        with open(f"{self.directory}/conf", "w") as file:
            file.write(
                f"protocols = lmtp\nbase_dir = {self.directory}/run\nlog_path = {self.directory}/log\n"
                f"mail_location = maildir:{self.directory}/mail/%u\nfirst_valid_uid = 1\nfirst_valid_gid = 1\n{own}"
                "ssl = no\nmail_plugins = quota\nplugin {\n  quota = maildir:User quota\n  quota_grace = 0\n}\n"
                "passdb {\n  driver = static\n  args = nopassword=y\n}\n"
                f"userdb {{\n  driver = passwd-file\n  args = username_format=%u {self.directory}/users\n}}\n"
                f"service lmtp {{\n  unix_listener {self.socket} {{\n    mode = 0666\n  }}\n"
                f"  inet_listener lmtp {{\n    address = 127.0.0.1\n    port = {self.port}\n  }}\n}}\n"
                "protocol lmtp {\n  postmaster_address = postmaster@store.example\n}\n"
            )
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["/usr/sbin/dovecot", "-F", "-c", f"{self.directory}/conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        atexit.register(self.process.terminate)
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
                return
            except OSError as error:
                assert time.monotonic() < end and self.process.poll() is None, (error, self.log())
                time.sleep(0.05)

    def log(self):
        try:
            with open(f"{self.directory}/log") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.directory)

    def messages(self, address):
        """What lies in a mailbox, as bytes with CRLF."""
        found = []
        for name in sorted(glob.glob(f"{self.directory}/mail/{address}/new/*")):
            with open(name, "rb") as file:
                found.append(file.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        return found

    def wait(self, address, count, seconds=30):
        end = time.monotonic() + seconds
        while len(self.messages(address)) < count:
            assert time.monotonic() < end, (address, len(self.messages(address)), self.log())
            time.sleep(0.05)
        return self.messages(address)
