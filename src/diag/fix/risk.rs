//! What a command costs besides what it mends. Pure.

/// A part of a command, and the key of the sentence that warns of it; the first that fits counts.
const RISKS: &[(&str, &str)] = &[
    ("docker rm -f", "risk-made-anew"),
    ("systemctl restart docker", "risk-all-containers"),
    ("docker restart", "risk-connections-end"),
    ("docker image prune", "risk-images-deleted"),
    (" -D ", "risk-rule-deleted"),
    ("reg delete", "risk-setting-deleted"),
];

/// The key of the warning that `command` needs.
pub(super) fn risk(command: &str) -> Option<&'static str> {
    RISKS.iter().find(|(part, _)| command.contains(part)).map(|(_, text)| *text)
}

/// Every key that [`risk`] may give.
pub(super) fn texts() -> impl Iterator<Item = &'static str> {
    RISKS.iter().map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::risk;

    #[test]
    fn what_looks_is_told_from_what_changes() {
        assert_eq!(risk("docker ps -a"), None);
        assert_eq!(risk("docker start sami-llm-proxy"), None);
        assert_eq!(risk("sudo systemctl restart docker"), Some("risk-all-containers"));
        assert_eq!(risk("docker rm -f a && docker run -d --name a b"), Some("risk-made-anew"));
        assert_eq!(risk("sudo iptables -D DOCKER-USER 2"), Some("risk-rule-deleted"));
    }
}
