//! A test of every row of a table, in several laboratories at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Lab;
use super::docker::Engine;

/// Labs at once; most of the time is silence.
const LABS: usize = 8;

/// Engines at once: each has a little to compute for every row.
const ENGINES: usize = 4;

/// Runs `test` for every row, in some labs; it says `Ok(false)` for what this machine lacks.
pub fn all<T: Sync>(rows: &[T], test: impl Fn(&Lab, &T) -> Result<bool, String> + Sync) {
    each(rows, LABS, |good| {
        let Some(mut lab) = Lab::new() else { return };
        while let Some(passed) = good(&|row| test(&lab, row)) {
            if !passed {
                lab = Lab::new().unwrap();
            }
        }
    });
}

/// The same on the server of labs that have a Docker engine, with README's container.
pub fn all_on_engines<T: Sync>(
    rows: &[T],
    test: impl Fn(&Lab, &Engine<'_>, &T) -> Result<bool, String> + Sync,
) {
    each(rows, ENGINES, |good| {
        let mut more = true;
        while more {
            let Some(lab) = Lab::bare() else { return };
            let Some(engine) = Engine::start(&lab) else { return };
            engine.baseline().unwrap();
            // Until something is broken, or nothing is left.
            let mut outcomes = std::iter::from_fn(|| good(&|row| test(&lab, &engine, row)));
            more = outcomes.any(|passed| !passed);
        }
    });
}

/// A test of one row.
type OfRow<'test, T> = &'test dyn Fn(&T) -> Result<bool, String>;

/// Has some threads work: each asks for rows, one by one, with the test of its own lab.
fn each<T: Sync>(
    rows: &[T],
    workers: usize,
    work: impl Fn(&dyn Fn(OfRow<'_, T>) -> Option<bool>) + Sync,
) {
    let (next, held, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let row = || rows.get(next.fetch_add(1, Ordering::SeqCst));
    // What was broken must not spoil the rest: true when the lab is still good.
    let take = |test: OfRow<'_, T>| match test(row()?) {
        Ok(done) => {
            held.fetch_add(usize::from(done), Ordering::SeqCst);
            Some(true)
        }
        Err(why) => {
            wrong.lock().unwrap().push(why);
            Some(false)
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.min(rows.len()) {
            scope.spawn(|| work(&take));
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let held = held.into_inner();
    let skipped = rows.len() - held - wrong.len();
    println!("{} rows: {held} hold, {skipped} skipped, {} wrong", rows.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
