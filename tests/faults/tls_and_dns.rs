//! Rows 22 to 24: certificates, the resolver and proxies.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ALL_VERSIONS;

use crate::answers::{Api, right};
use crate::driver::Lane;
use crate::ledger::{Ledgers, Rules};
use crate::rig::{Rig, entries, entries_at};
use crate::rows::row;
use crate::support::backend::{Backend, Reply};
use crate::support::certificates::{Authority, Flaw, Identity};
use crate::support::pause;
use crate::support::site::{Way, open_directory};

#[test]
fn row_22_certificates() {
    const NAMES: [&str; 5] = ["expired", "host", "selfsigned", "early", "unknown"];
    let row = row("22");
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let ledgers = Arc::<Ledgers>::default();
    let serve = |identity: &Identity| Api::start_tls(&ledgers, identity.serve(ALL_VERSIONS, None));
    let bad = [
        authority.server(Flaw::Expired),
        authority.server(Flaw::WrongHost),
        Identity::self_signed(),
        authority.server(Flaw::NotYetValid),
        Authority::new("unknown").server(Flaw::None),
    ]
    .map(|identity| serve(&identity));
    let api = serve(&authority.server(Flaw::None));
    let root = authority.write(directory.path(), "ca.crt");
    let rig = Rig::start_before(api, ledgers, "", |config, api| {
        let mut config = entries(config.trust(&root), api, &["timeout: 2s"]);
        for (name, api) in NAMES.iter().zip(&bad) {
            config = config.map(name, &api.url("/map"), &["timeout: 2s"]);
        }
        config
    });
    let mut lanes = rig.lanes(Way::Unix);
    lanes.extend(NAMES.map(|name| Lane { threads: 1, ..rig.map(Way::Unix, name) }));
    let mut traffic = rig.traffic(&lanes);
    traffic.fault(&NAMES);
    traffic.more(20);
    let outcome = row.counted(traffic.end(Rules::default()));
    for (name, api) in NAMES.iter().zip(&bad) {
        assert!(outcome.temporary_of(name) >= 20, "{name}");
        assert_eq!(api.backend.count(), 0, "{name}: no request was sent");
    }
}

/// What the name server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    NoSuchName,
    Nothing,
    Address(Ipv4Addr),
}

/// A name server for every name, at port 53 of a loopback address of its own.
struct NameServer {
    says: Arc<Mutex<Says>>,
}

impl NameServer {
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 53, 23);

    fn start() -> Self {
        let socket = UdpSocket::bind((Self::ADDRESS, 53));
        let socket = socket.unwrap_or_else(|error| panic!("it needs root, for port 53: {error}"));
        let says = Arc::new(Mutex::new(Says::NoSuchName));
        let told = Arc::clone(&says);
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut query) {
                let says = *told.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(answer) = answer(&query[..length], says) {
                    let _gone_already = socket.send_to(&answer, peer);
                }
            }
        });
        Self { says }
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap_or_else(PoisonError::into_inner) = says;
    }
}

/// A message of RFC 1035: the header, the question, and for A the address.
fn answer(query: &[u8], says: Says) -> Option<Vec<u8>> {
    let name = query.get(12..)?.iter().position(|byte| *byte == 0)?;
    let question = query.get(12..12 + name + 5)?;
    let is_a = question[name + 1..name + 3] == [0, 1];
    let is_lie = question[1..].starts_with(b"lied");
    let address = match says {
        Says::Nothing => return None,
        Says::NoSuchName => None,
        // The name has no other addresses than this one.
        Says::Address(_) if is_lie => is_a.then_some(Ipv4Addr::new(127, 0, 53, 99)),
        Says::Address(address) => is_a.then_some(address),
    };
    let code = if says == Says::NoSuchName { 3 } else { 0 };
    let mut message = query[..2].to_vec();
    message.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    message.extend(question);
    if let Some(address) = address {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        message.extend(address.octets());
    }
    Some(message)
}

#[test]
fn row_23_the_resolver() {
    let row = row("23");
    let (server, directory) = (NameServer::start(), open_directory());
    let at = directory.path().display();
    let resolver = format!("nameserver {}\noptions timeout:1 attempts:1\n", NameServer::ADDRESS);
    fs::write(directory.path().join("resolv.conf"), resolver).expect("a file");
    fs::write(directory.path().join("nsswitch.conf"), "hosts: dns\n").expect("a file");
    let mounts = ["resolv.conf", "nsswitch.conf"].map(|name| format!("mount --bind {at}/{name} /etc/{name}"));
    let inner = format!("{} && exec \"$@\"", mounts.join(" && "));
    let script = format!("exec unshare --mount sh -c '{inner}' sh \"$@\"");
    let rig = Rig::start_after(&script, |config, api| {
        let named = |name: &str, path: &str| api.url(path).replace("127.0.0.1", &format!("{name}.pfx.test"));
        let config = entries(config, api, &[]);
        config.map("named", &named("api", "/named"), &["timeout: 1s"]).map(
            "lied",
            &named("lied", "/lied"),
            &["timeout: 1s"],
        )
    });
    let mut lanes = rig.lanes(Way::Unix);
    lanes.extend([rig.map(Way::Unix, "named"), rig.map(Way::Unix, "lied")]);
    let mut traffic = rig.traffic(&lanes);
    traffic.fault(&["lied"]);
    traffic.fault(&["named"]);
    for says in [Says::NoSuchName, Says::Nothing] {
        server.say(says);
        traffic.more_of(5, &["named"]);
    }
    server.say(Says::Address(Ipv4Addr::LOCALHOST));
    // The lookup of the name that was under way has a second.
    pause(Duration::from_millis(1100));
    traffic.mended();
    traffic.more(30);
    // The address is known now; each request needs a connection of its own.
    rig.api.fault(|request| (request.path == "/named").then(|| Reply::Last(Box::new(right(request)))));
    for says in [Says::NoSuchName, Says::Nothing] {
        server.say(says);
        traffic.more(30);
    }
    let outcome = row.counted(traffic.end(Rules::default()));
    assert!(outcome.temporary_of("named") >= 10 && outcome.temporary_of("lied") >= 60);
    assert!(outcome.definitive.iter().all(|(lane, _)| *lane != "lied"), "nothing listens there");
}

#[test]
fn row_24_the_proxy() {
    let row = row("24");
    let direct = Backend::constant("{}");
    let ledgers = Arc::<Ledgers>::default();
    // The fake API is the proxy: it answers for the target.
    let api = Api::start(&ledgers);
    let mut rig = Rig::start_before(api, ledgers, "", |config, api| {
        entries_at(config.proxy(&api.url("")), &direct.url(""), &[])
    });
    let (_postfix, smtp) = rig.postfix();
    let mut traffic = rig.traffic(&[&rig.lanes(Way::Unix)[..], &smtp].concat());
    traffic.more(10);
    let all = ["m", "p", "users", "rcpt", "auth"];
    traffic.fault(&all);
    for reply in [
        Reply::with_headers(407, &[("Proxy-Authenticate", "Basic realm=x")], "{}"),
        Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        Reply::status(502),
    ] {
        rig.api.fault(move |_| Some(reply.clone()));
        traffic.more(10);
    }
    rig.api.mend();
    rig.api.backend.down();
    traffic.more(10);
    rig.api.backend.up();
    traffic.mended();
    traffic.more(20);
    let outcome = row.counted(traffic.end(Rules { budget: Duration::from_secs(8), ..Rules::default() }));
    assert!(all.iter().all(|lane| outcome.temporary_of(lane) >= 20), "{:?}", outcome.temporary.len());
    assert_eq!(direct.connections(), 0, "the proxy was never left out");
}
