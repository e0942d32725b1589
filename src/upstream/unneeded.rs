//! Targets that are out, and that no request needs: another one is up, and comes first. Without a trial they
//! would be out for ever in `status` and the metrics.
//!
//! If the last failure was that there was no connection, one without a request tells that such a target is
//! back. One that hung or answered with errors stays out until a request needs it: a connection says nothing
//! about that.

use std::time::Instant;

use tracing::info;

use super::{Target, Upstream};

impl Upstream {
    /// Tries the targets that no request needs, in the background. Called every few seconds; needs the runtime.
    pub(crate) fn try_unneeded(&self) {
        self.targets.iter().for_each(|target| self.try_if_unneeded(target));
    }

    fn try_if_unneeded(&self, target: &Target) {
        // Its checks bring it back.
        if target.is_unhealthy() {
            return;
        }
        let Some(trial) = target.breaker.begin_unneeded(Instant::now()) else { return };
        let (name, origin) = (self.name.clone(), target.origin.clone());
        target.reach(trial, move |breaker| {
            if let Some(out_s) = breaker.answered().map(|out| out.as_secs()) {
                info!(name, target = origin, out_s, "target back");
            }
        });
    }
}
