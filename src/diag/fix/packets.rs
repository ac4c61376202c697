//! What mends a cause that lies in the packet filter or the network of the server.

use super::{Place, Row};
use crate::diag::code::Code;

pub(super) const FIXES: &[Row] = &[
    (
        Code::PortRejected,
        Place::Server,
        Some("sudo {tool} -I INPUT -p tcp --dport {inputport} -j ACCEPT"),
        "fix-accept-before-reject",
    ),
    (
        Code::DockerNatMissing,
        Place::Docker,
        Some("sudo systemctl restart docker"),
        "fix-restart-docker",
    ),
    (Code::IpForwardOff, Place::Server, Some("sudo sysctl -w {setting}=1"), "fix-forward-now"),
    (
        Code::IpForwardOff,
        Place::Server,
        Some("echo {setting}=1 | sudo tee /etc/sysctl.d/99-docker.conf"),
        "fix-forward-always",
    ),
    (
        Code::DockerUserDrop,
        Place::Server,
        Some("sudo ufw route allow proto tcp from any to any port {ufwroute}"),
        "fix-ufw-route",
    ),
    (
        Code::DockerUserDrop,
        Place::Server,
        Some("sudo {tool} -D {chain} {number}"),
        "fix-delete-docker-user-rule",
    ),
    (Code::HostFirewallDrop, Place::Server, Some("sudo ufw allow {ufwport}/tcp"), "fix-ufw-allow"),
    (
        Code::HostFirewallDrop,
        Place::Server,
        Some("sudo ufw route allow proto tcp from any to any port {ufwroute}"),
        "fix-ufw-route",
    ),
    (
        Code::HostFirewallDrop,
        Place::Server,
        Some(
            "sudo firewall-cmd --add-port={firewalld}/tcp && sudo firewall-cmd --runtime-to-permanent",
        ),
        "fix-firewalld",
    ),
    (
        Code::HostFirewallDrop,
        Place::Docker,
        Some("sudo systemctl restart {service}"),
        "fix-restart-docker",
    ),
    (
        Code::HostFirewallDrop,
        Place::Server,
        Some("sudo {tool} -I INPUT -p tcp --dport {inputport} -j ACCEPT"),
        "fix-accept-first",
    ),
    (
        Code::HostFirewallDrop,
        Place::Server,
        Some("sudo {tool} -I FORWARD -p tcp --dport {forwardport} -j ACCEPT"),
        "fix-accept-first",
    ),
    (
        Code::HostFirewallDrop,
        Place::Server,
        Some("sudo nft insert rule {family} {table} {base} tcp dport {dport} accept"),
        "fix-accept-first",
    ),
    (
        Code::HostFirewallDrop,
        Place::Server,
        Some("sudo nft list ruleset | grep -n {seek}; sudo iptables-save | grep -i {seek}"),
        "fix-find-what-drops",
    ),
    (Code::PortRejected, Place::Server, Some("sudo ufw allow {ufwport}/tcp"), "fix-ufw-allow"),
    (
        Code::PortRejected,
        Place::Server,
        Some("sudo {tool} -I FORWARD -p tcp --dport {forwardport} -j ACCEPT"),
        "fix-accept-first",
    ),
    (
        Code::PortRejected,
        Place::Server,
        Some("sudo nft insert rule {family} {table} {base} tcp dport {dport} accept"),
        "fix-accept-first",
    ),
    (
        Code::ClientBanned,
        Place::Server,
        Some("sudo fail2ban-client set {jail} unbanip {client}"),
        "fix-unban",
    ),
    (
        Code::ClientBanned,
        Place::Server,
        Some("sudo cscli decisions delete --ip {decision}"),
        "fix-unban",
    ),
    (
        Code::ClientBanned,
        Place::Server,
        Some("sudo iptables -S {list} -v; sudo nft list ruleset | grep -n {client}"),
        "fix-find-the-ban",
    ),
    (
        Code::ConntrackFull,
        Place::Server,
        Some("sudo sysctl -w net.netfilter.nf_conntrack_max={twice}"),
        "fix-more-conntrack",
    ),
    (
        Code::ReversePathFilter,
        Place::Server,
        Some("sudo sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.{interface}.rp_filter=2"),
        "fix-loose-rp-filter",
    ),
    (Code::ReversePathFilter, Place::Server, Some("ip route get {client}"), "fix-look-at-route"),
    (Code::BacklogOverflow, Place::Docker, Some("docker restart sami-llm-proxy"), "fix-restart-it"),
    (Code::CloudFirewallSuspected, Place::Provider, None, "fix-open-the-port-there"),
    (Code::CloudFirewallSuspected, Place::Provider, None, "fix-open-the-port-at-the-provider"),
    (Code::AnswersLost, Place::Provider, None, "fix-let-answers-out"),
    (Code::AnswersLost, Place::Windows, None, "fix-another-network"),
    (Code::BehindNat, Place::Provider, None, "fix-test-from-outside"),
    (Code::PublicAddressDiffers, Place::Sami, None, "fix-check-the-address"),
];
