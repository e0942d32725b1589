"""The API of the dialogues: the sample of the documentation, which can also be slow, fail and refuse connections."""

import importlib.util
import socket
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path

SAMPLE = Path(__file__).parents[2] / "docs/samples/api.py"
PORT = 8080


def sample():
    """The class of docs/samples/api.py."""
    spec = importlib.util.spec_from_file_location("sample", SAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Api


class Server(ThreadingHTTPServer):
    """One time for which the API listens. It knows its connections, so that they can be closed."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handler):
        self.open = set()
        super().__init__(("127.0.0.1", PORT), handler)

    def process_request(self, request, address):
        self.open.add(request)
        super().process_request(request, address)

    def shutdown_request(self, request):
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        pass


class Api:
    """The API. Its state holds for requests that come from now on."""

    def __init__(self):
        self.status, self.delay, self.server = None, 0, None
        api = self

        class Handler(sample()):
            def do_POST(self):
                time.sleep(api.delay)
                if api.status is None:
                    super().do_POST()
                else:
                    self.rfile.read(int(self.headers["Content-Length"]))
                    self.answer(api.status, {})

            def log_message(self, *_):
                pass

        self.handler = Handler
        self.up()

    def up(self):
        """It answers, at once."""
        self.status, self.delay = None, 0
        if self.server is None:
            self.server = Server(self.handler)
            threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def slow(self, seconds):
        """It answers after so many seconds."""
        self.delay = seconds

    def failing(self, status):
        """It answers with this status."""
        self.status = status

    def down(self):
        """It refuses connections, and those that were open are closed."""
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.server.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.server = None
