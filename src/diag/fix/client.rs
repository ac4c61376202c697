//! What mends a cause that can be seen from where an application runs.

use super::{Place, Row};
use crate::diag::code::Code;

const RUN: &str = "docker run -d --name sami-llm-proxy -p {port}:8080 --restart unless-stopped \
sami-llm-proxy";

pub(super) const FIXES: &[Row] = &[
    (Code::ProxyNameNotFound, Place::Sami, None, "fix-correct-the-name"),
    (Code::ProxyNameNotFound, Place::Windows, Some("ipconfig /flushdns"), "fix-forget-old-names"),
    (Code::DnsServerUnreachable, Place::Sami, None, "fix-use-the-address"),
    (Code::DnsServerUnreachable, Place::Windows, Some("ncpa.cpl"), "fix-other-name-server"),
    (Code::DnsServerFailing, Place::Sami, None, "fix-use-the-address"),
    (Code::DnsServerFailing, Place::Windows, Some("ncpa.cpl"), "fix-other-name-server"),
    (Code::NoNetwork, Place::Windows, Some("ncpa.cpl"), "fix-connect-to-a-network"),
    (Code::NoRoute, Place::Windows, Some("ipconfig /renew"), "fix-renew-the-address"),
    (Code::CaptivePortal, Place::Windows, Some("start http://neverssl.com"), "fix-sign-in"),
    (
        Code::LocalFirewall,
        Place::Windows,
        Some(
            "New-NetFirewallRule -DisplayName sami-proxy -Direction Outbound -RemotePort {port} -Protocol TCP -Action Allow",
        ),
        "fix-allow-outgoing",
    ),
    (Code::HostUnreachable, Place::Provider, None, "fix-start-the-server"),
    (Code::HostUnreachable, Place::Sami, None, "fix-check-the-address"),
    (Code::HostSilent, Place::Provider, None, "fix-start-the-server"),
    (Code::HostSilent, Place::Sami, None, "fix-check-the-address"),
    (Code::PortFiltered, Place::Provider, None, "fix-open-the-port-at-the-provider"),
    (Code::PortFiltered, Place::Server, Some("sudo ufw allow {port}/tcp"), "fix-open-the-port"),
    (Code::PortRefused, Place::Docker, Some("docker ps -a"), "fix-is-it-running"),
    (Code::PortRefused, Place::Docker, Some(RUN), "fix-publish-the-port"),
    (
        Code::AcceptedThenClosed,
        Place::Docker,
        Some("docker logs --tail 50 sami-llm-proxy"),
        "fix-read-the-log",
    ),
    (Code::SilentPeer, Place::Docker, Some("docker restart sami-llm-proxy"), "fix-restart-it"),
    (Code::NotAProxy, Place::Sami, None, "fix-check-the-port"),
    (
        Code::NotAProxy,
        Place::Server,
        Some("sudo ss -ltnp 'sport = :{port}'"),
        "fix-who-has-the-port",
    ),
    (Code::TlsRequired, Place::Sami, None, "fix-use-https"),
    (Code::ProxyNamePoisoned, Place::Sami, None, "fix-use-the-address"),
    (Code::ProxyNamePoisoned, Place::Windows, Some("ipconfig /flushdns"), "fix-forget-old-names"),
    (Code::ProxyNamePoisoned, Place::Windows, Some("ncpa.cpl"), "fix-other-name-server"),
    (Code::NoInternet, Place::Windows, None, "fix-restart-the-router"),
    (Code::NoInternet, Place::Windows, Some("start http://neverssl.com"), "fix-sign-in"),
    (Code::NotAProxy, Place::Sami, None, "fix-choose-socks"),
    (Code::TlsNotSpoken, Place::Sami, None, "fix-use-http"),
    (
        Code::TlsNotSpoken,
        Place::Docker,
        Some(
            "docker rm -f sami-llm-proxy && docker run -d --name sami-llm-proxy -p {port}:8080 --restart unless-stopped -e SAMI_PROXY_TLS_SELF_SIGNED=true -v sami-llm-proxy:/var/lib/sami-proxy sami-llm-proxy",
        ),
        "fix-let-it-speak-tls",
    ),
    (
        Code::ProxyCertUntrusted,
        Place::Docker,
        Some("docker logs sami-llm-proxy 2>&1 | grep pin"),
        "fix-read-the-pin",
    ),
    (
        Code::ProxyCertUntrusted,
        Place::Windows,
        Some("sami-proxy probe https://{proxy} --ca FILE"),
        "fix-give-the-root",
    ),
    (Code::ProxyAuthRequired, Place::Sami, None, "fix-enter-the-password"),
    (Code::ProxyAuthRejected, Place::Sami, None, "fix-type-the-password-again"),
    (
        Code::ProxyAuthRejected,
        Place::Docker,
        Some("docker inspect sami-llm-proxy | grep SAMI_PROXY_AUTH"),
        "fix-see-the-password",
    ),
    (Code::CredentialsMisencoded, Place::Sami, None, "fix-encode-once"),
    (
        Code::ClientNotAllowed,
        Place::Docker,
        Some("docker inspect sami-llm-proxy | grep SAMI_PROXY_ALLOW_CLIENT"),
        "fix-allow-your-address",
    ),
    (
        Code::TargetDeniedByProxy,
        Place::Docker,
        Some(
            "docker rm -f sami-llm-proxy && docker run -d --name sami-llm-proxy -p {port}:8080 --restart unless-stopped -e SAMI_PROXY_AUTH=USER:PASSWORD sami-llm-proxy",
        ),
        "fix-set-a-password",
    ),
    (
        Code::TargetDeniedByProxy,
        Place::Docker,
        Some("docker inspect sami-llm-proxy | grep SAMI_PROXY"),
        "fix-look-at-the-rules",
    ),
    (
        Code::ProxyOverloaded,
        Place::Docker,
        Some("docker logs --tail 200 sami-llm-proxy"),
        "fix-who-uses-it",
    ),
    (
        Code::ProxyOverloaded,
        Place::Docker,
        Some(
            "docker rm -f sami-llm-proxy && docker run -d --name sami-llm-proxy -p {port}:8080 --restart unless-stopped --ulimit nofile=65536 -e SAMI_PROXY_MAX_PER_CLIENT=8192 sami-llm-proxy",
        ),
        "fix-raise-the-limits",
    ),
    (
        Code::UpstreamProxyDown,
        Place::Docker,
        Some("docker logs --tail 50 sami-llm-proxy"),
        "fix-read-about-the-next-proxy",
    ),
    (
        Code::ConnectFiltered,
        Place::Docker,
        Some(
            "docker rm -f sami-llm-proxy && docker run -d --name sami-llm-proxy -p {port}:8080 --restart unless-stopped -e SAMI_PROXY_TLS_SELF_SIGNED=true -v sami-llm-proxy:/var/lib/sami-proxy sami-llm-proxy",
        ),
        "fix-encrypt-the-way",
    ),
    (
        Code::ConnectFiltered,
        Place::Windows,
        Some(
            "sami-proxy serve --listen 127.0.0.1:8080 --upstream https://{proxy} --upstream-pin PIN",
        ),
        "fix-enter-through-tls",
    ),
    (
        Code::ProxyDnsBroken,
        Place::Docker,
        Some(
            "docker rm -f sami-llm-proxy && docker run -d --name sami-llm-proxy -p {port}:8080 --restart unless-stopped -e SAMI_PROXY_DNS=1.1.1.1 sami-llm-proxy",
        ),
        "fix-give-it-name-servers",
    ),
    (
        Code::ProxyNoEgress,
        Place::Server,
        Some("curl -sS --max-time 10 -o /dev/null https://1.1.1.1/ && echo works"),
        "fix-does-the-server-get-out",
    ),
    (
        Code::ProxyNoEgress,
        Place::Server,
        Some("sudo systemctl restart docker"),
        "fix-restart-docker",
    ),
    (Code::ProxyNoEgress, Place::Provider, None, "fix-ask-about-outgoing"),
    (Code::TargetNameNotFound, Place::Sami, None, "fix-correct-the-target"),
    (
        Code::TargetUnreachable,
        Place::Server,
        Some("curl -v --max-time 15 https://api.openai.com/"),
        "fix-try-without-the-proxy",
    ),
    (
        Code::TargetUnreachable,
        Place::Docker,
        Some(
            "docker rm -f sami-llm-proxy && docker run -d --name sami-llm-proxy -p {port}:8080 --restart unless-stopped -e SAMI_PROXY_PREFER_FAMILY=ipv4-only sami-llm-proxy",
        ),
        "fix-only-ipv4",
    ),
    (Code::TargetRefused, Place::Sami, None, "fix-correct-the-target"),
    (
        Code::TargetTlsReset,
        Place::Server,
        Some("curl -v --max-time 15 https://api.openai.com/"),
        "fix-where-is-the-filter",
    ),
    (Code::TargetTlsReset, Place::Provider, None, "fix-other-country"),
    (
        Code::TargetTlsStalled,
        Place::Server,
        Some("curl -v --max-time 15 https://api.openai.com/"),
        "fix-where-is-the-filter",
    ),
    (Code::TargetTlsStalled, Place::Provider, None, "fix-other-country"),
    (
        Code::TargetCertUntrusted,
        Place::Server,
        Some(
            "openssl s_client -connect api.openai.com:443 -servername api.openai.com </dev/null | grep issuer",
        ),
        "fix-compare-the-issuer",
    ),
    (
        Code::TlsIntercepted,
        Place::Windows,
        Some("certutil -store -user root"),
        "fix-exclude-from-scanning",
    ),
    (Code::TargetCertExpired, Place::Sami, None, "fix-tell-the-operator"),
    (Code::TargetCertNotYetValid, Place::Sami, None, "fix-tell-the-operator"),
    (Code::TargetCertName, Place::Sami, None, "fix-correct-the-target"),
    (Code::ClockSkew, Place::Windows, Some("w32tm /resync"), "fix-set-the-clock"),
    (Code::TargetRegionBlocked, Place::Provider, None, "fix-other-country"),
    (
        Code::TargetChallenged,
        Place::Docker,
        Some(
            "docker rm -f sami-llm-proxy && docker run -d --name sami-llm-proxy -p {port}:8080 --restart unless-stopped -e SAMI_PROXY_PREFER_FAMILY=ipv4-only sami-llm-proxy",
        ),
        "fix-only-ipv4",
    ),
    (Code::TargetChallenged, Place::Provider, None, "fix-other-address"),
    (Code::TargetRateLimited, Place::Sami, None, "fix-wait"),
    (Code::TargetHttpError, Place::Sami, None, "fix-wait-for-the-service"),
    (
        Code::MtuBlackHole,
        Place::Windows,
        Some("netsh interface ipv4 show subinterfaces"),
        "fix-lower-the-mtu",
    ),
    (
        Code::MtuBlackHole,
        Place::Server,
        Some(
            "sudo iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
        ),
        "fix-clamp-the-mss",
    ),
    (
        Code::TunnelFreezes,
        Place::Docker,
        Some(
            "docker rm -f sami-llm-proxy && docker run -d --name sami-llm-proxy -p 443:8080 --restart unless-stopped sami-llm-proxy",
        ),
        "fix-try-port-443",
    ),
    (Code::TunnelFreezes, Place::Provider, None, "fix-other-address"),
    (
        Code::TunnelCutIdle,
        Place::Docker,
        Some("docker inspect sami-llm-proxy | grep TUNNEL_IDLE_TIMEOUT"),
        "fix-no-idle-timeout",
    ),
    (Code::TunnelCutIdle, Place::Windows, None, "fix-other-network"),
    (Code::StreamBuffered, Place::Windows, None, "fix-exclude-from-scanning"),
    (Code::LinkSlow, Place::Windows, None, "fix-other-network"),
    (Code::LinkLossy, Place::Windows, Some("ping -n 30 {host}"), "fix-where-is-the-loss"),
    (
        Code::ClientAddressHidden,
        Place::Server,
        Some("sudo systemctl restart docker"),
        "fix-restart-docker-for-addresses",
    ),
    (
        Code::EgressDatacenterRefused,
        Place::Docker,
        Some(
            "docker rm -f sami-llm-proxy && docker run -d --name sami-llm-proxy -p {port}:8080 --restart unless-stopped -e SAMI_PROXY_PREFER_FAMILY=ipv4-only sami-llm-proxy",
        ),
        "fix-only-ipv4",
    ),
    (Code::EgressDatacenterRefused, Place::Provider, None, "fix-other-address"),
];
