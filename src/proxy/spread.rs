//! Which worker gets a new connection: the one that has the fewest. A hash of addresses would let
//! tunnels that stay for hours pile up on one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// All workers; the first is where connections are accepted.
#[derive(Debug)]
pub struct Spread(Box<[Worker]>);

#[derive(Debug)]
struct Worker {
    /// `None` is here.
    runtime: Option<Handle>,
    connections: Arc<AtomicUsize>,
}

/// A connection's share of its worker.
#[derive(Debug)]
pub struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Spread {
    /// Here and on `others`.
    pub fn new(others: Vec<Handle>) -> Self {
        let runtimes = std::iter::once(None).chain(others.into_iter().map(Some));
        Self(runtimes.map(|runtime| Worker { runtime, connections: Arc::default() }).collect())
    }

    /// Starts what `serve` makes of a fresh connection on the worker that has the fewest.
    pub fn start<F>(
        &self,
        stream: TcpStream,
        tracker: &TaskTracker,
        serve: impl FnOnce(TcpStream, Seat) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let load = |worker: &&Worker| worker.connections.load(Ordering::Relaxed);
        let Some(worker) = self.0.iter().min_by_key(load) else { return };
        worker.connections.fetch_add(1, Ordering::Relaxed);
        let seat = Seat(Arc::clone(&worker.connections));
        // Boxed, for a task is moved several times before it runs and when it ends: this one is kilobytes.
        let Some(runtime) = &worker.runtime else {
            tracker.spawn(Box::pin(serve(stream, seat)));
            return;
        };
        // The socket leaves this thread's reactor and enters the other's.
        let Ok(stream) = stream.into_std() else { return };
        let there = async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                Box::pin(serve(stream, seat)).await;
            }
        };
        tracker.spawn_on(there, runtime);
    }

    /// The runtimes besides this one.
    pub fn others(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter().filter_map(|worker| worker.runtime.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::thread::ThreadId;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::runtime::Builder;
    use tokio::sync::Notify;
    use tokio_util::task::TaskTracker;

    use super::Spread;

    #[tokio::test]
    async fn connections_that_stay_are_spread_evenly_and_give_their_place_back() {
        let other = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let spread = Spread::new(vec![other.handle().clone()]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tracker = TaskTracker::new();
        let (leave, seen) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::<ThreadId>::new())));
        for _ in 0..10 {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let (leave, seen) = (Arc::clone(&leave), Arc::clone(&seen));
            spread.start(stream, &tracker, |_stream, seat| async move {
                let _seat = seat;
                seen.lock().unwrap().push(std::thread::current().id());
                leave.notified().await;
            });
        }
        while seen.lock().unwrap().len() < 10 {
            tokio::task::yield_now().await;
        }
        let here = std::thread::current().id();
        assert_eq!(seen.lock().unwrap().iter().filter(|thread| **thread == here).count(), 5);
        tracker.close();
        while !tracker.is_empty() {
            leave.notify_waiters();
            tokio::task::yield_now().await;
        }
        let left =
            spread.0.iter().map(|it| it.connections.load(std::sync::atomic::Ordering::Relaxed));
        assert_eq!(left.sum::<usize>(), 0);
        other.shutdown_background();
    }
}
