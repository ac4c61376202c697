//! The service itself, from the first call of Windows to its last report.

use std::ffi::OsString;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{
    self, ServiceControlHandlerResult, ServiceStatusHandle,
};
use windows_service::{define_windows_service, service_dispatcher};

use super::{NAME, Read, log, manager};
use crate::cli::host::{Host, Phase};
use crate::cli::log_file::LogFile;
use crate::cli::{exit, serve};

/// The process was not started by the service manager (winerror.h).
const NOT_FOR_PEOPLE: i32 = 1063;
/// How often a stop that takes time says that it goes on.
const BEAT: Duration = Duration::from_secs(1);
/// Without a word for so long, Windows takes it for dead.
const HINT: Duration = Duration::from_secs(10);

/// Bytes after which a new log file is begun.
const FULL: u64 = 10 << 20;

/// Windows calls a function without arguments of ours.
static READ: Mutex<Option<Read>> = Mutex::new(None);

define_windows_service!(enter, begin);

/// Serves as Windows orders.
///
/// # Errors
///
/// Windows has not started this process as a service.
pub(super) fn run(read: Read) -> Result<(), String> {
    *READ.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
    let outcome = service_dispatcher::start(NAME, enter);
    outcome.map_err(|error| match manager::number(&error) {
        Some(NOT_FOR_PEOPLE) => {
            "`service run` is what Windows calls; you want: sami-proxy service start".to_owned()
        }
        _ => manager::words(&error),
    })
}

/// On a thread of Windows; there is nobody to tell when not even reporting is possible.
fn begin(_arguments: Vec<OsString>) {
    let (give, orders) = unbounded_channel();
    let handler = move |control| {
        if matches!(control, ServiceControl::Stop | ServiceControl::Shutdown) {
            let _it_has_ended = give.send(());
            ServiceControlHandlerResult::NoError
        } else if control == ServiceControl::Interrogate {
            ServiceControlHandlerResult::NoError
        } else {
            ServiceControlHandlerResult::NotImplemented
        }
    };
    let Ok(handle) = service_control_handler::register(NAME, handler) else { return };
    let reporter = Arc::new(Reporter { handle, last: Mutex::new((ServiceState::StartPending, 0)) });
    reporter.beat(ServiceState::StartPending);
    let outcome = proxy(orders, &reporter);
    let code = match outcome {
        Ok(()) => ServiceExitCode::NO_ERROR,
        Err(problem) => {
            complain(&problem);
            ServiceExitCode::ServiceSpecific(exit::USAGE.into())
        }
    };
    reporter.enter(ServiceState::Stopped, code);
}

fn proxy(orders: UnboundedReceiver<()>, reporter: &Arc<Reporter>) -> Result<(), String> {
    let read = READ.lock().unwrap_or_else(PoisonError::into_inner).take();
    let layers = read.map_or_else(|| Err("started twice".to_owned()), |read| read())?;
    let path = log();
    let file =
        LogFile::open(&path, FULL).map_err(|error| format!("{}: {error}", path.display()))?;
    reporter.beat(ServiceState::StartPending);
    let theirs = Arc::clone(reporter);
    let tell = move |phase| match phase {
        Phase::Running => theirs.enter(ServiceState::Running, ServiceExitCode::NO_ERROR),
        Phase::Stopping => {
            theirs.enter(ServiceState::StopPending, ServiceExitCode::NO_ERROR);
            let beating = Arc::clone(&theirs);
            std::thread::spawn(move || {
                while beating.beat(ServiceState::StopPending) {
                    std::thread::park_timeout(BEAT);
                }
            });
        }
    };
    let host = Host {
        given: Vec::new(),
        output: Box::new(file),
        orders: Some(orders),
        tell: Box::new(tell),
    };
    serve::run_for(host, &layers)
}

/// The last line of a service that has failed.
fn complain(problem: &str) {
    if let Ok(mut file) = LogFile::open(&log(), FULL) {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        let _nobody_to_tell = writeln!(file, "{now} ERROR {problem}");
    }
}

/// What Windows was last told: the state and its checkpoint.
struct Reporter {
    handle: ServiceStatusHandle,
    last: Mutex<(ServiceState, u32)>,
}

impl Reporter {
    /// A new state.
    fn enter(&self, state: ServiceState, code: ServiceExitCode) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (state, u32::from(pending(state)));
        self.report(*last, code);
    }

    /// The same state goes on; `false` when another has come.
    fn beat(&self, state: ServiceState) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != state {
            return false;
        }
        last.1 += 1;
        self.report(*last, ServiceExitCode::NO_ERROR);
        true
    }

    fn report(&self, (state, checkpoint): (ServiceState, u32), exit_code: ServiceExitCode) {
        let controls_accepted = if state == ServiceState::Running {
            ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN
        } else {
            ServiceControlAccept::empty()
        };
        let status = ServiceStatus {
            service_type: ServiceType::OWN_PROCESS,
            current_state: state,
            controls_accepted,
            exit_code,
            checkpoint,
            wait_hint: if pending(state) { HINT } else { Duration::ZERO },
            process_id: None,
        };
        // Nothing can be done about a manager that does not listen.
        let _either_way = self.handle.set_service_status(status);
    }
}

fn pending(state: ServiceState) -> bool {
    matches!(state, ServiceState::StartPending | ServiceState::StopPending)
}
