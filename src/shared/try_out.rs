//! `check --online`: whether the server of the shared cache can be used.

use std::time::{Duration, Instant};

use super::engine::{self, Write};
use super::purges;
use super::record::Record;
use super::settings::SharedSettings;
use super::task::{is_alone, now, within};
use crate::http::Http;
use crate::model::Answer;

/// Tries the server out, for `check --online`: connects, writes a record, and reads it as a lookup would.
///
/// # Errors
/// What is wrong, in one line.
pub(super) async fn try_out(
    settings: &SharedSettings,
    keys: &super::record::Keys,
    http: &Http,
) -> Result<(), String> {
    let connected = engine::connect(settings, http, Box::new(|_| ())).await;
    let (connection, _driver) = connected.map_err(|reason| format!("not reached: {reason}"))?;
    let tried = async {
        let name = format!("{}:1:check:{}", settings.prefix, keys.digest([&now().to_be_bytes()[..]]));
        let record = Record { answer: Answer::NotFound, stored: now() };
        let sealed = keys.seal(&name, &record).ok_or("the crypto library fails")?;
        let life = Duration::from_secs(10);
        let written = connection.write(&[Write::Set { name: name.clone(), record: sealed, life }]).await?;
        if let Some(reason) = written.refused {
            return Err(format!("a write failed: {reason}"));
        }
        let began = Instant::now();
        let read = connection.get(&name).await.map_err(|reason| format!("a read failed: {reason}"))?;
        let took = began.elapsed();
        if keys.open(&name, read) != Ok(record) {
            return Err("a record that was written is not read".to_owned());
        }
        if took > settings.wait {
            let (took, wait) = (took.as_secs_f64() * 1000.0, settings.wait.as_millis());
            return Err(format!("a read took {took:.1} ms, and server.shared.wait is {wait} ms"));
        }
        connection.write(&[Write::Delete { name }]).await?;
        connection.subscribe(&purges::channel(&settings.prefix)).await?;
        match is_alone(settings, keys, &connection).await? {
            true => Err("another host has another secret in server.shared.secret_file".to_owned()),
            false => Ok(()),
        }
    };
    within(tried).await
}
