#!/usr/bin/env bash
# Makes tests/rulesets/NAME anew with real tools: `unshare -mn bash scripts/rulesets.sh NAME`, as root.
# Needs iptables, nftables and ufw. Nothing of this machine is touched: network and mounts are private.
# `docker` itself was listed beside a real engine (20.10) with `docker run -p 8080:8080`; the others begin with it.
OUT=$(cd "$(dirname "$0")/.." && pwd)/tests/rulesets
net() { ip link set lo up; ip link add eth0 type veth peer name p0; ip addr add 81.85.76.10/24 dev eth0; ip link set eth0 up; ip link set p0 up; ip route add default via 81.85.76.1; echo 1 >/proc/sys/net/ipv4/ip_forward; }
private_etc() { mount -t tmpfs tmpfs /run; mkdir -p /run/etc /run/w /run/lock; mount -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/w overlay /etc; }
keep() { d=$OUT/$1; mkdir -p $d; iptables-save -c | sed 's/ on [A-Z][a-z][a-z] [A-Z].*//' > $d/iptables; ip6tables-save -c | sed 's/ on [A-Z][a-z][a-z] [A-Z].*//' > $d/ip6tables; nft -j list ruleset > $d/nft.json 2>/dev/null; [ -s $d/ip6tables ] || rm -f $d/ip6tables; }
docker_rules() { iptables-restore -c <"$OUT/docker/iptables"; }
docker_drop() { docker_rules; iptables -P FORWARD DROP; }
case $1 in
empty) net; keep empty;;
docker-forward-drop) net; docker_drop; keep docker-forward-drop;;
forward-drop-flushed) net; docker_drop; iptables -F FORWARD; keep forward-drop-flushed;;
nat-flushed) net; docker_drop; iptables -t nat -F; keep nat-flushed;;
nat-half) net; docker_drop; iptables -t nat -F; iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:8080; keep nat-half;;
docker-user-drop) net; docker_drop; iptables -I DOCKER-USER -i eth0 ! -s 10.1.0.0/24 -j DROP; keep docker-user-drop;;
docker-user-orig-port) net; docker_drop; iptables -I DOCKER-USER -p tcp -m conntrack --ctorigdstport 8080 --ctdir ORIGINAL -j DROP; keep docker-user-orig-port;;
oracle) net; docker_rules; iptables -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT; iptables -A INPUT -p icmp -j ACCEPT; iptables -A INPUT -i lo -j ACCEPT; iptables -A INPUT -p udp --sport 123 -j ACCEPT; iptables -A INPUT -p tcp -m state --state NEW --dport 22 -j ACCEPT; iptables -A INPUT -j REJECT --reject-with icmp-host-prohibited; iptables -I FORWARD -j REJECT --reject-with icmp-host-prohibited; keep oracle;;
oracle-host) net; iptables -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT; iptables -A INPUT -p icmp -j ACCEPT; iptables -A INPUT -i lo -j ACCEPT; iptables -A INPUT -p tcp -m state --state NEW --dport 22 -j ACCEPT; iptables -A INPUT -j REJECT --reject-with icmp-host-prohibited; keep oracle-host;;
ufw-deny) net; private_etc; ufw --force enable >/dev/null; ufw allow 22/tcp >/dev/null; ufw deny 8080/tcp >/dev/null; keep ufw-deny; ufw status verbose >$OUT/ufw-deny/ufw; cat /etc/default/ufw >$OUT/ufw-deny/ufw.default;;
ufw-allow) net; private_etc; ufw --force enable >/dev/null; ufw allow 8080/tcp >/dev/null; keep ufw-allow; ufw status verbose >$OUT/ufw-allow/ufw;;
ufw-reject) net; private_etc; ufw --force enable >/dev/null; ufw reject 8080/tcp >/dev/null; keep ufw-reject;;
ufw-limit) net; private_etc; ufw --force enable >/dev/null; ufw limit 8080/tcp >/dev/null; keep ufw-limit;;
ufw-deny-docker) net; private_etc; docker_rules; ufw --force enable >/dev/null; ufw deny 8080/tcp >/dev/null; keep ufw-deny-docker; ufw status verbose >$OUT/ufw-deny-docker/ufw;;
ufw-docker|ufw-docker-allowed) net; private_etc; docker_rules
cat >>/etc/ufw/after.rules <<'R'
*filter
:ufw-user-forward - [0:0]
:ufw-docker-logging-deny - [0:0]
:DOCKER-USER - [0:0]
-A DOCKER-USER -j ufw-user-forward
-A DOCKER-USER -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
-A DOCKER-USER -m conntrack --ctstate INVALID -j DROP
-A DOCKER-USER -i docker0 -o docker0 -j ACCEPT
-A DOCKER-USER -j RETURN -s 10.0.0.0/8
-A DOCKER-USER -j RETURN -s 172.16.0.0/12
-A DOCKER-USER -j RETURN -s 192.168.0.0/16
-A DOCKER-USER -j ufw-docker-logging-deny -m conntrack --ctstate NEW -d 10.0.0.0/8
-A DOCKER-USER -j ufw-docker-logging-deny -m conntrack --ctstate NEW -d 172.16.0.0/12
-A DOCKER-USER -j ufw-docker-logging-deny -m conntrack --ctstate NEW -d 192.168.0.0/16
-A DOCKER-USER -j RETURN
-A ufw-docker-logging-deny -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW DOCKER BLOCK] "
-A ufw-docker-logging-deny -j DROP
COMMIT
R
ufw --force enable >/dev/null; ufw allow 8080/tcp >/dev/null; [ $1 = ufw-docker ] || ufw route allow proto tcp from any to any port 8080 >/dev/null; keep $1;;
nft-backend|nft-backend-ufw|nft-backend-ufw-route) net; private_etc
nft -f - <<'R'
table ip docker-bridges {
  map filter-forward-in-jumps { type ifname : verdict; elements = { "docker0" : jump filter-forward-in__docker0 }; }
  map filter-forward-out-jumps { type ifname : verdict; elements = { "docker0" : jump filter-forward-out__docker0 }; }
  map nat-postrouting-out-jumps { type ifname : verdict; elements = { "docker0" : jump nat-postrouting-out__docker0 }; }
  chain filter-FORWARD {
    type filter hook forward priority filter; policy accept
    oifname vmap @filter-forward-in-jumps
    iifname vmap @filter-forward-out-jumps
  }
  chain nat-PREROUTING {
    type nat hook prerouting priority dstnat; policy accept
    fib daddr type local counter jump nat-prerouting-and-output
  }
  chain nat-POSTROUTING {
    type nat hook postrouting priority srcnat; policy accept
    iifname vmap @nat-postrouting-out-jumps
  }
  chain nat-prerouting-and-output {
    iifname != "docker0" tcp dport 8080 counter dnat to 172.17.0.2:8080 comment "DNAT"
  }
  chain raw-PREROUTING {
    type filter hook prerouting priority raw; policy accept
    ip daddr 172.17.0.2 iifname != "docker0" counter drop comment "DROP DIRECT ACCESS"
  }
  chain filter-forward-in__docker0 {
    ct state established,related counter accept
    iifname "docker0" counter accept comment "ICC"
    ip daddr 172.17.0.2 tcp dport 8080 counter accept
    counter drop comment "UNPUBLISHED PORT DROP"
  }
  chain filter-forward-out__docker0 {
    ct state established,related counter accept
    counter accept comment "OUTGOING"
  }
  chain nat-postrouting-out__docker0 {
    oifname != "docker0" ip saddr 172.17.0.0/16 counter masquerade comment "MASQUERADE"
  }
}
R
if [ $1 != nft-backend ]; then ufw --force enable >/dev/null; ufw allow 8080/tcp >/dev/null; fi
[ $1 = nft-backend-ufw-route ] && ufw route allow proto tcp from any to any port 8080 >/dev/null
keep $1;;
nft-native) net; nft -f - <<'R'
table inet filter {
  set banned { type ipv4_addr; flags interval; elements = { 45.0.0.0/8, 81.2.69.0/24 } }
  chain input {
    type filter hook input priority filter; policy drop
    ct state vmap { established : accept, related : accept, invalid : drop }
    iifname "lo" accept
    ip saddr @banned drop comment "list"
    tcp flags & (fin|syn|rst|ack) == syn tcp dport { 22, 80, 8000-8100 } accept
    meta l4proto icmp accept
    reject with icmpx type admin-prohibited
  }
}
R
keep nft-native;;
fail2ban) net; docker_rules; iptables -N f2b-sshd; iptables -A f2b-sshd -s 10.1.0.2/32 -j REJECT --reject-with icmp-port-unreachable; iptables -A f2b-sshd -j RETURN; iptables -I INPUT -p tcp -j f2b-sshd; keep fail2ban;;
crowdsec) net; nft -f - <<'R'
table ip crowdsec {
  set crowdsec-blacklists { type ipv4_addr; flags timeout; elements = { 10.1.0.2 timeout 4h, 45.33.32.156 timeout 4h } }
  chain crowdsec-chain-input {
    type filter hook input priority filter - 10; policy accept
    ip saddr @crowdsec-blacklists counter drop
  }
  chain crowdsec-chain-forward {
    type filter hook forward priority filter - 10; policy accept
    ip saddr @crowdsec-blacklists counter drop
  }
}
R
keep crowdsec;;
legacy-mix) net; docker_rules; iptables-legacy -A INPUT -p tcp --dport 22 -j ACCEPT; iptables-legacy -A FORWARD -p tcp --dport 8080 -j DROP; keep legacy-mix; iptables-legacy-save -c | sed 's/ on [A-Z][a-z][a-z] [A-Z].*//' >$OUT/legacy-mix/iptables-legacy; cat /proc/net/ip_tables_names;;
ipset) net; ipset create bad hash:net; ipset add bad 45.0.0.0/8; ipset add bad 81.2.69.0/24; iptables -A INPUT -m set --match-set bad src -j DROP; keep ipset; ipset save >$OUT/ipset/sets;;
esac
