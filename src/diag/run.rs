//! Does what the plan says: area by area, the steps of an area at the same time, one budget.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::ask::Ask;
use super::checks::{Context, Measured, measure, other_end};
use super::evidence::{Command, Evidence, Role};
use super::fact::{Fact, Reference, Skip, Status};
use super::plan::{Area, Step, steps};
use super::server::Server;
use super::ssh::Asking;

/// A check ends by itself at the deadline; this is for one that does not.
const GRACE: Duration = Duration::from_millis(300);

/// Examines the subject of `ask` for at most `budget` and a third of a second; earlier when `stop` is
/// cancelled. What is known by then is returned. `begins` hears of each area when it begins.
pub async fn run(
    ask: Ask,
    budget: Duration,
    stop: CancellationToken,
    begins: impl Fn(Area) + Send,
) -> Evidence {
    let deadline = Instant::now() + budget;
    let mut evidence = ask.evidence();
    evidence.at = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|it| it.as_secs());
    let of = (ask.subject.port, deadline);
    let mut server = ask.ssh.as_ref().map(|it| Asking::begin(it, of.0, of.1, stop.clone()));
    let ask = Arc::new(ask);
    for area in Area::of(&ask.asked) {
        begins(*area);
        let context = Context {
            ask: Arc::clone(&ask),
            evidence: Arc::new(evidence.clone()),
            deadline,
            budget,
            stop: stop.clone(),
        };
        let planned = steps(*area, &evidence);
        let running = run_area(planned, evidence.facts.len(), &context);
        let (facts, told) = tokio::join!(running, ask_proxy(*area, &context));
        evidence.facts.extend(facts);
        evidence.server = evidence.server.or(told);
        if *area == Area::Docker {
            evidence.take_published_port();
        }
        // As soon as its address is known.
        if let (Some(server), Some(port)) = (&mut server, evidence.candidates().first()) {
            server.knock_at(*port);
        }
    }
    if let Some(server) = server {
        evidence.server = Some(Box::new(server.end().await));
    }
    evidence
}

/// What the proxy itself says of its server, when nobody else was asked. It needs some seconds to
/// look around, so it is asked while the last area is under way.
async fn ask_proxy(area: Area, context: &Context) -> Option<Box<Server>> {
    let asked = &context.evidence.asked;
    let wanted = matches!((asked.command, asked.role), (Command::Doctor, Role::Client));
    let asked_already = context.evidence.server.is_some() || context.ask.ssh.is_some();
    if !wanted || area != Area::Through || asked_already {
        return None;
    }
    other_end(context).await.map(Box::new)
}

async fn run_area(planned: Vec<Step>, before: usize, context: &Context) -> Vec<Fact> {
    let mut running = JoinSet::new();
    for (number, step) in planned.iter().cloned().enumerate() {
        let context = context.clone();
        if let Some(why) = step.skip.or_else(|| context.too_late()) {
            running.spawn(async move { (number, (Status::Skipped(why), None), 0) });
            continue;
        }
        running.spawn(async move {
            let begun = Instant::now();
            let hard = context.deadline + GRACE;
            let measured = tokio::select! {
                measured = timeout_at(hard, measure(&step, &context)) => measured.ok(),
                () = context.stopped_long_ago() => None,
            };
            let measured = measured.unwrap_or_else(|| (Status::Skipped(context.why()), None));
            (number, measured, u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX))
        });
    }
    let mut done = running.join_all().await;
    done.sort_by_key(|(number, ..)| *number);
    let named = planned.into_iter().zip(done);
    named
        .map(|(step, (number, found, took))| fact(step, before + number + 1, (found, took)))
        .collect()
}

fn fact(step: Step, number: usize, ((status, data), took_ms): (Measured, u64)) -> Fact {
    let reference = Reference::number(number);
    Fact { reference, check: step.check, subject: step.subject, status, data, took_ms }
}

impl Context {
    fn too_late(&self) -> Option<Skip> {
        (self.stop.is_cancelled() || Instant::now() >= self.deadline).then(|| self.why())
    }

    fn why(&self) -> Skip {
        if self.stop.is_cancelled() { Skip::Interrupted } else { Skip::OutOfTime }
    }

    async fn stopped_long_ago(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    }
}
