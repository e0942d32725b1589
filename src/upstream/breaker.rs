//! The circuit breaker of one target. After some failures in a row the target is out: it is left alone for a
//! pause, then one request tries it. Each trial that fails doubles the pause, up to a limit; the pauses vary
//! by a fifth, so that several brokers do not try at the same moment.
//!
//! Without failures a request reads two atomics and takes no lock.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::settings::BreakerSettings;

/// The breaker of one target; a copy has the same state.
#[derive(Debug, Clone)]
pub(super) struct Breaker {
    /// `None`: off.
    settings: Option<BreakerSettings>,
    state: Arc<State>,
}

/// It outlives a reload.
#[derive(Debug)]
struct State {
    /// Whether the last answer left nothing to note; read on every success.
    is_clean: AtomicBool,
    /// Whether it may be out; read on every request.
    is_out: AtomicBool,
    course: Mutex<Course>,
}

#[derive(Debug, Default)]
struct Course {
    /// Failures since the last answer.
    failures: u64,
    out: Option<Out>,
    /// The target has asked for this pause (429).
    paused: Option<Instant>,
}

#[derive(Debug)]
struct Out {
    since: Instant,
    until: Instant,
    pause: Duration,
    is_tried: bool,
    /// Whether a connection without a request has succeeded.
    is_reached: bool,
    /// Whether the last failure was that of a connection.
    is_unreachable: bool,
}

/// Whether a target may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Up,
    /// Its pause is over: one request may try it.
    Due,
    /// A request tries it at the moment.
    Tried,
    Out,
}

/// What a failure changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// The target is out from now on.
    Out,
}

/// A request that tries a target. No other one does so until this is dropped.
#[derive(Debug)]
pub(super) struct Trial(Arc<State>);

impl Breaker {
    /// `before` is the breaker of the same target in the configuration before. A shorter pause holds at once.
    pub(super) fn new(settings: Option<BreakerSettings>, before: Option<&Self>) -> Self {
        let fresh = || {
            let (is_clean, is_out) = (AtomicBool::new(true), AtomicBool::new(false));
            Arc::new(State { is_clean, is_out, course: Mutex::default() })
        };
        let kept = before.filter(|_| settings.is_some()).map(|before| Arc::clone(&before.state));
        let state = kept.unwrap_or_else(fresh);
        if let (Some(settings), Some(out)) = (&settings, &mut state.course().out) {
            out.pause = out.pause.min(settings.max_pause);
            out.until = out.until.min(Instant::now() + out.pause);
        }
        Self { settings, state }
    }

    /// Whether it notes failures.
    pub(super) fn is_on(&self) -> bool {
        self.settings.is_some()
    }

    /// Whether another answer would change nothing.
    pub(super) fn is_clean(&self) -> bool {
        self.state.is_clean.load(Ordering::Relaxed)
    }

    /// Whether it is up for certain.
    pub(super) fn is_up(&self) -> bool {
        !self.state.is_out.load(Ordering::Relaxed)
    }

    /// Whether failures have taken it out.
    pub(super) fn is_tripped(&self) -> bool {
        !self.is_up() && self.state.course().out.is_some()
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        if self.is_up() {
            return Standing::Up;
        }
        let mut course = self.state.course();
        course.paused = course.paused.filter(|until| *until > now);
        match &course.out {
            _ if course.paused.is_some() => Standing::Out,
            Some(out) if out.until > now => Standing::Out,
            Some(out) if out.is_tried => Standing::Tried,
            Some(_) => Standing::Due,
            None => {
                self.state.is_out.store(false, Ordering::Relaxed);
                Standing::Up
            }
        }
    }

    /// Begins a trial; `None` if the target is not due any more. With `reached`, only after [`Self::reached`].
    pub(super) fn begin_trial(&self, now: Instant, reached: bool) -> Option<Trial> {
        let mut course = self.state.course();
        let out = course.out.as_mut().filter(|out| out.until <= now && !out.is_tried)?;
        if reached && !out.is_reached {
            return None;
        }
        out.is_tried = true;
        Some(Trial(Arc::clone(&self.state)))
    }

    /// Notes that the target accepts connections.
    pub(super) fn reached(&self) {
        if let Some(out) = &mut self.state.course().out {
            out.is_reached = true;
        }
    }

    /// Notes whether the last failure was that there was no connection.
    pub(super) fn set_unreachable(&self, is_unreachable: bool) {
        if let Some(out) = &mut self.state.course().out {
            out.is_unreachable = is_unreachable;
        }
    }

    /// Begins the trial of a target to which there was no connection, and which no request has tried for longer
    /// than the longest pause: none needs it.
    pub(super) fn begin_unneeded(&self, now: Instant) -> Option<Trial> {
        let max_pause = self.settings.filter(|_| !self.is_up())?.max_pause;
        let mut course = self.state.course();
        let out = course.out.as_mut().filter(|out| out.is_unreachable && !out.is_tried)?;
        if now < out.until + max_pause {
            return None;
        }
        out.is_tried = true;
        Some(Trial(Arc::clone(&self.state)))
    }

    /// Notes an answer. Returns for how long the target was out, if it was.
    pub(super) fn answered(&self) -> Option<Duration> {
        if self.is_clean() {
            return None;
        }
        let mut course = self.state.course();
        course.failures = 0;
        let out = course.out.take();
        self.state.is_clean.store(true, Ordering::Relaxed);
        self.state.is_out.store(course.paused.is_some(), Ordering::Relaxed);
        out.map(|out| out.since.elapsed())
    }

    /// Notes a failure of the target. With `at_once` it is out, whatever came before. Only a `trial` says
    /// something about the next pause.
    pub(super) fn failed(&self, now: Instant, at_once: bool, trial: Option<&Trial>) -> Change {
        let Some(settings) = &self.settings else { return Change::None };
        let mut course = self.state.course();
        self.state.is_clean.store(false, Ordering::Relaxed);
        course.failures += 1;
        let is_too_much = at_once || course.failures >= settings.failures;
        match &mut course.out {
            Some(out) => {
                if trial.is_some() {
                    out.pause = (out.pause * 2).min(settings.max_pause);
                    out.until = now + varied_within(out.pause, settings.max_pause);
                    out.is_reached = false;
                }
                Change::None
            }
            None if is_too_much => {
                let pause = settings.pause;
                let until = now + varied_within(pause, settings.max_pause);
                let (is_tried, is_reached, is_unreachable) = (false, false, false);
                course.out = Some(Out { since: now, until, pause, is_tried, is_reached, is_unreachable });
                self.state.is_out.store(true, Ordering::Relaxed);
                Change::Out
            }
            None => Change::None,
        }
    }

    /// Leaves the target alone until `until`, as it has asked for.
    pub(super) fn pause(&self, until: Instant) {
        let mut course = self.state.course();
        course.paused = course.paused.max(Some(until));
        self.state.is_out.store(true, Ordering::Relaxed);
    }
}

impl State {
    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(out) = &mut self.0.course().out {
            out.is_tried = false;
        }
    }
}

/// `pause`, a fifth more or less, but never more than `most`.
fn varied_within(pause: Duration, most: Duration) -> Duration {
    let varied = varied(pause);
    // What is too long is as much too short.
    varied.min(most.saturating_sub(varied.saturating_sub(most)))
}

/// `pause`, a fifth more or less.
pub(super) fn varied(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 401;
    pause * u32::try_from(800 + random).unwrap_or(1000) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BreakerSettings =
        BreakerSettings { failures: 3, pause: Duration::from_secs(1), max_pause: Duration::from_secs(4) };

    fn breaker() -> Breaker {
        Breaker::new(Some(SETTINGS), None)
    }

    #[test]
    fn failures_in_a_row_and_no_others_take_it_out() {
        let (breaker, now) = (breaker(), Instant::now());
        for _ in 0..2 {
            assert_eq!([(); 2].map(|()| breaker.failed(now, false, None)), [Change::None; 2]);
            assert_eq!(breaker.answered(), None);
        }
        assert_eq!([(); 2].map(|()| breaker.failed(now, false, None)), [Change::None; 2]);
        assert_eq!(breaker.standing(now), Standing::Up);
        assert_eq!(breaker.failed(now, false, None), Change::Out);
        assert!(breaker.is_tripped());
        assert_eq!(breaker.standing(now), Standing::Out);
        assert!(breaker.answered().is_some(), "an answer that comes later");
        assert_eq!(breaker.standing(now), Standing::Up);
        assert_eq!(breaker.failed(now, true, None), Change::Out, "nothing listens there");
    }

    #[test]
    fn one_request_tries_it_and_each_pause_is_longer() {
        let (breaker, mut now) = (breaker(), Instant::now());
        breaker.failed(now, true, None);
        for seconds in [1, 2, 4, 4] {
            let pause = Duration::from_secs(seconds);
            assert_eq!(breaker.standing(now + pause * 79 / 100), Standing::Out, "{seconds}");
            now += pause * 121 / 100;
            assert_eq!(breaker.standing(now), Standing::Due, "{seconds}");
            // Without a result, another request tries it.
            drop(breaker.begin_trial(now, false).expect("a trial"));
            let trial = breaker.begin_trial(now, false).expect("a trial");
            assert_eq!(breaker.standing(now), Standing::Tried, "one at a time");
            assert!(breaker.begin_trial(now, false).is_none());
            assert_eq!(breaker.failed(now, true, Some(&trial)), Change::None);
            drop(trial);
        }
        now += Duration::from_secs(5);
        assert!(breaker.begin_trial(now, true).is_none(), "it was not reached");
        breaker.reached();
        let trial = breaker.begin_trial(now, true).expect("a trial");
        assert!(breaker.answered().is_some());
        drop(trial);
        assert_eq!(breaker.standing(now), Standing::Up);
    }

    #[test]
    fn no_pause_is_longer_than_the_longest() {
        let (most, now) = (SETTINGS.max_pause, Instant::now());
        let settings = BreakerSettings { pause: most, ..SETTINGS };
        for _ in 0..200 {
            let breaker = Breaker::new(Some(settings), None);
            breaker.failed(now, true, None);
            assert_eq!(breaker.standing(now + most * 79 / 100), Standing::Out);
            assert_eq!(breaker.standing(now + most), Standing::Due);
        }
    }

    #[test]
    fn what_no_request_needs_is_tried_after_the_longest_pause_if_there_was_no_connection() {
        let (breaker, now) = (breaker(), Instant::now());
        let late = now + SETTINGS.pause * 121 / 100 + SETTINGS.max_pause;
        assert!(breaker.begin_unneeded(late).is_none(), "it is up");
        breaker.failed(now, true, None);
        assert!(breaker.begin_unneeded(late).is_none(), "it hangs, or its answers are errors");
        breaker.set_unreachable(true);
        assert!(breaker.begin_unneeded(now + SETTINGS.max_pause).is_none(), "a request may come");
        let trial = breaker.begin_unneeded(late).expect("a trial");
        assert!(breaker.begin_unneeded(late).is_none(), "one at a time");
        breaker.failed(late, false, Some(&trial));
        drop(trial);
        assert!(breaker.begin_unneeded(late + SETTINGS.max_pause).is_none(), "the pause is longer");
        assert!(breaker.begin_unneeded(late + 3 * SETTINGS.max_pause).is_some());
    }

    #[test]
    fn failures_of_other_requests_do_not_move_the_end_of_the_pause() {
        let (breaker, now) = (breaker(), Instant::now());
        breaker.failed(now, true, None);
        (0..9).for_each(|_| assert_eq!(breaker.failed(now, true, None), Change::None));
        assert_eq!(breaker.standing(now + SETTINGS.pause * 121 / 100), Standing::Due);
    }

    #[test]
    fn a_pause_that_the_target_asks_for_ends_by_itself() {
        let (breaker, now) = (Breaker::new(None, None), Instant::now());
        (0..9).for_each(|_| assert_eq!(breaker.failed(now, true, None), Change::None, "the breaker is off"));
        assert_eq!(breaker.standing(now), Standing::Up);
        breaker.pause(now + Duration::from_secs(3));
        breaker.pause(now + Duration::from_secs(2));
        assert!(!breaker.is_tripped());
        assert_eq!(breaker.standing(now + Duration::from_secs(2)), Standing::Out);
        assert_eq!(breaker.standing(now + Duration::from_secs(3)), Standing::Up);
    }

    #[test]
    fn a_shorter_pause_of_the_next_configuration_holds_at_once() {
        let hour = Duration::from_hours(1);
        let long = BreakerSettings { pause: hour, max_pause: hour, ..SETTINGS };
        let (before, now) = (Breaker::new(Some(long), None), Instant::now());
        before.failed(now, true, None);
        let next = Breaker::new(Some(SETTINGS), Some(&before));
        assert_eq!(next.standing(now), Standing::Out);
        assert_eq!(next.standing(Instant::now() + SETTINGS.max_pause), Standing::Due);
    }

    #[test]
    fn a_copy_of_the_next_configuration_goes_on() {
        let (before, now) = (breaker(), Instant::now());
        before.failed(now, true, None);
        let next = Breaker::new(Some(SETTINGS), Some(&before));
        assert_eq!(next.standing(now), Standing::Out);
        assert!(next.answered().is_some() && before.standing(now) == Standing::Up);
        before.failed(now, true, None);
        assert_eq!(Breaker::new(None, Some(&before)).standing(now), Standing::Up, "turned off");
    }
}
