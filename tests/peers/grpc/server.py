"""The service nauthilus.auth.v1.AuthService for tests, by grpcio. `make grpc-peer` installs that.

The first line of standard input is a JSON object with its settings: port, ledger (a file), and for TLS cert, key
and, for clients with certificates, authority (all PEM). Each further line is an object of answers by password, with
`*` for any other one:

    {"response": {"decision": 1, "account_field": "a", "attributes": {"a": ["b"]}, ...}}
    {"raw": "hexadecimal digits"}          a message of these bytes
    {"status": 14, "message": "text"}      a status, and no message
    {"hang": true}                         nothing

After each line it writes "ok". It ends when standard input does. The ledger gets a line for each call before its
answer, so it is complete even if the service is killed.

The messages are built here from field numbers; no .proto file and no generated code is involved.
"""

import json
import sys
import threading
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "nauthilus.auth.v1"
REQUEST = [
    "username", "password", "client_ip", "client_port", "client_hostname", "client_id", "external_session_id",
    "user_agent", "local_ip", "local_port", "protocol", "method", "ssl", "ssl_session_id", "ssl_client_verify",
    "ssl_client_dn", "ssl_client_cn", "ssl_issuer", "ssl_client_notbefore", "ssl_client_notafter",
    "ssl_subject_dn", "ssl_issuer_dn", "ssl_client_subject_dn", "ssl_client_issuer_dn", "ssl_protocol",
    "ssl_cipher", "ssl_serial", "ssl_fingerprint", "oidc_cid", "auth_login_attempt",
]
FIELD = descriptor_pb2.FieldDescriptorProto


def messages():
    """The classes of the request and the response."""
    file = descriptor_pb2.FileDescriptorProto(name="auth.proto", package=PACKAGE, syntax="proto3")

    def field(message, number, name, kind, label=FIELD.LABEL_OPTIONAL, type_name=None):
        message.field.add(name=name, number=number, type=kind, label=label, type_name=type_name)

    request = file.message_type.add(name="AuthRequest")
    for number, name in enumerate(REQUEST, 1):
        field(request, number, name, FIELD.TYPE_UINT32 if number == 30 else FIELD.TYPE_STRING)
    decision = file.enum_type.add(name="Decision")
    for number, name in enumerate(["UNSPECIFIED", "OK", "FAIL", "TEMPFAIL"]):
        decision.value.add(name="DECISION_" + name, number=number)
    values = file.message_type.add(name="AttributeValues")
    field(values, 1, "values", FIELD.TYPE_STRING, FIELD.LABEL_REPEATED)
    backend = file.message_type.add(name="BackendRef")
    for number, name in enumerate(["type", "name", "protocol", "authority", "opaque_token"], 1):
        field(backend, number, name, FIELD.TYPE_STRING)
    response = file.message_type.add(name="AuthResponse")
    entry = response.nested_type.add(name="AttributesEntry")
    entry.options.map_entry = True
    field(entry, 1, "key", FIELD.TYPE_STRING)
    field(entry, 2, "value", FIELD.TYPE_MESSAGE, type_name=f".{PACKAGE}.AttributeValues")
    field(response, 1, "ok", FIELD.TYPE_BOOL)
    field(response, 2, "decision", FIELD.TYPE_ENUM, type_name=f".{PACKAGE}.Decision")
    for number, name in [(3, "session"), (4, "account_field"), (5, "totp_secret_field")]:
        field(response, number, name, FIELD.TYPE_STRING)
    field(response, 6, "backend", FIELD.TYPE_UINT32)
    entries = f".{PACKAGE}.AuthResponse.AttributesEntry"
    field(response, 7, "attributes", FIELD.TYPE_MESSAGE, FIELD.LABEL_REPEATED, entries)
    for number, name in [(8, "status_message"), (9, "error")]:
        field(response, number, name, FIELD.TYPE_STRING)
    field(response, 10, "backend_ref", FIELD.TYPE_MESSAGE, type_name=f".{PACKAGE}.BackendRef")
    # Fields of newer servers.
    field(response, 11, "newer_text", FIELD.TYPE_STRING)
    field(response, 15, "newer_number", FIELD.TYPE_UINT32)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [f"{PACKAGE}.AuthRequest", f"{PACKAGE}.AuthResponse"]
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names]


class Service(grpc.GenericRpcHandler):
    def __init__(self, ledger):
        self.request, self.response = messages()
        self.ledger, self.answers, self.lock = ledger, {}, threading.Lock()

    def service(self, call):
        if call.method == f"/{PACKAGE}.AuthService/Authenticate":
            read, write = self.request.FromString, lambda message: message
            return grpc.unary_unary_rpc_method_handler(self.authenticate, read, write)
        return None

    def authenticate(self, request, context):
        fields = {field.name: value for field, value in request.ListFields()}
        names = context.auth_context().get("x509_common_name", [])
        entry = {
            "request": fields,
            "metadata": [[key, str(value)] for key, value in context.invocation_metadata()],
            "seconds": context.time_remaining(),
            "peer": context.peer(),
            "client": [name.decode() for name in names],
        }
        with self.lock:
            self.ledger.write(json.dumps(entry) + "\n")
            self.ledger.flush()
        answer = self.answers.get(request.password) or self.answers.get("*", {})
        if answer.get("hang"):
            gone = threading.Event()
            if context.add_callback(gone.set):
                gone.wait()
            return b""
        if "status" in answer:
            code = next(code for code in grpc.StatusCode if code.value[0] == answer["status"])
            context.abort(code, answer.get("message", ""))
        if "raw" in answer:
            return bytes.fromhex(answer["raw"])
        response = dict(answer.get("response", {}))
        attributes = response.pop("attributes", {})
        message = self.response(**response)
        for name, values in attributes.items():
            message.attributes[name].values.extend(values)
        return message.SerializeToString()


def main():
    settings = json.loads(sys.stdin.readline())
    service = Service(open(settings["ledger"], "a", encoding="utf-8"))
    options = [("grpc.so_reuseport", 0)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=128), [service], options=options)
    address = f"127.0.0.1:{settings['port']}"
    if "cert" in settings:
        authority = settings.get("authority")
        pair = (settings["key"].encode(), settings["cert"].encode())
        roots = authority.encode() if authority else None
        credentials = grpc.ssl_server_credentials([pair], roots, authority is not None)
        server.add_secure_port(address, credentials)
    else:
        server.add_insecure_port(address)
    server.start()
    print("ok", flush=True)
    for line in sys.stdin:
        service.answers = json.loads(line)
        print("ok", flush=True)
    server.stop(None)


main()
