//! The logins of one connection of Dovecot's authentication protocol: lines in, lines out, and a
//! complete [`Login`] at the end of each dialogue; no I/O.
//!
//! A connection of a listener has many concurrent logins, each with an id that the client chose, and answers
//! them in any order; a spawned client has one. Postfix has no CANCEL for a dialogue that its SMTP client
//! left. So a new dialogue replaces the oldest one if too many wait for their client, and none is continued
//! after 150 s (Dovecot's limit).
//!
//! The reply to a denied token is an error challenge (RFC 7628 3.2.2, XOAUTH2), then FAIL after any
//! response. A failure has no error challenge: the client would throw a good token away.

use std::time::{Duration, Instant};

use super::Error;
use super::dovecot::{self, Auth, ClientLine, Initial};
use super::reply::{self, Next};
use super::sasl::{self, Dialogue, DialogueStep, SaslRefusal};
use crate::model::{Answer, Login, Mechanism, Peer};

/// Dialogues that wait for their client.
pub(crate) const MAX_WAITING: usize = 16;
/// How long a dialogue may wait for its client.
const PATIENCE: Duration = Duration::from_secs(150);
/// The longest name of a mechanism (RFC 4422 3.1).
const LONGEST_MECHANISM: usize = 20;
const TIMED_OUT: &str = "Authentication request timed out";

/// What the caller does next. Replies are in `out` already.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LoginStep {
    /// More bytes are needed.
    Read,
    /// This login is complete. Its answer goes to [`LoginConnection::answer`], with the same id.
    Ask { id: u32, login: Box<Login> },
    /// The client gave up the login of this id: no answer is needed.
    Forget(u32),
    /// A login was refused without asking. To be logged.
    Refused(Box<Refused>),
    /// The client broke the protocol: close the connection.
    Close(&'static str),
}

/// A login that was refused without asking, for the log. The names are cut, and may hold any characters: the
/// writer escapes them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) mechanism: String,
    pub(crate) reason: &'static str,
    /// Empty if it is not known.
    pub(crate) user: String,
    /// The address of the SMTP client, as Postfix sent it.
    pub(crate) remote: String,
}

impl Refused {
    /// A hint: Postfix before 3.12 cuts a longer command silently.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        sasl::may_be_cut(self.reason)
            .then_some("a long token or password needs line_length_limit = 12288 in main.cf")
    }
}

#[derive(Debug)]
pub(crate) struct LoginConnection {
    /// The entry of `dovecot_sasl`.
    name: String,
    offered: Vec<Mechanism>,
    /// The client's minor version: 0 for Postfix and Exim.
    minor: u32,
    /// In the order in which they began to wait.
    open: Vec<OpenLogin>,
}

#[derive(Debug)]
struct OpenLogin {
    id: u32,
    mechanism: Mechanism,
    since: Instant,
    state: LoginState,
}

#[derive(Debug)]
enum LoginState {
    /// The client has a challenge to answer.
    Dialogue(Box<(Dialogue, Peer)>),
    /// The broker has been asked.
    Pending,
    /// The error challenge is sent; FAIL comes next.
    Denied(Answer),
}

impl LoginConnection {
    /// A connection whose greeting offers `offered`, for the entry `name`.
    pub(crate) fn new(name: &str, offered: Vec<Mechanism>) -> Self {
        Self { name: name.to_owned(), offered, minor: 0, open: Vec::new() }
    }

    /// Handles lines of `received` until the caller has something to do. Appends replies to `out`.
    pub(crate) fn next(&mut self, received: &mut Vec<u8>, now: Instant, out: &mut Vec<u8>) -> LoginStep {
        loop {
            let (line, consumed) = match dovecot::decode(received, self.minor) {
                Ok(Some(decoded)) => decoded,
                Ok(None) => return LoginStep::Read,
                Err(Error::Framing(reason) | Error::Malformed { reason, .. }) => {
                    return LoginStep::Close(reason);
                }
            };
            received.drain(..consumed);
            let step = match line {
                ClientLine::Version(minor) => {
                    self.minor = minor;
                    None
                }
                ClientLine::Cpid | ClientLine::Unknown => None,
                ClientLine::Auth(auth) => self.begin(*auth, now, out),
                ClientLine::Cont(id, data) => self.go_on(id, data.as_deref(), now, out),
                ClientLine::Cancel(id) => self.take(id).and_then(|open| open.forgotten()),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// Appends the reply to a login, if it is still known. With `is_last` no more is read, so a denied token
    /// gets no error challenge.
    pub(crate) fn answer(
        &mut self,
        id: u32,
        answer: &Answer,
        is_last: bool,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Next {
        let Some(open) = self.take(id) else { return Next::Stay };
        if matches!(answer, Answer::Denied { .. }) && open.mechanism.is_oauth() && !is_last {
            let open = OpenLogin { since: now, state: LoginState::Denied(answer.clone()), ..open };
            self.challenge(refusal(open.mechanism), open, out);
            return Next::Stay;
        }
        reply::login(id, self.minor, answer, out)
    }

    fn take(&mut self, id: u32) -> Option<OpenLogin> {
        let place = self.open.iter().position(|open| open.id == id)?;
        Some(self.open.remove(place))
    }

    /// Appends a challenge, and keeps the dialogue until its client answers.
    fn challenge(&mut self, challenge: &[u8], dialogue: OpenLogin, out: &mut Vec<u8>) {
        dovecot::challenge(dialogue.id, challenge, out);
        let is_waiting = |open: &&OpenLogin| !matches!(open.state, LoginState::Pending);
        if self.open.iter().filter(is_waiting).count() >= MAX_WAITING
            && let Some(oldest) = self.open.iter().position(|open| is_waiting(&open))
        {
            self.open.remove(oldest);
        }
        self.open.push(dialogue);
    }

    fn begin(&mut self, auth: Auth, now: Instant, out: &mut Vec<u8>) -> Option<LoginStep> {
        let Auth { id, mechanism, initial, peer } = auth;
        if let Some(open) = self.take(id) {
            // The client could not tell which of the two is answered.
            let refusal = SaslRefusal::new("this id is in use", b"");
            let step = refused(id, &mechanism, refusal, peer, out);
            return open.forgotten().or(Some(step));
        }
        let Some(mechanism) = Mechanism::of(&mechanism).filter(|known| self.offered.contains(known)) else {
            let refusal = SaslRefusal::new("unsupported mechanism", b"");
            return Some(refused(id, &mechanism, refusal, peer, out));
        };
        let dialogue = Dialogue::new(mechanism);
        let prompt = dialogue.prompt();
        let state = LoginState::Dialogue(Box::new((dialogue, peer)));
        let open = OpenLogin { id, mechanism, since: now, state };
        match initial {
            Initial::Absent => {
                self.challenge(prompt, open, out);
                None
            }
            Initial::Data(data) => self.respond(open, Some(&data), now, out),
            Initial::Invalid => self.respond(open, None, now, out),
        }
    }

    fn go_on(&mut self, id: u32, data: Option<&[u8]>, now: Instant, out: &mut Vec<u8>) -> Option<LoginStep> {
        match self.take(id) {
            Some(open) => self.respond(open, data, now, out),
            // It was replaced, or never existed. Dovecot uses this text in both cases.
            None => Some(refused(id, "", SaslRefusal::new(TIMED_OUT, b""), Peer::default(), out)),
        }
    }

    /// Handles a response; `None` if it is not base64.
    fn respond(
        &mut self,
        open: OpenLogin,
        data: Option<&[u8]>,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<LoginStep> {
        let OpenLogin { id, mechanism, since, state } = open;
        let is_late = now.duration_since(since) >= PATIENCE;
        let mut talk = match state {
            LoginState::Dialogue(talk) => talk,
            LoginState::Denied(_) if is_late => {
                fail(id, TIMED_OUT, out);
                return None;
            }
            LoginState::Denied(answer) => {
                reply::login(id, self.minor, &answer, out);
                return None;
            }
            LoginState::Pending => {
                fail(id, "unexpected response", out);
                return Some(LoginStep::Forget(id));
            }
        };
        let dialogue = &mut talk.0;
        let step = match data {
            _ if is_late => DialogueStep::Fail(dialogue.refused(TIMED_OUT)),
            Some(data) => dialogue.respond(data),
            None => DialogueStep::Fail(dialogue.refused(sasl::NOT_BASE64)),
        };
        match step {
            DialogueStep::Challenge(challenge) => {
                let state = LoginState::Dialogue(talk);
                self.challenge(challenge, OpenLogin { id, mechanism, since: now, state }, out);
                None
            }
            DialogueStep::Complete(credentials) => {
                self.open.push(OpenLogin { id, mechanism, since: now, state: LoginState::Pending });
                let login = Login { name: self.name.clone(), mechanism, credentials, peer: talk.1 };
                Some(LoginStep::Ask { id, login: Box::new(login) })
            }
            DialogueStep::Fail(refusal) => Some(refused(id, mechanism.name(), refusal, talk.1, out)),
        }
    }
}

impl OpenLogin {
    /// The step after its end: a pending login is forgotten.
    fn forgotten(self) -> Option<LoginStep> {
        matches!(self.state, LoginState::Pending).then_some(LoginStep::Forget(self.id))
    }
}

/// Appends FAIL without asking. The step is for the log.
fn refused(id: u32, mechanism: &str, refusal: SaslRefusal, peer: Peer, out: &mut Vec<u8>) -> LoginStep {
    let SaslRefusal { reason, user } = refusal;
    fail(id, reason, out);
    let mechanism = mechanism.chars().take(LONGEST_MECHANISM).collect();
    LoginStep::Refused(Box::new(Refused { mechanism, reason, user, remote: peer.client_ip }))
}

/// Appends FAIL without asking. The name is left out, because it may be illegal.
fn fail(id: u32, reason: &str, out: &mut Vec<u8>) {
    let denied = Answer::Denied { reason: reason.to_owned(), user: String::new() };
    reply::login(id, 0, &denied, out);
}

/// The error challenge of a token mechanism (RFC 7628 3.2.2; Google's XOAUTH2).
fn refusal(mechanism: Mechanism) -> &'static [u8] {
    match mechanism {
        Mechanism::Xoauth2 => br#"{"status":"401","schemes":"bearer"}"#,
        _ => br#"{"status":"invalid_token"}"#,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;
    use crate::model::{Credentials, Failure, OnFailure};
    use proptest::prelude::*;

    const AUTH: &str = "service=smtp\tnologin\tlip=127.0.0.1\trip=192.0.2.7";
    /// u@example.com, secret
    const PLAIN: &str = "AHVAZXhhbXBsZS5jb20Ac2VjcmV0";
    /// u@example.com, tok.en
    const BEARER: &str = "biwsAWF1dGg9QmVhcmVyIHRvay5lbgEB";

    fn logins() -> LoginConnection {
        LoginConnection::new("smtp", Mechanism::ALL.to_vec())
    }

    /// Feeds a line; what was said, and the step.
    fn feed(logins: &mut LoginConnection, line: &str) -> (String, LoginStep) {
        feed_at(logins, line, Instant::now())
    }

    fn feed_at(logins: &mut LoginConnection, line: &str, now: Instant) -> (String, LoginStep) {
        let (mut received, mut out) = (line.as_bytes().to_vec(), Vec::new());
        let step = logins.next(&mut received, now, &mut out);
        (String::from_utf8(out).expect("UTF-8"), step)
    }

    fn say(logins: &mut LoginConnection, id: u32, answer: &Answer) -> (String, Next) {
        let mut out = Vec::new();
        let next = logins.answer(id, answer, false, Instant::now(), &mut out);
        (String::from_utf8(out).expect("UTF-8"), next)
    }

    fn denied() -> Answer {
        Answer::Denied { reason: "authentication failed".into(), user: "u@example.com".into() }
    }

    #[test]
    fn plain_in_one_line() {
        let mut logins = logins();
        let (said, step) = feed(&mut logins, &format!("AUTH\t7\tplain\t{AUTH}\tsecured\tresp={PLAIN}\n"));
        assert_eq!(said, "");
        let LoginStep::Ask { id: 7, login } = step else { panic!("{step:?}") };
        let password = Secret::new("secret".into());
        assert_eq!(login.credentials, Credentials::Password { user: "u@example.com".into(), password });
        assert_eq!((login.name.as_str(), login.mechanism), ("smtp", Mechanism::Plain));
        let accepted = Answer::Accepted { user: "u@example.com".into() };
        assert_eq!(say(&mut logins, 7, &accepted), ("OK\t7\tuser=u@example.com\n".into(), Next::Stay));
        assert_eq!(say(&mut logins, 7, &accepted), (String::new(), Next::Stay), "one answer");
    }

    #[test]
    fn login_in_three() {
        let mut logins = logins();
        assert_eq!(
            feed(&mut logins, &format!("AUTH\t1\tLOGIN\t{AUTH}\tresp=\n")).0,
            "CONT\t1\tVXNlcm5hbWU6\n"
        );
        assert_eq!(feed(&mut logins, "CONT\t1\tdUBleGFtcGxlLmNvbQ==\n").0, "CONT\t1\tUGFzc3dvcmQ6\n");
        let (_, step) = feed(&mut logins, "CONT\t1\tc2VjcmV0\n");
        assert!(matches!(step, LoginStep::Ask { id: 1, .. }), "{step:?}");
        assert_eq!(
            say(&mut logins, 1, &denied()).0,
            "FAIL\t1\treason=authentication failed\tuser=u@example.com\n"
        );
    }

    #[test]
    fn a_refused_token_is_explained_first() {
        for (mechanism, challenge, note) in [
            ("OAUTHBEARER", "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=", "AQ=="),
            ("XOAUTH2", "eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIn0=", ""),
        ] {
            let mut logins = logins();
            let resp = if mechanism == "XOAUTH2" {
                "dXNlcj11QGV4YW1wbGUuY29tAWF1dGg9QmVhcmVyIHRvay5lbgEB"
            } else {
                BEARER
            };
            let (_, step) = feed(&mut logins, &format!("AUTH\t3\t{mechanism}\t{AUTH}\tresp={resp}\n"));
            assert!(matches!(step, LoginStep::Ask { id: 3, .. }), "{step:?}");
            let (said, next) = say(&mut logins, 3, &denied());
            assert_eq!((said, next), (format!("CONT\t3\t{challenge}\n"), Next::Stay));
            let (said, step) = feed(&mut logins, &format!("CONT\t3\t{note}\n"));
            assert_eq!(said, "FAIL\t3\treason=authentication failed\tuser=u@example.com\n");
            assert_eq!(step, LoginStep::Read);
        }
        // Nor is it where the client would not be heard any more.
        let mut last = logins();
        feed(&mut last, &format!("AUTH\t3\tOAUTHBEARER\t{AUTH}\tresp={BEARER}\n"));
        let mut out = Vec::new();
        last.answer(3, &denied(), true, Instant::now(), &mut out);
        assert!(out.starts_with(b"FAIL\t3\t"), "{out:?}");
        // A failure is not explained: the token may be good.
        let mut logins = logins();
        feed(&mut logins, &format!("AUTH\t3\tOAUTHBEARER\t{AUTH}\tresp={BEARER}\n"));
        let failed = Answer::Failed { failure: Failure::Provider, on_failure: Some(OnFailure::Auto) };
        assert_eq!(say(&mut logins, 3, &failed), (String::new(), Next::Close));
    }

    #[test]
    fn a_failure_closes_for_postfix_and_is_temporary_for_others() {
        let failed = |on_failure| Answer::Failed { failure: Failure::Connect, on_failure };
        let temporary = "FAIL\t1\treason=Temporary server problem\tcode=temp_fail\ttemp\n";
        for (minor, on_failure, says) in [
            (0, Some(OnFailure::Auto), ""),
            (0, None, ""),
            (1, Some(OnFailure::Auto), temporary),
            (2, Some(OnFailure::Disconnect), ""),
            (0, Some(OnFailure::Fail), temporary),
        ] {
            let mut logins = logins();
            let greeting = format!("VERSION\t1\t{minor}\nCPID\t1\n");
            assert_eq!(feed(&mut logins, &format!("{greeting}AUTH\t1\tPLAIN\t{AUTH}\tresp={PLAIN}\n")).0, "");
            let next = if says.is_empty() { Next::Close } else { Next::Stay };
            assert_eq!(
                say(&mut logins, 1, &failed(on_failure.clone())),
                (says.into(), next),
                "{minor} {on_failure:?}"
            );
        }
    }

    #[test]
    fn ids_that_are_used_twice_cost_both() {
        let mut logins = logins();
        let auth = format!("AUTH\t5\tPLAIN\t{AUTH}\tresp={PLAIN}\n");
        assert!(matches!(feed(&mut logins, &auth).1, LoginStep::Ask { .. }));
        assert_eq!(
            feed(&mut logins, &auth),
            ("FAIL\t5\treason=this id is in use\n".into(), LoginStep::Forget(5))
        );
        assert_eq!(say(&mut logins, 5, &denied()).0, "", "and no second answer");
        assert!(matches!(feed(&mut logins, &auth).1, LoginStep::Ask { .. }), "then it is free");
        assert_eq!(
            feed(&mut logins, "CONT\t5\tAA==\n"),
            ("FAIL\t5\treason=unexpected response\n".into(), LoginStep::Forget(5))
        );
    }

    #[test]
    fn what_is_wrong_fails_with_its_id() {
        let mut logins = LoginConnection::new("smtp", vec![Mechanism::Plain]);
        for (line, says) in [
            ("AUTH\t2\tCRAM-MD5\tservice=smtp\n", "FAIL\t2\treason=unsupported mechanism\n"),
            ("AUTH\t2\tXOAUTH2\tservice=smtp\n", "FAIL\t2\treason=unsupported mechanism\n"),
            ("AUTH\t2\tPLAIN\tservice=smtp\tresp=YQ\n", "FAIL\t2\treason=invalid base64 data\n"),
            ("AUTH\t2\tPLAIN\tservice=smtp\tresp==\n", "FAIL\t2\treason=invalid PLAIN data format\n"),
            ("CONT\t9\tYQ==\n", "FAIL\t9\treason=Authentication request timed out\n"),
        ] {
            assert_eq!(feed(&mut logins, line).0, says, "{line:?}");
        }
        assert!(matches!(feed(&mut logins, "AUTH\t0\tPLAIN\n").1, LoginStep::Close(_)));
    }

    #[test]
    fn a_refusal_is_told_with_its_user_and_address() {
        let mut logins = logins();
        let refused = |mechanism: &str, reason, user: &str| {
            let [mechanism, user, remote] = [mechanism, user, "192.0.2.7"].map(str::to_owned);
            LoginStep::Refused(Box::new(Refused { mechanism, reason, user, remote }))
        };
        // u, and no password
        let (_, step) = feed(&mut logins, &format!("AUTH\t1\tplain\t{AUTH}\tresp=AHUA\n"));
        assert_eq!(step, refused("PLAIN", "empty password", "u"));
        feed(&mut logins, &format!("AUTH\t1\tLOGIN\t{AUTH}\tresp=dQ==\n"));
        let (_, step) = feed(&mut logins, "CONT\t1\tc2VjcmV\n");
        assert_eq!(step, refused("LOGIN", "invalid base64 data", "u"));
        let LoginStep::Refused(cut) = step else { panic!("{step:?}") };
        assert!(cut.hint().is_some_and(|hint| hint.contains("line_length_limit")));
        let (_, step) = feed(&mut logins, &format!("AUTH\t1\tcram-md5{}\t{AUTH}\n", "x".repeat(5000)));
        assert_eq!(step, refused("CRAM-MD5XXXXXXXXXXXX", "unsupported mechanism", ""));
    }

    #[test]
    fn cancel_says_nothing() {
        let mut logins = logins();
        feed(&mut logins, &format!("AUTH\t1\tPLAIN\t{AUTH}\tresp={PLAIN}\n"));
        assert_eq!(feed(&mut logins, "CANCEL\t1\n"), (String::new(), LoginStep::Forget(1)));
        feed(&mut logins, &format!("AUTH\t2\tPLAIN\t{AUTH}\n"));
        assert_eq!(feed(&mut logins, "CANCEL\t2\nCANCEL\t3\n"), (String::new(), LoginStep::Read));
    }

    #[test]
    fn dialogues_that_nobody_goes_on_with_make_room() {
        let mut logins = logins();
        let asked = format!("AUTH\t1000\tPLAIN\t{AUTH}\tresp={PLAIN}\n");
        assert!(matches!(feed(&mut logins, &asked).1, LoginStep::Ask { .. }));
        for id in 1..100_u32 {
            assert_eq!(
                feed(&mut logins, &format!("AUTH\t{id}\tPLAIN\t{AUTH}\n")).0,
                format!("CONT\t{id}\t\n")
            );
        }
        assert_eq!(logins.open.len(), MAX_WAITING + 1);
        let late = feed(&mut logins, &format!("CONT\t1\t{PLAIN}\n"));
        assert_eq!(late.0, "FAIL\t1\treason=Authentication request timed out\n");
        assert!(matches!(
            feed(&mut logins, &format!("CONT\t99\t{PLAIN}\n")).1,
            LoginStep::Ask { id: 99, .. }
        ));
        assert!(say(&mut logins, 1000, &denied()).0.starts_with("FAIL\t1000\t"), "it was not displaced");

        let begun = Instant::now();
        feed_at(&mut logins, &format!("AUTH\t7\tPLAIN\t{AUTH}\n"), begun);
        let late = feed_at(&mut logins, &format!("CONT\t7\t{PLAIN}\n"), begun + PATIENCE);
        assert_eq!(late.0, "FAIL\t7\treason=Authentication request timed out\n");
        assert!(matches!(late.1, LoginStep::Refused(refused) if refused.remote == "192.0.2.7"));
        // A token that was refused: the client still owes its answer to the error (RFC 7628 3.2.3).
        for (later, due) in [(Duration::ZERO, "authentication failed"), (PATIENCE, TIMED_OUT)] {
            feed(&mut logins, &format!("AUTH\t8\tOAUTHBEARER\t{AUTH}\tresp={BEARER}\n"));
            assert!(say(&mut logins, 8, &denied()).0.starts_with("CONT\t8\t"));
            let said = feed_at(&mut logins, "CONT\t8\tAQ==\n", Instant::now() + later).0;
            assert!(said.contains(due), "{said}");
        }
        // Its time begins with the error.
        feed_at(&mut logins, &format!("AUTH\t9\tOAUTHBEARER\t{AUTH}\tresp={BEARER}\n"), begun);
        logins.answer(9, &denied(), false, begun + PATIENCE, &mut Vec::new());
        let said = feed_at(&mut logins, "CONT\t9\tAQ==\n", begun + PATIENCE + Duration::from_secs(1)).0;
        assert!(said.contains("authentication failed"), "{said}");
    }

    proptest! {
        #[test]
        fn each_request_brings_one_line_at_most(lines in proptest::collection::vec(
            "(AUTH\t[1-3]\t(PLAIN|LOGIN|XOAUTH2|OAUTHBEARER)(\tresp=[A-Za-z0-9+/=]{0,12})?|CONT\t[1-3]\t[A-Za-z0-9=]{0,8}|CANCEL\t[1-3])", 0..40)
        ) {
            let mut logins = logins();
            for line in lines {
                let (mut received, mut out) = (format!("{line}\n").into_bytes(), Vec::new());
                let step = logins.next(&mut received, Instant::now(), &mut out);
                prop_assert!(received.is_empty());
                let said = String::from_utf8(out).expect("UTF-8");
                prop_assert!(said.matches('\n').count() <= 1 && (said.is_empty() || said.ends_with('\n')));
                if let LoginStep::Ask { id, .. } = step {
                    let (said, _) = say(&mut logins, id, &denied());
                    prop_assert_eq!(said.matches('\n').count(), 1);
                }
                prop_assert!(logins.open.len() <= 3);
            }
        }
    }
}
