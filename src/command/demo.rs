//! `demo`: shows the main use on this machine.
//!
//! It starts an embedded API and a broker with sockets in a temporary directory, and uses the real client.
//! Every step sends what Postfix would send, prints request, HTTP exchange and reply, and compares the
//! reply with the expected one. The exit code is 0 only if all are equal.

use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::sample_api::SampleApi;
use crate::broker::Broker;
use crate::daemon::exit::{OS, SOFTWARE, say};
use crate::model::Attributes;
use crate::server::activation::Activated;
use crate::server::threads::Threads;
use crate::server::{ConnectionLimits, Listeners, Shared, bind};
use crate::settings;
use crate::wire::{policy, socketmap};

/// How a request reaches the broker.
#[derive(Clone, Copy)]
enum By {
    /// `pfxhttp-client`, started as spawn(8) does, on standard input and output.
    Client,
    /// A connection to one of the broker's own listeners.
    Listener,
}

enum DemoRequest {
    Map { name: &'static str, key: &'static str },
    Policy { name: &'static str, client_address: &'static str },
    Login { name: &'static str, password: &'static str },
}

struct DemoStep {
    title: &'static str,
    by: By,
    request: DemoRequest,
    /// The expected reply.
    reply: &'static str,
}

const STEPS: [DemoStep; 10] = [
    DemoStep {
        title: "A mailbox that exists, asked through pfxhttp-client as spawn(8) starts it",
        by: By::Client,
        request: DemoRequest::Map { name: "mailboxes", key: "bob@example.com" },
        reply: "18:OK bob@example.com,",
    },
    DemoStep {
        title: "One that does not, through a listener: the only answer that rejects mail (550)",
        by: By::Listener,
        request: DemoRequest::Map { name: "mailboxes", key: "nobody@example.com" },
        reply: "9:NOTFOUND ,",
    },
    DemoStep {
        title: "Quotes and commas reach the API as one JSON string",
        by: By::Client,
        request: DemoRequest::Map { name: "mailboxes", key: "\"bob, at work\"@example.com" },
        reply: "29:OK \"bob, at work\"@example.com,",
    },
    DemoStep {
        title: "The API is out of order: mail waits (451), nothing is rejected",
        by: By::Listener,
        request: DemoRequest::Map { name: "out_of_order", key: "bob@example.com" },
        reply: "29:TEMP Temporary server problem,",
    },
    DemoStep {
        title: "A policy that rejects, asked through pfxhttp-client",
        by: By::Client,
        request: DemoRequest::Policy { name: "reputation", client_address: "192.0.2.66" },
        reply: "action=REJECT this address sends nothing but spam\n\n",
    },
    DemoStep {
        title: "A policy without an opinion, through a listener",
        by: By::Listener,
        request: DemoRequest::Policy { name: "reputation", client_address: "192.0.2.7" },
        reply: "action=DUNNO\n\n",
    },
    DemoStep {
        title: "A policy whose API is not there: mail waits (450)",
        by: By::Client,
        request: DemoRequest::Policy { name: "nobody_there", client_address: "192.0.2.7" },
        reply: "action=DEFER Temporary server problem\n\n",
    },
    DemoStep {
        title: "A login with the right password, asked through pfxhttp-client (235)",
        by: By::Client,
        request: DemoRequest::Login { name: "users", password: "swordfish" },
        reply: "OK\t1\tuser=bob@example.com\n",
    },
    DemoStep {
        title: "One with a wrong password, through a listener (535); the answer is held back a while",
        by: By::Listener,
        request: DemoRequest::Login { name: "users", password: "sardine" },
        reply: "FAIL\t1\treason=Invalid login or password\tuser=bob@example.com\n",
    },
    DemoStep {
        title: "One whose API is out of order: the connection is closed, \"try again later\" (454)",
        by: By::Client,
        request: DemoRequest::Login { name: "users_out_of_order", password: "swordfish" },
        reply: "",
    },
];

pub(super) fn demo() -> ExitCode {
    let played = TemporaryDirectory::new().and_then(|directory| play(&directory.0, &Runtime::new()?));
    match played {
        Ok(0) => {
            tell(format_args!("All {} answers are as they should be.", STEPS.len()));
            ExitCode::SUCCESS
        }
        Ok(wrong) => {
            say(&[format!("{wrong} of {} answers are not what they should be.", STEPS.len())]);
            ExitCode::from(SOFTWARE)
        }
        Err(error) => fail("the demonstration broke off", &error),
    }
}

/// Prints a line. The reader may have closed the stream.
fn tell(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn fail(what: &str, error: &dyn std::fmt::Display) -> ExitCode {
    say(&[format!("pfxhttp-broker demo: {what}: {error}")]);
    ExitCode::from(OS)
}

/// Plays every step; returns how many went wrong.
fn play(directory: &Path, runtime: &Runtime) -> io::Result<usize> {
    let client = client_program()?;
    let api = runtime.block_on(SampleApi::start())?;
    let text = configuration(directory, &api)?;
    let (config, _) = settings::parse(Path::new("demo.yml"), &text)
        .map_err(|problems| io::Error::other(problems.iter().map(ToString::to_string).collect::<String>()))?;
    let broker = Arc::new(Broker::new(&config.broker()));
    let bound = bind::all(&config.server.sockets, &Activated::default()).map_err(io::Error::other)?;
    let (alive, _all_gone) = mpsc::channel(1);
    let limits = ConnectionLimits::new(64, 0, None);
    let shared = Shared { limits, alive, threads: Threads::start()?, warnings: Arc::default() };
    let listeners = runtime.block_on(async { Listeners::start(bound, &broker, shared) })?;

    tell(format_args!(
        "A sample API listens on http://{}, a broker in {}.\n",
        api.address,
        directory.display()
    ));
    let mut wrong = 0;
    for (number, step) in STEPS.iter().enumerate() {
        tell(format_args!("{}. {}", number + 1, step.title));
        let reply = step.play(directory, &client)?;
        step.print(&api, &reply);
        wrong += usize::from(reply != step.reply.as_bytes());
    }
    runtime.block_on(listeners.stop(&Activated::default()));
    Ok(wrong)
}

impl DemoStep {
    fn play(&self, directory: &Path, client: &Path) -> io::Result<Vec<u8>> {
        let bytes = self.bytes();
        match (self.by, &self.request) {
            (By::Listener, DemoRequest::Map { .. }) => over_socket(&directory.join("map"), &bytes),
            (By::Listener, DemoRequest::Policy { name, .. }) => over_socket(&directory.join(name), &bytes),
            (By::Listener, DemoRequest::Login { name, .. }) => {
                over_socket(&directory.join(name), &bytes).map(behind_handshake)
            }
            (By::Client, DemoRequest::Login { name, .. }) => {
                let service = ["--mechanisms", "PLAIN", "sasl", name];
                over_client(client, directory, &service, &bytes).map(behind_handshake)
            }
            (By::Client, DemoRequest::Map { .. }) => over_client(client, directory, &["socketmap"], &bytes),
            (By::Client, DemoRequest::Policy { name, .. }) => {
                over_client(client, directory, &["policy", name], &bytes)
            }
        }
    }

    /// The request as Postfix sends it.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.request {
            DemoRequest::Map { name, key } => socketmap::encode(name, key.as_bytes(), &mut bytes),
            DemoRequest::Policy { client_address, .. } => {
                let attributes = Attributes::from_iter([
                    ("request", "smtpd_access_policy"),
                    ("protocol_state", "RCPT"),
                    ("client_address", client_address),
                    ("recipient", "bob@example.com"),
                ]);
                policy::encode(&attributes, &mut bytes);
            }
            DemoRequest::Login { password, .. } => {
                let response = STANDARD.encode(format!("\0bob@example.com\0{password}"));
                let greeting = "VERSION\t1\t0\nCPID\t1\n";
                let auth = "AUTH\t1\tPLAIN\tservice=smtp\tnologin\tlip=127.0.0.1\trip=192.0.2.7\tsecured";
                bytes.extend_from_slice(format!("{greeting}{auth}\tresp={response}\n").as_bytes());
            }
        }
        bytes
    }

    fn print(&self, api: &SampleApi, reply: &[u8]) {
        let shown = |bytes: &[u8]| match String::from_utf8_lossy(bytes).replace('\n', "\\n") {
            nothing if nothing.is_empty() => "(connection closed)".to_owned(),
            text => text.replace('\t', "\\t"),
        };
        tell(format_args!("   Postfix asks     {}", shown(&self.bytes())));
        match api.last() {
            Some(exchange) => {
                tell(format_args!("   broker asks      {}", exchange.request));
                tell(format_args!("   API answers      {}", exchange.response));
            }
            None => tell(format_args!("   broker asks      (no answer)")),
        }
        tell(format_args!("   Postfix is told  {}", shown(reply)));
        if reply != self.reply.as_bytes() {
            tell(format_args!("   WRONG, expected  {}", shown(self.reply.as_bytes())));
        }
        tell(format_args!(""));
    }
}

fn configuration(directory: &Path, api: &SampleApi) -> io::Result<String> {
    // No process listens on this port: the system had it free a moment ago.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let directory = directory.display();
    let address = api.address;
    Ok(format!(
        r#"
server:
  ipc: {{path: "{directory}/broker.sock", mode: "0600"}}
  listen:
    - {{kind: socket_map, name: map, type: unix, address: "{directory}/map", mode: "0600"}}
    - {{kind: policy_service, name: reputation, type: unix, address: "{directory}/reputation", mode: "0600"}}
    - {{kind: dovecot_sasl, name: users, type: unix, address: "{directory}/users", mode: "0600"}}
socket_maps:
  mailboxes:
    target: "http://{address}/mailboxes"
    payload: '{{"key": "{{{{ .Key }}}}"}}'
    value_field: "data.result"
  out_of_order:
    target: "http://{address}/out_of_order"
    payload: '{{"key": "{{{{ .Key }}}}"}}'
    value_field: "data.result"
policy_services:
  reputation:
    target: "http://{address}/policy"
    payload: "{{{{ .Key }}}}"
    value_field: "policy.result"
  nobody_there:
    target: "http://{nobody}/policy"
    payload: "{{{{ .Key }}}}"
    value_field: "policy.result"
dovecot_sasl:
  users:
    target: "http://{address}/login"
    failure_delay: 1s
  users_out_of_order:
    target: "http://{address}/out_of_order"
"#
    ))
}

/// What a login's server said behind its greeting, which is another one each time.
fn behind_handshake(said: Vec<u8>) -> Vec<u8> {
    const END: &[u8] = b"DONE\n";
    match said.windows(END.len()).position(|bytes| bytes == END) {
        Some(at) => said[at + END.len()..].to_vec(),
        None => said,
    }
}

/// Asks one of the broker's listeners.
fn over_socket(path: &Path, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request)?;
    stream.shutdown(Shutdown::Write)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(reply)
}

/// Starts the client, and asks it.
fn over_client(client: &Path, directory: &Path, service: &[&str], request: &[u8]) -> io::Result<Vec<u8>> {
    let mut child = Command::new(client)
        .arg("--socket")
        .arg(directory.join("broker.sock"))
        .args(service)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(request)?;
    }
    Ok(child.wait_with_output()?.stdout)
}

/// The client is installed beside the broker by `make build`, or where the package puts it.
fn client_program() -> io::Result<PathBuf> {
    let broker = std::env::current_exe()?;
    let beside = broker.with_file_name("pfxhttp-client");
    let installed = PathBuf::from("/usr/libexec/pfxhttp/pfxhttp-client");
    [beside, installed].into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let place = broker.parent().unwrap_or(Path::new(".")).display().to_string();
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no pfxhttp-client in {place}; `make build` makes it"),
        )
    })
}

/// A temporary directory, removed when dropped.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("pfxhttp-demo-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
