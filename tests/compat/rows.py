"""The rows of the page: what is played, and what it requires."""

KINDS = {
    "map": ("A map: RCPT TO", "250", "550", "451"),
    "policy": ("A policy service: RCPT TO", "250", "554", "450 or 451"),
    "login": ("A login: AUTH PLAIN", "235", "535", "454"),
}
WORDS = {
    "map": ("The address exists", "It does not exist"),
    "policy": ("The sender may", "The sender may not"),
    "login": ("The password is right", "It is wrong"),
}


def dialogues(kind):
    """The rows of one kind of question of Postfix."""
    _, good, bad, later = KINDS[kind]
    right, wrong = WORDS[kind]
    gone = later + (", 421 or closed" if kind == "login" else "")
    waits = f"{good}; by unix, tcp also {gone}"
    return [
        (f"{kind}.good", right, good),
        (f"{kind}.bad", wrong, bad),
        (f"{kind}.refused", "The API refuses connections, in an open session", later),
        (f"{kind}.refused.back", "It answers again", good),
        (f"{kind}.failing", "The API answers 503", later),
        (f"{kind}.failing.back", "It answers again", good),
        (f"{kind}.missing", "The API answers 404, as at a wrong URL", later),
        (f"{kind}.missing.back", "It answers again", good),
        (f"{kind}.back.bad", f"After that: {wrong[0].lower()}{wrong[1:]}", bad),
        (f"{kind}.draining", "The broker restarts while the API takes 1.5 s", good),
        (f"{kind}.restarted", "The broker has restarted, in an open session", good),
        (f"{kind}.killed", "The broker was killed", waits),
        (f"{kind}.killed.back", "systemd has started it again", good),
        (f"{kind}.away", "No broker for 3 s: a broken file at a restart", waits),
        (f"{kind}.away.back", "The file is right again", good),
    ]


def phases(name, kind, good, bad, later):
    """The rows of another program."""
    right, wrong = WORDS[kind]
    return [
        (f"{name}.good", right, good),
        (f"{name}.bad", wrong, bad),
        (f"{name}.refused", "The API refuses connections", later),
        (f"{name}.failing", "The API answers 503", later),
        (f"{name}.missing", "The API answers 404, as at a wrong URL", later),
        (f"{name}.back", "It answers again", good),
        (f"{name}.restarted", "The broker has restarted", good),
        (f"{name}.away", "No broker runs", later),
        (f"{name}.away.back", "It runs again", good),
    ]


# Chapters: a heading, the package whose version is in the head of the table, and rows: an id, a text, what is required.
CHAPTERS = [
    *((KINDS[kind][0], "postfix", dialogues(kind)) for kind in KINDS),
    ("Postfix under traffic", "postfix", [
        ("postfix.check", "`pfxhttp-broker postfix --check`", "no error"),
        ("postfix.traffic.lookups", "Three restarts under traffic: maps, policies", "temporary by unix and tcp only"),
        ("postfix.traffic.logins", "Three restarts under traffic: logins", "none denied"),
    ]),
    ("systemd", "systemd", [
        ("systemd.ready", "A lookup at the end of a start", "10 of 10"),
        ("systemd.reload", "`systemctl reload` with a new entry", "it answers; the same process"),
        ("systemd.broken", "`systemctl reload` with a broken file", "fails, logged; the broker goes on"),
        ("systemd.rights", "`systemd-analyze security`", "at most 1.2"),
        ("systemd.watchdog", "SIGSTOP to the broker", "the watchdog restarts it; lookups: temporary"),
        ("systemd.stop", "`systemctl stop` while a lookup waits", "it is answered; success; no broker stays"),
        ("systemd.start", "`systemctl start` after that", "all sockets answer"),
    ]),
    ("The package", "dpkg", [
        ("package.install", "The version before is installed", "runs, enabled; no warning of `check`"),
        ("package.upgrade", "An upgrade under traffic: maps, policies", "temporary by unix and tcp only"),
        ("package.configuration", "The configuration after it", "kept, with owner and mode"),
        ("package.broken", "An upgrade with a file that the broker refuses", "the old broker runs on; apt says so"),
        ("package.mended", "An upgrade with the right file", "restarted"),
        ("package.remove", "`apt remove`", "stopped; the configuration stays"),
        ("package.removed", "Postfix asks after it", "temporary"),
        ("package.again", "`apt install` after it", "runs, with its sockets"),
        ("package.purge", "`apt purge`", "only the users stay"),
    ]),
    ("doveadm auth test", "dovecot-core", [
        *phases("doveadm", "login", "succeeded", "failed", "no answer"),
        ("doveadm.login", "`doveadm auth login`, which needs the master protocol", "does not work"),
    ]),
    ("Exim: logins, by its Dovecot authenticator", "exim4-daemon-heavy", phases("exim", "login", "235", "535", "435")),
    ("Exim: a map, by `readsocket`", "exim4-daemon-heavy", phases("exim.map", "map", "250", "550", "451")),
    ("Exim: a policy service, by `readsocket`", "exim4-daemon-heavy",
     [*phases("exim.policy", "policy", "250", "550", "451"),
      ("exim.relay", "A recipient of another domain, with the map's ACL and with the policy's", "550")]),
    ("Sendmail: its socket map", "sendmail-bin", phases("sendmail", "map", "250", "550", "451")),
]
NAMES = {"postfix": "Postfix", "systemd": "systemd", "dpkg": "dpkg", "dovecot-core": "Dovecot",
         "exim4-daemon-heavy": "Exim", "sendmail-bin": "Sendmail"}
