"""The roots: a bare Debian per release, kept below target/compat, and the packages of its mail servers.

A bare Debian has systemd and no mail server. The packages of the mail servers are in its apt cache, so that a copy of
it needs no network to install them. Only this file uses the network: the Debian mirror from which this machine
installs its packages, or that of the variable MIRROR.
"""

import os
import shutil
import subprocess
from pathlib import Path

PLACE = Path("target/compat")
INCLUDE = "adduser,ca-certificates,systemd,systemd-sysv"
# Exim, Sendmail and Postfix displace each other, so they are downloaded one after the other.
SERVERS = (("postfix", "dovecot-core"), ("exim4-daemon-heavy",), ("sendmail-bin",))
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


def mirror():
    """The mirror of this machine."""
    if "MIRROR" in os.environ:
        return os.environ["MIRROR"]
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Label: Debian"]
    found = subprocess.run(command, capture_output=True, text=True).stdout.split()
    return found[0] if found else "http://deb.debian.org/debian"


def bare(release):
    """The bare Debian of a release. It is made if it is not there yet, which takes some minutes."""
    root = PLACE / "bare" / release
    if root.is_dir():
        return root
    new = root.with_name(release + ".new")
    if new.exists():
        shutil.rmtree(new)
    new.parent.mkdir(parents=True, exist_ok=True)
    print(f"== {release}: debootstrap", flush=True)
    log = PLACE / f"debootstrap-{release}.log"
    with log.open("wb") as output:
        call(["debootstrap", "--variant=minbase", f"--include={INCLUDE}", release, str(new), mirror()], output)
        for packages in SERVERS:
            apt = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "--download-only", *packages]
            call(["chroot", str(new), *apt], output)
    new.rename(root)
    return root


def call(command, output):
    """Runs a command that must succeed."""
    if subprocess.run(command, stdout=output, stderr=output, env=ENVIRONMENT).returncode:
        raise SystemExit(f"{' '.join(command)} failed: see {output.name}")


def copy(release):
    """A copy of the bare Debian, in which a machine boots. It is removed after the run."""
    root = PLACE / "machine"
    remove(root)
    subprocess.run(["cp", "-ax", str(bare(release)), str(root)], check=True)
    (root / "etc/hostname").write_text("compat\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost compat.example.org compat\n")
    # Each boot gets an id of its own.
    (root / "etc/machine-id").write_text("")
    return root


def remove(root):
    """Removes a copy, but nothing that is mounted in it."""
    if root.exists():
        subprocess.run(["rm", "-rf", "--one-file-system", str(root)], check=True)
