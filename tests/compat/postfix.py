"""The dialogues with Postfix: maps, policy services and logins, by each way in which Postfix reaches the broker.

Postfix has the main.cf and master.cf of Debian, the services of master.cf.example, and an smtpd for each kind of
question and each way. What a row requires is in rows.py; here is what makes a reply right.
"""

import threading
import time

from machine import until
from smtp import BAD, GOOD, Smtp, at_once

# By pfxhttp-client, by one that keeps the connection and forwards, by a socket unit, by a unix and by a TCP listener.
WAYS = ("client", "forward", "unit", "unix", "tcp")
# Ways in which a request waits for a broker that is not there.
WAITING = ("client", "forward", "unit")
KINDS = ("map", "policy", "login")
PLACES = {
    "map": ("unix:private/pfx-map", "unix:private/pfx-map-kept", "unix:private/pfxhttp-maps", "unix:pfxhttp/maps",
            "inet:127.0.0.1:23450"),
    "policy": ("unix:private/pfx-policy", "unix:private/pfx-policy-kept", "unix:private/pfxhttp-recipients",
               "unix:pfxhttp/recipients", "inet:127.0.0.1:23451"),
    "login": ("private/pfx-sasl", "private/pfx-sasl-kept", "private/pfxhttp-users", "pfxhttp/users",
              "inet:127.0.0.1:23453"),
}
UNITS = [f"pfxhttp-postfix@{name}.socket" for name in ("maps", "recipients", "users")]
TEMPORARY = ("421", "450", "451", "454", "closed")
# While the broker runs and the API is away.
OUTAGE = {"map": ("451",), "policy": ("450", "451"), "login": ("454",)}

ENTRIES = """
socket_maps:
  mailboxes:
    target: "http://127.0.0.1:8080/v1/mailbox"
    payload: '{"address": "{{ .Key }}"}'
    value_field: "data.result"
policy_services:
  recipients:
    target: "http://127.0.0.1:8080/v1/policy"
    payload: "{{ .Key }}"
    value_field: "action"
dovecot_sasl:
  users:
    target: "http://127.0.0.1:8080/v1/auth/json"
    default_local_port: "587"
"""


def listeners():
    """The part `server` of the configuration: three listeners for each kind."""
    text = "server:\n  ipc:\n    group: pfxhttp-client\n  listen:\n"
    for kind, name, file, port in (("socket_map", "maps", "maps", 23450),
                                   ("policy_service", "recipients", "recipients", 23451),
                                   ("dovecot_sasl", "users", "users", 23453)):
        start = f"    - {{kind: {kind}, name: {name}, "
        text += f"{start}type: tcp, address: 127.0.0.1, port: {port}}}\n"
        text += f"{start}type: unix, address: /var/spool/postfix/pfxhttp/{file}}}\n"
        held = f"address: /var/spool/postfix/private/pfxhttp-{file}, systemd_socket_name: {name}"
        text += f"{start}type: unix, {held}}}\n"
    return text


CONFIGURATION = listeners() + ENTRIES
FILE = "/etc/pfxhttp/pfxhttp.yml"
BROKEN = CONFIGURATION + "nonsense: true\n"


def port(kind, way):
    """The port of the smtpd for this kind and way."""
    return 2500 + 10 * KINDS.index(kind) + WAYS.index(way)


def services():
    """The clients that forward and the smtpds, for master.cf."""
    text = ""
    for name, command in (("map", "socketmap"), ("policy", "policy recipients"),
                          ("sasl", "--mechanisms PLAIN,LOGIN sasl users")):
        text += (f"pfx-{name}-kept unix - n n - 0 spawn\n"
                 f"  user=pfxhttp-client argv=/usr/libexec/pfxhttp/pfxhttp-client --no-hand-over {command}\n")
    for kind in KINDS:
        for way, place in zip(WAYS, PLACES[kind]):
            text += f"127.0.0.1:{port(kind, way)} inet n - y - - smtpd\n"
            table = f"socketmap:{place}:mailboxes" if kind == "map" else "static:any"
            text += f"  -o virtual_mailbox_maps={table}\n"
            rules = f",check_policy_service {place}" if kind == "policy" else ""
            text += f"  -o {{ smtpd_recipient_restrictions = reject_unauth_destination{rules} }}\n"
            if kind == "login":
                text += f"  -o smtpd_sasl_auth_enable=yes\n  -o smtpd_sasl_path={place}\n"
    return text


def configure(machine):
    """Configures pfxhttp and Postfix as the documentation says, and starts both."""
    example = machine.read("/usr/share/doc/pfxhttp/master.cf.example")
    limits = [line[3:] for line in example.splitlines() if line.startswith("#| ") and "_time_limit" in line]
    limits += [line.replace("_time", "-kept_time") for line in limits]
    machine.write("/etc/postfix/master.cf", machine.read("/etc/postfix/master.cf") + example + services())
    # Without in_flow_delay Postfix would slow down mail that comes faster than it is delivered: none is.
    machine.do("postconf", "-e", *limits, "mydestination=", "virtual_mailbox_domains=example.org",
               "virtual_transport=discard:", "smtpd_sasl_type=dovecot", "smtpd_tls_auth_only=no",
               "maillog_file=/var/log/postfix.log", "smtpd_error_sleep_time=0", "in_flow_delay=0")
    machine.do("install", "-d", "-m", "2750", "-o", "pfxhttp", "-g", "postfix", "/var/spool/postfix/pfxhttp")
    machine.write(FILE, CONFIGURATION)
    machine.do("systemctl", "stop", "pfxhttp")
    machine.do("systemctl", "--quiet", "enable", "--now", *UNITS)
    machine.do("systemctl", "start", "pfxhttp")
    machine.do("systemctl", "restart", "postfix")
    until(lambda: Smtp(port("map", "tcp")).ask("map") == GOOD["map"], 30, "Postfix answers")


def asked(sessions=None, good=True, kinds=KINDS):
    """Asks by all ways at once, in these sessions or in new ones: the reply for each kind and way."""
    def one(kind, way):
        session = sessions[kind, way] if sessions else Smtp(port(kind, way))
        return session.ask(kind, good)
    return at_once({(kind, way): lambda kind=kind, way=way: one(kind, way) for kind in kinds for way in WAYS})


def opened():
    """A session for each kind and way, whose smtpd has asked already."""
    sessions = {(kind, way): Smtp(port(kind, way)) for kind in KINDS for way in WAYS}
    # After a right password a session takes no other one.
    at_once({(kind, way): lambda kind=kind, way=way: sessions[kind, way].ask(kind, kind != "login")
             for kind, way in sessions})
    return sessions


def note(results, row, replies, right):
    """Notes the replies to a row of each kind. `right` says if a reply to this kind by this way is right."""
    for kind in KINDS:
        codes = {way: code for (of, way), code in replies.items() if of == kind}
        held = all(right(kind, way, code) for way, code in codes.items())
        results.cell(f"{kind}.{row}", shown(codes), held)


def shown(codes):
    """The codes, once if all ways have the same one."""
    if len(set(codes.values())) == 1:
        return next(iter(codes.values()))
    groups = {}
    for way, code in codes.items():
        groups.setdefault(code, []).append(way)
    return ", ".join(f"{' '.join(ways)} {code}" for code, ways in groups.items())


def is_good(kind, _, code):
    """The API's answer, when it is positive."""
    return code == GOOD[kind]


def is_bad(kind, _, code):
    """The API's answer, when it is negative."""
    return code == BAD[kind]


def is_temporary(kind, _, code):
    """The temporary reply of this kind."""
    return code in OUTAGE[kind]


def waits(kind, way, code):
    """The positive answer by a way that waits; else also a temporary reply."""
    return code == GOOD[kind] or way not in WAITING and code in TEMPORARY


def play(machine, api, results):
    """Plays all dialogues."""
    note(results, "good", asked(), is_good)
    note(results, "bad", asked(good=False), is_bad)
    said = machine.run("pfxhttp-broker", "postfix", "--check")
    said = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("error:")]
    results.cell("postfix.check", f"{len(said)} errors" if said else "no error", not said)
    outages(api, results)
    restarts(machine, api, results)
    results.cell("postfix.traffic.lookups", *restarts_under_traffic(machine, ("map", "policy")))
    results.cell("postfix.traffic.logins", *restarts_under_traffic(machine, ("login",)))


def outages(api, results):
    """The API fails, and answers again, in sessions that were open before."""
    failures = (("refused", api.down), ("failing", lambda: api.failing(503)), ("missing", lambda: api.failing(404)))
    for row, fail in failures:
        sessions = opened()
        fail()
        note(results, row, asked(sessions), is_temporary)
        api.up()
        note(results, f"{row}.back", asked(sessions), is_good)
    note(results, "back.bad", asked(good=False), is_bad)


def restarts(machine, api, results):
    """The broker restarts, is killed and is away, in sessions that were open before."""
    sessions = opened()
    api.slow(1.5)
    restart = threading.Timer(0.7, machine.do, ("systemctl", "restart", "pfxhttp"))
    restart.start()
    note(results, "draining", asked(sessions), is_good)
    restart.join()
    api.up()

    sessions = opened()
    machine.do("systemctl", "restart", "pfxhttp")
    note(results, "restarted", asked(sessions), is_good)

    sessions = opened()
    machine.do("systemctl", "kill", "--signal=KILL", "pfxhttp")
    note(results, "killed", asked(sessions), waits)
    machine.becomes("active")
    note(results, "killed.back", asked(), is_good)

    sessions = opened()
    machine.write(FILE, BROKEN)
    assert machine.run("systemctl", "restart", "pfxhttp").returncode, "a start accepts a broken file"
    mend = threading.Timer(3, machine.write, (FILE, CONFIGURATION))
    mend.start()
    note(results, "away", asked(sessions), waits)
    mend.join()
    machine.becomes("active")
    note(results, "away.back", asked(), is_good)


class Traffic:
    """Sessions that ask one after the other, by each way, until `end`."""

    def __init__(self, kinds=("map", "policy"), ways=WAYS):
        self.over, self.replies = threading.Event(), {(kind, way): [] for kind in kinds for way in ways}
        self.threads = [threading.Thread(target=self.one, args=key) for key in self.replies]
        for thread in self.threads:
            thread.start()

    def one(self, kind, way):
        """Asks by one way: five questions in a session, or one login."""
        while not self.over.is_set():
            session = Smtp(port(kind, way))
            for _ in range(1 if kind == "login" else 5):
                self.replies[kind, way].append(session.ask(kind))
            session.end()
            time.sleep(0.02)

    def end(self):
        """Ends it: how many replies there were, a text of it, and if all were right."""
        self.over.set()
        for thread in self.threads:
            thread.join()
        count = sum(map(len, self.replies.values()))
        bad = [(kind, way, code) for (kind, way), codes in self.replies.items() for code in codes
               if code != GOOD[kind]]
        # A login may be repeated by its user, but is never denied.
        late = [one for one in bad if one[1] in WAITING and one[0] != "login" or one[2] not in TEMPORARY]
        waiting = [one for one in bad if one[1] in WAITING]
        text = f"{count:,} replies; {len(bad) - len(waiting)} temporary by unix and tcp, {len(waiting)} by the others"
        if late:
            text += "; wrong: " + ", ".join(sorted({" ".join(one) for one in late}))
        return text, count > 50 and not late


def restarts_under_traffic(machine, kinds):
    """Three restarts under traffic: a text, and if nothing was lost."""
    traffic = Traffic(kinds)
    for _ in range(3):
        time.sleep(2)
        machine.do("systemctl", "restart", "pfxhttp")
    time.sleep(2)
    return traffic.end()
