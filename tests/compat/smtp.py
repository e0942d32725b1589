"""A client of SMTP: what a mail server replies to recipients and logins.

A reply is its code. `closed` stands for a connection that ended, or that the server did not take; `silent` for no reply
within 60 s.
"""

import base64
import socket
import threading

GOOD = {"map": "250", "policy": "250", "login": "235"}
BAD = {"map": "550", "policy": "554", "login": "535"}


class Smtp:
    """One session."""

    def __init__(self, port):
        self.text = ""
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), 60)
            self.lines = self.socket.makefile("rb")
            self.greeting = self.reply()
            self.command("EHLO client.example.net")
        except OSError:
            self.greeting, self.socket = "closed", None

    def reply(self):
        """The code of the next reply."""
        try:
            while True:
                line = self.lines.readline().decode(errors="replace")
                self.text = line.strip()
                if not line:
                    return "closed"
                if line[3:4] != "-":
                    return line[:3]
        except TimeoutError:
            return "silent"
        except OSError:
            return "closed"

    def command(self, line):
        """The code of the reply to a command."""
        if self.socket is None:
            return "closed"
        try:
            self.socket.sendall(f"{line}\r\n".encode())
        except OSError:
            return "closed"
        return self.reply()

    def recipient(self, address, sender="friend@example.net"):
        """The reply to a recipient, in a transaction of its own."""
        self.command(f"MAIL FROM:<{sender}>")
        code = self.command(f"RCPT TO:<{address}>")
        self.command("RSET")
        return code

    def login(self, password, mechanism="PLAIN", user="bob@example.org"):
        """The reply to a login."""
        if mechanism == "PLAIN":
            return self.command("AUTH PLAIN " + encoded(f"\0{user}\0{password}"))
        code = self.command("AUTH LOGIN")
        if code == "334":
            code = self.command(encoded(user))
        return self.command(encoded(password)) if code == "334" else code

    def ask(self, kind, good=True):
        """Asks for a recipient that exists or not, by a sender that may or may not, or with a right or wrong
        password."""
        if kind == "map":
            return self.recipient("bob@example.org" if good else "nobody@example.org")
        if kind == "policy":
            return self.recipient("bob@example.org", "friend@example.net" if good else "spammer@example.net")
        return self.login("secret" if good else "wrong")

    def end(self):
        """Closes the connection."""
        if self.socket is not None:
            self.socket.close()


def encoded(text):
    """Base64 of a text."""
    return base64.b64encode(text.encode()).decode()


def at_once(calls):
    """The results of functions that run at the same time, by their keys."""
    results = {}

    def one(key, call):
        results[key] = call()

    threads = [threading.Thread(target=one, args=item) for item in calls.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {key: results.get(key, "error") for key in calls}
