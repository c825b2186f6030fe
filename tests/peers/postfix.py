"""A stock Postfix in a scratch directory: a client of the relay that asks to be told, and a next hop that tells."""
import atexit
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import time

from ports import free_port

MAIN = """compatibility_level = 3.6
queue_directory = {0}/spool
data_directory = {0}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {0}/mail.log
maillog_file_prefixes = /
myhostname = postfix.example
mydestination =
local_transport = error:no local mail
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
relayhost = [127.0.0.1]:{1}
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_peername_lookup = no
smtpd_tls_security_level = none
smtp_tls_security_level = none
"""


class Postfix:
    """Relays all mail to a port of this machine; `more`: lines of its main.cf, `services` of its master.cf. Only root may start one."""

    def __init__(self, next_hop, more="", services=""):
        self.directory, self.port = tempfile.mkdtemp(prefix="postfix-", dir="/tmp"), free_port()
        os.chmod(self.directory, 0o755)
        for name in ("etc", "spool", "data"):
            os.mkdir(f"{self.directory}/{name}")
        shutil.chown(f"{self.directory}/data", "postfix")
        if os.path.exists("/etc/postfix/dynamicmaps.cf"):
            shutil.copy("/etc/postfix/dynamicmaps.cf", f"{self.directory}/etc")
        with open(f"{self.directory}/etc/main.cf", "w") as file:
            file.write(MAIN.format(self.directory, next_hop) + more)
        with open("/usr/share/postfix/master.cf.dist") as file:
            own = file.read()
        own = re.sub(r"^smtp +inet .*$", f"127.0.0.1:{self.port} inet n - n - - smtpd", own, flags=re.M)
        # No service in a root directory of its own: that would want copies of the machine's files.
        own = re.sub(r"^(\w+ +(?:unix|fifo|unix-dgram) +[-yn] +[-yn] +)y", r"\1n", own, flags=re.M)
        with open(f"{self.directory}/etc/master.cf", "w") as file:
            file.write(f"{own}\n{services}")
        self.start()

    def start(self):
        with open(f"{self.directory}/start.log", "w") as log:
            command = ["timeout", "30", "/usr/sbin/postfix", "-c", f"{self.directory}/etc", "start"]
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        atexit.register(self.end)
        end = time.monotonic() + 20
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
            except OSError as error:
                assert time.monotonic() < end, (error, self.log())
                time.sleep(0.05)

    def end(self):
        """By the process id of its master, which ends the others."""
        try:
            with open(f"{self.directory}/spool/pid/master.pid") as file:
                master = int(file.read())
        except OSError:
            return
        for ended_by in [signal.SIGTERM] * 30 + [signal.SIGKILL]:
            try:
                os.kill(master, ended_by)
            except ProcessLookupError:
                return
            time.sleep(0.1)

    def stop(self):
        self.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log(self):
        found = ""
        for name in ("start.log", "mail.log"):
            if os.path.exists(f"{self.directory}/{name}"):
                with open(f"{self.directory}/{name}", errors="replace") as file:
                    found += file.read()
        return found

    def sendmail(self, sender, recipient, text, *options):
        """As its own command hands mail in."""
        command = ["/usr/sbin/sendmail", "-C", f"{self.directory}/etc", "-f", sender, *options, "-i", recipient]
        done = subprocess.run(command, input=text, timeout=30, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, (done.stdout, self.log())

    def client(self):
        return smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.example", timeout=30)
