"""A Debian that runs: systemd boots in a container whose network is its own loopback.

`boot` starts it. A `Machine` is what a process of this host does with a running one: commands inside, files, units.
"""

import subprocess
import time
from pathlib import Path

# systemd of today needs cgroup2, which need not be the host's: the container gets a tree of its own.
NSPAWN = """
mount --make-rprivate / && mount -t cgroup2 none /sys/fs/cgroup &&
mkdir -p /sys/fs/cgroup/pfxhttp-compat && echo $$ >/sys/fs/cgroup/pfxhttp-compat/cgroup.procs &&
exec systemd-nspawn --quiet --register=no --keep-unit --private-network --console=pipe -b -D "$0"
"""


def until(condition, seconds, what):
    """Waits until a condition holds, and returns its value. Fails after that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


# Ends what is left of a container, and removes its groups.
CLEAN = """
mount --make-rprivate / && mount -t cgroup2 none /sys/fs/cgroup && cd /sys/fs/cgroup/pfxhttp-compat || exit
echo 1 >cgroup.kill
while grep -q 'populated 1' cgroup.events; do sleep 0.1; done
find "$PWD" -depth -type d -exec rmdir {} +
"""


class Container:
    """A booted root. `init` is the process id of its systemd, as this host sees it."""

    def __init__(self, root):
        self.log = root.with_suffix(".log")
        with self.log.open("wb") as log:
            command = ["unshare", "--mount", "sh", "-c", NSPAWN, str(root.resolve())]
            self.nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.init = until(lambda: self.booted(root), 90, "the container boots")
        except BaseException:
            print(self.log.read_text(errors="replace")[-3000:])
            self.end()
            raise

    def booted(self, root):
        """The first process of the container, if its boot is complete. nspawn has other children before."""
        assert self.nspawn.poll() is None, "systemd-nspawn ended"
        children = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
        if not children:
            return None
        state = Machine(root, int(children[0])).run("systemctl", "is-system-running").stdout.strip()
        return int(children[0]) if state in ("running", "degraded") else None

    def end(self):
        """Powers it off; kills it after 30 s."""
        if self.nspawn.poll() is None:
            # nspawn itself orders a power-off, at the first SIGTERM.
            self.nspawn.terminate()
        try:
            self.nspawn.wait(30)
        except subprocess.TimeoutExpired:
            self.nspawn.kill()
            self.nspawn.wait()
        subprocess.run(["unshare", "--mount", "sh", "-c", CLEAN], timeout=30)


class Machine:
    """A running container, for a process of this host."""

    def __init__(self, root, init):
        self.root, self.init = Path(root), init

    def command(self, *command):
        """A command, to be run inside."""
        inside = ["nsenter", "-t", str(self.init), "-a", "/usr/bin/env", "-i", "HOME=/root", "LC_ALL=C.UTF-8"]
        return [*inside, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", *command]

    def run(self, *command, stdin="", seconds=300):
        """Runs a command inside. Its output is text."""
        return subprocess.run(self.command(*command), input=stdin, capture_output=True, text=True, timeout=seconds,
                              errors="replace")

    def do(self, *command, stdin="", seconds=300):
        """Runs a command that must succeed, and returns its output."""
        done = self.run(*command, stdin=stdin, seconds=seconds)
        assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"[-3000:]
        return done.stdout

    def write(self, path, text, owner=None, mode=None):
        """Writes a file of the machine. An existing one keeps its owner and mode."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if owner:
            self.do("chown", owner, path)
        if mode:
            self.do("chmod", mode, path)

    def read(self, path):
        """The text of a file of the machine."""
        return (self.root / path.lstrip("/")).read_text()

    def show(self, name, unit="pfxhttp.service"):
        """A property of a unit."""
        return self.do("systemctl", "show", "--property", name, "--value", unit).strip()

    def becomes(self, state, unit="pfxhttp.service", seconds=30):
        """Waits until a unit has this ActiveState."""
        until(lambda: self.show("ActiveState", unit) == state, seconds, f"{unit} is {state}")

    def install(self, *packages):
        """Installs packages from the cache of apt, or files."""
        return self.do("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages, seconds=600)

    def version(self, package):
        """The version of an installed package, without epoch and Debian's revision."""
        version = self.run("dpkg-query", "-W", "-f", "${Version}", package).stdout
        return version.split(":")[-1].rsplit("-", 1)[0].split("+")[0]
