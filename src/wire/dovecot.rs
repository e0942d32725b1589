//! The Dovecot authentication protocol, server side, as Postfix, Exim and Dovecot's own clients
//! speak it (Dovecot's auth protocol 1.2; Postfix' xsasl_dovecot_server.c).
//!
//! Lines end in LF, fields are separated by TAB. The server speaks first and completely: Exim
//! before 4.99 says nothing until it has read DONE, and an smtpd whose handshake fails exits.
//! MECH stands before SPID, which Postfix insists on. A line has at most 16 KiB. Dovecot's
//! clients escape control characters in values (0x01 and a letter), Postfix and Exim do not.

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Decoded, Error};
use crate::model::{Mechanism, Peer};

/// The longest line, without its LF: a SASL response of 12288 bytes and the other fields.
pub(crate) const MAX_LINE: usize = 16 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClientLine {
    /// The minor version: 0 for Postfix and Exim, 1 and more for Dovecot's own. The major version is 1.
    Version(u32),
    Cpid,
    Auth(Box<Auth>),
    /// The id of the dialogue, and the response; `None` if it is not base64.
    Cont(u32, Option<Vec<u8>>),
    /// The id of the dialogue.
    Cancel(u32),
    /// A command of a later version.
    Unknown,
}

/// The beginning of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Auth {
    /// Chosen by the client; not zero.
    pub(crate) id: u32,
    /// In capitals; what the SMTP client typed, so it may be anything.
    pub(crate) mechanism: String,
    pub(crate) initial: Initial,
    pub(crate) peer: Peer,
}

/// An initial response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Initial {
    /// There is none: the server sends the first challenge.
    Absent,
    /// Present; it may be empty.
    Data(Vec<u8>),
    /// Present, but not base64.
    Invalid,
}

/// Decodes one line of a client that announced `minor`. A command without a valid id is a framing error,
/// because it cannot be answered.
pub(crate) fn decode(bytes: &[u8], minor: u32) -> Decoded<ClientLine> {
    let end = memchr::memchr(b'\n', bytes);
    if end.unwrap_or(bytes.len()) > MAX_LINE {
        return Err(Error::Framing("line longer than the limit"));
    }
    let Some(end) = end else { return Ok(None) };
    let mut fields = bytes[..end].split(|&byte| byte == b'\t');
    let line = match fields.next().unwrap_or_default() {
        b"VERSION" => match (number(fields.next()), number(fields.next())) {
            (Some(1), Some(minor)) => ClientLine::Version(minor),
            _ => return Err(Error::Framing("not version 1 of the protocol")),
        },
        b"CPID" => match number(fields.next()) {
            Some(1..) => ClientLine::Cpid,
            _ => return Err(Error::Framing("CPID without a number")),
        },
        b"AUTH" => ClientLine::Auth(Box::new(auth(fields, minor)?)),
        b"CONT" => {
            let id = id(fields.next())?;
            let Some(data) = fields.next() else { return Err(Error::Framing("CONT without data")) };
            ClientLine::Cont(id, STANDARD.decode(data).ok())
        }
        b"CANCEL" => ClientLine::Cancel(id(fields.next())?),
        _ => ClientLine::Unknown,
    };
    Ok(Some((line, end + 1)))
}

fn number(field: Option<&[u8]>) -> Option<u32> {
    let text = std::str::from_utf8(field?).ok()?;
    // `parse` allows a sign, the protocol does not.
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn id(field: Option<&[u8]>) -> Result<u32, Error> {
    number(field).filter(|&id| id > 0).ok_or(Error::Framing("a request without an id"))
}

fn auth<'a>(mut fields: impl Iterator<Item = &'a [u8]>, minor: u32) -> Result<Auth, Error> {
    let id = id(fields.next())?;
    let Some(mechanism) = fields.next().map(text) else {
        return Err(Error::Framing("AUTH without a mechanism"));
    };
    let mechanism = mechanism.to_ascii_uppercase();
    let mut auth = Auth { id, mechanism, initial: Initial::Absent, peer: Peer::default() };
    while let Some(field) = fields.next() {
        let (name, value) = match memchr::memchr(b'=', field) {
            Some(at) => (&field[..at], &field[at + 1..]),
            None => (field, &field[field.len()..]),
        };
        if name == b"resp" {
            // Further fields could be a part of the SMTP client's response.
            if fields.next().is_some() {
                return Err(Error::Framing("resp is not the last parameter"));
            }
            auth.initial = initial(value, minor);
            break;
        }
        tell(&mut auth.peer, name, value);
    }
    auth.peer.bound();
    Ok(auth)
}

/// An empty value of Postfix and Exim means that there is no response; `=` is an empty response (RFC 4954 4).
fn initial(value: &[u8], minor: u32) -> Initial {
    match value {
        b"" if minor < 2 => Initial::Absent,
        b"" | b"=" => Initial::Data(Vec::new()),
        _ => STANDARD.decode(value).map_or(Initial::Invalid, Initial::Data),
    }
}

/// Stores a parameter, if it is one of [`Peer`]: by the name that it has in Dovecot's protocol, or by that of
/// Nauthilus' field. Of duplicates the last one counts.
fn tell(peer: &mut Peer, name: &[u8], value: &[u8]) {
    let place = match name {
        b"service" | b"protocol" => &mut peer.service,
        b"rip" | b"client_ip" => &mut peer.client_ip,
        b"rport" | b"client_port" => &mut peer.client_port,
        b"lip" | b"local_ip" => &mut peer.local_ip,
        b"lport" | b"local_port" => &mut peer.local_port,
        b"local_name" => &mut peer.local_name,
        b"client_id" => &mut peer.client_id,
        b"ssl_protocol" => &mut peer.ssl_protocol,
        b"ssl" if is_tls_version(value) => &mut peer.ssl_protocol,
        b"ssl_cipher" => &mut peer.ssl_cipher,
        b"secured" => {
            peer.secured = true;
            return;
        }
        _ => {
            let name = if name == b"session" { b"external_session_id".as_slice() } else { name };
            let Some(place) = peer.detail_mut(name) else { return };
            place
        }
    };
    *place = unescape(value);
}

/// Bytes that are not UTF-8 become U+FFFD.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn is_tls_version(value: &[u8]) -> bool {
    value.get(..3).is_some_and(|begin| [b"TLS", b"SSL"].iter().any(|name| begin.eq_ignore_ascii_case(*name)))
}

/// Unescapes a value of Dovecot's clients. Bytes that are not UTF-8 become U+FFFD.
fn unescape(value: &[u8]) -> String {
    if memchr::memchr(1, value).is_none() {
        return text(value);
    }
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        match (byte, if byte == 1 { bytes.next() } else { None }) {
            (1, Some(b'0')) => plain.push(0),
            (1, Some(b'1')) => plain.push(1),
            (1, Some(b't')) => plain.push(b'\t'),
            (1, Some(b'r')) => plain.push(b'\r'),
            (1, Some(b'n')) => plain.push(b'\n'),
            (1, Some(&other)) => plain.push(other),
            (byte, _) => plain.push(byte),
        }
    }
    text(&plain)
}

/// Appends the whole handshake. `connection` is unique within the process. The cookie need not be secret.
pub(crate) fn handshake(mechanisms: &[Mechanism], connection: u32, out: &mut Vec<u8>) {
    let half = || u128::from(RandomState::new().hash_one(()));
    handshake_of(mechanisms, std::process::id(), connection, (half() << 64) | half(), out);
}

/// All mechanisms are marked `plaintext`, as in Dovecot, because their credentials can be used again:
/// `smtpd_sasl_security_options = noplaintext` relies on it. Dovecot's clients require a cookie.
fn handshake_of(mechanisms: &[Mechanism], pid: u32, connection: u32, cookie: u128, out: &mut Vec<u8>) {
    let mut text = String::from("VERSION\t1\t2\n");
    // Writing to a String does not fail.
    for mechanism in mechanisms {
        let _ = writeln!(text, "MECH\t{}\tplaintext", mechanism.name());
    }
    let _ = write!(text, "SPID\t{pid}\nCUID\t{connection}\nCOOKIE\t{cookie:032x}\nDONE\n");
    out.extend_from_slice(text.as_bytes());
}

/// Appends a challenge. The TAB is sent even if the challenge is empty: Postfix reads the field after it.
pub(crate) fn challenge(id: u32, challenge: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("CONT\t{id}\t{}\n", STANDARD.encode(challenge)).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(line: &str, minor: u32) -> ClientLine {
        let (decoded, consumed) = decode(line.as_bytes(), minor).expect("legal").expect("complete");
        assert_eq!(consumed, line.len());
        decoded
    }

    fn auth(line: &str, minor: u32) -> Auth {
        match one(line, minor) {
            ClientLine::Auth(auth) => *auth,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn auth_of_postfix() {
        let line = "AUTH\t7\tplain\tservice=smtp\tnologin\tlip=127.0.0.1\trip=192.0.2.7\tsecured\tresp=AHVAZXhhbXBsZS5jb20Ac2VjcmV0\n";
        let auth = auth(line, 0);
        assert_eq!((auth.id, auth.mechanism.as_str()), (7, "PLAIN"));
        assert_eq!(auth.initial, Initial::Data(b"\0u@example.com\0secret".to_vec()));
        let peer = Peer {
            service: "smtp".into(),
            client_ip: "192.0.2.7".into(),
            local_ip: "127.0.0.1".into(),
            secured: true,
            ..Peer::default()
        };
        assert_eq!(auth.peer, peer);
    }

    #[test]
    fn initial_responses_in_all_forms() {
        for (resp, minor, initial) in [
            ("", 0, Initial::Absent),
            ("\tresp=", 0, Initial::Absent),
            ("\tresp=", 1, Initial::Absent),
            ("\tresp=", 2, Initial::Data(Vec::new())),
            ("\tresp==", 0, Initial::Data(Vec::new())),
            ("\tresp=YQ==", 0, Initial::Data(b"a".to_vec())),
            ("\tresp=YQ", 0, Initial::Invalid),
            ("\tresp=YR==", 0, Initial::Invalid),
            ("\tresp=Y Q=", 0, Initial::Invalid),
        ] {
            assert_eq!(
                auth(&format!("AUTH\t1\tPLAIN\tservice=smtp{resp}\n"), minor).initial,
                initial,
                "{resp:?}"
            );
        }
        assert!(decode(b"AUTH\t1\tPLAIN\tresp=YQ==\tnologin\n", 0).is_err(), "nothing stands behind resp");
    }

    #[test]
    fn parameters_that_postfix_does_not_send() {
        let peer = |fields: &str| auth(&format!("AUTH\t1\tPLAIN\t{fields}\n"), 1).peer;
        for name in crate::model::DETAILS {
            let peer = peer(&format!("{name}=old\t{name}=a\u{1}tb"));
            assert_eq!((peer.details.len(), peer.detail(name)), (1, "a\tb"), "{name}");
        }
        assert_eq!(peer("session=abc").detail("external_session_id"), "abc");
        for (value, protocol, ssl) in [
            ("TLSv1.3", "TLSv1.3", ""),
            ("sslv3", "sslv3", ""),
            ("on", "", "on"),
            ("TL", "", "TL"),
            ("", "", ""),
        ] {
            let peer = peer(&format!("ssl={value}"));
            assert_eq!((peer.ssl_protocol.as_str(), peer.detail("ssl")), (protocol, ssl), "{value}");
        }
        let all =
            peer("client_ip=a\tclient_port=b\tlocal_ip=c\tlocal_port=d\tmethod=x\tusername=y\tpassword=z");
        let named = peer("local_name=e\tssl_protocol=f\tssl_cipher=g\tclient_id=h\tservice=i");
        let got = [named.local_name, named.ssl_protocol, named.ssl_cipher, named.client_id, named.service];
        assert_eq!(got, ["e", "f", "g", "h", "i"].map(str::to_owned));
        let due = ["a", "b", "c", "d"].map(str::to_owned);
        assert_eq!([all.client_ip, all.client_port, all.local_ip, all.local_port], due);
        // What Dovecot's clients send besides, and the fields that are not theirs to fill.
        let none = "no-penalty\tvalid-client-cert\tcert_username=x\tforward_fields=x\tssl_cipher_bits=1\tssl_pfs=x\t\
                    real_rip=x\tmethod=x\tusername=y\tpassword=z";
        assert_eq!(peer(none), Peer::default());
    }

    #[test]
    fn other_lines() {
        assert_eq!(one("VERSION\t1\t0\n", 0), ClientLine::Version(0));
        assert_eq!(one("CPID\t42\n", 0), ClientLine::Cpid);
        assert_eq!(one("CONT\t1\t\n", 0), ClientLine::Cont(1, Some(Vec::new())));
        assert_eq!(one("CONT\t1\tYQ==\n", 0), ClientLine::Cont(1, Some(b"a".to_vec())));
        assert_eq!(one("CONT\t1\t!\n", 0), ClientLine::Cont(1, None));
        assert_eq!(one("CANCEL\t4294967295\n", 0), ClientLine::Cancel(u32::MAX));
        assert_eq!(one("FUTURE\tx\n", 0), ClientLine::Unknown);
        assert_eq!(
            auth("AUTH\t1\tPLAIN\tsession=a\u{1}tb\tclient_id=a\u{1}tb\u{1}1\n", 1).peer.client_id,
            "a\tb\u{1}"
        );
        for bad in [
            "VERSION\t2\t0\n",
            "VERSION\t1\n",
            "CPID\t0\n",
            "CPID\tx\n",
            "AUTH\t0\tPLAIN\n",
            "AUTH\tx\tPLAIN\n",
            "AUTH\t1\n",
            "AUTH\t+1\tPLAIN\n",
            "CONT\t1\n",
            "CANCEL\n",
            "AUTH\t4294967296\tPLAIN\n",
        ] {
            assert!(matches!(decode(bad.as_bytes(), 0), Err(Error::Framing(_))), "{bad:?}");
        }
        assert_eq!(decode(&vec![b'x'; MAX_LINE], 0), Ok(None));
        assert!(decode(&vec![b'x'; MAX_LINE + 1], 0).is_err());
    }

    #[test]
    fn the_handshake_to_the_byte() {
        let mut out = Vec::new();
        handshake_of(&[Mechanism::Plain, Mechanism::Login], 12, 3, 0xab, &mut out);
        let due = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t12\nCUID\t3\n\
                   COOKIE\t000000000000000000000000000000ab\nDONE\n";
        assert_eq!(String::from_utf8(out).expect("UTF-8"), due);
        let mut out = Vec::new();
        challenge(1, b"", &mut out);
        challenge(1, b"Username:", &mut out);
        assert_eq!(out, b"CONT\t1\t\nCONT\t1\tVXNlcm5hbWU6\n");
    }

    #[test]
    fn each_connection_has_a_cookie_of_128_bits() {
        let cookie = || {
            let mut out = Vec::new();
            handshake(&[Mechanism::Plain], 1, &mut out);
            let text = String::from_utf8(out).expect("UTF-8");
            let (_, behind) = text.split_once("COOKIE\t").expect("a cookie");
            behind.split_once('\n').expect("a line").0.to_owned()
        };
        let (one, other) = (cookie(), cookie());
        assert_eq!((one.len(), other.len()), (32, 32));
        assert!(one[..16] != other[..16] && one[16..] != other[16..], "{one} {other}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(bytes: Vec<u8>, minor in 0u32..4) {
            let _ = decode(&bytes, minor);
        }

        #[test]
        fn any_parameters_are_judged_without_panic(fields in "AUTH\t1\t[^\n]{0,80}\n") {
            let _ = decode(fields.as_bytes(), 0);
        }
    }
}
