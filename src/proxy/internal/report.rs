//! What the machine around the proxy looks like. Looking is not the proxy's business: it is handed a
//! function.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// A report holds for so long, a failure too: the service must not be a way to keep a machine busy.
const FRESH: Duration = Duration::from_secs(5);
/// For one look.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest report that is sent, in bytes.
const LONGEST: usize = 4 << 20;

type Looking = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

/// Makes the document of `/report`, one look at a time.
#[derive(Clone)]
pub struct Reporter(Arc<Inner>);

struct Inner {
    look: Box<dyn Fn(u16) -> Looking + Send + Sync>,
    last: Mutex<Option<(Instant, Option<Arc<str>>)>>,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").finish_non_exhaustive()
    }
}

impl Reporter {
    /// Looks by `look`, which is told the port that the proxy listens on and returns JSON, or nothing
    /// when it could not look. It must not block: it runs where clients are served.
    pub fn new<F>(look: impl Fn(u16) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<String>> + Send + 'static,
    {
        let look = Box::new(move |port| Box::pin(look(port)) as Looking);
        Self(Arc::new(Inner { look, last: Mutex::default() }))
    }

    /// What is known, at most a few seconds old. Whoever comes while it is being found waits for it,
    /// and whoever leaves meanwhile does not end the look: the next one would begin another.
    pub async fn report(&self, port: u16) -> Option<Arc<str>> {
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move { inner.fresh(port).await }).await.ok().flatten()
    }
}

impl Inner {
    async fn fresh(&self, port: u16) -> Option<Arc<str>> {
        let mut last = self.last.lock().await;
        if let Some((at, text)) = &*last
            && at.elapsed() < FRESH
        {
            return text.clone();
        }
        let text = timeout(LIMIT, (self.look)(port)).await.ok().flatten();
        let text: Option<Arc<str>> = text.filter(|it| it.len() <= LONGEST).map(Into::into);
        *last = Some((Instant::now(), text.clone()));
        text
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::{LONGEST, Reporter};

    #[tokio::test(start_paused = true)]
    async fn one_look_is_for_everybody_and_holds_for_a_while() {
        let looks = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&looks);
        let reporter = Reporter::new(move |port| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Some(format!("{port} {number}"))
            }
        });
        let first = {
            let reporter = reporter.clone();
            tokio::spawn(async move { reporter.report(8080).await })
        };
        tokio::task::yield_now().await;
        // It leaves; the look goes on.
        first.abort();
        let (a, b) = tokio::join!(reporter.report(8080), reporter.report(8080));
        assert_eq!((a.as_deref(), b.as_deref()), (Some("8080 0"), Some("8080 0")));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(reporter.report(8080).await.as_deref(), Some("8080 0"));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(reporter.report(8080).await.as_deref(), Some("8080 1"));
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_takes_too_long_or_says_too_much_is_none() {
        let endless = Reporter::new(|_| std::future::pending());
        assert_eq!(endless.report(1).await, None);
        let long = Reporter::new(|_| async { Some("x".repeat(LONGEST + 1)) });
        assert_eq!(long.report(1).await, None);
    }
}
