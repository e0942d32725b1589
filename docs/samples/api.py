"""A sample API for pfxhttp, with Python's standard library only: python3 api.py 8080

It shows the form of requests and answers. A real API has a database, verifies hashes of passwords, and runs behind
a web server with TLS.
"""

import hmac
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

MAILBOXES = {"bob@example.org": "secret"}
DOMAINS = ["example.org"]
BLOCKED = ["spammer@example.net"]


def checked(login):
    """The account of a login, or None."""
    known = MAILBOXES.get(login["username"])
    right = known is not None and hmac.compare_digest(known.encode(), login["password"].encode())
    return login["username"] if right else None


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the broker keeps its connections
    disable_nagle_algorithm = True

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/mailbox":
            known = request["address"] in MAILBOXES
            self.answer(200, {"data": {"result": request["address"]} if known else {}})
        elif self.path == "/v1/policy":
            blocked = request.get("sender") in BLOCKED
            self.answer(200, {"action": "REJECT you are blocked" if blocked else "DUNNO"})
        elif self.path == "/v1/auth/json":  # as Nauthilus: the answer is in headers
            account = checked(request)
            if account is None:
                self.answer(401, {}, {"Auth-Status": "wrong password"})
            else:
                self.answer(200, {}, {"Auth-Status": "OK", "Auth-User": account})
        elif self.path == "/v1/login":  # the answer is in the body
            account = checked(request)
            self.answer(200, {"ok": account is not None, "user": account})
        else:
            self.answer(404, {})

    def do_GET(self):
        kind, _, name = self.path.removeprefix("/v1/").partition("/")
        known = {"mailboxes": MAILBOXES, "domains": DOMAINS}.get(kind, [])
        name = unquote(name)
        self.answer(200, {"name": name}) if name in known else self.answer(404, {"message": "not found"})

    def answer(self, status, body, headers={}):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Api).serve_forever()
