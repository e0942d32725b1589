"""The Debian package: installed, upgraded, removed, installed again and purged, below a Postfix that asks.

The version before is the package of the variable BEFORE. Without it, it is this package with a lower version.
"""

import os
import shutil
import subprocess
from pathlib import Path

import postfix
from machine import until
from postfix import BROKEN, CONFIGURATION, FILE, TEMPORARY, Traffic, asked, is_good
from service import FOUND, by_client, running

LOWER = "0.0.1-1"


def version(package):
    """The version of a package file."""
    return subprocess.run(["dpkg-deb", "-f", str(package), "Version"], capture_output=True, text=True,
                          check=True).stdout.strip()


def before(package, place):
    """The package file of the version before."""
    if "BEFORE" in os.environ:
        return Path(os.environ["BEFORE"])
    tree, file = place / "before", place / "before.deb"
    shutil.rmtree(tree, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-R", str(package), str(tree)], check=True)
    control = tree / "DEBIAN/control"
    lines = control.read_text().splitlines(keepends=True)
    control.write_text("".join(f"Version: {LOWER}\n" if line.startswith("Version:") else line for line in lines))
    subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "-b", str(tree), str(file)], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return file


def install(machine, results):
    """The version before, on a Debian that never had it."""
    machine.install("/root/before.deb")
    states = [machine.show("ActiveState"), machine.run("systemctl", "is-enabled", "pfxhttp").stdout.strip(),
              machine.run("systemctl", "is-enabled", "pfxhttp.socket").stdout.strip()]
    check = machine.run("runuser", "-u", "pfxhttp", "--", "pfxhttp-broker", "check", "--strict").returncode
    held = states == ["active", "enabled", "disabled"] and check == 0
    results.cell("package.install", "runs, enabled" if held else f"{states} {check}", held)


def upgrade(machine, results):
    """An upgrade under traffic; one with a file that the new broker does not accept."""
    old = machine.show("MainPID")
    traffic = Traffic()
    until(lambda: all(traffic.replies.values()), 30, "there is traffic")
    machine.install("/root/pfxhttp.deb")
    until(lambda: by_client(machine) == FOUND, 30, "the client gets an answer")
    text, held = traffic.end()
    results.cell("package.upgrade", text, held and machine.show("MainPID") not in (old, "0"))
    owner = machine.do("stat", "-c", "%U:%G %a", FILE).strip()
    held = machine.read(FILE) == CONFIGURATION and owner == "root:pfxhttp 640"
    results.cell("package.configuration", "kept" if held else owner, held)

    old = machine.show("MainPID")
    machine.write(FILE, BROKEN)
    said = machine.run("dpkg", "--force-confold", "--install", "/root/pfxhttp.deb")
    held = said.returncode == 0 and "was not restarted" in said.stdout + said.stderr
    held = held and machine.show("MainPID") == old and by_client(machine) == FOUND
    results.cell("package.broken", "the old broker runs on" if held else said.stderr[-200:], held)
    machine.write(FILE, CONFIGURATION)
    machine.install("--reinstall", "/root/pfxhttp.deb")
    held = machine.show("MainPID") not in (old, "0")
    results.cell("package.mended", "restarted" if held else "not restarted", held)


def remove(machine, results):
    """A removal while Postfix asks, and an installation after it."""
    machine.do("apt-get", "remove", "-y", "-q", "pfxhttp")
    left = running(machine)
    held = not left and machine.read(FILE) == CONFIGURATION
    results.cell("package.remove", "stopped, configuration kept" if held else f"{left}", held)
    replies = asked(kinds=("map", "policy"))
    held = all(code in TEMPORARY for code in replies.values())
    codes = sorted(set(replies.values()))
    results.cell("package.removed", ", ".join(codes), held)
    machine.install("/root/pfxhttp.deb")
    states = [machine.show("ActiveState", unit) for unit in ("pfxhttp.service", *postfix.UNITS)]
    if states[0] != "active":
        machine.do("systemctl", "start", "pfxhttp")
    replies = asked()
    held = set(states) == {"active"} and all(is_good(kind, way, code) for (kind, way), code in replies.items())
    seen = "all sockets answer" if held else f"{' '.join(states)}; {sorted(set(replies.values()))}"
    results.cell("package.again", seen, held)


def purge(machine, results):
    """A purge: what stays."""
    machine.do("apt-get", "purge", "-y", "-q", "pfxhttp")
    names = machine.do("find", "/", "-xdev", "-name", "*pfxhttp*").splitlines()
    # The package files of this test, and the directory that the administrator has made.
    names = [name for name in names if not name.startswith(("/root/", "/var/spool/postfix/pfxhttp"))]
    users = [user for user in ("pfxhttp", "pfxhttp-client") if machine.run("id", user).returncode == 0]
    held = not names and not running(machine)
    results.cell("package.purge", f"users {' and '.join(users)}" if held else f"{names}", held)
