//! The memory of the control group that this process is in, as a container sees it: its own group
//! is the root of what is mounted there.

use super::{file, number};
use crate::diag::fact::Memory;

/// cgroups(7), version 2, and version 1 with its controller.
const V2: &str = "/sys/fs/cgroup";
const V1: &str = "/sys/fs/cgroup/memory";

/// What "no limit" is in version 1: a number beyond any machine.
const NO_LIMIT: u64 = 1 << 60;

/// `None` where there is no such group, or only that of the whole machine.
pub(super) fn memory() -> Option<Memory> {
    let found = Memory {
        limit: number(&format!("{V2}/memory.max")),
        used: number(&format!("{V2}/memory.current")),
        killed: field(&format!("{V2}/memory.events"), "oom_kill"),
    };
    let found = if found.used.is_some() { found } else { older() };
    found.used.is_some().then_some(found)
}

fn older() -> Memory {
    let limit: Option<u64> = number(&format!("{V1}/memory.limit_in_bytes"));
    Memory {
        limit: limit.filter(|it| *it < NO_LIMIT),
        used: number(&format!("{V1}/memory.usage_in_bytes")),
        killed: field(&format!("{V1}/memory.oom_control"), "oom_kill"),
    }
}

/// The number in the line that begins with `name`.
fn field(path: &str, name: &str) -> Option<u64> {
    of_field(&file(path)?, name)
}

fn of_field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::of_field;

    #[test]
    fn the_counter_is_the_one_of_that_name() {
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(of_field(events, "oom_kill"), Some(2));
        assert_eq!(of_field("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", "oom_kill"), Some(5));
        assert_eq!(of_field("oom_kill_disable 0\nunder_oom 0\n", "oom_kill"), None);
    }
}
