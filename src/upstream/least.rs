//! `balance: least`: of two random targets that are up, the one with fewer requests in flight is asked.
//!
//! Two are enough: a slow target gets less, and a target that has just come back is not asked by all at once,
//! which the least of all would be. A target that is out has its trial first, because the others hide that it
//! is away. What is left once these have been tried, as `backup`, goes by the order of the list.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::breaker::Standing;
use super::choice::{Choice, Tried};
use super::settings::MAX_TARGETS;
use super::{Target, Upstream};

impl Upstream {
    /// The target to ask next; `None` if none but `backup` is up.
    pub(super) fn of_two(&self, tried: Tried) -> Option<Choice<'_>> {
        let (mut up, mut count) = ([0; MAX_TARGETS], 0);
        // Usually all of them are up, and the time is not needed.
        let mut now = None;
        let mut now = || *now.get_or_insert_with(Instant::now);
        for (index, target) in self.untried(tried).filter(|(_, target)| !target.is_backup) {
            let standing = if target.is_up() { Standing::Up } else { target.standing(now()) };
            match standing {
                Standing::Up => {
                    up[count] = index;
                    count += 1;
                }
                Standing::Out | Standing::Tried => {}
                // A request that has failed once goes to one that is up.
                Standing::Due if !tried.is_empty() => {}
                Standing::Due => {
                    if let trial @ Some(_) = self.try_out(target, now()) {
                        return Some(Choice { index, target, trial, is_last_resort: false });
                    }
                }
            }
        }
        let index = match up.get(..count)? {
            [] => return None,
            [only] => *only,
            several => {
                let (one, other) = two_of(several.len(), RandomState::new().hash_one(()));
                let [one, other] = [one, other].map(|at| several[at]);
                if self.targets[other].in_flight() < self.targets[one].in_flight() { other } else { one }
            }
        };
        Some(Choice { index, target: &self.targets[index], trial: None, is_last_resort: false })
    }
}

impl Target {
    fn in_flight(&self) -> usize {
        self.in_flight.as_deref().map_or(0, |count: &AtomicUsize| count.load(Ordering::Relaxed))
    }
}

/// Two different numbers below `count`, which is 2 at least; each pair is as likely for a `random` number.
fn two_of(count: usize, random: u64) -> (usize, usize) {
    let below = |random: u32, limit: usize| random as usize % limit;
    let one = below(random as u32, count);
    let other = below((random >> 32) as u32, count - 1);
    (one, if other >= one { other + 1 } else { other })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_are_different_and_each_pair_comes_up() {
        for count in 2..=MAX_TARGETS {
            let mut seen = vec![0; count * count];
            for _ in 0..1000 * count * count {
                let (one, other) = two_of(count, RandomState::new().hash_one(()));
                assert!(one < count && other < count && one != other);
                seen[one * count + other] += 1;
            }
            let pairs = seen.iter().filter(|times| **times > 0);
            assert_eq!(pairs.clone().count(), count * (count - 1), "{count}");
            let fair = 1000 * count / (count - 1);
            assert!(pairs.clone().all(|times| (fair / 2..fair * 2).contains(times)), "{count}: {seen:?}");
        }
    }
}
