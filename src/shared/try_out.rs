//! `check --online`: whether the server of the shared cache can be used. It is connected to, a record is written and read
//! in time, and each command that a broker sends is tried, so that an ACL which forbids one is found. Nothing is left.

use std::time::{Duration, Instant};

use super::engine::{self, Connection, Write};
use super::purges;
use super::record::{Keys, Record};
use super::settings::SharedSettings;
use super::task::{is_alone, now, within};
use crate::http::Http;
use crate::model::Answer;

/// How long a key is kept that cannot be removed.
const LIFE: Duration = Duration::from_secs(10);

/// The commands that the server refuses.
#[derive(Default)]
struct Refused {
    on_keys: Vec<&'static str>,
    on_channels: Vec<&'static str>,
    /// Why it refuses the first one.
    why: Option<String>,
}

impl Refused {
    fn note(&mut self, command: &'static str, why: &str) {
        let is_of_channels = matches!(command, "SUBSCRIBE" | "PUBLISH");
        let commands = if is_of_channels { &mut self.on_channels } else { &mut self.on_keys };
        if !commands.contains(&command) {
            commands.push(command);
        }
        self.why.get_or_insert_with(|| why.to_owned());
    }

    /// An error that names them, and the pattern of their keys and channels.
    fn result(self, prefix: &str) -> Result<(), String> {
        let Some(why) = self.why else { return Ok(()) };
        let named = [("~", self.on_keys), ("&", self.on_channels)].map(|(sign, commands)| {
            (!commands.is_empty()).then(|| format!("{} ({sign}{prefix}:*)", commands.join(", ")))
        });
        let named: Vec<_> = named.into_iter().flatten().collect();
        Err(format!("it refuses {}: {why}", named.join(" and ")))
    }
}

/// See [`mod@super::try_out`].
pub(super) async fn try_out(settings: &SharedSettings, keys: &Keys, http: &Http) -> Result<(), String> {
    let connected = engine::connect(settings, http, Box::new(|_| ())).await;
    let (connection, _driver) = connected.map_err(|reason| format!("not reached: {reason}"))?;
    let tried = async {
        let name = format!("{}:1:check:{}", settings.prefix, keys.digest([&now().to_be_bytes()[..]]));
        write_and_read(settings, keys, &connection, &name).await?;
        try_commands(settings, &connection, &name).await?;
        match is_alone(settings, keys, &connection).await? {
            true => Err("another host has another secret in server.shared.secret_file".to_owned()),
            false => Ok(()),
        }
    };
    within(tried).await
}

/// As a lookup does it.
async fn write_and_read(
    settings: &SharedSettings,
    keys: &Keys,
    connection: &Connection,
    name: &str,
) -> Result<(), String> {
    let mut refused = Refused::default();
    let record = Record { answer: Answer::NotFound, stored: now() };
    let sealed = keys.seal(name, &record).ok_or("the crypto library fails")?;
    let set = Write::Set { name: name.to_owned(), record: sealed, life: LIFE };
    if let Some(why) = connection.write(&[set]).await?.refused {
        refused.note("SET", &why);
        return refused.result(&settings.prefix);
    }
    let began = Instant::now();
    let read = match connection.get(name).await {
        Ok(read) => read,
        Err(why) => {
            refused.note("GETRANGE", &why);
            return refused.result(&settings.prefix);
        }
    };
    let took = began.elapsed();
    if keys.open(name, read) != Ok(record) {
        return Err("a record that was written is not read".to_owned());
    }
    if took > settings.wait {
        let (took, wait) = (took.as_secs_f64() * 1000.0, settings.wait.as_millis());
        return Err(format!("a read took {took:.1} ms, and server.shared.wait is {wait} ms"));
    }
    Ok(())
}

/// The commands of purges and of counts of denied logins. `name` has a lifetime already, and is removed.
async fn try_commands(settings: &SharedSettings, connection: &Connection, name: &str) -> Result<(), String> {
    let (mut refused, channel) = (Refused::default(), purges::channel(&settings.prefix));
    if let Err(why) = connection.subscribe(&channel).await {
        refused.note("SUBSCRIBE", &why);
    }
    let life = LIFE.as_millis().to_string();
    let of_logins = ["DECRBY", "GETDEL"].into_iter().filter(|_| settings.penalties);
    let first = ["DEL", "SET", "INCR", "PEXPIRE"];
    let commands: Vec<&'static str> = first.into_iter().chain(of_logins).chain(["DEL", "PUBLISH"]).collect();
    let mut replies = Vec::new();
    for command in &commands {
        let words: &[engine::Word<'_>] = match *command {
            "SET" => &[command, &name, &"0", &"PX", &life],
            "PEXPIRE" => &[command, &name, &life],
            "DECRBY" => &[command, &name, &"1"],
            "PUBLISH" => &[command, &channel, &""],
            _ => &[command, &name],
        };
        replies.extend(connection.ask(&[words]).await?);
    }
    for (&command, reply) in commands.iter().zip(&replies) {
        if let Some(why) = reply.refused() {
            refused.note(command, why);
        }
    }
    refused.result(&settings.prefix)
}
