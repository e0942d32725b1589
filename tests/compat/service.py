"""systemd: readiness, reload, rights, the watchdog and a stop of pfxhttp.service."""

import socket
import threading
import time

from machine import until
from postfix import BROKEN, CONFIGURATION, FILE, asked, is_good

FOUND = "18:OK bob@example.org,"
MORE = """  more:
    target: "http://127.0.0.1:8080/v1/mailbox"
    payload: '{"address": "{{ .Key }}"}'
    value_field: "data.result"
policy_services:
"""
# The highest exposure that is accepted, in tenths.
THRESHOLD = 12


def lookup(name="mailboxes", key="bob@example.org"):
    """The reply of the TCP listener to one lookup, "" if there is none."""
    request = f"{name} {key}"
    try:
        with socket.create_connection(("127.0.0.1", 23450), 30) as connection:
            connection.sendall(f"{len(request)}:{request},".encode())
            return connection.recv(4096).decode()
    except OSError:
        return ""


def running(machine):
    """The brokers that run."""
    return machine.run("sh", "-c", "readlink /proc/[0-9]*/exe | grep pfxhttp-broker").stdout.split()


def by_client(machine, seconds=2):
    """The reply of pfxhttp-client, which waits for the broker for so many seconds."""
    client = ("runuser", "-u", "pfxhttp-client", "--", "/usr/libexec/pfxhttp/pfxhttp-client")
    return machine.run(*client, "--timeout", str(seconds), "socketmap", stdin="25:mailboxes bob@example.org,").stdout


def play(machine, api, results):
    """Plays all rows."""
    ready(machine, results)
    reloads(machine, results)
    rights(machine, results)
    watchdog(machine, results)
    stop(machine, api, results)


def ready(machine, results):
    """A start ends when the broker listens: a lookup at once gets its answer."""
    found = 0
    for _ in range(10):
        machine.do("systemctl", "restart", "pfxhttp")
        found += lookup() == FOUND
    results.cell("systemd.ready", f"{found} of 10", found == 10)


def reloads(machine, results):
    """A reload with a new entry, and with a broken file."""
    before = machine.show("MainPID")
    absent = lookup("more")
    machine.write(FILE, CONFIGURATION.replace("policy_services:\n", MORE))
    status = machine.run("systemctl", "reload", "pfxhttp").returncode
    held = status == 0 and absent != FOUND and lookup("more") == FOUND and machine.show("MainPID") == before
    results.cell("systemd.reload", "the new entry answers" if held else f"{status} {absent} {lookup('more')}", held)

    machine.write(FILE, BROKEN)
    status = machine.run("systemctl", "reload", "pfxhttp").returncode
    logged = "nonsense: unknown key" in machine.do("journalctl", "-u", "pfxhttp", "--since=-60s", "-o", "cat")
    held = status != 0 and logged and lookup("more") == FOUND and machine.show("MainPID") == before
    held = held and machine.show("ActiveState") == "active"
    results.cell("systemd.broken", "refused, and logged" if held else f"{status} {logged} {lookup('more')}", held)
    machine.write(FILE, CONFIGURATION)
    machine.do("systemctl", "reload", "pfxhttp")


def rights(machine, results):
    """The exposure of the unit, by systemd's own measure."""
    said = machine.run("systemd-analyze", "security", "--no-pager", f"--threshold={THRESHOLD}", "pfxhttp.service")
    level = [line for line in said.stdout.splitlines() if "Overall exposure level" in line]
    value = level[0].split("pfxhttp.service:")[1].split()[0] if level else said.stderr[-200:]
    results.cell("systemd.rights", value, said.returncode == 0 and bool(level))


def watchdog(machine, results):
    """A broker that stands still is restarted; meanwhile no lookup gets a wrong answer."""
    before = machine.show("MainPID")
    machine.do("sh", "-c", "kill -STOP $0", before)
    # A lookup that a thread has taken before it stands still would wait for the API's time limit.
    moving = "grep -L '^State:.T' /proc/$0/task/*/status"
    until(lambda: not machine.run("sh", "-c", moving, before).stdout, 10, "all threads stand still")
    start, replies, times, over = time.monotonic(), [], [], threading.Event()

    def traffic():
        while not over.is_set():
            asked_at = time.monotonic()
            replies.append(by_client(machine))
            times.append(time.monotonic() - asked_at)

    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        until(lambda: machine.show("MainPID") not in (before, "0") and machine.show("ActiveState") == "active", 60,
              "the watchdog restarts the broker")
        took = f"restarted after {time.monotonic() - start:.0f} s"
    except AssertionError as error:
        took = str(error)
        machine.do("systemctl", "kill", "--signal=KILL", "pfxhttp")
        machine.becomes("active")
    over.set()
    thread.join()
    temporary = sum(":TEMP " in reply for reply in replies)
    # Its own limit is 2 s.
    held = took.startswith("restarted") and temporary > 0 and lookup() == FOUND and max(times) < 10
    held = held and all(":TEMP " in reply or reply == FOUND for reply in replies)
    text = f"{took}; {temporary} of {len(replies)} lookups temporary, within {max(times):.0f} s"
    results.cell("systemd.watchdog", text, held)


def stop(machine, api, results):
    """A stop replies to the lookups in progress, ends well, and leaves no process."""
    units = machine.do("systemctl", "list-units", "--plain", "--no-legend", "pfxhttp-postfix@*.socket")
    units = [line.split()[0] for line in units.splitlines()]
    machine.do("systemctl", "stop", *units)
    api.slow(1.5)
    reply = []
    asks = threading.Thread(target=lambda: reply.append(lookup()))
    asks.start()
    time.sleep(0.5)
    stopped = machine.run("systemctl", "stop", "pfxhttp").returncode
    asks.join()
    api.up()
    result = machine.show("Result")
    left = running(machine)
    held = (reply, stopped, result, left, lookup()) == ([FOUND], 0, "success", [], "")
    results.cell("systemd.stop", "answered, and success" if held else f"{reply} {stopped} {result} {left}", held)
    machine.do("systemctl", "start", "pfxhttp")
    again = [machine.show("ActiveState", unit) for unit in units]
    replies = asked()
    held = set(again) == {"active"} and all(is_good(kind, way, code) for (kind, way), code in replies.items())
    results.cell("systemd.start", "all sockets answer" if held else f"{again} {replies}", held)
