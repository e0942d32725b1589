"""Other programs that ask the broker: doveadm, Exim and Sendmail, by a unix and by a TCP listener.

Each has the configuration that the documentation shows (programs.md). Exim and Sendmail displace Postfix.
"""

from postfix import ENTRIES, FILE
from machine import until
from smtp import Smtp, at_once

CONFIGURATION = """server:
  ipc:
    group: pfxhttp-client
  listen:
    - {kind: socket_map, name: maps, type: tcp, address: 127.0.0.1, port: 23450}
    - {kind: socket_map, name: maps, type: unix, address: /run/pfxhttp/maps}
    - {kind: policy_service, name: recipients, type: tcp, address: 127.0.0.1, port: 23451}
    - {kind: dovecot_sasl, name: users, type: tcp, address: 127.0.0.1, port: 23453}
    - {kind: dovecot_sasl, name: users, type: unix, address: /run/pfxhttp/users%s}
""" + ENTRIES.replace("policy_services:", "    perm_as_temp: true\npolicy_services:")
# Gives the broker's unit the right to a socket of Exim's group.
DROP_IN = "/etc/systemd/system/pfxhttp.service.d/exim.conf"
EXIM = """primary_hostname = compat.example.org
spool_directory = /var/spool/exim4
log_file_path = /var/log/exim4/%slog
pid_file_path = /run/compat-exim-PORT.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = PORT
keep_environment =
tls_advertise_hosts =
host_lookup =
rfc1413_query_timeout = 0s
domainlist local_domains = example.org
acl_smtp_rcpt = ${if eq{$received_port}{2601}{map}{policy}}
begin acl
map:
  warn domains = +local_domains
       set acl_m_ask = mailboxes ${lc:$local_part@$domain}
       set acl_m_reply = ${readsocket{inet:127.0.0.1:23450}{${strlen:$acl_m_ask}:$acl_m_ask,}{30s}{}{none}}
  deny domains = +local_domains
       condition = ${if match{$acl_m_reply}{\\N^\\d+:NOTFOUND \\N}}
  defer domains = +local_domains
       condition = ${if !match{$acl_m_reply}{\\N^\\d+:OK \\N}}
  accept domains = +local_domains
  deny message = relay not permitted
policy:
  warn set acl_m_reply = ${readsocket{inet:127.0.0.1:23451}{request=smtpd_access_policy\\n\\
           protocol_state=RCPT\\nsender=$sender_address\\nrecipient=$local_part@$domain\\n\\n}{30s}{}{none}}
  deny condition = ${if match{$acl_m_reply}{\\N^action=REJECT\\N}}
  defer condition = ${if !match{$acl_m_reply}{\\N^action=DUNNO\\N}}
  accept domains = +local_domains
  deny message = relay not permitted
begin authenticators
plain:
  driver = dovecot
  public_name = PLAIN
  server_socket = PLACE
  server_set_id = $auth1
login:
  driver = dovecot
  public_name = LOGIN
  server_socket = PLACE
  server_set_id = $auth1
"""
SENDMAIL = """V10/Berkeley
Dnmailer-daemon
Djcompat.example.org
O LogLevel=0
O Timeout.ident=0
O OperatorChars=.:%%@!^/[]+
O QueueDirectory=/root/queue
O PidFile=/root/queue/pid
O DaemonPortOptions=Name=MTA, Addr=127.0.0.1, Port=%d
Kmailboxes socket -T<TMPF> %s
Troot
H?F?From: $g
Sparse=0
R$*\t$#local $: $1
Scheck_rcpt
R<$*>\t$: $1
R$*\t$: <$(mailboxes $1 $: NONE $)>
R<$*<TMPF>>\t$#error $@ 4.3.0 $: "451 later"
R<NONE>\t$#error $@ 5.1.1 $: "550 no such mailbox"
R<$*>\t$@ OK
Mlocal, P=/bin/false, F=lsDFMA5, A=false
Mprog, P=/bin/false, F=lsDFMeu, A=false
"""


def phases(machine, api, results, name, ask, due):
    """Asks in each state of the API and of the broker. `ask(good)` returns replies by a key, `due` what is right:
    a positive, a negative and a temporary reply."""
    good, bad, temporary = due

    def row(state, replies, right):
        held = all(code in right for code in replies.values())
        codes = sorted(set(replies.values()))
        text = codes[0] if len(codes) == 1 else ", ".join(f"{key} {code}" for key, code in replies.items())
        results.cell(f"{name}.{state}", text, held)

    row("good", ask(True), [good])
    row("bad", ask(False), [bad])
    api.down()
    row("refused", ask(True), [temporary])
    api.up()
    api.failing(503)
    row("failing", ask(True), [temporary])
    api.failing(404)
    row("missing", ask(True), [temporary])
    api.up()
    row("back", ask(True), [good])
    machine.do("systemctl", "restart", "pfxhttp")
    row("restarted", ask(True), [good])
    machine.do("systemctl", "stop", "pfxhttp")
    row("away", ask(True), [temporary])
    machine.do("systemctl", "start", "pfxhttp")
    row("away.back", ask(True), [good])


def doveadm(machine, api, results):
    """doveadm auth test, by a unix socket: it has no TCP."""
    machine.write(FILE, CONFIGURATION % "")
    machine.do("systemctl", "reload", "pfxhttp")
    machine.write("/root/doveadm.conf", doveadm_configuration(machine))

    def ask(good):
        test = ["doveadm", "-c", "/root/doveadm.conf", "auth", "test", "-a", "/run/pfxhttp/users", "-x", "service=smtp"]
        said = machine.run(*test, "bob@example.org", "secret" if good else "wrong")
        text = said.stdout + said.stderr
        if " auth succeeded" in text and said.returncode == 0:
            return {"unix": "succeeded"}
        if " auth failed" in text and said.returncode == 77 and "temp_fail" not in text:
            return {"unix": "failed"}
        return {"unix": "no answer" if said.returncode else text[-100:]}

    phases(machine, api, results, "doveadm", ask, ("succeeded", "failed", "no answer"))
    said = machine.run("doveadm", "-c", "/root/doveadm.conf", "auth", "login", "-a", "/run/pfxhttp/users",
                       "bob@example.org", "secret")
    results.cell("doveadm.login", f"exit code {said.returncode}", said.returncode != 0)


def doveadm_configuration(machine):
    """A configuration without a Dovecot server."""
    text = "base_dir = /root/dovecot\nlog_path = /dev/stderr\nssl = no\n"
    version = machine.version("dovecot-core")
    if version.startswith("2.3"):
        return text
    return f"dovecot_config_version = {version}\ndovecot_storage_version = {version}\n{text}"


def exim(machine, api, results):
    """Exim's Dovecot authenticator, and what its readsocket can ask."""
    machine.install("exim4-daemon-heavy")
    machine.do("systemctl", "stop", "exim4")
    machine.do("usermod", "-a", "-G", "Debian-exim", "pfxhttp")
    machine.write(DROP_IN, "[Service]\nSystemCallFilter=@chown\n")
    machine.do("systemctl", "daemon-reload")
    machine.write(FILE, CONFIGURATION % ", group: Debian-exim")
    machine.do("systemctl", "restart", "pfxhttp")
    for way, port, place in (("unix", 2601, "/run/pfxhttp/users"), ("TCP", 2602, "127.0.0.1 23453")):
        machine.write(f"/root/{way}.conf", EXIM.replace("PORT", str(port)).replace("PLACE", place))
        daemon = ("exim4", "-C", f"/root/{way}.conf", "-bdf")
        machine.do("systemd-run", "--quiet", f"--unit=compat-exim-{way}", *daemon)
        until(lambda port=port: Smtp(port).greeting == "220", 30, "Exim answers")
    logins = {f"{way} {mechanism}": (port, mechanism) for way, port in (("unix", 2601), ("TCP", 2602))
              for mechanism in ("PLAIN", "LOGIN")}

    def login(good):
        password = "secret" if good else "wrong"
        return at_once({key: lambda port=port, mechanism=mechanism: Smtp(port).login(password, mechanism)
                        for key, (port, mechanism) in logins.items()})

    phases(machine, api, results, "exim", login, ("235", "535", "435"))
    phases(machine, api, results, "exim.map", lambda good: {"TCP": Smtp(2601).ask("map", good)}, ("250", "550", "451"))
    phases(machine, api, results, "exim.policy", lambda good: {"TCP": Smtp(2602).ask("policy", good)},
           ("250", "550", "451"))
    relayed = {kind: Smtp(port).recipient("bob@elsewhere.example") for kind, port in (("map", 2601), ("policy", 2602))}
    results.cell("exim.relay", ", ".join(sorted(set(relayed.values()))), set(relayed.values()) == {"550"})
    machine.do("systemctl", "stop", "compat-exim-unix", "compat-exim-TCP")
    machine.do("rm", "-r", DROP_IN.rsplit("/", 1)[0])
    machine.do("systemctl", "daemon-reload")


def sendmail(machine, api, results):
    """Sendmail's socket map."""
    machine.install("sendmail-bin")
    machine.run("systemctl", "stop", "sendmail")
    machine.write(FILE, CONFIGURATION % "")
    machine.do("systemctl", "restart", "pfxhttp")
    machine.do("install", "-d", "-m", "700", "/root/queue")
    ports = {"unix": (2701, "local:/run/pfxhttp/maps"), "TCP": (2702, "inet:23450@127.0.0.1")}
    for way, (port, place) in ports.items():
        machine.write(f"/root/{way}.cf", SENDMAIL % (port, place))
        program = "/usr/libexec/sendmail/sendmail"
        machine.do("systemd-run", "--quiet", f"--unit=compat-sendmail-{way}", program, f"-C/root/{way}.cf", "-bD")
        until(lambda port=port: Smtp(port).greeting == "220", 30, "Sendmail answers")

    def ask(good):
        return at_once({way: lambda port=port: Smtp(port).ask("map", good) for way, (port, _) in ports.items()})

    phases(machine, api, results, "sendmail", ask, ("250", "550", "451"))
    machine.do("systemctl", "stop", "compat-sendmail-unix", "compat-sendmail-TCP")
