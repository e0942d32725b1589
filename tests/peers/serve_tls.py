"""docs/samples/api.py at port 443, with the certificate and key in the file that the argument names."""

import importlib.util
import os
import ssl
import sys
from http.server import ThreadingHTTPServer

path = os.path.join(os.path.dirname(__file__), "../../docs/samples/api.py")
spec = importlib.util.spec_from_file_location("api", path)
api = importlib.util.module_from_spec(spec)
sys.dont_write_bytecode = True
spec.loader.exec_module(api)

server = ThreadingHTTPServer(("127.0.0.1", 443), api.Api)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
