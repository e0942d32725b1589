//! The command line of `pfxhttp-client`, parsed by hand: the program starts once per connection
//! of Postfix, and a library would be most of its code.
//!
//! Options stand before the command, as `--name value` or `--name=value`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::{Mechanism, OnFailure};
use crate::wire::ipc::Service;

pub(super) struct Args {
    pub(super) socket: PathBuf,
    /// How long a lookup waits for a broker.
    pub(super) timeout: Duration,
    /// The `on_failure` of a policy, until a broker has sent that of the entry.
    pub(super) on_failure: OnFailure,
    /// The mechanisms of logins; `None`: those of the broker.
    pub(super) mechanisms: Option<Vec<Mechanism>>,
    /// Whether the broker may serve Postfix' connection in place of this program.
    pub(super) hand_over: bool,
    pub(super) service: Service,
}

pub(super) enum Invocation {
    Serve(Args),
    Print(String),
}

const HELP: &str = "\
Serves one connection of Postfix on standard input and output, by asking pfxhttp-broker.
Postfix' spawn(8) starts it; see master.cf.example.

Usage: pfxhttp-client [OPTIONS] socketmap
       pfxhttp-client [OPTIONS] policy NAME
       pfxhttp-client [OPTIONS] sasl NAME

Commands:
  socketmap        lookups in any of the broker's socket_maps (socketmap_table(5))
  policy NAME      requests to the policy_services entry NAME (SMTPD_POLICY_README)
  sasl NAME        logins by the dovecot_sasl entry NAME (smtpd_sasl_type = dovecot)

Options:
  --socket PATH        the broker's socket [default: /run/pfxhttp/broker.sock]
  --timeout SECONDS    how long a lookup waits for a broker that cannot be reached, 1 to 90
                       [default: 10; for logins 7, and 8 at the most]
  --on-failure ACTION  a policy's answer while no broker has told the entry's own, or
                       \"disconnect\" [default: DEFER Temporary server problem]
  --mechanisms LIST    what is offered for logins, as PLAIN,LOGIN,OAUTHBEARER,XOAUTH2
                       [default: what the broker says, within a second]
  --no-hand-over       keep the connection and forward each request, instead of passing the
                       connection to the broker and ending
  -V, --version        print the version
  -h, --help           print this text
";

/// Parses everything behind the program's name. The error is a sentence about the first mistake.
pub(super) fn parse(words: impl Iterator<Item = OsString>) -> Result<Invocation, String> {
    let mut words = words.map(|word| word.into_string().map_err(|_| "an argument is not UTF-8".to_owned()));
    let mut args = Args {
        socket: PathBuf::from("/run/pfxhttp/broker.sock"),
        timeout: Duration::ZERO,
        on_failure: OnFailure::default(),
        mechanisms: None,
        hand_over: true,
        service: Service::Socketmap,
    };
    loop {
        let word = words.next().transpose()?.ok_or("no command: socketmap, policy NAME, or sasl NAME")?;
        let option = match word.as_str() {
            "-h" => Some("help"),
            "-V" => Some("version"),
            word => word.strip_prefix("--"),
        };
        let Some(option) = option else {
            args.service = service(&word, &mut words)?;
            if let Some(extra) = words.next() {
                return Err(format!("unexpected argument {:?}", extra?));
            }
            settle(&mut args)?;
            return Ok(Invocation::Serve(args));
        };
        let (name, inline) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option, None),
        };
        let mut value = || match inline.clone() {
            Some(value) => Ok(value),
            None => words.next().transpose()?.ok_or_else(|| format!("--{name} needs a value")),
        };
        match name {
            "help" => return Ok(Invocation::Print(HELP.to_owned())),
            "version" => {
                return Ok(Invocation::Print(format!("pfxhttp-client {}\n", env!("CARGO_PKG_VERSION"))));
            }
            "socket" => args.socket = PathBuf::from(value()?),
            "timeout" => args.timeout = timeout(&value()?)?,
            "on-failure" => args.on_failure = on_failure(&value()?)?,
            "no-hand-over" if inline.is_none() => args.hand_over = false,
            "mechanisms" => args.mechanisms = Some(mechanisms(&value()?)?),
            _ => return Err(format!("unknown option --{name}")),
        }
    }
}

fn timeout(value: &str) -> Result<Duration, String> {
    let seconds = value.parse().ok().filter(|seconds| (1..=90).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("--timeout {value:?} is not 1 to 90"))
}

fn on_failure(value: &str) -> Result<OnFailure, String> {
    OnFailure::parse(value).map_err(|error| format!("--on-failure {value:?}: {error}"))
}

fn mechanisms(list: &str) -> Result<Vec<Mechanism>, String> {
    let mut mechanisms = Vec::new();
    for name in list.split(',').map(str::trim) {
        let mechanism = Mechanism::of(name).ok_or_else(|| {
            let known = Mechanism::ALL.map(Mechanism::name).join(",");
            format!("--mechanisms: {name:?} is none of {known}; no blank belongs between them")
        })?;
        if !mechanisms.contains(&mechanism) {
            mechanisms.push(mechanism);
        }
    }
    Ok(mechanisms)
}

/// What depends on what is served.
fn settle(args: &mut Args) -> Result<(), String> {
    let is_login = matches!(args.service, Service::Login { .. });
    if args.mechanisms.is_some() && !is_login {
        return Err("--mechanisms is for sasl alone".to_owned());
    }
    // Postfix waits 10 s for a login, and 100 s for anything else.
    let (default, most) = if is_login { (7, 8) } else { (10, 90) };
    if args.timeout.is_zero() {
        args.timeout = Duration::from_secs(default);
    }
    args.timeout = args.timeout.min(Duration::from_secs(most));
    Ok(())
}

fn service(word: &str, words: &mut impl Iterator<Item = Result<String, String>>) -> Result<Service, String> {
    let (of, section): (fn(String) -> Service, _) = match word {
        "socketmap" => return Ok(Service::Socketmap),
        "policy" => (|name| Service::Policy { name }, "policy_services"),
        "sasl" => (|name| Service::Login { name }, "dovecot_sasl"),
        _ => return Err(format!("unknown command {word:?}")),
    };
    let name = words.next().transpose()?.filter(|name| !name.is_empty());
    name.map(of).ok_or_else(|| format!("{word} needs the NAME of an entry of {section}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_in_both_forms() {
        let line = "--socket=/x/y --timeout 5 --on-failure=disconnect policy p-1";
        let Ok(Invocation::Serve(args)) = parsed(line) else { panic!("not parsed") };
        assert_eq!(args.socket, PathBuf::from("/x/y"));
        assert_eq!(args.timeout, Duration::from_secs(5));
        assert_eq!(args.on_failure, OnFailure::Disconnect);
        assert_eq!(args.service, Service::Policy { name: "p-1".to_owned() });
    }

    #[test]
    fn logins_wait_less() {
        for (line, seconds) in [("sasl s", 7), ("--timeout 60 sasl s", 8), ("policy p", 10)] {
            let Ok(Invocation::Serve(args)) = parsed(line) else { panic!("not parsed") };
            assert_eq!(args.timeout, Duration::from_secs(seconds), "{line}");
        }
        let Ok(Invocation::Serve(args)) = parsed("--mechanisms login,PLAIN,LOGIN sasl s") else {
            panic!("not parsed")
        };
        assert_eq!(args.mechanisms, Some(vec![Mechanism::Login, Mechanism::Plain]));
        assert_eq!(args.service, Service::Login { name: "s".to_owned() });
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, text) in [
            ("", "no command"),
            ("policy", "NAME"),
            ("socketmap extra", "unexpected argument"),
            ("--timeout 0 socketmap", "1 to 90"),
            ("--timeout", "needs a value"),
            ("--on-failure 550 policy p", "permit"),
            ("--colour socketmap", "unknown option"),
            ("--no-hand-over=yes socketmap", "unknown option"),
            ("lookup", "unknown command"),
            ("sasl", "NAME"),
            ("--mechanisms PLAIN policy p", "sasl alone"),
            ("--mechanisms PLAIN,CRAM-MD5 sasl s", "CRAM-MD5"),
        ] {
            let Err(error) = parsed(line) else { panic!("{line:?} was taken") };
            assert!(error.contains(text), "{line:?}: {error}");
        }
    }
}
