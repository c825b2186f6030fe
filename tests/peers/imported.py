"""What was imported of another relay: `imported.py STORY BINARY`. Called by tests/peers.rs, one test a story."""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "attacks"))
from certificate import Authority
from hops import BINARY, TEXT
from ports import free_port
from relay import Relay
from sink import Sink
from smart_hosts import PASSWORD, USER, SmartHost
from verify import trust


def relevo(*arguments, code=0):
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done
    return done.stdout


class Imported(Relay):
    """Runs what was imported, with a spool, a log and a socket in a directory of its own."""

    def __init__(self, path, port):
        self.path, self.imported_port = path, port
        super().__init__(BINARY)

    def write(self):
        with open(self.path) as file:
            text = file.read()
        self.port = self.imported_port
        assert text.count("[node]\n") == 1
        text = text.replace("[node]\n", f'[node]\ndata_dir = "{self.data_dir}"\nshards = 2\n')
        with open(f"{self.directory}/relevo.toml", "w") as file:
            file.write(f'{text}\n{self.logs}[control]\nhttp = "127.0.0.1:{self.http}"\n[spool]\nsegment_size = "4MiB"\n{self.more}')


def mail_flows_as_postfix_had_it():
    """The transport map, the smart host with its login, an address for a sender, a domain that is refused: as main.cf and its maps say."""
    directory = tempfile.mkdtemp(prefix="relevo-import-")
    ours = Authority(directory)
    trust(ours.pem)
    smart, partner, port = SmartHost(ours.certify("127.0.0.1", san="IP")), Sink(), free_port()
    os.mkdir(f"{directory}/postfix")
    files = {
        "main.cf": f"""myhostname = mail.shop.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{smart.port}
transport_maps = hash:/etc/postfix/transport
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps =
    hash:/etc/postfix/sasl_passwd
sender_dependent_default_transport_maps = hash:/etc/postfix/senders
default_destination_recipient_limit = 2
frobnicate = yes
""",
        "master.cf": f"""{port} inet n - n - - smtpd
smtp unix - - n - - smtp
news unix - - n - - smtp
    -o smtp_bind_address=127.0.0.9
    -o smtp_helo_name=news.shop.example
""",
        "transport": f"partner.example smtp:[127.0.0.1]:{partner.port}\ngone.example error:5.1.2 moved away\nvoid.example discard:\n",
        "sasl_passwd": f"[127.0.0.1]:{smart.port} {USER}:{PASSWORD}\n",
        "senders": "@news.shop.example news:\n",
    }
    for name, text in files.items():
        with open(f"{directory}/postfix/{name}", "w") as file:
            file.write(text)
    out = f"{directory}/out"
    told = json.loads(relevo("import", "postfix", f"{directory}/postfix", "--output", out, "--json"))
    assert told["directives"] == sum(told["counts"].values()) == len(told["findings"]), told["counts"]
    assert [one["text"] for one in told["findings"] if one["outcome"] == "unknown"] == ["frobnicate = yes"]
    assert PASSWORD not in json.dumps(told)
    assert os.stat(f"{out}/credentials/127-0-0-1.password").st_mode & 0o777 == 0o600
    relevo("import", "postfix", f"{directory}/postfix", "--output", out, code=1)
    relevo("import", "postfix", f"{directory}/postfix", "--output", out, "--force")
    relevo("check", "--file-only", "--config", f"{out}/relevo.toml")
    relay = Imported(f"{out}/relevo.toml", port)
    relay.send("ada@shop.example", ["x@partner.example", "y@partner.example", "z@partner.example"], TEXT)
    relay.send("ada@news.shop.example", ["n@partner.example"], TEXT)
    relay.send("ada@shop.example", ["v@void.example"], TEXT)
    relay.send("ada@shop.example", ["w@elsewhere.example"], TEXT)
    client = relay.client()
    client.ehlo()
    client.mail("ada@shop.example")
    code, words = client.rcpt("g@gone.example")
    assert code == 550 and b"5.1.2 moved away" in words, (code, words)
    client.quit()
    smart.wait(1)
    partner.wait(3)
    assert smart.tries and all(message.protected for message in smart.taken)
    assert sorted(len(message.recipients) for message in partner.taken) == [1, 1, 2], "two recipients of a transaction, and not three"
    delivered = relay.wait_log("delivered", 4)
    assert ["n@partner.example"] in [event["recipients"] for event in delivered if event.get("source") == "news"], delivered
    relay.stop()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
