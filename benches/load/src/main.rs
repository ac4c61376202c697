//! The project's benchmark. `scripts/bench.sh` prepares the machine and runs this.
//!
//!   load [--rounds 5] [--seconds 1.5] [--modes a,b] [--peers a,b] [--json FILE] [--sami PROGRAM] [--other PROGRAM]
//!        [--proxy-cores 0] [--load-cores 1] as taskset understands them
//!   load --instructions [--sami PROGRAM]      counts instructions of ours alone, under callgrind
//!
//! Origin and clients are this process, pinned to core 1; the proxy under test is pinned to core 0. In every round every
//! peer is started afresh and measured in turn; what counts is the ratio of two figures of the same round.

mod client;
mod clock;
mod instructions;
mod modes;
mod origin;
mod peer;
mod report;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use modes::Mode;
use peer::{Binaries, Peer, Running};
use report::Report;

struct Options {
    rounds: usize,
    length: Duration,
    modes: Vec<Mode>,
    peers: Vec<Peer>,
    json: Option<PathBuf>,
    instructions: bool,
    load_cores: Vec<usize>,
    binaries: Binaries,
}

fn options() -> Result<Options, String> {
    let sami = "target/release/sami-proxy".into();
    let binaries = Binaries { sami, other: None, cores: "0".into() };
    let mut options = Options {
        rounds: 5,
        length: Duration::from_millis(1500),
        modes: Mode::ALL.into_iter().filter(|mode| *mode != Mode::Mixed1000).collect(),
        peers: Peer::ALL.into_iter().filter(|peer| *peer != Peer::Other).collect(),
        json: None,
        instructions: false,
        load_cores: vec![1],
        binaries,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        if flag == "--instructions" {
            options.instructions = true;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || value.parse::<f64>().map_err(|_| format!("{flag}: {value:?} is no number"));
        match flag.as_str() {
            "--rounds" => options.rounds = number()? as usize,
            "--seconds" => options.length = Duration::from_secs_f64(number()?),
            "--modes" => options.modes = pick(&value, &Mode::ALL, |mode| mode.name())?,
            "--peers" => options.peers = pick(&value, &Peer::ALL, |peer| peer.name())?,
            "--json" => options.json = Some(value.into()),
            "--proxy-cores" => options.binaries.cores = value,
            "--load-cores" => {
                let cores = value.split(',').map(str::parse).collect::<Result<_, _>>();
                options.load_cores =
                    cores.map_err(|_| format!("{flag}: {value:?} are no cores"))?;
            }
            "--sami" => options.binaries.sami = value.into(),
            "--other" => options.binaries.other = Some(value.into()),
            _ => return Err(format!("unknown option {flag}")),
        }
    }
    Ok(options)
}

fn pick<T: Copy>(text: &str, all: &[T], name: fn(T) -> &'static str) -> Result<Vec<T>, String> {
    let one = |word: &str| {
        let found = all.iter().copied().find(|item| name(*item) == word);
        let names: Vec<_> = all.iter().map(|item| name(*item)).collect();
        found.ok_or_else(|| format!("{word:?} is none of {}", names.join(", ")))
    };
    text.split(',').map(one).collect()
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("load: {error}");
            return ExitCode::from(2);
        }
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    match runtime.block_on(measure(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> std::io::Result<()> {
    let folder = std::env::temp_dir().join(format!("sami-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    // Some peers give up being root before they write their log.
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777))?;
    let outcome = in_folder(options, &folder).await;
    std::fs::remove_dir_all(&folder)?;
    outcome
}

/// So much of the proxy's core may be somebody else's in a measurement.
const DISTURBED: f64 = 0.05;

/// One measurement; repeated, twice at most, when something else ran on the proxy's core meanwhile.
/// Also tells how much that was in the end.
async fn undisturbed(
    mode: Mode,
    peer: Peer,
    options: &Options,
    folder: &std::path::Path,
) -> std::io::Result<(std::io::Result<modes::Figures>, f64)> {
    let mut tries = 0;
    loop {
        tries += 1;
        modes::FOREIGN.set(0.0);
        let running = Running::start(peer, &options.binaries, folder)?;
        let outcome = modes::bounded(mode, peer, &running, options.length).await;
        let foreign = if peer == Peer::Direct { 0.0 } else { modes::FOREIGN.get() };
        if foreign <= DISTURBED || tries == 3 {
            return Ok((outcome, foreign));
        }
    }
}

async fn in_folder(options: &Options, folder: &std::path::Path) -> std::io::Result<()> {
    if options.instructions {
        origin::start().await?;
        return instructions::run(&options.binaries.sami, folder, options.json.as_deref()).await;
    }
    // Threads inherit it.
    let mut cores = rustix::thread::CpuSet::new();
    options.load_cores.iter().for_each(|core| cores.set(*core));
    rustix::thread::sched_setaffinity(None, &cores)?;
    origin::start().await?;
    let mut report = Report::default();
    for mode in &options.modes {
        for round in 0..mode.rounds(options.rounds) {
            for peer in options.peers.iter().filter(|peer| mode.fits(**peer)) {
                eprintln!("{} {}: {}", mode.name(), round + 1, peer.name());
                let (outcome, foreign) = undisturbed(*mode, *peer, options, folder).await?;
                report.foreign = report.foreign.max(foreign);
                match outcome {
                    Ok(figures) => report.add(*mode, round, *peer, figures),
                    Err(error) => report.fail(*mode, *peer, &error),
                }
            }
        }
    }
    print!("{}", report.text());
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{:#}\n", report.json()))?;
    }
    Ok(())
}
