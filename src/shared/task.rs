//! The task of the connection: it connects, sends what is to be written, asks once a second whether the server is
//! there, reads the numbers of purges each 30 s, and connects again. Lookups never wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::engine::{self, Connection, Write};
use super::record::Record;
use super::settings::SharedSettings;
use super::state::State;
use super::writes::{Order, Orders, sealed};
use crate::model::Answer;
use crate::observe::metrics::SharedWrite;

/// The first and the longest wait between attempts to connect.
const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);
/// How often the server is asked whether it is there, and how long it may take.
const EVERY: Duration = Duration::from_secs(1);
pub(super) const SILENCE: Duration = Duration::from_secs(2);
/// How often the numbers of purges are read: a message may have been lost.
const NUMBERS: Duration = Duration::from_secs(30);
/// The mark of a secret is looked at each five minutes, and kept for ten.
const LOOKS: Duration = Duration::from_mins(5);
const MARK: Duration = Duration::from_mins(10);

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Keeps a connection. Ends when nothing can be written any more.
pub(super) async fn run(state: Arc<State>, mut orders: Orders) {
    let mut pause = FIRST;
    loop {
        match connect(&state).await {
            Err(reason) => state.not_reached(&reason),
            Ok((connection, driver)) => {
                let began = Instant::now();
                state.connected(&connection);
                let Some(reason) = serve(&state, &connection, driver, &mut orders).await else { return };
                state.lost(&reason);
                // A server that closes each connection is not asked ten times a second.
                if began.elapsed() >= LAST {
                    pause = FIRST;
                }
            }
        }
        orders.clear();
        sleep(between(pause)).await;
        pause = (pause * 2).min(LAST);
    }
}

/// A connection that knows of all purges so far.
async fn connect(state: &Arc<State>) -> Result<(Arc<Connection>, JoinHandle<()>), String> {
    // Not the state itself: that holds the connection.
    let hearing = Arc::downgrade(state);
    let listener = move |message: &[u8]| {
        if let Some(state) = hearing.upgrade() {
            state.purges.hear(&state.keys, message);
        }
    };
    let (connection, driver) = engine::connect(&state.settings, &state.http, Box::new(listener)).await?;
    let begun = async {
        state.note_refused(state.purges.begin(&connection, &state.keys).await?);
        Ok(())
    };
    within(begun).await?;
    Ok((Arc::new(connection), driver))
}

/// Half of `pause` to all of it, so that many brokers do not come at once.
fn between(pause: Duration) -> Duration {
    let mut random = [0];
    // Without random numbers it is half.
    let _ = aws_lc_rs::rand::fill(&mut random);
    pause / 2 + pause * u32::from(random[0]) / 510
}

/// Serves until the connection is of no use, and says why. `None`: nothing can be written any more.
async fn serve(
    state: &State,
    connection: &Connection,
    mut driver: JoinHandle<()>,
    orders: &mut Orders,
) -> Option<String> {
    let [mut ticks, mut numbers, mut looks] = [EVERY, NUMBERS, LOOKS].map(|every| {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    loop {
        let settle = || {
            within(async {
                state.note_refused(state.purges.settle(connection, &state.keys).await?);
                Ok(())
            })
        };
        let served = tokio::select! {
            _ = &mut driver => Err("the server has closed the connection".to_owned()),
            () = state.purges.has_news() => settle().await,
            batch = orders.next() => within(write(state, connection, batch?)).await,
            _ = looks.tick() => within(look(state, connection)).await,
            _ = numbers.tick() => settle().await,
            _ = ticks.tick() => within(connection.ping()).await,
        };
        if let Err(reason) = served {
            return Some(reason);
        }
    }
}

pub(super) async fn within(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    timeout(SILENCE, work).await.unwrap_or_else(|_| Err("no answer for 2 s".to_owned()))
}

async fn write(state: &State, connection: &Connection, batch: Vec<Order>) -> Result<(), String> {
    let writes = sealed(&batch, state);
    if writes.is_empty() {
        return Ok(());
    }
    let written = connection.write(&writes).await;
    let made = written.as_ref().map_or(0, |written| written.made);
    state.counters.wrote(SharedWrite::Ok, made);
    state.counters.wrote(SharedWrite::Error, writes.len() - made);
    if let Some(reason) = written?.refused {
        state.warn("a write failed", &reason);
    }
    for Order { id, key, .. } in batch.iter().filter(|order| order.kept.is_none()) {
        state.note_refused(state.purges.tell_of_key(connection, &state.keys, id, key).await?);
    }
    Ok(())
}

async fn look(state: &State, connection: &Connection) -> Result<(), String> {
    match is_alone(&state.settings, &state.keys, connection).await {
        Ok(is_alone) => state.note_alone(is_alone),
        Err(reason) => state.warn("the mark of the secret cannot be compared", &reason),
    }
    Ok(())
}

/// Whether another host uses another secret: the first one leaves a record that all others with its secret can read.
pub(super) async fn is_alone(
    settings: &SharedSettings,
    keys: &super::record::Keys,
    connection: &Connection,
) -> Result<bool, String> {
    let name = format!("{}:1:secret", settings.prefix);
    let mark = Record { answer: Answer::NotFound, stored: now() };
    let record = keys.seal(&name, &mark).ok_or("the crypto library fails")?;
    if connection.set_first(&name, &record, MARK).await? {
        return Ok(false);
    }
    let is_alone = keys.open(&name, connection.get(&name).await?).is_err();
    if !is_alone {
        connection.write(&[Write::Set { name, record, life: MARK }]).await?;
    }
    Ok(is_alone)
}
