//! What is asked of the service manager of Windows.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use tokio::time::Instant;
use windows_service::Error;
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl, ServiceExitCode,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceStartType, ServiceState,
    ServiceStatus, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::{Done, NAME, log};

/// The least of the accounts that Windows has for services.
const ACCOUNT: &str = r"NT AUTHORITY\LocalService";
/// Before it is started again after a failure: soon, then not so often.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(60)];
/// After so much time without a failure the first pause holds again.
const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);
/// Nothing takes longer but a drain.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The longest drain that somebody waits for.
const STOP_LIMIT: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);

/// The numbers of Windows (winerror.h) that a person can do something about.
const ACCESS_DENIED: i32 = 5;
const ALREADY_RUNNING: i32 = 1056;
const NO_SUCH_SERVICE: i32 = 1060;
const NOT_RUNNING: i32 = 1062;
const MARKED_FOR_DELETE: i32 = 1072;
const EXISTS: i32 = 1073;

pub(super) fn install(arguments: &[String]) -> Result<Done, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let info = ServiceInfo {
        name: NAME.into(),
        display_name: NAME.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: program,
        launch_arguments: arguments.iter().map(OsString::from).collect(),
        dependencies: Vec::new(),
        account_name: Some(ACCOUNT.into()),
        account_password: None,
    };
    let access = ServiceAccess::CHANGE_CONFIG | ServiceAccess::START;
    let service = connect(ServiceManagerAccess::CREATE_SERVICE)?
        .create_service(&info, access)
        .map_err(|error| words(&error))?;
    let mut lines = vec!["the service is installed; it starts with Windows".to_owned()];
    for (what, outcome) in refine(&service) {
        if let Err(error) = outcome {
            lines.push(format!("note: this Windows does not know {what}: {}", words(&error)));
        }
    }
    lines.push("now: sami-proxy service start".to_owned());
    lines.push(format!("its log: {}", log().display()));
    let text = lines.join("\n");
    Ok(Done { text, well: true })
}

/// What makes a good service better; without it, it still is one.
fn refine(service: &Service) -> [(&'static str, windows_service::Result<()>); 4] {
    let restart = |delay| ServiceAction { action_type: ServiceActionType::Restart, delay };
    let recovery = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(FORGOTTEN),
        reboot_msg: None,
        command: None,
        actions: Some(PAUSES.map(restart).to_vec()),
    };
    [
        ("a description", service.set_description("A forward proxy for reaching LLM APIs")),
        ("a delayed start", service.set_delayed_auto_start(true)),
        ("a restart after a crash", service.update_failure_actions(recovery)),
        ("a restart after an error", service.set_failure_actions_on_non_crash_failures(true)),
    ]
}

pub(super) fn remove() -> Result<Done, String> {
    let service = open(ServiceAccess::STOP | ServiceAccess::QUERY_STATUS | ServiceAccess::DELETE)?;
    stopped(&service)?;
    service.delete().map_err(|error| words(&error))?;
    Ok(Done { text: "the service is removed; its log stays".to_owned(), well: true })
}

pub(super) fn start() -> Result<Done, String> {
    let service = open(ServiceAccess::START | ServiceAccess::QUERY_STATUS)?;
    match service.start::<&OsStr>(&[]) {
        Err(error) if number(&error) == Some(ALREADY_RUNNING) => {}
        outcome => outcome.map_err(|error| words(&error))?,
    }
    let now = settled(&service, ServiceState::StartPending, START_LIMIT)?;
    Ok(told(&now))
}

pub(super) fn stop() -> Result<Done, String> {
    stopped(&open(ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?)?;
    Ok(Done { text: "the service is stopped".to_owned(), well: true })
}

pub(super) fn status() -> Result<Done, String> {
    let now = open(ServiceAccess::QUERY_STATUS)?.query_status().map_err(|error| words(&error))?;
    Ok(told(&now))
}

/// Stops it if it runs.
fn stopped(service: &Service) -> Result<(), String> {
    // While it starts or stops it takes no orders.
    settled(service, ServiceState::StartPending, START_LIMIT)?;
    match service.stop() {
        Err(error) if number(&error) == Some(NOT_RUNNING) => return Ok(()),
        Err(error) => {
            let stopping = service.query_status().map_err(|error| words(&error))?;
            if stopping.current_state != ServiceState::StopPending {
                return Err(words(&error));
            }
        }
        Ok(_) => {}
    }
    let state = settled(service, ServiceState::StopPending, STOP_LIMIT)?.current_state;
    if state == ServiceState::Stopped {
        return Ok(());
    }
    Err(format!("the service does not stop: it is {}", word(state)))
}

/// Its status when it is no longer `pending`.
fn settled(
    service: &Service,
    pending: ServiceState,
    limit: Duration,
) -> Result<ServiceStatus, String> {
    let begun = Instant::now();
    loop {
        let now = service.query_status().map_err(|error| words(&error))?;
        // An order to stop may not have arrived yet.
        let waits = now.current_state == pending
            || (pending == ServiceState::StopPending && now.current_state == ServiceState::Running);
        if !waits {
            return Ok(now);
        }
        if begun.elapsed() > limit {
            return Err(format!("the service is {} for too long", word(now.current_state)));
        }
        std::thread::park_timeout(LOOK);
    }
}

fn told(status: &ServiceStatus) -> Done {
    let state = word(status.current_state);
    let log = log();
    let text = match (status.current_state, status.exit_code) {
        (ServiceState::Running, _) => {
            let process = status.process_id.map(|id| format!(", process {id}")).unwrap_or_default();
            format!("the service is {state}{process}; its log: {}", log.display())
        }
        (ServiceState::Stopped, ServiceExitCode::ServiceSpecific(_)) => {
            format!("the service has failed; why stands at the end of {}", log.display())
        }
        _ => format!("the service is {state}"),
    };
    Done { text, well: status.current_state == ServiceState::Running }
}

const fn word(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Stopped => "stopped",
        ServiceState::StartPending => "starting",
        ServiceState::StopPending => "stopping",
        ServiceState::Running => "running",
        ServiceState::ContinuePending | ServiceState::PausePending | ServiceState::Paused => {
            "paused"
        }
    }
}

fn connect(more: ServiceManagerAccess) -> Result<ServiceManager, String> {
    ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT | more)
        .map_err(|error| words(&error))
}

fn open(access: ServiceAccess) -> Result<Service, String> {
    connect(ServiceManagerAccess::empty())?
        .open_service(NAME, access)
        .map_err(|error| words(&error))
}

pub(super) fn number(error: &Error) -> Option<i32> {
    if let Error::Winapi(error) = error { error.raw_os_error() } else { None }
}

/// One line for a person.
pub(super) fn words(error: &Error) -> String {
    match (number(error), error) {
        (Some(ACCESS_DENIED), _) => {
            "only an administrator may do that: open PowerShell with «Run as administrator» and repeat it"
                .to_owned()
        }
        (Some(NO_SUCH_SERVICE), _) => {
            "the service is not installed: sami-proxy service install".to_owned()
        }
        (Some(EXISTS), _) => {
            "the service is installed already; to change it: sami-proxy service remove, then install"
                .to_owned()
        }
        (Some(MARKED_FOR_DELETE), _) => {
            "the service is being removed: close the window of services (services.msc) and repeat it"
                .to_owned()
        }
        (_, Error::Winapi(error)) => error.to_string(),
        _ => error.to_string(),
    }
}
