//! One request of the driver and its reply, in each protocol.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::answers::due;
use crate::driver::{Lane, Talk, key, next_id};
use crate::ledger::{Asked, Heard, Ledgers, Said};
use crate::rig::PASSWORD;
use crate::support::config::Kind;
use crate::support::peer::{Peer, netstring, policy_request};
use crate::support::smtp::Smtp;

/// One session with a real Postfix, and one recipient.
pub(crate) fn rcpt(port: u16, recipient: &str) -> Said {
    by_code(Smtp::begin(port).rcpt(recipient))
}

/// One session with a real Postfix, and one login.
pub(crate) fn auth(port: u16, user: &str) -> Said {
    by_code(Smtp::greet(port).0.auth_plain(user, PASSWORD))
}

fn by_code(reply: String) -> Said {
    match reply.as_bytes()[0] {
        b'4' => Said::Temporary(reply),
        _ => Said::Definitive(reply.get(..3).unwrap_or_default().to_owned()),
    }
}

/// The key, f(key), and the bytes of a request. The number of a login is that on its connection.
pub(crate) fn request(lane: &Lane, id: u64) -> (String, String, Vec<u8>) {
    let auth = |mechanism: &str, response: String| {
        let known = "service=smtp\tnologin\tlip=127.0.0.1\trip=192.0.2.7\tsecured";
        format!("AUTH\t{}\t{mechanism}\t{known}\tresp={}\n", id as u32, STANDARD.encode(response))
            .into_bytes()
    };
    match &lane.talk {
        Talk::Map(map, key) => {
            let key = key(id);
            (key.clone(), due(Kind::Map, id), netstring(format!("{map} {key}")))
        }
        Talk::Policy => {
            let key = key(id);
            let request = policy_request(&[("sender", ""), ("recipient", &key), ("size", "0")]);
            (key, due(Kind::Policy, id), request)
        }
        Talk::Password => {
            (key(id), due(Kind::Login, id), auth("PLAIN", format!("\0{}\0{PASSWORD}", key(id))))
        }
        Talk::Token(token) => {
            let (user, token, due) = token(id);
            let response = format!("user={user}\x01auth=Bearer {token}\x01\x01");
            (key(id), due, auth("XOAUTH2", response))
        }
        Talk::Rcpt(_) => {
            let code = if due(Kind::Map, id).starts_with("OK") { "250" } else { "550" };
            (format!("{}@example.com", key(id)), code.to_owned(), Vec::new())
        }
        Talk::Auth(_) => {
            let code = if due(Kind::Login, id).starts_with("OK") { "235" } else { "535" };
            (key(id), code.to_owned(), Vec::new())
        }
    }
}

/// Sends the request and reads the reply; `None` if there is none.
pub(crate) fn exchange(lane: &Lane, connection: &mut Option<Peer>, request: &[u8]) -> Option<Said> {
    let is_login = matches!(lane.talk, Talk::Password | Talk::Token(_));
    for attempt in 0..2 {
        let is_kept = connection.is_some();
        let mut peer = connection.take().unwrap_or_else(|| (lane.open)());
        if is_login && !is_kept && handshake(&mut peer).is_none() {
            // Nothing was sent: Postfix connects again.
            if attempt == 0 {
                continue;
            }
            return Some(Said::Temporary("closed in the handshake".to_owned()));
        }
        match talk(lane, &mut peer, request) {
            Ok(said) => {
                let is_over = is_login && matches!(said, Said::Temporary(_));
                *connection = (!is_over).then_some(peer);
                return Some(said);
            }
            Err(true) if is_login || attempt > 0 => return Some(Said::Temporary("closed".to_owned())),
            Err(true) => {}
            Err(false) => return None,
        }
    }
    Some(Said::Temporary("closed".to_owned()))
}

/// A connection that is not opened again if it ends.
pub(crate) struct Held {
    lane: Lane,
    peer: Peer,
}

impl Held {
    /// A connection of this lane, after the handshake of a login.
    pub(crate) fn open(lane: &Lane) -> Self {
        let mut peer = (lane.open)();
        if matches!(lane.talk, Talk::Password | Talk::Token(_)) {
            handshake(&mut peer).expect("a handshake");
        }
        Self { lane: lane.clone(), peer }
    }

    /// Asks. If the connection has ended, the request is lost.
    pub(crate) fn ask(&mut self, ledgers: &Ledgers) {
        let id = next_id();
        let (key, due, bytes) = request(&self.lane, id);
        ledgers.asked.append(Asked { id, lane: self.lane.name, key, due, at: Instant::now() });
        if let Ok(said) = talk(&self.lane, &mut self.peer, &bytes) {
            ledgers.heard.append(Heard { id, said, at: Instant::now() });
        }
    }
}

/// One request and its reply; the error says whether the connection ended.
fn talk(lane: &Lane, peer: &mut Peer, request: &[u8]) -> Result<Said, bool> {
    match lane.is_in_bytes {
        true => request.chunks(1).try_for_each(|byte| peer.try_send(byte)),
        false => peer.try_send(request),
    }
    .map_err(|_| true)?;
    match &lane.talk {
        Talk::Map(..) => map_reply(peer),
        Talk::Policy => policy_reply(peer),
        _ => {
            let tag = request.split(|byte| *byte == b'\t').nth(1).unwrap_or_default();
            login_reply(peer, &String::from_utf8_lossy(tag))
        }
    }
}

/// Reads bytes until `is_complete`, and no byte more.
fn read(peer: &mut Peer, is_complete: impl Fn(&[u8]) -> bool) -> Result<String, bool> {
    let mut got = Vec::new();
    while !is_complete(&got) {
        let mut byte = [0];
        match peer.receive(&mut byte) {
            Ok(1..) => got.push(byte[0]),
            Ok(0) => return Err(true),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Err(true),
            Err(_) => return Err(false),
        }
    }
    Ok(String::from_utf8_lossy(&got).into_owned())
}

/// Reads one reply of a socketmap.
pub(crate) fn map_reply(peer: &mut Peer) -> Result<Said, bool> {
    let head = read(peer, |got| got.ends_with(b":") || got.len() > 10)?;
    let Ok(length) = head.trim_end_matches(':').parse::<usize>() else {
        return Ok(Said::Definitive(format!("no netstring: {head:?}")));
    };
    let mut payload = read(peer, |got| got.len() > length)?;
    if payload.pop() != Some(',') {
        return Ok(Said::Definitive(format!("no comma behind {payload:?}")));
    }
    let is_temporary = matches!(payload.split(' ').next(), Some("TEMP" | "PERM" | "TIMEOUT"));
    Ok(if is_temporary { Said::Temporary(payload) } else { Said::Definitive(payload) })
}

/// Reads one reply of a policy service.
pub(crate) fn policy_reply(peer: &mut Peer) -> Result<Said, bool> {
    let reply = read(peer, |got| got.ends_with(b"\n\n"))?;
    Ok(match reply.starts_with("action=DEFER Temporary") {
        true => Said::Temporary(reply),
        false => Said::Definitive(reply),
    })
}

fn handshake(peer: &mut Peer) -> Option<()> {
    peer.try_send(format!("VERSION\t1\t0\nCPID\t{}\n", std::process::id()).as_bytes()).ok()?;
    while read(peer, |got| got.ends_with(b"\n")).ok()? != "DONE\n" {}
    Some(())
}

/// Reads the line that ends a login, and answers the challenge that explains a refused token.
pub(crate) fn login_reply(peer: &mut Peer, tag: &str) -> Result<Said, bool> {
    let mut is_refused = false;
    loop {
        let line = match read(peer, |got| got.ends_with(b"\n")) {
            Err(true) if is_refused => return Ok(Said::Definitive("closed after a refusal".to_owned())),
            other => other?,
        };
        let mut fields = line.trim_end().split('\t');
        let (verb, of) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        if of != tag {
            return Ok(Said::Definitive(format!("a reply to {of:?}: {line:?}")));
        }
        match verb {
            "CONT" => {
                is_refused = true;
                peer.try_send(format!("CONT\t{tag}\t\n").as_bytes()).map_err(|_| true)?;
            }
            "OK" => {
                let user = fields.find_map(|field| field.strip_prefix("user=")).unwrap_or_default();
                return Ok(Said::Definitive(format!("OK {user}")));
            }
            "FAIL" if fields.any(|field| field == "temp") => return Ok(Said::Temporary(line.clone())),
            "FAIL" => return Ok(Said::Definitive("FAIL".to_owned())),
            _ => return Ok(Said::Definitive(line.clone())),
        }
    }
}
