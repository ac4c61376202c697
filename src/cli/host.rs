//! Who `serve` runs for: a console or a supervisor, or the service manager of Windows.

use std::io::Write;
use std::net::TcpListener;

use tokio::sync::mpsc::UnboundedReceiver;

/// What `serve` has of whoever started it.
pub(super) struct Host {
    /// Sockets that listen already; when there are any, no others are opened.
    pub(super) given: Vec<TcpListener>,
    /// Where the log goes.
    pub(super) output: Box<dyn Write + Send>,
    /// Each is an order to stop, as a signal is.
    pub(super) orders: Option<UnboundedReceiver<()>>,
    /// Hears how far it is.
    pub(super) tell: Box<dyn Fn(Phase)>,
}

/// How far a running proxy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It listens.
    Running,
    /// It accepts nobody any more and lets connections finish.
    Stopping,
}

impl Host {
    /// Standard output, and nothing but signals.
    pub(super) fn console() -> Self {
        Self {
            given: Vec::new(),
            output: Box::new(std::io::stdout()),
            orders: None,
            tell: Box::new(|_| {}),
        }
    }

    /// The next order to stop; never when there are none.
    pub(super) async fn order(&mut self) {
        let ordered = match &mut self.orders {
            Some(orders) => orders.recv().await.is_some(),
            None => false,
        };
        if !ordered {
            std::future::pending::<()>().await;
        }
    }
}
