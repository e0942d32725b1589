"""Plays the dialogues in one running Debian: `play.py RELEASE ROOT INIT RESULTS [PART…]`.

`run` starts it in the network of the container. It installs, configures and asks; the results are a JSON file.
"""

import json
import sys
import traceback
from pathlib import Path

import packages
import peers
import postfix
import service
from api import Api
from machine import Machine
from rows import NAMES

PARTS = ("upgrade", "postfix", "service", "doveadm", "remove", "exim", "sendmail", "purge")


class Results:
    """The cells of one release: a text, and if the row holds."""

    def __init__(self, release, file):
        self.release, self.file, self.cells, self.versions = release, file, {}, {}

    def cell(self, row, text, held):
        """Notes the result of a row."""
        print(f"{self.release}: {row}: {text}{'' if held else '  <-- NOT AS REQUIRED'}", flush=True)
        self.cells[row] = [text, held]
        self.save()

    def save(self):
        """Writes what is known so far."""
        self.file.write_text(json.dumps({"cells": self.cells, "versions": self.versions}, indent=1))


def main(release, root, init, file, *parts):
    """Plays these parts, or all."""
    machine, results, api = Machine(root, int(init)), Results(release, Path(file)), Api()
    packages.install(machine, results)
    machine.install("postfix", "dovecot-core")
    postfix.configure(machine)
    part = {
        "upgrade": lambda: packages.upgrade(machine, results),
        "postfix": lambda: postfix.play(machine, api, results),
        "service": lambda: service.play(machine, api, results),
        "doveadm": lambda: peers.doveadm(machine, api, results),
        "remove": lambda: packages.remove(machine, results),
        "exim": lambda: peers.exim(machine, api, results),
        "sendmail": lambda: peers.sendmail(machine, api, results),
        "purge": lambda: packages.purge(machine, results),
    }
    for name in parts or PARTS:
        try:
            # A part that broke off may have left another file, or no API.
            api.up()
            if name in ("upgrade", "postfix", "service", "remove"):
                machine.write(postfix.FILE, postfix.CONFIGURATION)
            part[name]()
        except Exception:
            units = ("-u", "pfxhttp*", "-u", "compat*")
            log = machine.run("journalctl", "--no-pager", "-o", "cat", "-n", "30", *units).stdout
            print(f"{release}: {name} broke off\n{traceback.format_exc()}{log}", flush=True)
        for package in NAMES:
            results.versions.setdefault(package, None)
            results.versions[package] = machine.version(package) or results.versions[package]
        results.save()


if __name__ == "__main__":
    main(*sys.argv[1:])
