//! `sami-proxy.internal/report`: what `doctor` says on the machine on which the proxy runs.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{args, doctor};
use crate::diag::report::Report;
use crate::diag::run::run;
use crate::diag::withheld::withhold;
use crate::proxy::Reporter;
use crate::proxy::crew;
use crate::render::json;
use crate::render::words::{Lang, Words};

/// Names and connections may all be silent; the proxy waits for ten seconds.
const BUDGET: Duration = Duration::from_secs(8);

/// What the proxy is handed; `None` where there is nothing to see.
pub(in crate::cli) fn reporter() -> Option<Reporter> {
    cfg!(target_os = "linux").then(|| Reporter::new(look))
}

/// On a thread of its own: files of `/proc` are read there, and tools are run.
async fn look(port: u16) -> Option<String> {
    let (tell, told) = oneshot::channel();
    let thread = std::thread::Builder::new().name("report".to_owned());
    // Nobody waits when it was too late.
    thread.spawn(move || tell.send(document(port)).ok()).ok()?;
    told.await.ok().flatten()
}

fn document(port: u16) -> Option<String> {
    let ask = doctor::of_this_machine(doctor::role_here(), port);
    let runtime = crew::single().ok()?;
    let evidence = runtime.block_on(run(ask, BUDGET, CancellationToken::new(), |_| {}));
    // The operating system's resolver can't be interrupted; nobody waits for it.
    runtime.shutdown_background();
    let report = Report::new(withhold(evidence));
    Some(json::document(&report, args::DOCTOR, &Words::new(Lang::En)).to_string())
}
