//! What the service manager hears: `sd_notify(3)`. Without `NOTIFY_SOCKET` nothing is said.

#[cfg(target_os = "linux")]
mod told {
    use std::time::Duration;

    use sd_notify::NotifyState;
    use tokio::runtime::Handle;
    use tokio::time::{MissedTickBehavior, interval};

    /// From the last connection to the end of the process.
    const AFTER_DRAIN: Duration = Duration::from_secs(10);

    /// Serving, or serving again after a reload.
    pub(in crate::cli) fn ready() {
        tell(&[NotifyState::Ready]);
    }

    /// Reading files again; [`ready`] follows.
    pub(in crate::cli) fn reloading() {
        // The time is what tells this reload from another one: `Type=notify-reload` wants it.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// Stopping, which may take the time of `drain`: it is not to be killed before that, whatever
    /// `TimeoutStopSec` of the unit is.
    pub(in crate::cli) fn stopping(drain: Duration) {
        let limit = drain.saturating_add(AFTER_DRAIN).as_micros();
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(limit)]);
    }

    /// Says twice in each `WATCHDOG_USEC` that this runtime and those of `others` are at work. One
    /// that hangs keeps it silent, and the service manager restarts the process.
    pub(in crate::cli) async fn keep_watch(others: Vec<Handle>) {
        let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
            return;
        };
        let mut ticks = interval((limit / 2).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if all_answer(&others).await {
                tell(&[NotifyState::Watchdog]);
            }
        }
    }

    /// Waits until each has run a task; `false` when one has ended.
    async fn all_answer(others: &[Handle]) -> bool {
        let tasks: Vec<_> = others.iter().map(|other| other.spawn(async {})).collect();
        let mut well = true;
        for task in tasks {
            well &= task.await.is_ok();
        }
        well
    }

    fn tell(state: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(state) {
            tracing::warn!("the service manager does not hear us: {error}");
        }
    }

    #[cfg(test)]
    mod tests {
        use std::time::Duration;

        use tokio::runtime::Builder;
        use tokio::time::timeout;

        use super::all_answer;

        #[test]
        fn a_runtime_that_hangs_keeps_the_watchdog_silent() {
            let single = || Builder::new_current_thread().enable_all().start_paused(true).build();
            let (here, hung, ended) = (single().unwrap(), single().unwrap(), single().unwrap());
            let busy = Builder::new_multi_thread().worker_threads(1).build().unwrap();
            assert!(here.block_on(all_answer(&[busy.handle().clone()])));
            // Nobody drives it: what a runtime looks like whose only thread is stuck.
            let both = [busy.handle().clone(), hung.handle().clone()];
            let late = here.block_on(timeout_of(&both));
            assert!(late, "a hung runtime must not answer");
            let gone = ended.handle().clone();
            drop(ended);
            assert!(!here.block_on(all_answer(&[gone])));
        }

        async fn timeout_of(others: &[tokio::runtime::Handle]) -> bool {
            timeout(Duration::from_secs(3600), all_answer(others)).await.is_err()
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod told {
    use std::time::Duration;

    use tokio::runtime::Handle;

    pub(in crate::cli) const fn ready() {}

    pub(in crate::cli) const fn stopping(_drain: Duration) {}

    #[cfg(unix)]
    pub(in crate::cli) const fn reloading() {}

    #[allow(clippy::unused_async, reason = "as on Linux")]
    pub(in crate::cli) async fn keep_watch(_others: Vec<Handle>) {}
}

pub(super) use told::{keep_watch, ready, stopping};

#[cfg(unix)]
pub(super) use told::reloading;
