//! A test of every row of a table, in several laboratories at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Lab;

/// Labs at once; most of the time is silence.
const LABS: usize = 8;

/// Runs `test` for every row, in some labs; it says `Ok(false)` for what this machine lacks.
pub fn all<T: Sync>(rows: &[T], test: impl Fn(&Lab, &T) -> Result<bool, String> + Sync) {
    let (next, held, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let row = || rows.get(next.fetch_add(1, Ordering::SeqCst));
    // What was broken must not spoil the rest: true when the lab is still good.
    let passes = |lab: &Lab, row: &T| match test(lab, row) {
        Ok(done) => {
            held.fetch_add(usize::from(done), Ordering::SeqCst);
            true
        }
        Err(why) => {
            wrong.lock().unwrap().push(why);
            false
        }
    };
    let work = || {
        let Some(mut lab) = Lab::new() else { return };
        while let Some(row) = row() {
            if !passes(&lab, row) {
                lab = Lab::new().unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..LABS.min(rows.len()) {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let held = held.into_inner();
    let skipped = rows.len() - held - wrong.len();
    println!("{} rows: {held} hold, {skipped} skipped, {} wrong", rows.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
