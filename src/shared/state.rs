//! The connection to the shared cache as lookups see it: a read waits at most `wait`, and not at all while there is
//! no connection. Also what the log and `status` say of it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::time::timeout;
use tracing::{info, warn};

use super::engine::Connection;
use super::patience::Patience;
use super::purges::Purges;
use super::record::{Keys, Record, Unreadable};
use super::settings::SharedSettings;
use crate::http::Http;
use crate::model::status::SharedStatus;
use crate::observe::explain;
use crate::observe::metrics::{SharedCounters, SharedRead};
use crate::observe::warnings::RateLimitedWarnings;

/// What lookups and the task of the connection have in common.
pub(super) struct State {
    pub(super) settings: SharedSettings,
    pub(super) keys: Keys,
    pub(super) purges: Purges,
    pub(super) http: Arc<Http>,
    pub(super) counters: Arc<SharedCounters>,
    connection: ArcSwapOption<Connection>,
    /// Counts connections.
    connections: AtomicU64,
    patience: Patience,
    course: Mutex<Course>,
    warnings: RateLimitedWarnings,
}

/// What became of the connection.
struct Course {
    /// When it was made, or lost.
    since: SystemTime,
    /// Why there is none.
    problem: Option<String>,
    /// Whether another host uses another secret.
    is_alone: bool,
    /// Whether the log says that there is a connection.
    is_logged_up: bool,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl State {
    pub(super) fn new(
        settings: SharedSettings,
        keys: Keys,
        purges: Purges,
        http: Arc<Http>,
        counters: Arc<SharedCounters>,
    ) -> Self {
        let problem = Some("it was not connected to yet".to_owned());
        let course = Course { since: SystemTime::now(), problem, is_alone: false, is_logged_up: false };
        Self {
            settings,
            keys,
            purges,
            http,
            counters,
            connection: ArcSwapOption::empty(),
            connections: AtomicU64::new(0),
            patience: Patience::default(),
            course: Mutex::new(course),
            warnings: RateLimitedWarnings::default(),
        }
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a connection.
    pub(super) fn is_up(&self) -> bool {
        self.connection.load().is_some()
    }

    /// The connection.
    pub(super) fn connection(&self) -> Option<Arc<Connection>> {
        self.connection.load_full()
    }

    /// How many connections there were so far.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// The name of the record of a key, for the entry `id` in this epoch.
    pub(super) fn name(&self, id: &str, epoch: u64, key: &[u8]) -> String {
        self.keys.name(&format!("{}:1:{id}:{epoch}:", self.settings.prefix), key)
    }

    /// The record of this name; `None` for whatever reason, which is counted, but for [`SharedRead::Hit`] and
    /// [`SharedRead::Age`].
    pub(super) async fn read(&self, name: &str) -> Option<Record> {
        match self.try_read(name).await {
            Ok(record) => Some(record),
            Err(result) => {
                self.note_nothing(result);
                None
            }
        }
    }

    /// Notes that a read brought no record.
    pub(super) fn note_nothing(&self, result: SharedRead) {
        self.counters.read(result);
        explain::note(|| format!("shared cache: {}", self.why_nothing(result)));
    }

    /// Why a read brought no record, for a trace.
    fn why_nothing(&self, result: SharedRead) -> String {
        match result {
            SharedRead::Down if self.is_up() => "not asked, because answers were late".to_owned(),
            SharedRead::Down => "not asked: no connection".to_owned(),
            SharedRead::Late => format!("no answer within {:?}", self.settings.wait),
            SharedRead::Absent => "no record".to_owned(),
            SharedRead::Error => "the read failed".to_owned(),
            SharedRead::Version => "a record of another version".to_owned(),
            SharedRead::Tag => "a record that cannot be opened".to_owned(),
            SharedRead::Hit | SharedRead::Age => "a record".to_owned(),
        }
    }

    async fn try_read(&self, name: &str) -> Result<Record, SharedRead> {
        let connection = self.connection().ok_or(SharedRead::Down)?;
        let began = Instant::now();
        if !self.patience.allows(began) {
            return Err(SharedRead::Down);
        }
        let Ok(answer) = timeout(self.settings.wait, connection.get(name)).await else {
            if self.patience.late(Instant::now()) {
                self.warn("answers are late", "lookups do not wait for them");
            }
            return Err(SharedRead::Late);
        };
        let bytes = answer.map_err(|why| {
            self.warn("a read failed", &why);
            SharedRead::Error
        })?;
        self.patience.in_time();
        self.counters.took(began.elapsed());
        if bytes.is_empty() {
            return Err(SharedRead::Absent);
        }
        self.keys.open(name, bytes).map_err(|why| match why {
            Unreadable::Version => SharedRead::Version,
            Unreadable::Tag | Unreadable::Content => SharedRead::Tag,
        })
    }

    /// Notes a connection.
    pub(super) fn connected(&self, connection: &Arc<Connection>) {
        self.patience.in_time();
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connection.store(Some(Arc::clone(connection)));
        let mut course = self.course();
        course.since = SystemTime::now();
        course.problem = None;
        let is_news = !std::mem::replace(&mut course.is_logged_up, true);
        drop(course);
        if is_news {
            info!(server = %self.settings.name(), "shared cache connected");
        }
    }

    /// Notes that the connection was lost.
    pub(super) fn lost(&self, reason: &str) {
        self.connection.store(None);
        let mut course = self.course();
        course.since = SystemTime::now();
        course.problem = Some(reason.to_owned());
        if self.warnings.is_due("lost") {
            course.is_logged_up = false;
            drop(course);
            warn!(server = %self.settings.name(), reason, "shared cache lost");
        }
    }

    /// Notes that no connection could be made.
    pub(super) fn not_reached(&self, reason: &str) {
        let mut course = self.course();
        course.problem = Some(reason.to_owned());
        if self.warnings.is_due("not reached") {
            course.is_logged_up = false;
            drop(course);
            warn!(server = %self.settings.name(), reason, "shared cache not reached");
        }
    }

    /// Notes whether another host uses another secret.
    pub(super) fn note_alone(&self, is_alone: bool) {
        self.course().is_alone = is_alone;
        if is_alone && self.warnings.is_due("secret") {
            warn!(
                server = %self.settings.name(),
                "shared cache: another host has another secret_file, nothing is shared with it"
            );
        }
    }

    /// Warns of what a server refuses, once a minute.
    pub(super) fn warn(&self, what: &str, reason: &str) {
        if self.warnings.is_due(what) {
            warn!(server = %self.settings.name(), reason, "shared cache: {what}");
        }
    }

    /// Warns if the server refused what purges need, and why.
    pub(super) fn note_refused(&self, why: Option<String>) {
        if let Some(why) = why {
            self.warn("a purge fails on other hosts", &why);
        }
    }

    pub(super) fn status(&self) -> SharedStatus {
        let (is_up, course) = (self.is_up(), self.course());
        SharedStatus {
            server: self.settings.name(),
            is_up,
            since: humantime::format_rfc3339_seconds(course.since).to_string(),
            problem: course.problem.clone().filter(|_| !is_up),
            has_other_secret: course.is_alone,
            reads: self.counters.reads(),
            writes: self.counters.writes(),
            waiting_writes: 0,
        }
    }
}

impl SharedSettings {
    /// The server, for the log.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.sentinel {
            None => self.server.address.to_string(),
            Some(sentinel) => format!("{} (by sentinel)", sentinel.master),
        }
    }
}
