"""The page docs/src/compatibility.md, made of the results of the releases."""

import datetime
import json
import platform
from pathlib import Path

from rows import CHAPTERS, NAMES

PAGE = Path("docs/src/compatibility.md")
HEAD = """# Compatibility

The same dialogues with several versions of Postfix, with other programs and with systemd. Each version is that of a
Debian, which boots with its own systemd in a container. The package of pfxhttp is installed there, and configured as
this book says. The API is the [sample](api/samples.md). A cell shows what was seen; bold is what is not as required.

"""
WAYS = """
In the tables of Postfix an smtpd asks by each of five [ways](postfix/ways.md), all at the same time: *client*
(pfxhttp-client, which passes the connection on), *forward* (pfxhttp-client with `--no-hand-over`), *unit* (a socket unit
of systemd), *unix* and *tcp* (listeners of the broker). A cell with one code is the reply by all ways. *closed* is a
connection that ended without a reply. 450, 451, 454 and, for Exim's logins, 435 are temporary.
"""
HOW = """
`make compat` plays all of this and writes this page. It needs root, the Debian mirror, 3 GB below `target/compat` and a
quarter of an hour; `tests/compat/README.md` has more.
"""


def machine():
    """When and where it was played."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    model = models[0] if models else platform.machine()
    return f"Played on {date}, {len(models)} processors ({model}), {platform.system()} {platform.release()}"


def table(rows, package, releases):
    """A table, and how many of its rows do not hold."""
    heads = [f"{NAMES[package]} {result['versions'].get(package) or '?'}" for result in releases.values()]
    text = f"\n| | required | {' | '.join(heads)} |\n|---|---|{'---|' * len(heads)}\n"
    broken = []
    for row, what, required in rows:
        cells = []
        for release, result in releases.items():
            seen, held = result["cells"].get(row, ["not played", False])
            cells.append(seen if held else f"**{seen}**")
            if not held:
                broken.append(f"{release} {row}: {seen}")
        text += f"| {what} | {required} | {' | '.join(cells)} |\n"
    return text, broken


def write(files, package, before):
    """Writes the page, and returns the cells that are not as required."""
    releases = {release: json.loads(Path(file).read_text()) for release, file in files.items()}
    text = HEAD + f"{machine()}.\nThe package is {package}. The version before it is {before}.\n" + WAYS
    broken = []
    for heading, package_of, rows in CHAPTERS:
        chapter, failed = table(rows, package_of, releases)
        text += f"\n## {heading}\n{chapter}"
        broken += failed
    PAGE.write_text(text + HOW)
    return broken
