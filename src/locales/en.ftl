# The words of the doctor in English. A code has two messages: what is wrong, in one line of at most 100
# characters, and CODE-long, the page of `sami-proxy explain CODE`. Pages have no arguments, their lines at most
# 100 characters; a line indented by four is a command, and is the same in both languages.

### The way

segment-client = this computer
segment-lan = your router and home network
segment-isp = your internet provider and the way beyond
segment-edge = the edge of the server's hosting
segment-host = the server itself
segment-docker = Docker on the server
segment-proxy = the proxy
segment-dns = names, as the proxy looks them up
segment-target = the service you want to reach

### A double click on sami-proxy.exe

window-welcome = Sami Proxy: this window finds out whether your proxy works.
window-ask = Type the address of the proxy, for example 81.85.76.160:8080, and press Enter:
window-ask-known = Press Enter to examine { $proxy }, or type the address of another proxy:
window-wrong = This is not an address of a proxy. It must look like HOST:PORT or http://USER:PASSWORD@HOST:PORT.
window-close = Press Enter to close this window.

### A report: labels, states, places

# Of the ribbon: one word each.
way-client = you
way-lan = router
way-isp = your ISP
way-edge = hosting
way-host = server
way-docker = docker
way-proxy = proxy
way-dns = names
way-target = site

state-ok = OK
state-degraded = OK with a warning
state-inconclusive = NOT CLEAR
state-broken = PROBLEM

health-ok = ok
health-bad = BAD
health-warn = warning
health-unknown = not known

severity-fine = all is well
severity-warning = warning
severity-problem = problem

confidence-certain = certain
confidence-likely = likely
confidence-possible = possible

label-because = because
label-fix = fix
label-or = or else
label-warning = warning
label-way = way
label-checks = checks
label-server = server
label-not-checked = not checked
label-more = more

place-windows = on this computer
place-server = on the server
place-docker = on the server, in Docker
place-provider = in the hosting provider's control panel
place-sami = in Sami

checks-folded =
    { $count ->
        [one] { $count } check found nothing wrong (--verbose shows all)
       *[other] { $count } checks found nothing wrong (--verbose shows all)
    }

not-checked-server = the server's firewall and containers
not-checked-server-why = they can only be seen on the server
not-checked-server-unlock = docker ps -a && sudo ss -ltnp 'sport = :{ $port }'
not-checked-beyond = whether sites can be reached through the proxy
not-checked-beyond-why = check-port looks at the port only
not-checked-beyond-unlock = sami-proxy probe { $proxy }
not-checked-rest = the rest
not-checked-rest-unlock = give the same check more time: --timeout 60

progress-names = looking up { $host }
progress-reach = connecting to { $proxy }
progress-answer = finding out who answers for { $proxy }
progress-link = measuring the way to { $proxy }
progress-rhythm = watching a stream from { $proxy }
progress-through = going through { $proxy }
progress-several = { $count } of { $attempts } ports checked
progress-seconds = s

### Causes that have no code of their own

ok-through = the proxy works: { $what } lets us reach { $target }
ok-through-many = the proxy works: { $what } lets us reach { $target } and { $count } more
fact-more = and { $count } more
ok-server = all is well on the server: port { $port } leads to the proxy, and the proxy gets out
ok-container = all is well in the container: the proxy listens on port { $port } and gets out to the internet
ok-untold = the port is open; there was not enough time to tell what answers
unexplained = the time or the facts were not enough to tell what is wrong with { $proxy }

### What mends it

fix-correct-the-name = correct the name of the proxy's host in the settings, or enter the server's IP address
fix-forget-old-names = make Windows forget old names, then try again
fix-use-the-address = enter the server's IP address instead of its name
fix-other-name-server = set another name server, such as 1.1.1.1, in the properties of the network adapter
fix-connect-to-a-network = plug in the cable or join a Wi-Fi network; the command below shows the adapters
fix-renew-the-address = ask the router for an address again; if that does not help, restart the router
fix-sign-in = open any page in a browser and sign in to the network, or use another network
fix-allow-outgoing = allow connections to port { $port } in the antivirus and in the firewall (PowerShell as administrator)
fix-start-the-server = see whether the server is running, start it if not, and look up its address
fix-check-the-address = compare the proxy's host in the settings with the server's address
fix-open-the-port-at-the-provider = open TCP port { $port } for incoming connections in the firewall
fix-open-the-port = open the port in the server's own firewall
fix-accept-before-reject = let the port through before the rule that rejects everything else
fix-is-it-running = see whether the container is running and which port it publishes
fix-publish-the-port = if it is not there, run the container with its port published
fix-read-the-log = read in the log why the proxy closes the connection
fix-restart-it = restart the container
fix-check-the-port = compare the port in the settings with that of the proxy
fix-who-has-the-port = see which program has taken the port
fix-use-https = choose the proxy type https, or the port without TLS

### What tells causes apart

separate-ask-another-resolver = ask another name server: nslookup { $host } 1.1.1.1
separate-look-at-interfaces = look at the network adapters: ipconfig /all
separate-from-another-machine = make the same check from another computer, or over the phone's mobile internet
separate-provider-console = see in the hosting's control panel whether the server is running with this address, and what its firewall says
separate-open-any-site = open any site in a browser
separate-on-the-server = look on the server: docker ps -a && sudo ss -ltnp 'sport = :{ $port }'
separate-who-listens-inside = look on the server at which address it listens: docker logs sami-llm-proxy 2>&1 | grep listening
separate-log-of-the-proxy = read the log on the server: docker logs --tail 50 sami-llm-proxy
separate-more-time = give the same check more time: --timeout 60
separate-probe-with-tls = ask with TLS: curl -vk https://{ $proxy }/healthz

### Checks and what they found

check-resolve = name
check-other-resolver = other name servers
check-route = route
check-tcp-connect = connect
check-sibling-ports = other ports
check-ttl-ladder = distance
check-control-address = control
check-hello = who answers

fact-resolve = { $subject } is { $addresses }
fact-resolve-failed = no address for { $subject }: { $failure } (after { $ms } ms)
fact-route = packets to { $to } leave from { $source }
fact-route-failed = this computer's routing table has no way to { $to }
fact-tcp-connect = { $subject }: { $outcome } ({ $times } of { $attempts }), { $ms } ms
fact-round-trip = { $subject }: { $outcome } ({ $times } of { $attempts }), { $ms } ms (fastest { $min } ms, jitter { $jitter } ms)
fact-sibling-ports = other ports: { $ports }
fact-sibling = { $ports } { $outcome } ({ $ms } ms)
fact-ttl-ladder = the answer comes from hop { $hop }
fact-ttl-ladder-behind = the answer comes from hop { $hop }, behind the server: from a container or the way to it
fact-ttl-ladder-server = the answer comes from hop { $hop }, the server itself
fact-ttl-ladder-failed = it could not be told which hop answers
fact-control-address = { $subject }, where nobody is: { $outcome }
fact-hello = { $what } answers
fact-hello-closes =
    { $times ->
        [one] { $times } connection was closed without a word
       *[other] all { $times } connections were closed without a word
    }
fact-hello-nothing =
    { $times ->
        [one] { $times } question, no answer within { $ms } ms
       *[other] { $times } questions, no answer within { $ms } ms
    }
fact-skipped = not checked: { $why }
fact-empty = nothing was measured

speaks-sami-proxy = sami-proxy
speaks-http-proxy = another HTTP proxy
speaks-web-server = a web server
speaks-ssh = an SSH server
speaks-tls = a TLS server
speaks-socks = a SOCKS proxy without HTTP
speaks-unknown = an unknown program
speaks-nothing = nobody
speaks-closes = a program that hangs up
speaks-untold = something

outcome-open = open
outcome-refused = refused
outcome-silent = no answer
outcome-host-unreachable = host unreachable
outcome-network-unreachable = network unreachable
outcome-protocol-unreachable = protocol unreachable
outcome-forbidden = forbidden by this computer
outcome-no-source = no address to send from
outcome-reset = reset
outcome-own-limits = this computer has run out of connections
outcome-other = another error
outcome-unfinished = cut short

failure-no-such-name = there is no such name
failure-no-address = the name has no address of this kind
failure-try-again = looking it up has failed for now
failure-failed = the name server refused to answer
failure-silent = no answer
failure-other = another error

skip-address-given = an address was given, not a name
skip-no-address = no address is known
skip-loopback = it is this computer
skip-port-open = the port is open
skip-port-not-open = the port is not open
skip-no-answer = the port does not answer
skip-not-public = the address is not public
skip-no-route = no packet would leave this computer
skip-no-proxy = what answers is no proxy of this kind
skip-not-ours = only sami-proxy can be asked that
skip-out-of-time = the time was over
skip-interrupted = interrupted

### What stands where an argument is not given

argument-host = <host>
argument-port = <port>
argument-sibling = <another port>
argument-what = <program>
argument-proxy = <host>:<port>
argument-other = <other>
argument-name = <name>
argument-target = <target>
argument-client = <address>
argument-container = <container>
argument-status = <status>
argument-issuer = <issuer>
argument-seconds = <seconds>
argument-kilobytes = <number>
argument-bytes = <number>
argument-percent = <number>
argument-count = <number>
argument-limit = <number>

### explain

explain-where = where
explain-placeholders =
    In the commands SERVER stands for your server's address, 8080 for the proxy's port, and
    sami-llm-proxy for the name of the container and of its image; put your own. If your proxy has a
    user name and a password, add -U USER:PASSWORD to each curl with -x. Commands for Windows are typed
    in PowerShell, commands for the server over SSH. docker rm -f with docker run makes the container
    anew: add the settings (-e, -v) that you had; until then docker inspect sami-llm-proxy shows them.
explain-list = One of them in full: sami-proxy explain CODE
explain-unknown = there is no code "{ $name }"; `sami-proxy explain` lists them all
explain-near = there is no code "{ $name }"; did you mean: { $other }?

### Nothing is wrong

ok = the port is open and { $what } answers
ok-long =
    Everything that was checked works: the address was found, the port answered, the proxy let you in
    and brought you to the services you asked for.

    An answer 401 from an LLM service counts as success here: it means "reached, now show a key".
    The doctor has no key, so this is the farthest it can get.

    If your application still fails, the difference lies in the application. Compare its proxy settings
    (type http, host, port, user, password) with those that were checked here. See also:
        sami-proxy explain app-bypasses-proxy
        sami-proxy explain system-proxy-differs

### Names

proxy-name-not-found = there is no address for the proxy's name { $host }
proxy-name-not-found-long =
    Computers need an address made of numbers, and the name server (DNS, the phone book of the internet)
    says that the name you entered for the proxy has none. Most often it is a typing mistake, or the
    domain has expired or was set up a few minutes ago.
    A special case: the proxy is written as http://user:password@host and the password contains @ : / #
    or %. Then a piece of the password is taken for the host. Such characters must be written as codes:
    @ is %40, : is %3A, / is %2F, # is %23, % is %25.

    Looks alike: a name server that does not answer at all fails for every name, not only for this one.
    Ask two independent name servers; if both say that the name does not exist, it does not exist:
        nslookup SERVER
        nslookup SERVER 1.1.1.1
    Where only the first one fails, read: sami-proxy explain dns-server-failing

    In Sami: the simplest cure is to enter the numeric address of your server (such as 81.85.76.160)
    instead of a name. The hosting provider's control panel shows it.

dns-server-unreachable = no name server answers this computer, so { $host } has no address
dns-server-unreachable-long =
    Your computer asks a name server (DNS) for the address of every name, and that server keeps silent.
    Sites do not open by name, although connections to numeric addresses work.

    Looks alike: with no internet at all numeric addresses do not work either. To tell them apart, try
    a numeric address; True in the last line means that the internet is there and only names are broken:
        Test-NetConnection 1.1.1.1 -Port 443

    On Windows, see which name servers are in use, then empty the cache and try again:
        Get-DnsClientServerAddress
        ipconfig /flushdns
    If they belong to a VPN that is switched off, or to a router that hangs, restart that VPN or router.
    Other name servers can be set by hand in Settings, Network & internet, your connection, DNS.

    In Sami: a numeric server address needs no name server at all.

dns-server-failing = the name server answers with a failure when asked for { $host }
dns-server-failing-long =
    Your name server (DNS) is there, but instead of an address it answers "I could not find out", or it
    denies a name that others know. Some sites open by name and some do not, or none do.

    Looks alike: a name that really does not exist. Ask another name server for the same name; if that
    one knows an address, yours is to blame:
        nslookup SERVER
        nslookup SERVER 1.1.1.1

    On Windows, empty the cache first, as an old failure may be remembered:
        ipconfig /flushdns
        Get-DnsClientServerAddress
    If that does not help, restart the router, or set another name server in Settings, Network &
    internet, your connection, DNS.

    In Sami: enter the numeric address of the server instead of its name.

proxy-name-poisoned = { $host } is answered with the false address { $other }
proxy-name-poisoned-long =
    The name of your proxy leads to a wrong address: not the one that independent name servers give. It
    happens when somebody on the way answers in place of the name server, or when a line in the "hosts"
    file of this computer overrides it. You then talk to a stranger, or to nobody.

    Looks alike: an address that really changed a short while ago, or a service that has several.
    Compare the two answers, and both with the address that the hosting provider shows for your
    server:
        nslookup SERVER
        nslookup SERVER 1.1.1.1
    The second answer may be forged on the way, too; the provider's control panel can't.

    On Windows, look for the name in the hosts file. A line with it beats every name server; remove it:
        Get-Content C:\Windows\System32\drivers\etc\hosts
        ipconfig /flushdns

    In Sami: enter the numeric address of your server instead of its name. Nobody can forge that answer,
    because the question is no longer asked.

### This machine

no-network = this computer is not connected to any network
no-network-long =
    No network adapter is switched on and connected: neither cable nor Wi-Fi. Every connection fails at
    once, and nothing leaves the computer. The proxy has nothing to do with it.

    Looks alike: with no-route the adapter is connected and devices at home (the router's page, a
    printer) can be reached, but the internet can't.

    On Windows: look at the network symbol beside the clock; check that airplane mode is off, that the
    cable is in, that Wi-Fi is on. The adapters and their state:
        Get-NetAdapter
    "Disconnected" means no cable or no Wi-Fi; "Disabled" means switched off. Switch it on here:
        ncpa.cpl

no-route = this computer is on a network, but knows no way to { $host }
no-route-long =
    The computer is connected to a network, but has no "default gateway": nobody has told it which
    device leads to the internet. Connections to the outside fail at once, before anything is sent,
    while devices at home can be reached. Another form: the network has only IPv6, and the proxy is
    given as an IPv4 address (numbers with dots).

    Looks alike: with no-internet there is a gateway and packets leave, but nothing comes back.

    On Windows, ask the router for an address and a gateway again:
        ipconfig /renew
        ipconfig
    "Default Gateway" must not be empty now. If it is, restart the router; if you set the address by
    hand, set the gateway too. A VPN that was not shut down cleanly can also leave this behind: start
    it and stop it properly.
    On Linux a line that begins with "default" must be in the output of:
        ip route

no-internet = the network is there, but nothing in the internet answers
no-internet-long =
    Your computer is connected and knows its way out, but neither the proxy nor independent well-known
    addresses answer. The fault lies between your router and your internet provider.

    Looks alike: if only the proxy is silent and other sites open, it is not this: see host-silent and
    port-filtered. If a sign-in page opens in the browser, it is captive-portal. A firewall on this
    computer can also cut everything: see local-firewall.

    On Windows, see how far you get; the router is the address that "Default Gateway" shows:
        ipconfig
        Test-NetConnection 1.1.1.1 -Port 443
        tracert -d 1.1.1.1
    If the first line of tracert (your router) is missing, restart the router. If the router answers and
    nothing after it, call your internet provider: the line is down or not paid.
    To be sure, share the internet of your phone with this computer: if that works, it is the provider.

captive-portal = this network wants you to sign in on a web page first
captive-portal-long =
    In hotels, cafes, trains and offices the network lets you into the internet only after you have
    signed in or accepted the rules on a web page (a "captive portal"). Until then it answers in the
    place of every site. Programs see errors, wrong certificates or strange redirections.

    Looks alike: an antivirus or a company that opens encrypted traffic (tls-intercepted) does so
    all the time and leaves plain http alone; a captive portal redirects plain http as well, and
    goes away after the sign-in.

    On Windows: open this address in a browser; the sign-in page appears. Sign in, then try again.
        start http://neverssl.com
    If the site itself is shown, you are signed in already. The sign-in often ends after some hours.

local-firewall = a firewall or antivirus on this computer does not let the program out to port { $port }
local-firewall-long =
    The connection dies on your own computer: the Windows firewall, an antivirus or the "kill switch" of
    a VPN forbids this program to reach the proxy. No packet leaves the computer. A refusal comes faster
    than any answer from the network could; or there is only silence.

    Looks alike: a closed port on the server (port-refused) can't answer faster than a packet goes there
    and back, and it is closed to every program of this computer. Try with other programs:
        Test-NetConnection SERVER -Port 8080
        curl.exe -v --max-time 10 http://SERVER:8080/healthz
    If these work and your application does not, the block is for that application.

    On Windows: look into the antivirus (network protection, application control) and allow your
    application. Is there a rule of Windows that blocks?
        Get-NetFirewallRule -Direction Outbound -Action Block -Enabled True
    A rule that allows it (PowerShell as administrator; put the real path):
        New-NetFirewallRule -DisplayName Sami -Direction Outbound -Program C:\Sami.exe -Action Allow

### The way to the port

host-unreachable = a router on the way reports that { $host } cannot be reached
host-unreachable-long =
    A router on the way, or the server itself, answers that it can't deliver the packet. So somebody
    speaks; it is not mere silence. Mostly the address is wrong, or belongs to a server that was
    deleted or is switched off.

    What looks alike differs in who reports, and after how long:
    - a router, after about 3 seconds: nobody uses that address in the hosting's network;
    - the server itself, after about 4 seconds: it lives, but its container has gone and Docker still
      sends packets to it (see docker-nat-missing);
    - the server itself, at once: its firewall says so (see port-rejected).

    At the hosting provider: compare the server's address with the one in Sami, digit by digit, and see
    whether the server is running. Start it if it is not.
    On the server, if it reports this itself:
        docker ps -a --filter name=sami-llm-proxy
        sudo systemctl restart docker

host-silent = { $host } does not answer at all, on port { $port } or any other that was tried
host-silent-long =
    Nothing of the server answers: not the proxy's port, not SSH (22), not the usual web ports.
    Packets go out, nothing comes back, and the attempt ends with a timeout.

    Four things look the same from here:
    - the address in Sami is wrong;
    - the server is off, hangs, or has been cut off by its hosting;
    - its firewall lets nobody in, and you have only tried closed ports;
    - your internet provider blocks the server's address.
    To tell them apart, try from another network: share your phone's mobile internet with the computer.
    Where the phone reaches it, your provider blocks the address.
        Test-NetConnection SERVER -Port 22
        Test-NetConnection SERVER -Port 8080

    At the hosting provider: compare the address; see whether the server is on; open its console in the
    browser (VNC, serial console); read your mail for notes on abuse, attacks or unpaid bills.
    If it is your internet provider: ask the hosting for another address, or rent a server elsewhere.

port-filtered = port { $port } of { $host } stays silent, although the server itself answers on port { $sibling }
port-filtered-long =
    The server lives, as another port of it answers, but packets to the proxy's port vanish without a
    word. Somebody on the way throws them away: mostly the firewall of the hosting, sometimes the
    firewall on the server, rarely your internet provider.

    Which of them? Watch on the server whether your packets arrive, while you try to connect from home:
        sudo tcpdump -ni any tcp port 8080
    Lines with your address: they arrive, so it is the server's firewall (see host-firewall-drop and
    docker-user-drop). No line at all: they are lost before. Then try over your phone's mobile internet.
    Silence again: the hosting's firewall. It works: your internet provider blocks this port.

    At the hosting provider: find Firewall, Security group or Network rules in the control panel and
    allow incoming TCP, port 8080, from everywhere (0.0.0.0/0). In Oracle Cloud there are two places:
    the security list and the network security group.
    If it is your internet provider, publish the proxy on port 443, that of ordinary web sites, and
    enter 443 in Sami (the other -e and -v as you had them):
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 443:8080 --restart unless-stopped sami-llm-proxy

port-rejected = a firewall rejects connections to port { $port } of { $host }
port-rejected-long =
    A firewall answers "forbidden" at once (an ICMP message "prohibited" or "port unreachable"). That is
    better than silence: the way there and back works, only a rule stands against you. Ubuntu images of
    Oracle Cloud come with such a rule, and it catches Docker's ports, too.

    Looks alike: with port-refused nothing listens and no firewall is involved; with host-unreachable a
    router in between reports, or the report takes seconds.

    On the server, find the rule. In each list rules hold from top to bottom, the first match decides:
        sudo iptables -L INPUT -n --line-numbers
        sudo iptables -L FORWARD -n --line-numbers
    An "ACCEPT" for the port must stand before the line with "REJECT". With Docker (FORWARD):
        sudo iptables -I FORWARD 1 -p tcp --dport 8080 -j ACCEPT
        sudo iptables -I FORWARD 1 -p tcp --sport 8080 -j ACCEPT
    For a proxy without Docker, or with --network host (INPUT):
        sudo iptables -I INPUT 1 -p tcp --dport 8080 -j ACCEPT
    To keep it after a restart of the server (package iptables-persistent):
        sudo netfilter-persistent save

port-refused = { $host } refuses connections to port { $port }: nothing listens there, or it is not published
port-refused-long =
    The server lives and says at once: nobody is at this port. The way works and no firewall swallows
    anything. Either the proxy does not run, or Docker does not publish its port, or the port in Sami is
    another. (Windows repeats the attempt and shows the refusal only after about 2 seconds.)

    Looks alike: with port-filtered nothing answers at all. A local firewall also refuses, but faster
    than any network could, and then no packet leaves (see local-firewall).

    On the server, see whether the container runs and which port it has outside:
        docker ps -a --filter name=sami-llm-proxy
        docker port sami-llm-proxy
        sudo ss -ltnp
    - no such container: container-missing; "Exited": container-stopped; "Restarting":
      container-restarting;
    - "Up", and docker port shows nothing: port-not-published;
    - it shows 127.0.0.1:8080: port-published-loopback-only;
    - it shows 0.0.0.0:8080: the proxy in the container does not listen there (listener-loopback-only,
      listener-other-port).
    In Sami: compare host and port with what docker port shows.

answers-lost = packets reach port { $port } of { $host }, but the answers do not come back
answers-lost-long =
    The server has seen packets from you and has answered them, yet nothing came back. So the port is
    open and somebody listens; only the way back is broken. It can't be seen from one end alone.

    Who can do that:
    - a firewall of the hosting that also judges outgoing packets, or one without memory, which wants
      a rule of its own for answers (TCP from port 8080, or "established");
    - a second network card or a VPN on the server by which answers leave;
    - a firewall or antivirus on your computer, your router, or your internet provider.

    Looks alike: with host-firewall-drop and docker-user-drop the packets arrive and no answer leaves.
    To tell the places apart, try over your phone's mobile internet: if that works, it is your network.

    On the server, see by which interface answers to you leave (put your own address):
        ip route get 203.0.113.7

    At the hosting provider: look for rules for outgoing traffic and allow TCP from port 8080.

### After the connect

accepted-then-closed = port { $port } of { $host } accepts the connection and closes it at once
accepted-then-closed-long =
    Somebody picks up and hangs up before a word was said. Often that is Docker's helper program
    (docker-proxy) with no proxy behind it: it accepts every connection before it knows whether there is
    anybody to pass it on to. It may also be the proxy itself: with --allow-client it closes connections
    of everybody else.

    Looks alike: with port-refused nobody even picks up; with silent-peer the line stays open.
    Note that on the server, to 127.0.0.1, Docker's helper answers in any case. A test there may say
    "open" while it says "refused" from home. Believe the test from home.

    On the server: does the proxy run, and does it listen on all addresses (0.0.0.0:8080 or :::8080)?
        docker ps -a --filter name=sami-llm-proxy
        docker exec sami-llm-proxy netstat -tln
        docker logs --tail 50 sami-llm-proxy
    If the list shows 127.0.0.1:8080, see listener-loopback-only. If clients are limited with
    --allow-client, see client-not-allowed. If all seems right, restart Docker, which renews its rules:
        sudo systemctl restart docker

silent-peer = port { $port } of { $host } accepts the connection and then says nothing
silent-peer-long =
    The connection is made and your request is delivered, but no answer comes. The server's system
    accepts connections on behalf of its programs, even when the program behind hangs, is paused or has
    reached its limit of open files.

    Looks alike: a filter on the way that swallows the request (connect-filtered). There your bytes are
    not even confirmed, and a harmless request such as the one below works. Here nothing works:
        curl.exe -v --max-time 10 http://SERVER:8080/healthz

    On the server: is the container paused, is it healthy, what does it say?
        docker ps --filter name=sami-llm-proxy
        docker logs --tail 50 sami-llm-proxy
        docker unpause sami-llm-proxy
    If it is neither paused nor short of open files (fd-limit), restart it; save the log before:
        docker logs sami-llm-proxy > sami-llm-proxy.log 2>&1
        docker restart sami-llm-proxy

connect-filtered = somebody on the way cuts off requests for { $target }; others pass
connect-filtered-long =
    The proxy answers, but as soon as you ask it for a certain service, the connection breaks or falls
    silent, and the proxy has never received the request. Between you and the server somebody reads
    along. With a proxy of type http the name of each service is readable on the way: CONNECT
    api.openai.com:443.

    Looks alike: a proxy that refuses answers 403 and has a line about it in its log. With silent-peer
    harmless requests get no answer either. Compare a harmless name with the one you need:
        curl.exe -v --max-time 15 -x http://SERVER:8080 https://example.com/
        curl.exe -v --max-time 15 -x http://SERVER:8080 https://api.openai.com/
        docker logs --tail 20 sami-llm-proxy
    After a break wait three minutes before you repeat: some filters then block everything for a while.

    The cure is to encrypt the way to the server, so that no name can be read. On the server, let the
    proxy make itself a certificate; the last line prints its fingerprint (PIN, sha256:...):
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          -e SAMI_PROXY_TLS_SELF_SIGNED=true -v sami-llm-proxy:/var/lib/sami-proxy sami-llm-proxy
        docker logs sami-llm-proxy 2>&1 | grep pin
    On Windows, run sami-proxy as well, with that PIN, and leave the window open:
        sami-proxy serve --listen 127.0.0.1:8080 --upstream https://SERVER:8080 --upstream-pin PIN
    In Sami enter the host 127.0.0.1 and the port 8080.

not-a-proxy = port { $port } of { $host } is open, but it is not a proxy: { $what } answers
not-a-proxy-long =
    Something answers, but it is no proxy: a web server, an administration page, SSH, or a device of
    your provider or VPN that accepts every connection.

    Which of them?
    - "Server: nginx" or "Apache" in the answer: a web server has the port;
    - "SSH-2.0": that is port 22, or SSH on this port;
    - the address 192.0.2.1, which belongs to nobody, "accepts" connections as well: a VPN, a filter
      program or your provider answers in the place of everybody.
        curl.exe -i --max-time 10 http://SERVER:8080/
        Test-NetConnection 192.0.2.1 -Port 8080

    On the server: see who has the port, and which port the proxy really has:
        sudo ss -ltnp "sport = :8080"
        docker port sami-llm-proxy
    If it is another program, stop it or give the proxy another outer port (here 8081), with the -e and
    -v that you had, and enter that port in Sami:
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8081:8080 --restart unless-stopped sami-llm-proxy

tls-required = port { $port } of { $host } wants encryption (TLS) from the first byte
tls-required-long =
    This proxy speaks only TLS on its port: an address beginning with https://. You came without it, and
    it hung up or answered something unreadable. A sami-proxy understands both on the same port, so this
    is probably another proxy, or something like nginx or a load balancer stands in front of it.

    Looks alike: accepted-then-closed. The difference is that here the same port greets politely when it
    is spoken to in TLS:
        curl.exe -v --max-time 10 --proxy-insecure -x https://SERVER:8080 https://www.google.com/

    In Sami: if the type https is offered, choose it. If there is only http, run sami-proxy on your own
    computer as a bridge; it takes http and goes on in TLS. The pin is the fingerprint of the server's
    certificate; leave it out if the certificate is a real one for that name:
        sami-proxy serve --listen 127.0.0.1:8080 --upstream https://SERVER:8080 --upstream-pin PIN
    and enter 127.0.0.1 and 8080 in Sami.

tls-not-spoken = { $proxy } does not speak TLS, but was addressed with https://
tls-not-spoken-long =
    The proxy was entered as https://, but its port speaks plain http. The program sends an encrypted
    greeting, the proxy does not understand it, and the error reads "wrong version number", "invalid
    message" or the like. This is not about the sites you visit: an http:// proxy carries encrypted
    https sites just as well.

    Looks alike: a filter on the way breaks at random times and for some names only; this fails always
    and at once. The same address with http:// works:
        curl.exe -v --max-time 10 -x http://SERVER:8080 https://www.google.com/

    In Sami: set the type of the proxy to http (in a variable: http:// in place of https://).
    On the server, if you do want encryption up to the proxy, let it make itself a certificate:
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          -e SAMI_PROXY_TLS_SELF_SIGNED=true -v sami-llm-proxy:/var/lib/sami-proxy sami-llm-proxy

proxy-cert-untrusted = the certificate of the proxy { $host }:{ $port } is not trusted (issuer: { $issuer })
proxy-cert-untrusted-long =
    The proxy is spoken to in TLS (https://), and the certificate that it shows is signed by nobody whom
    this computer knows, or is for another name. With --tls-self-signed that is as it should be: then
    its fingerprint (pin) has to be given on this side.

    Looks alike: somebody in between who answers in the proxy's stead. So compare the fingerprint
    before you trust it. target-cert-untrusted is about the site beyond the proxy.

    On the server, read the fingerprint (sha256:...) of its own certificate:
        docker logs sami-llm-proxy 2>&1 | grep pin
    On Windows, if your application can't be told a fingerprint, let a sami-proxy here do it, with
    that PIN, and enter the host 127.0.0.1 and the port 8080 in Sami:
        sami-proxy serve --listen 127.0.0.1:8080 --upstream https://SERVER:8080 --upstream-pin PIN
    Or give the proxy a certificate for its name that a public authority has signed, and enter it in
    Sami by that name, not by its address.

proxy-auth-required = the proxy { $proxy } wants a user name and a password
proxy-auth-required-long =
    The proxy works and can be reached, but it answers 407: it lets in only those who give a user name
    and a password, and none was given.

    Looks alike: an answer 401 comes from the service, not from the proxy, and is about your key there.
    With proxy-auth-rejected a name and a password were given, but wrong ones.
    If the proxy wants a scheme such as NTLM or Digest, it is not sami-proxy: check host and port.

    In Sami: fill in Username and Password of the proxy. For programs that read variables (special
    characters of the password as codes: @ is %40, : is %3A, / is %2F):
        setx HTTPS_PROXY http://USER:PASSWORD@SERVER:8080
    On the server, if you have forgotten them; the first line shows what was set:
        docker inspect sami-llm-proxy | grep SAMI_PROXY_AUTH
    To set new ones, make the container anew:
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          -e SAMI_PROXY_AUTH=USER:PASSWORD sami-llm-proxy

proxy-auth-rejected = the proxy { $proxy } does not accept this user name and password
proxy-auth-rejected-long =
    A user name and a password were sent, and the proxy answers 407 all the same: they are not right.
    Mostly a typing mistake, a space copied along, or a special character in an address: in
    http://user:password@host the characters @ : / # % of the password must be written as codes (@ is
    %40, : is %3A, / is %2F, # is %23, % is %25). In separate fields, as in Sami, they must not.

    Looks alike: 401 is an answer of the service and is about your key there. proxy-auth-required means
    that nothing was sent at all.

    In Sami: type name and password again by hand; capitals and small letters count.
    Test them outside of Sami:
        curl.exe -v --max-time 15 -x http://SERVER:8080 -U USER:PASSWORD https://www.google.com/
    On the server, see what was set, or set a new pair of letters and digits only:
        docker inspect sami-llm-proxy | grep SAMI_PROXY_AUTH
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          -e SAMI_PROXY_AUTH=USER:PASSWORD sami-llm-proxy

client-not-allowed = the proxy does not serve your address
client-not-allowed-long =
    The proxy has a list of addresses that may use it (--allow-client), and yours is not on it. At home
    your address changes now and then, so what worked yesterday may be refused today. And when Docker
    hides the clients' addresses, all look like 172.17.0.1 and the list fits nobody (see
    client-address-hidden).

    Looks alike: target-denied-by-proxy is about the service you want, not about you. With
    accepted-then-closed there may be no proxy behind the port at all.

    On the server, see which address the proxy refuses, and what the list says:
        docker logs --tail 20 sami-llm-proxy
        docker inspect sami-llm-proxy | grep SAMI_PROXY_ALLOW_CLIENT
    Start it again with your present address in the list or, better, with a user name and a password in
    place of the list, because those do not change:
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          -e SAMI_PROXY_AUTH=USER:PASSWORD sami-llm-proxy

target-denied-by-proxy = the proxy's rules do not allow { $target }
target-denied-by-proxy-long =
    The proxy works, but answers 403 for this service: its rules forbid it. The second line of its
    answer says which rule. The usual ones:
    - no user name and password are set up. Then strangers reach only the built-in list of LLM services,
      ports 443 and 80, and nothing else. That keeps the server from being abused;
    - --allow-to or --deny-to say so;
    - the address is private (192.168..., 10..., 127...), or the port is one of mail (25, 465, 587).

    Looks alike: a service can answer 403, too. Then a tunnel had been made before (200) and the words
    are those of the service. Read the proxy's answer (with its name after CONNECT):
        curl.exe -v --max-time 15 -x http://SERVER:8080 https://www.wikipedia.org/

    On the server, open everything public to yourself by setting a user name and a password:
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          -e SAMI_PROXY_AUTH=USER:PASSWORD sami-llm-proxy
    If there are SAMI_PROXY_ALLOW_TO or SAMI_PROXY_DENY_TO, add the service there or take the rule out:
        docker inspect sami-llm-proxy | grep SAMI_PROXY

proxy-overloaded = the proxy has reached its limit of connections
proxy-overloaded-long =
    The proxy answers 503 with "Retry-After": it has as many connections as it may have, in all or from
    your address. Either very many programs use it at once, or one of them opens connections and never
    closes them, or strangers have found the port.

    Looks alike: 503 of the service itself comes through a working tunnel and in the words of that
    service. With fd-limit the proxy could not get enough open files.

    On the server, see who has how many connections, and how much the proxy does:
        docker logs --tail 200 sami-llm-proxy
        docker stats --no-stream sami-llm-proxy
    If addresses appear that you don't know, set a user name and a password (see open-proxy).
    If they are all yours, raise the limits (--max-connections, --max-per-client):
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          --ulimit nofile=65536 -e SAMI_PROXY_MAX_PER_CLIENT=8192 sami-llm-proxy

upstream-proxy-down = the next proxy in the chain can't be used
upstream-proxy-down-long =
    Your proxy does not go to the services by itself, it passes everything on to another proxy (setting
    --upstream), and that one can't be reached, refuses, or is not the one whose pin was given. The
    answer is 502 for every service.

    Looks alike: with proxy-no-egress there is no second proxy, and the server has no way out by itself.
    With target-unreachable only one service fails.

    On the machine with the setting --upstream, read what is wrong with the next one:
        docker logs --tail 20 sami-llm-proxy
        docker inspect sami-llm-proxy | grep SAMI_PROXY_UPSTREAM
    Then check that next proxy by itself, with its own address:
        curl -v --max-time 15 http://SERVER:8080/healthz
    If the log speaks of the pin, the other side has a new certificate. Copy the new pin from the log
    over there, and only if you know why it changed:
        docker logs sami-llm-proxy 2>&1 | grep pin

### Beyond the proxy

proxy-dns-broken = the proxy cannot look up any name
proxy-dns-broken-long =
    The proxy is there and lets you in, but it answers 502 or 504 for every name: the server where it
    runs finds no address for anything. Numeric addresses would work through it.

    Looks alike: with target-name-not-found only one name fails. With proxy-no-egress numeric addresses
    fail as well. Ask the proxy itself; behind "dns" stands whether it finds names:
        curl.exe -x http://SERVER:8080 http://sami-proxy.internal/health

    On the server: do names work outside of the container, and inside?
        getent hosts api.openai.com
        docker exec sami-llm-proxy nslookup api.openai.com
        docker exec sami-llm-proxy cat /etc/resolv.conf
    Only inside they fail: see container-dns-broken.
    They fail in both places: the name servers of the server itself are broken. Give the proxy others
    (with the -e and -v that you had):
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          -e SAMI_PROXY_DNS=1.1.1.1 sami-llm-proxy

proxy-no-egress = the proxy itself cannot get out to the internet
proxy-no-egress-long =
    The proxy answers you, but none of its own connections outwards succeeds. You reach the server; the
    server reaches nobody.

    Looks alike: with target-unreachable a single service is affected. With proxy-dns-broken only names
    fail and numeric addresses work. Ask the proxy; "ok" stands behind dns (names), ipv4 and ipv6:
        curl.exe -x http://SERVER:8080 http://sami-proxy.internal/health

    On the server: can the server itself get out, without the container?
        curl -sS --max-time 10 -o /dev/null https://1.1.1.1/ && echo works
        docker exec sami-llm-proxy nc -w 5 1.1.1.1 80 && echo works
    The first works and the second does not: see container-no-egress.
    Neither works: look for a rule that forbids outgoing connections:
        sudo iptables -S OUTPUT
        sudo ufw status verbose
    At the hosting provider, if the server has no such rule: outgoing traffic may be blocked,
    because the traffic of the month is used up, a bill is unpaid, or a firewall there has outbound
    rules. Ask them.

target-name-not-found = there is no such name: { $target }
target-name-not-found-long =
    The proxy works and asked for the address of this service, and the answer was: there is no such
    name. Other names work.

    Looks alike: proxy-dns-broken, where no name works at all. To tell them apart, ask an independent
    name server, with the name in question in the place of api.openai.com:
        nslookup api.openai.com 1.1.1.1

    In Sami: look at the address of the service (Base URL) for typing mistakes; compare it with the
    documentation of the service. An address that exists only inside a company's or home network can't
    be found by a proxy out on the internet.

target-unreachable = the proxy gets no connection to { $target }
target-unreachable-long =
    The proxy works and found the address of the service, but its connection there got no answer. Other
    services can be reached. Either the service is down, or it drops packets from your server's network,
    or something between the two is broken.

    Looks alike: with proxy-no-egress no service can be reached. With target-refused the service's
    machine says no at once, instead of keeping silent.

    On the server: the same without the proxy, over IPv4 and over IPv6:
        curl -4 -v --max-time 15 https://api.openai.com/
        curl -6 -v --max-time 15 https://api.openai.com/
    It works: restart the proxy and try again.
        docker restart sami-llm-proxy
    Only -4 works: let the proxy use IPv4 alone:
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          -e SAMI_PROXY_PREFER_FAMILY=ipv4-only sami-llm-proxy
    Neither works: look at the service's status page, wait, or take a server in another network.

target-refused = { $target } refuses the connection
target-refused-long =
    The proxy reached the machine of the service, and that machine said at once: nobody is at this port.
    The way is fine up to the very end.

    Looks alike: target-unreachable, where nothing answers; port-refused, where it is your own server
    that refuses.

    In Sami: check the address and the port of the service (Base URL). LLM services live on port 443; an
    http:// in place of https:// or a port such as :8000 is often the mistake.
    On the server, see whether it is the same without the proxy:
        curl -v --max-time 15 https://api.openai.com/
    If it is refused there as well and the address is right, the service is down. Wait.

target-tls-reset = the connection to { $target } breaks at the start of encryption
target-tls-reset-long =
    The proxy made the connection, but it was broken off just when encryption was about to begin. At
    that moment the name of the service is readable on the way, and filters act on it. The filter
    can sit between you and the server, or between the server and the service.

    To find out where, try the same on the server, without the proxy:
        curl -v --max-time 15 https://api.openai.com/
    It works there: the filter is between you and the server. Encrypt that way as connect-filtered
    describes; then no name can be read.
    It breaks there, too: the filter is at the hosting or in its country, or the service itself
    hangs up. A server in another country helps, or with another hosting.

    Looks alike: a reset for every service, harmless ones too, is no filter on names. Compare:
        curl.exe -v --max-time 15 -x http://SERVER:8080 https://example.com/
    After a break wait three minutes before you repeat; some filters then block everything for a while.

target-tls-stalled = encryption with { $target } begins and does not get on
target-tls-stalled-long =
    The connection to the service is made, and then the exchange of keys stops: no error, no answer. Two
    causes are usual: large packets get lost on the way while small ones pass (see mtu-black-hole), or a
    filter drops packets that name this service (see target-tls-reset, which breaks instead).

    To tell them apart: do other services work through the same proxy?
        curl.exe -v --max-time 15 -x http://SERVER:8080 https://example.com/
        curl.exe -v --max-time 15 -x http://SERVER:8080 https://api.openai.com/
    All of them hang: large packets. Only this one hangs: a filter, or the service.
    On the server, without the proxy and from inside the container:
        curl -v --max-time 15 https://api.openai.com/
        docker exec sami-llm-proxy wget -T 15 -O /dev/null https://example.com/
    If it hangs in the container only, see container-mtu. If it hangs in both, a server elsewhere helps.
    If it hangs only from home, encrypt the way to the server, as connect-filtered describes.

target-cert-untrusted = nobody vouches for the certificate of { $target } (issuer: { $issuer })
target-cert-untrusted-long =
    A certificate is the identity card of a site. This one was not issued by anybody whom computers
    trust. Either the site made it by itself, or somebody stands in between and shows one of their own.

    Looks alike: with tls-intercepted Windows trusts the issuer (an antivirus or a company has installed
    itself there). In a network with a sign-in page it is captive-portal.
    On the server, see who issued what it gets without the proxy:
        openssl s_client -connect api.openai.com:443 -servername api.openai.com </dev/null | grep issuer
    The same odd issuer: it is the site itself, or somebody at the hosting. Another, well-known issuer:
    somebody between you and the server, or on your computer, is in between.

    If it is a site of your own or your company's: have its certificate put into Windows (Trusted Root
    Certification Authorities). Otherwise don't use this way: your key would fall into strange hands.
    Never switch off the verification of certificates.

tls-intercepted = encrypted traffic is opened on the way by { $issuer }
tls-intercepted-long =
    The certificate was not issued by a public authority but by a program or device that has put its
    own root certificate into this Windows: an antivirus (Kaspersky, ESET, Avast, AVG, Bitdefender,
    AdGuard, Dr.Web) or a company's gateway (Zscaler, Netskope, Fortinet, Palo Alto, Cisco, Sophos).
    It reads along. Browsers accept that; programs with their own list of trusted roots report a
    certificate error.

    Looks alike: with target-cert-untrusted Windows does not trust the issuer either. On the server, the
    same site shows its true issuer:
        openssl s_client -connect api.openai.com:443 -servername api.openai.com </dev/null | grep issuer

    On Windows, who has installed roots of their own for this user:
        certutil -store -user root
    Antivirus: in its settings find "encrypted connections scanning", "HTTPS scanning" or "web
    shield" and exclude your application or the service. Company: ask the administrator for an
    exception; or give the application the company's root certificate, if it has a field for that.
    Never switch off the verification of certificates instead.

target-cert-expired = the certificate of { $target } has expired
target-cert-expired-long =
    Every certificate is valid until a certain day, and for this one, by the clock of your computer,
    that day is over. Big services hardly ever let it happen; so look at the clock first.

    Looks alike: a wrong clock makes certificates of all sites "expired" (clock-skew); a really expired
    one belongs to one site only. Compare date and time with a watch or telephone:
        Get-Date
    On the server, the dates of the certificate as it is seen from there:
        openssl s_client -connect api.openai.com:443 -servername api.openai.com \
          </dev/null | openssl x509 -noout -dates

    On Windows, if the clock is wrong (as administrator):
        w32tm /resync
    If the clock is right, only the owner of the site can mend it. Wait or write to them; don't switch
    off the verification of certificates.

target-cert-not-yet-valid = the certificate of { $target } becomes valid only in the future
target-cert-not-yet-valid-long =
    By the clock of your computer this certificate is not valid yet. In nearly all cases the clock is
    behind: an empty battery on the mainboard, a virtual machine that was asleep, a wrong year.

    Looks alike: with clock-skew the same happens with all sites. If it is one site only, its new
    certificate really is too fresh, and it helps to wait some hours.

    On Windows, compare with a watch or telephone, then set the clock by the internet (as
    administrator):
        Get-Date
        w32tm /resync
    "The service has not been started" is the answer? Then:
        Start-Service w32time
        w32tm /resync

target-cert-name = the certificate of { $target } was issued for another name: { $other }
target-cert-name-long =
    Somebody answers with a valid certificate, but for another site. You are not where you wanted to be:
    the address was wrong or forged, a filter shows its own page, or the site is badly set up.

    Looks alike: in a network with a sign-in page this happens with every site (captive-portal); with
    proxy-name-poisoned the address behind the name is false. Compare what the server gets:
        openssl s_client -connect api.openai.com:443 -servername api.openai.com \
          </dev/null | grep subject

    In Sami: check the address of the service (Base URL) letter by letter. A numeric address in place of
    a name leads to this, too, because certificates are issued for names.
    If the server gets the right certificate and you don't, somebody between you and the server is in
    between: encrypt that way as connect-filtered describes. Don't switch off the verification.

clock-skew = the clock of this computer is wrong by { $span }
clock-skew-long =
    The clock of your computer or of the server is off by more than five minutes. Then certificates
    of all sites seem "expired" or "not yet valid", keys and sign-ins are refused, and the times in
    logs do not fit together.

    Looks alike: if it is one single site, its certificate is really out of date (target-cert-expired).

    On Windows (as administrator). The first line shows the difference to true time:
        w32tm /stripchart /computer:time.windows.com /samples:3 /dataonly
        w32tm /resync
    Or: Settings, Time & language, Date & time, set time automatically, Sync now. Check the time zone.
    On the server; a container uses the clock of its server, so there is nothing to do in Docker:
        timedatectl
        sudo timedatectl set-ntp true

target-region-blocked = { $target } does not serve the country of your server
target-region-blocked-long =
    Everything works technically; the service was reached and answered. But it refuses requests from the
    country it believes your server to be in. What counts is the address of the server, not yours:
    - OpenAI: 403, "unsupported_country_region_territory";
    - Gemini: 400, "User location is not supported for the API use."

    Looks alike: 401 is about the key, 429 about too many requests. And if the application goes past the
    proxy, it is your own country that is refused (see app-bypasses-proxy).
    The address that services see:
        curl.exe -x http://SERVER:8080 https://api.ipify.org

    On the server: IPv4 and IPv6 may be counted to different countries. Try IPv4 alone:
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          -e SAMI_PROXY_PREFER_FAMILY=ipv4-only sami-llm-proxy
    At the hosting provider: if that changes nothing, take a server in a country that the service lists
    as supported. Some ranges of addresses are refused inside good countries, too; then another hosting
    in the same country helps.

target-challenged = { $target } asks for proof that you are human (captcha)
target-challenged-long =
    The service was reached, but instead of an answer it sends a page with a riddle (captcha) or a check
    of the browser; Google leads to a page /sorry/. The address of your server is suspicious to it,
    because addresses of hostings are often used by robots. The proxy works.

    Looks alike: target-region-blocked names the country in its answer; target-rate-limited says 429
    without a riddle and goes away by itself. Google gives both; this small address shows that the way
    as such works (the answer must be 204):
        curl.exe -i --max-time 15 -x http://SERVER:8080 https://www.google.com/generate_204

    On the server: with Google this happens more often over IPv6. Let the proxy use IPv4:
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          -e SAMI_PROXY_PREFER_FAMILY=ipv4-only sami-llm-proxy
    At the hosting provider: another address for the server, or another hosting.
    APIs with a key seldom ask for a captcha: if only www.google.com does it and your LLM service
    answers, there is nothing to mend.

target-rate-limited = { $target } says: too many requests (429)
target-rate-limited-long =
    The service was reached and answers 429: too many requests in a short time, or the quota of your key
    is used up. The proxy has nothing to do with it; the answer comes from the service.

    Looks alike: 503 from the proxy itself (proxy-overloaded) carries the words "sami-proxy" in the
    field Proxy-Status. With target-challenged there is a captcha as well.

    In Sami: wait as long as the field Retry-After says; send fewer requests at once; look at limits and
    balance in your account with the service.
    On the server, if you send next to nothing yourself: do strangers use your proxy?
        docker logs --tail 200 sami-llm-proxy
    If there are addresses that you don't know, set a user name and a password (see open-proxy).

target-http-error = { $target } answers with the error { $status }
target-http-error-long =
    The way is fine from end to end; the service itself reports an error. What the numbers mean:
    - 400: the request is malformed; 404: wrong address or model name;
    - 401: the key is missing or wrong. For the doctor, which has no key, that counts as success;
    - 403: forbidden for this key, or for the country of your server (see target-region-blocked);
    - 500, 502, 503: trouble inside the service.

    Looks alike: 502, 503 and 504 can also come from the proxy. Its answers have a field Proxy-Status
    that begins with "sami-proxy". See who speaks:
        curl.exe -i --max-time 15 -x http://SERVER:8080 https://api.openai.com/v1/models

    In Sami: compare key, model and address (Base URL) with the documentation of the service.
    With 5xx: look at the status page of the service and wait.

### Quality of the way

mtu-black-hole = large packets get lost on the way, small ones pass
mtu-black-hole-long =
    Every way has a largest size of packet. If a device on it can't pass a large one on and does not say
    so, large packets vanish: connections are made, small answers come, but pages, encryption or long
    texts hang. Typical with VPN, PPPoE (DSL), mobile internet and some hostings.

    Looks alike: with tunnel-freezes the first 12 to 34 kilobytes do come, then it stops; here not a
    single full packet comes. Test the size: 1372 must pass, 1472 is the full size.
        ping -f -l 1372 SERVER
        ping -f -l 1472 SERVER
    The second fails and the first passes: that is it. (If both fail, the server may just not answer
    ping.)

    On Windows (as administrator); take the name of your connection from the first line:
        netsh interface ipv4 show subinterfaces
        netsh interface ipv4 set subinterface "Ethernet" mtu=1400 store=persistent
    On the server, for Docker as well; take the name of its network card (here eth0) from ip link
    (both lines hold until the server restarts):
        sudo ip link set eth0 mtu 1400
        sudo iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu

tunnel-freezes = connections freeze after about { $kilobytes } KB
tunnel-freezes-long =
    Short answers arrive, but every longer one stops at the same place, after some 12 to 34
    kilobytes, and nothing more comes. That is the mark of a filter: some internet providers let
    only the first packets of a connection to foreign hostings through. Uploading stops the same
    way.

    Looks alike: with mtu-black-hole not even the first full packet comes. A service that hangs stops
    here and there, not always at the same size and not for all services. Test with the proxy alone, no
    service involved; 262144 bytes must arrive:
        curl.exe --max-time 30 -o NUL -x http://SERVER:8080 "http://sami-proxy.internal/bytes?n=262144"
    The same over the mobile internet of your phone: if it works there, your internet provider does it.

    On the server: try another port first, 443 (with the -e and -v that you had; enter 443 in Sami):
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 443:8080 --restart unless-stopped sami-llm-proxy
    At the hosting provider: if that changes nothing, another address, another hosting or another
    country. Whole ranges of addresses are affected, so a neighbouring address need not help.

tunnel-cut-idle = a silent connection is cut after { $seconds } seconds
tunnel-cut-idle-long =
    While a model thinks, nothing is sent for a while. Something on the way forgets connections that are
    silent: a router at home, the shared address of a mobile provider, a VPN or a firewall. The answer
    then never arrives, or an error comes at the next word.

    Looks alike: the proxy itself may have been told to end silent connections (normally it never does).
    Its log then says ended=proxy/timeout for such a connection. See what it was told:
        docker logs --tail 50 sami-llm-proxy
        docker inspect sami-llm-proxy | grep TUNNEL_IDLE_TIMEOUT
    If a line appears, start the container again without that setting.

    sami-proxy sends a sign of life every 45 seconds over every connection. If it is cut all the same,
    the device forgets sooner, or another proxy stands in between:
    - on Windows: try without VPN; try another network (mobile internet); update the router;
    - in Sami: switch on streaming of answers, if there is such a setting, so that silences are short.

stream-buffered = answers arrive in lumps instead of word by word
stream-buffered-long =
    LLM services send their answer piece by piece. Something on the way collects the pieces and
    hands them on together: you see nothing for a long time and then everything at once, or a
    timeout. sami-proxy passes on every piece at once.

    Looks alike: a slow model has pauses too, but the pieces come one by one. Test with the proxy alone;
    five lines must appear one after another, not all at the end:
        curl.exe -N -x http://SERVER:8080 "http://sami-proxy.internal/stream?events=5&interval_ms=1000"
    On the server, to see whether it is smooth there:
        curl -N -x http://127.0.0.1:8080 "http://sami-proxy.internal/stream?events=5&interval_ms=1000"

    On Windows: smooth on the server but not at home? Usually an antivirus that checks web traffic
    collects it, or a company's gateway. Exclude your application there, or try without it for a minute.
    On the server: lumps there as well? Something stands before the proxy, such as nginx or a load
    balancer. Let Sami connect to the proxy's port directly.

link-slow = the way to the proxy is slow: { $kilobytes } KB a second
link-slow-long =
    Everything works, but slowly. Texts of models need very little (a few KB a second), so you notice it
    with pictures, files and long contexts. Either the line is slow as such, or your internet provider
    slows down this way, or the server is far or busy.

    Looks alike: with link-lossy packets get lost and have to be repeated; here hardly any get lost.
    Measure the way to the proxy alone, then the server's own way out (column "Average Speed"):
        curl.exe -o NUL -x http://SERVER:8080 "http://sami-proxy.internal/bytes?n=1048576"
    On the server:
        curl -o /dev/null https://www.google.com/
        docker stats --no-stream sami-llm-proxy

    On Windows: cable instead of Wi-Fi; without VPN; at another time of the day; over mobile internet.
    If only this way is slow: try another port (443), a server that is nearer, or another hosting.

link-lossy = packets to the proxy get lost: { $percent } % of the connections needed a second try
link-lossy-long =
    A part of the packets does not arrive and has to be sent again. Connections are made with delays
    of a second or more, answers stutter, and now and then one breaks.

    Looks alike: a filter (connect-filtered) hits certain names and always the same ones; loss hits
    everything at random. Where does it get lost? Ping the router ("Default Gateway") and the server:
        ipconfig
        ping -n 30 192.168.1.1
        ping -n 30 SERVER

    On Windows: loss already on the way to the router means Wi-Fi or cable. Go nearer, use a cable,
    use the 5 GHz band, restart the router.
    No loss to the router, but to the server: your internet provider or the hosting. Note the times and
    results and write to both; try over mobile internet. If only this server is affected, take one
    elsewhere.

### Server: Docker

docker-not-running = Docker is not running on the server
docker-not-running-long =
    The Docker service does not answer. Without it no container can be started or looked at. (Containers
    that ran before may even go on working for those outside, while nothing answers on the server.)

    Looks alike: docker-no-permission. There Docker runs, and only this user may not talk to it; with
    sudo it works.

    On the server:
        sudo systemctl start docker
        sudo systemctl enable docker
        docker ps -a
    If it does not start, the reason stands in its log; a full disk (see disk-full) is a frequent one:
        sudo journalctl -u docker -n 50 --no-pager
        df -h

docker-no-permission = this user may not talk to Docker
docker-no-permission-long =
    Docker runs, but belongs to the administrator, and the present user is not in the group
    "docker". The message is "permission denied ... docker.sock". The proxy may work perfectly; only
    looking is forbidden.

    Looks alike: docker-not-running, where sudo does not help either.

    On the server: put sudo before every docker command:
        sudo docker ps -a
    Or join the group once, then log out and in again (members of it may do everything on the
    server):
        sudo usermod -aG docker USER

container-missing = there is no container { $container } on this server
container-missing-long =
    Docker runs, but has no container of the proxy, not even a stopped one. It was never created
    here, or was removed, or has another name, or you are on another server.

    Looks alike: container-stopped. That one exists, but plain "docker ps" hides it; -a shows all:
        docker ps -a
        docker images

    On the server, in the folder with the source of sami-proxy. The first command builds the image, the
    second starts it:
        docker build -t sami-llm-proxy .
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped sami-llm-proxy
    On the open internet give it a user name and a password, too: -e SAMI_PROXY_AUTH=USER:PASSWORD
    before the last word.

container-stopped = the container { $container } is not running ({ $status })
container-stopped-long =
    The container exists but has ended or was never started. Its exit code says how:
    - 0 or 143: it was stopped in the regular way;
    - 2: the proxy found a mistake in its settings; the log names it in one line;
    - 125, 126, 127: Docker could not start the program;
    - 137: it was killed, by docker stop, docker kill or lack of memory (container-oom-killed);
    - "Created": it could never start, mostly because the port is taken (port-taken).

    On the server, look at the reason first, then start it:
        docker ps -a --filter name=sami-llm-proxy
        docker logs --tail 50 sami-llm-proxy
        docker inspect sami-llm-proxy | grep -i -A1 error
        docker start sami-llm-proxy
    It stays stopped after a restart of the server? Then it was created without --restart:
        docker update --restart unless-stopped sami-llm-proxy
    If the settings are wrong, create it anew with the right ones (docker rm -f, then docker run).

container-restarting = the container { $container } keeps crashing and restarting ({ $count } times)
container-restarting-long =
    The proxy starts, ends at once, and Docker starts it again, over and over. From outside the port is
    open one moment and refuses the next. docker ps may show "Up" if you look at the right moment.

    Looks alike: a bad line gives sporadic failures, too; here the time behind "Up" never grows:
        docker ps -a --filter name=sami-llm-proxy
        docker inspect sami-llm-proxy | grep RestartCount

    On the server, the reason stands in the last lines of the log:
        docker logs --tail 50 sami-llm-proxy
        docker inspect sami-llm-proxy | grep OOMKilled
    - "error: ..." with the name of a setting: correct it and create the container anew;
    - "exec format error": wrong-architecture;
    - nothing, and OOMKilled is true: container-oom-killed.
    Anew, with the -e and -v that you had:
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped sami-llm-proxy

container-paused = the container { $container } is paused
container-paused-long =
    Somebody has frozen the container with "docker pause". The server's system still accepts connections
    for it and confirms your requests, but no answer ever comes.

    Looks alike: a proxy that hangs behaves the same from outside (silent-peer). The difference is the
    word "(Paused)":
        docker ps --filter name=sami-llm-proxy

    On the server:
        docker unpause sami-llm-proxy

container-oom-killed = the container { $container } was killed for lack of memory
container-oom-killed-long =
    The server or the limit of the container had no memory left, and the system ended the proxy by force
    (exit code 137, OOMKilled true). Connections broke off at that moment.

    Looks alike: code 137 with OOMKilled false is no lack of memory, but docker stop or docker kill.
        docker inspect sami-llm-proxy | grep -E "OOMKilled|ExitCode"

    On the server, who needs the memory, and is there a limit (0 means none)?
        free -h
        docker stats --no-stream
        docker inspect sami-llm-proxy | grep Memory
    A limit that is too low can be raised while it runs:
        docker update --memory 256m --memory-swap 512m sami-llm-proxy
    If the server itself is short of memory, see memory-short. If connections are counted in
    thousands and are not yours, see open-proxy.

container-unhealthy = Docker reports the container { $container } as unhealthy
container-unhealthy-long =
    Docker asks the container regularly whether it is well, and the answer has been no, or none, three
    times. That may be the proxy's fault or the fault of the question: when a container is made with its
    own --health-cmd which the image does not have, it is "unhealthy" although everything works.

    To tell them apart, ask by another way; "ok" means that the proxy is well and the question is wrong:
        docker exec sami-llm-proxy sami-proxy healthcheck && echo ok
        curl --max-time 5 http://127.0.0.1:8080/healthz

    On the server, see what the check says:
        docker inspect sami-llm-proxy | grep -A20 Health
        docker logs --tail 50 sami-llm-proxy
    If the proxy does not answer:
        docker restart sami-llm-proxy
    If only the question is wrong: create the container without --health-cmd; the image brings its own
    check. It asks at SAMI_PROXY_LISTEN, so give a different port by that variable and not by --listen.

wrong-architecture = the image was built for another processor
wrong-architecture-long =
    The image has a program for another kind of processor than the server's: for ARM (aarch64,
    arm64) in place of Intel/AMD (x86_64, amd64) or the other way round. docker run succeeds, and
    the container ends at once; its log says "exec format error".

    Looks alike: container-stopped and container-restarting have other words in the log. Compare the
    two:
        docker logs --tail 5 sami-llm-proxy
        docker image inspect sami-llm-proxy | grep Architecture
        uname -m

    On the server: build the image there, in the folder with the source. It then fits by itself:
        docker rm -f sami-llm-proxy
        docker build -t sami-llm-proxy .
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped sami-llm-proxy
    Or on your own computer for the server (amd64 for x86_64, arm64 for aarch64):
        docker buildx build --platform linux/amd64 -t sami-llm-proxy .

port-not-published = the container { $container } has no port open to the outside
port-not-published-long =
    The proxy runs in its container, but Docker does not lead any port of the server to it: -p was
    forgotten when it was created. From outside the server refuses at once.

    Looks alike: with port-published-loopback-only there is a port, but only for the server itself;
    with listener-missing the port is there and nobody behind it. Empty output of the first line is
    this:
        docker port sami-llm-proxy
        docker ps --filter name=sami-llm-proxy

    On the server: a port can't be added later. Create the container anew (with the -e and -v that you
    had):
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped sami-llm-proxy

port-published-loopback-only = the port is published on 127.0.0.1 only, so nobody outside reaches it
port-published-loopback-only-long =
    Docker leads port 8080 to the proxy, but only for connections that begin on the server itself
    (127.0.0.1). There every test succeeds, and from outside the server refuses.

    Looks alike: listener-loopback-only, where docker port shows 0.0.0.0, but the proxy in the container
    listens on 127.0.0.1. Here docker port shows 127.0.0.1:
        docker port sami-llm-proxy

    On the server: create the container anew with -p 8080:8080, without an address before it (and
    with the -e and -v that you had):
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped sami-llm-proxy
    If it is 127.0.0.1 all the same, Docker has that as its default. Remove the line with "ip" and
    restart:
        cat /etc/docker/daemon.json
        sudo systemctl restart docker

port-published-elsewhere = port { $port } does not lead to the proxy; what is published is { $other }
port-published-elsewhere-long =
    Docker publishes the proxy, but elsewhere: at another port of the server, at one particular
    address of it, or it leads to a port in the container where the proxy does not listen. The last
    one looks perfect in docker ps (8080->3128), and yet the container refuses.

    The rule is -p OUTER:INNER. The outer port is what you enter in Sami; the inner one is where the
    proxy listens in its container, 8080 unless you set something else. Compare:
        docker port sami-llm-proxy
        docker exec sami-llm-proxy netstat -tln

    In Sami: if only the outer port differs, simply enter that one.
    On the server, otherwise create it anew (with the -e and -v that you had):
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped sami-llm-proxy

container-network-mode = the container's network ({ $other }) does not let its port out
container-network-mode-long =
    The container was created with a network in which -p has no effect, and Docker does not object
    aloud:
    - none: no network at all;
    - an "internal" network: no way in from outside, and none out;
    - host: -p is ignored, the proxy uses the server's port directly. That may work, but now the
      server's firewall (ufw) applies.

    Looks alike: port-not-published has an ordinary network and no -p. This shows the network:
        docker inspect sami-llm-proxy | grep NetworkMode
        docker network ls

    On the server, with host it may suffice to open the firewall:
        sudo ufw allow 8080/tcp
    Otherwise create it anew with the ordinary network (and the -e and -v that you had); connecting
    it to another network later does not publish the port:
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped sami-llm-proxy

### Server: listening

listener-missing = nothing listens on port { $port } here
listener-missing-long =
    On this machine, or in this container, no program waits at the proxy's port. The proxy does not run,
    has just ended, or was started with another port.

    Looks alike: listener-other-port (it runs, but elsewhere) and listener-loopback-only (it runs,
    but for itself). The list of all ports that somebody waits at:
        sudo ss -ltnp
        docker exec sami-llm-proxy netstat -tln

    On the server with Docker:
        docker ps -a --filter name=sami-llm-proxy
        docker logs --tail 50 sami-llm-proxy
        docker start sami-llm-proxy
    Without Docker:
        sami-proxy serve

listener-loopback-only = the proxy listens on 127.0.0.1 only and hears nobody from outside
listener-loopback-only-long =
    The proxy was told to listen at 127.0.0.1, the address that every machine has for itself. In a
    container that means: within the container. A test inside succeeds, and everybody outside is
    refused. That is the trap in it.

    Looks alike: with port-published-loopback-only Docker has the mistake (docker port shows 127.0.0.1).
    Here it is the proxy; 127.0.0.1:8080 in this list in place of 0.0.0.0:8080 or :::8080 shows it:
        docker exec sami-llm-proxy netstat -tln
        docker inspect sami-llm-proxy | grep -i listen

    On the server: create the container anew without SAMI_PROXY_LISTEN and --listen. What holds by
    itself is 0.0.0.0:8080, that is, everybody (with the other -e and -v that you had):
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped sami-llm-proxy
    Without Docker:
        sami-proxy serve --listen 0.0.0.0:8080

listener-other-port = the proxy listens on port { $other }, not on { $port }
listener-other-port-long =
    The proxy runs, but waits at another port than the one that Docker leads to it, or that you entered.
    Who comes to the expected port is refused.

    Looks alike: listener-missing, where it does not run at all. See where it waits, and where Docker
    leads to:
        docker exec sami-llm-proxy netstat -tln
        docker port sami-llm-proxy

    On the server: let Docker lead to the right port; after the colon stands the proxy's own port, here
    3128 as an example (with the -e and -v that you had):
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:3128 --restart unless-stopped sami-llm-proxy
    Or take the setting --listen (SAMI_PROXY_LISTEN) out; then it is 8080.
    In Sami, without Docker: enter the port where it listens.

port-taken = port { $port } is taken by { $other }
port-taken-long =
    The proxy or Docker can't have the port, because another program has it already: often an older
    container of the proxy, a web server, or a control panel. Docker says "port is already allocated"
    (another container) or "address already in use" (a program outside of Docker).

    Looks alike: not-a-proxy is the same seen from outside: the other program answers.

    On the server, who has it?
        sudo ss -ltnp "sport = :8080"
        docker ps -a
    If it is an old container of the proxy, remove it, with its name, and start the new one:
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped sami-llm-proxy
    If the other program must stay, take another outer port and enter it in Sami:
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8081:8080 --restart unless-stopped sami-llm-proxy

backlog-overflow = new connections are lost because the waiting line of the port is full
backlog-overflow-long =
    The system keeps new connections in a waiting line until the proxy takes them. The line is full,
    so some attempts get no answer while others succeed. Either very many come at once, or the proxy
    does not get to take them (processor busy, too few open files).

    Looks alike: link-lossy loses packets of all connections, this only the first packets of new
    ones. In the line of the port the number under Recv-Q is as great as Send-Q, and the counter
    grows (PID is the number that docker top shows):
        docker top sami-llm-proxy
        sudo nsenter -t PID -n ss -ltn
        sudo nsenter -t PID -n nstat -az TcpExtListenOverflows

    On the server: is the processor busy, what does the log say, is it a flood of strangers?
        docker stats --no-stream sami-llm-proxy
        docker logs --tail 50 sami-llm-proxy
    A longer line (with the -e and -v that you had):
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          --sysctl net.core.somaxconn=8192 sami-llm-proxy

fd-limit = the proxy has reached its limit of open files ({ $limit })
fd-limit-long =
    Every connection needs an "open file", and a tunnel needs two. The limit for the proxy is
    reached. New connections are accepted by the system, but nobody serves them; the log speaks of
    "too many open files".

    Looks alike: with proxy-overloaded the proxy counts by itself and answers 503 politely. With
    silent-peer it hangs for another reason. The limit in force:
        docker exec sami-llm-proxy sh -c "ulimit -n"
        docker logs --tail 50 sami-llm-proxy

    On the server: create it anew with a higher limit (and the -e and -v that you had):
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          --ulimit nofile=65536 sami-llm-proxy
    If so many connections are not yours, see open-proxy.

### Server: packets

docker-nat-missing = Docker's rules that lead the port to the container are missing
docker-nat-missing-long =
    Docker leads packets to a container by rules in the system's packet filter. Somebody has removed
    them: "iptables -F", "nft flush ruleset", a restart of nftables or firewalld, or a script that
    loads saved rules. docker ps still shows the port as if all were well. Then a helper program
    takes over: the port may go on working, but every client seems to be 172.17.0.1, and ufw
    applies; or nothing works.

    Looks alike: host-firewall-drop, where the rules are there. Both of these must print something:
        sudo iptables -t nat -S PREROUTING | grep DOCKER
        sudo iptables -t nat -S DOCKER | grep 8080
    If the second prints something and the first does not, the rules are half restored; that happens
    after "docker restart", and is not enough.

    On the server: only a restart of Docker itself puts everything back. (With Docker's nftables backend
    look with "sudo nft list ruleset" in place of iptables.)
        sudo systemctl restart docker
    Keep your own rules in a file of ufw or in the chain DOCKER-USER, so that loading them does not wipe
    away Docker's.

ip-forward-off = the server does not pass packets on to its containers (ip_forward is 0)
ip-forward-off-long =
    To hand packets from the network to a container the system has to be allowed to forward. That is
    switched off, mostly by a guide to "hardening" or a file in /etc/sysctl.d. On the server itself
    127.0.0.1:8080 works; from outside there is silence.

    Looks alike: host-firewall-drop and docker-user-drop are silent, too. 0 here means that it is this:
        sysctl net.ipv4.ip_forward

    On the server, switch it on for now and for ever:
        sudo sysctl -w net.ipv4.ip_forward=1
        echo net.ipv4.ip_forward=1 | sudo tee /etc/sysctl.d/99-docker.conf
    If it is 0 again after a restart, find the line that does it:
        grep -rs ip_forward /etc/sysctl.conf /etc/sysctl.d /etc/ufw/sysctl.conf

docker-user-drop = a rule in DOCKER-USER drops the packets for port { $port }
docker-user-drop-long =
    DOCKER-USER is the place for one's own rules about containers. A rule there throws the proxy's
    packets away: a list of countries or addresses, or the block that "ufw-docker" writes into
    /etc/ufw/after.rules. From outside there is silence, and "ufw allow 8080" does not help.

    Looks alike: host-firewall-drop. Try to connect from home and see which line counts up here (pkts):
        sudo iptables -L DOCKER-USER -nv --line-numbers

    On the server, with ufw-docker: allow the port of the container (not the outer one):
        sudo ufw route allow proto tcp from any to any port 8080
    With a rule of your own: delete it by its number in the list, here 3 as an example:
        sudo iptables -D DOCKER-USER 3
    Removing the block from after.rules does not take the rules away that are already in force; restart
    the server after that.

host-firewall-drop = the server's own firewall drops the packets for port { $port }
host-firewall-drop-long =
    The packets arrive at the server, and a rule there throws them away (ufw, iptables, nftables). From
    outside there is silence. What ufw can do depends on how the proxy runs:
    - without Docker, or with --network host: ufw decides; "ufw allow" helps;
    - in Docker, the usual way: ufw has no say about published ports, neither allow nor deny;
    - Docker 29 and later with its nftables backend: ufw does block, and only "ufw route allow" helps.

    Looks alike: port-filtered by the hosting. Your packets are then not seen on the server at all.
    Watch while you try from home, and look for lines with [UFW BLOCK]:
        sudo tcpdump -ni any tcp port 8080
        sudo journalctl -k --no-pager | grep UFW | tail
        sudo ufw status verbose
        docker info | grep -i firewall

    On the server, the first for the case without Docker, the second for Docker with nftables:
        sudo ufw allow 8080/tcp
        sudo ufw route allow proto tcp from any to any port 8080
    If there is no ufw and the policy of FORWARD is DROP without Docker's rules, let it renew them:
        sudo iptables -S FORWARD
        sudo systemctl restart docker

client-banned = the server has banned your address { $client }
client-banned-long =
    A guard on the server (fail2ban, CrowdSec) has put your address on its list, for instance after
    several wrong passwords over SSH. Everybody else gets through; for you there is silence or
    refusal, often on all ports.

    Looks alike: port-filtered by your internet provider. Over the mobile internet of your phone you
    have another address, and it works in both cases; but only here does the list on the server name
    you.

    On the server (get in over the phone or the hosting's console in the browser):
        sudo fail2ban-client status sshd
        sudo fail2ban-client unban ADDRESS
        sudo cscli decisions list
        sudo cscli decisions delete --ip ADDRESS
    Which of them you need depends on which guard is installed. ADDRESS is your own, as others see it.

conntrack-full = the server's table of connections is full ({ $count } of { $limit })
conntrack-full-long =
    The system remembers every connection in a table (conntrack). It is full, so packets of new
    connections are thrown away: now it works, now it does not, worse under load. The kernel's log
    says "nf_conntrack: table full, dropping packet".

    Looks alike: link-lossy and backlog-overflow come and go, too. Compare the two numbers:
        sudo sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max
        sudo dmesg | grep conntrack | tail

    On the server, a larger table, now and after restarts:
        sudo sysctl -w net.netfilter.nf_conntrack_max=262144
        echo net.netfilter.nf_conntrack_max=262144 | sudo tee /etc/sysctl.d/99-conntrack.conf
    Then find out who has so many connections. If they are strangers, see open-proxy.

reverse-path-filter = the server drops your packets because its answer would go another way
reverse-path-filter-long =
    Your packets arrive at the server, but by its table of routes the answer would leave through
    another network card, or by no way at all. With strict checking (rp_filter) the system then
    drops the packet; without, the answer gets lost. It happens with two network cards or addresses,
    or a VPN on the server.

    Looks alike: host-firewall-drop. There a firewall rule counts up. Here this names a wrong card
    or none (put your own address):
        ip route get ADDRESS
        sysctl net.ipv4.conf.all.rp_filter
        ip rule

    On the server: switch off the VPN there and try again. If that was it, exclude your address, or the
    proxy's port, from the VPN.
    Loose checking (2 in place of 1) suffices if the answers do find their way:
        sudo sysctl -w net.ipv4.conf.all.rp_filter=2

### Server: outward

container-dns-broken = names cannot be looked up inside the container
container-dns-broken-long =
    The server finds addresses, its container does not. Docker has handed name servers to the container
    that don't work there, for instance 127.0.0.53 (which in a container is the container itself), or
    8.8.8.8, which this hosting blocks.

    Looks alike: container-no-egress, where even numeric addresses can't be reached from the container.
    Compare the inside and the outside:
        docker exec sami-llm-proxy cat /etc/resolv.conf
        docker exec sami-llm-proxy nslookup api.openai.com
        getent hosts api.openai.com

    On the server, for the proxy alone (with the -e and -v that you had):
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          -e SAMI_PROXY_DNS=1.1.1.1 sami-llm-proxy
    For all containers: put the line below into /etc/docker/daemon.json, between curly brackets. If the
    hosting has name servers of its own, take those.
        "dns": ["1.1.1.1"]
        sudo systemctl restart docker

container-no-egress = the container cannot get out, although the server can
container-no-egress-long =
    The server itself reaches the internet, its containers don't. Docker's rule that lets containers
    go out under the server's address (MASQUERADE) is missing, or a rule forbids it, or the
    container is in an "internal" network.

    Looks alike: proxy-no-egress, where the server can't get out either; container-dns-broken, where
    only names fail. The first must print something, and the network must not be internal:
        sudo iptables -t nat -S POSTROUTING | grep MASQUERADE
        docker inspect sami-llm-proxy | grep NetworkMode
        docker network inspect bridge | grep Internal

    On the server, let Docker renew its rules, then try:
        sudo systemctl restart docker
        docker exec sami-llm-proxy nc -w 5 1.1.1.1 80 && echo works
    If it is still silent, look for a rule of your own:
        sudo iptables -S FORWARD
        sudo iptables -S DOCKER-USER

container-mtu = the container sends larger packets than the server's network takes ({ $bytes } bytes)
container-mtu-long =
    The network card of this server takes smaller packets than usual (1450 or 1400 bytes in place of
    1500), and Docker does not adopt that by itself. Containers send too large packets, and these
    vanish: connections are made, then encryption or longer answers hang. The same command on the
    server works.

    Looks alike: mtu-black-hole lies on the way to you and affects the server itself, too. Compare the
    numbers behind "mtu" of the network card and of docker0:
        ip link
        curl -v --max-time 15 https://example.com/
        docker exec sami-llm-proxy wget -T 15 -O /dev/null https://example.com/

    On the server: put this into /etc/docker/daemon.json between curly brackets, with the smaller
    number:
        "mtu": 1450
        sudo systemctl restart docker
        docker restart sami-llm-proxy
    A network of your own (docker compose makes one) must be made anew, with the option
    com.docker.network.driver.mtu set to the same number.

### Server: resources

disk-full = the server's disk is full
disk-full-long =
    There is no space left. Docker can't create or start containers ("no space left on device"),
    logs and updates fail. A running proxy mostly goes on.

    Looks alike: docker-not-running and container-stopped can be consequences of it. 100% in the line of
    "/" means that it is this; -i counts files, which can also run out:
        df -h
        df -i

    On the server: see what Docker uses, and remove images that nobody uses:
        docker system df
        docker image prune
        sudo journalctl --vacuum-size=100M
    The largest folders, if that does not suffice:
        sudo du -xh --max-depth=2 / | sort -h | tail -20
    Then start what has stopped:
        sudo systemctl restart docker
        docker start sami-llm-proxy

memory-short = the server has hardly any memory left
memory-short-long =
    The memory is used up. Everything gets slow, and the system may end programs by force, the proxy as
    well. The proxy itself needs little: about 4 MB, and little more than 1 KB for each silent tunnel.

    Looks alike: container-oom-killed with a limit of the container, while the server has plenty. Under
    "available" stands what is left; then see who needs most:
        free -h
        ps aux --sort=-rss | head
        docker stats --no-stream
        sudo dmesg | grep -i "out of memory" | tail

    On the server: stop what you don't need. A swap file of 1 GB helps over peaks:
        sudo fallocate -l 1G /swapfile
        sudo chmod 600 /swapfile
        sudo mkswap /swapfile
        sudo swapon /swapfile
    At the hosting provider: the next larger server.

### Warnings

open-proxy = anybody in the internet can use this proxy without a password
open-proxy-long =
    The proxy serves everybody and reaches every public destination (--open, or everyone is in
    --trust-client). Such ports are found within hours and used for spam, attacks and other people's
    traffic; then services ban your address and the hosting switches the server off.

    Looks alike: without a password and without --open sami-proxy lets strangers reach only the built-in
    LLM services. That is no open proxy and gives no such warning. From a foreign network, an answer 200
    to this means open:
        curl.exe -v --max-time 15 -x http://SERVER:8080 https://www.wikipedia.org/

    On the server: a user name and a password, and --open taken out:
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          -e SAMI_PROXY_AUTH=USER:PASSWORD sami-llm-proxy
    In Sami: enter both. See in the log who has been there so far:
        docker logs --tail 200 sami-llm-proxy

cloud-firewall-suspected = all is well on the server; the hosting's firewall may block port { $port }
cloud-firewall-suspected-long =
    Seen from the server everything is right: the proxy runs, the port is published, no rule of the
    server is against it. Whether anybody gets as far as the server can't be seen from here. Many
    hostings have a firewall of their own, which at first lets only SSH in.

    To find out, watch here while you try to connect from home:
        sudo tcpdump -ni any tcp port 8080
    Lines with your address: the packets arrive, and this warning does not concern you. None: they are
    lost before the server.

    At the hosting provider: find Firewall, Security group or Network rules in the control panel, and
    allow incoming TCP, port 8080, from everywhere (0.0.0.0/0). With AWS it is the security group, with
    Azure the network security group (NSG), with Google Cloud a VPC firewall rule, with Hetzner and
    DigitalOcean "Firewalls", with Oracle Cloud the security list and the NSG.
    Still none? Then see port-filtered about your internet provider.

behind-nat = the server has no public address of its own, only { $other }
behind-nat-long =
    The server's network card has a private address (10..., 172.16..., 192.168..., 100.64...).
    Either the hosting translates a public address to it, one to one, which is usual with AWS,
    Azure, Google and Oracle and works; or the server has no public address at all, and nobody can
    reach it from outside.

    To tell them apart, see under which address others see this server. If the hosting provider's
    control panel shows the same as its public address, all is well:
        ip -4 addr
        curl -4 -sS https://api.ipify.org

    Note: behind such a translation the server often can't reach itself by its public address. A
    test from the server to the public address that ends with a timeout means nothing; test from
    outside.

    At the hosting provider: if there is no public address, order one (public IP, floating IP) and
    attach it to this server. At home: forward port 8080 in the router to this machine.
    In Sami: enter the public address, never the private one.

public-address-differs = others see this server as { $other }, not as { $host }
public-address-differs-long =
    The server goes out under another address than the one where you reach it. Services judge (country,
    limits, lists of allowed addresses) by the outgoing one. That can be intended: several addresses,
    a VPN on the server, a parent proxy, IPv6 beside IPv4.

    Looks alike: with behind-nat the server's card has a private address and both public ones are equal.

    On the server: see which address it goes out with (behind "src") and which ones it has; if this
    is not intended, look for a VPN and for superfluous addresses:
        curl -4 -sS https://api.ipify.org
        ip route get 1.1.1.1
        ip addr
    In Sami: nothing to do, if everything works. Where a service has a list of allowed addresses,
    enter the outgoing one.

client-address-hidden = the proxy sees all clients as { $client }, the address of Docker
client-address-hidden-long =
    Docker hands connections on by a helper program, and the proxy sees the helper's address (such as
    172.17.0.1) in place of the client's. Lists of addresses (--allow-client, --trust-client) then fit
    everybody or nobody, and the log can't tell clients apart. Two causes are usual: Docker's rules were
    removed from the packet filter, or the client comes over IPv6 to a container without IPv6.

    To tell them apart; if the first prints nothing, the rules are missing:
        sudo iptables -t nat -S PREROUTING | grep DOCKER
        docker logs --tail 20 sami-llm-proxy

    On the server, if the rules are missing:
        sudo systemctl restart docker
    If it is IPv6: enter the IPv4 address of the server in Sami, or switch on IPv6 in Docker's network.
    In any case a user name and a password are surer than addresses (SAMI_PROXY_AUTH). Never put
    172.17.0.1 into --trust-client here: everybody would be trusted.

system-proxy-differs = this computer's own settings name another proxy: { $other }
system-proxy-differs-long =
    The proxy settings of Windows name another proxy than the one that was checked here. Programs
    that follow Windows (browsers, many applications) go there. If nothing listens there, for
    instance after a VPN program has ended, they fail, although your proxy is in order.

    Looks alike: app-bypasses-proxy, where an application uses no proxy at all. See what is set (1
    behind ProxyEnable means on), for Windows services, and in variables:
        reg query "HKCU\Software\Microsoft\Windows\CurrentVersion\Internet Settings"
        netsh winhttp show proxy
        Get-ChildItem Env:*proxy*

    On Windows: Settings, Network & internet, Proxy. Enter your proxy there or switch it off:
        start ms-settings:network-proxy
    AutoConfigURL is the address of a script which decides for each site; it may win over the rest.
    If you don't know it, switch "Use setup script" off.
    In Sami: its own proxy settings do not depend on those of Windows.

app-bypasses-proxy = applications may go past the proxy, because of { $other }
app-bypasses-proxy-long =
    The proxy works, but the application does not use it: services see your own address, and the proxy's
    log shows no line while you work. The application has its own settings or none, or the service is on
    a list of exceptions.

    Looks alike: a broken proxy gives errors of the proxy, and its log has lines. Watch the log on the
    server, and use the application meanwhile:
        docker logs -f --tail 0 sami-llm-proxy
    A line appears when a connection ends, so close the application after a try.

    In Sami: type http, host and port of the proxy must be entered and switched on. Then restart Sami.
    On Windows: exceptions (ProxyOverride, NO_PROXY) must not name the service; see both with:
        reg query "HKCU\Software\Microsoft\Windows\CurrentVersion\Internet Settings" /v ProxyOverride
        Get-ChildItem Env:*proxy*
    Programs of another kind (WinHTTP) have a setting of their own; this copies that of Windows to
    it (as administrator):
        netsh winhttp import proxy source=ie

ipv6-broken = IPv4 works, but the IPv6 addresses of { $host } do not; connections may begin with a wait
ipv6-broken-long =
    Your proxy's name has an IPv6 address as well, or the service has, and IPv6 in your network leads
    nowhere. Programs try it first and turn to IPv4 after a fraction of a second up to two seconds; some
    do not turn at all. Everything feels slow at the beginning.

    Looks alike: if IPv6 is refused at once and not silent, your network is fine and only the server
    does not offer it. Compare:
        curl.exe -4 -sS -o NUL -w "%{"{"}time_connect{"}"}" http://SERVER:8080/healthz
        curl.exe -6 -sS -o NUL -w "%{"{"}time_connect{"}"}" http://SERVER:8080/healthz

    In Sami: enter the IPv4 address of the server instead of its name.
    Or remove the AAAA entry of the name at your domain's DNS, if the server has no working IPv6.
    On the server, if it is the proxy's own way out that is broken (with the -e and -v that you had):
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          -e SAMI_PROXY_PREFER_FAMILY=ipv4 sami-llm-proxy

credentials-misencoded = special characters of the proxy's password seem to be encoded wrongly
credentials-misencoded-long =
    In an address such as http://USER:PASSWORD@SERVER:8080 the characters @ : / # % of the password must
    be written as codes: @ is %40, : is %3A, / is %2F, # is %23, % is %25. Here one of them seems to
    stand there as it is, or to have been encoded twice (%2540 in place of %40). The proxy then gets
    another password, or the address is cut in the wrong place.

    Looks alike: proxy-auth-rejected, when the password itself is wrong. In separate fields, as in
    Sami, nothing must be encoded. Test it in separate fields:
        curl.exe -v --max-time 15 -x http://SERVER:8080 -U USER:PASSWORD https://www.google.com/

    In Sami: enter name and password in their own fields, as they are.
    In a variable or an address: encode each special character once.
    The simplest: a password of letters and digits only.

egress-datacenter-refused = { $target } does not welcome addresses of hostings such as your server's
egress-datacenter-refused-long =
    Some services treat addresses of data centres with suspicion, because robots live there: they
    ask for a captcha, answer 403, or count requests more strictly. Other services work through the
    same proxy, so the way is fine.

    Looks alike: target-region-blocked names the country or region in its answer. target-rate-limited is
    429 and passes after a while. The bare way to Google, for comparison (204 is good):
        curl.exe -i --max-time 15 -x http://SERVER:8080 https://www.google.com/generate_204

    On the server: another family of addresses may be seen with other eyes (with the -e and -v you had):
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped \
          -e SAMI_PROXY_PREFER_FAMILY=ipv4-only sami-llm-proxy
    At the hosting provider: another address or another hosting. If your LLM service itself works, you
    need not do anything.

### What was measured through the proxy

check-link-down = download
check-link-up = upload
check-stream = stream
check-idle-tunnel = silence
check-trials = comparison
check-proxy-health = from the proxy
check-through-proxy = through the proxy
check-direct = directly
check-ordinary-client = application
check-llm = LLM service

fact-link-down = { $moved } of { $wanted } KB from the proxy in { $ms } ms ({ $rate } KB/s)
fact-link-up = { $moved } of { $wanted } KB to the proxy in { $ms } ms ({ $rate } KB/s)
fact-link-down-ended = from the proxy came { $moved } of { $wanted } KB, then: { $outcome } (longest gap { $gap } ms)
fact-link-up-ended = to the proxy went { $moved } of { $wanted } KB, then: { $outcome } (longest gap { $gap } ms)
fact-stream = { $times } of { $attempts } pieces of a stream came one by one, at most { $ms } ms out of time
fact-stream-ended = { $times } of { $attempts } pieces of a stream came, then: { $outcome }
fact-idle-tunnel = a tunnel lived through { $seconds } s of silence
fact-idle-tunnel-ended = after { $seconds } s of silence a tunnel did not answer: { $outcome }
fact-idle-tunnel-none = the tunnel for the silence did not come about: { $outcome }
fact-journey = { $subject } through the proxy: { $outcome }, { $ms } ms
fact-journey-some = ({ $times } of { $attempts } failed)
fact-direct = { $subject } without the proxy: { $outcome }, { $ms } ms
fact-ordinary-client = { $subject } with an ordinary client: { $outcome }, { $ms } ms

ended-denied = the proxy answers { $outcome }
ended-denied-why = the proxy answers { $outcome } ({ $why })
ended-failed = { $to }: { $failure }

far-dns = names
far-four = IPv4
far-six = IPv6
far-upstream = its own proxy
far-works = works ({ $ms } ms)
far-fails = fails ({ $why })
far-untried = nothing to try

stage-resolve = name
stage-connect = connection
stage-proxy-tls = TLS with the proxy
stage-proxy = the proxy's answer
stage-target-tls = TLS with the site
stage-first-byte = first byte
stage-body = the rest

how-no-address = there is no address
how-refused = refused
how-unreachable = unreachable
how-silent = no answer
how-reset = cut off (reset)
how-closed = closed without a word
how-denied = the proxy says no
how-certificate = the certificate is not trusted
how-alert = TLS was refused
how-malformed = a senseless answer
how-unfinished = there was no time to wait

end-answered = an answer
end-closed = closed without a word
end-reset = cut off (reset)
end-silent = silence
end-no-connection = no connection
end-unfinished = there was no time to wait

trick-origin-form = a plain request
trick-neutral-name = a tunnel to a harmless name
trick-wanted-name = a tunnel to the site
trick-split-line = the same, its request cut in two
trick-wanted-sni = TLS for the site
trick-other-sni = TLS for another name

span-seconds =
    { $count ->
        [one] { $count } second
       *[other] { $count } seconds
    }
span-minutes =
    { $count ->
        [one] { $count } minute
       *[other] { $count } minutes
    }
span-hours =
    { $count ->
        [one] { $count } hour
       *[other] { $count } hours
    }
span-days =
    { $count ->
        [one] { $count } day
       *[other] { $count } days
    }
ended-certificate = { $to }: { $failure } (issued by { $source }, valid from { $min } to { $most })
fact-stream-bunched = { $times } of { $attempts } pieces of a stream came, but in lumps: up to { $ms } ms late
argument-span = <time>

waterfall = { $subject }   { $outcome }   { $ms } ms
waterfall-unit = ms
waterfall-spread = median { $ms }, 95 % within { $most }, jitter { $jitter }

llm-table = LLM services through the proxy
provider-reached = reachable
provider-needs-key = reachable (it asks for a key, as it should)
provider-region = refuses the server's country
provider-challenged = shows a captcha instead of an answer
provider-rate-limited = reachable, asks to come more slowly
provider-error = reached, but it fails
provider-denied = the proxy says no
provider-untrusted = its certificate is not trusted
provider-unreached = not reachable
provider-untold = not found out

### fixes of the probe

fix-restart-the-router = restart the router; if that does not help, ask your internet provider
fix-choose-socks = if a SOCKS proxy answers there, choose the proxy type SOCKS5
fix-use-http = choose the proxy type http: encrypted sites work through it just as well
fix-let-it-speak-tls = or let the proxy make itself a certificate and speak TLS
fix-read-the-pin = read the fingerprint of the proxy's own certificate and compare it with the one that came
fix-give-the-root = trust that certificate, or the authority that signed it, by name
fix-enter-the-password = enter the user name and the password of the proxy
fix-type-the-password-again = type the user name and the password of the proxy again by hand
fix-see-the-password = see which user name and password the proxy was given
fix-encode-once = enter the password in its own field as it is, or encode each special character in the address once
fix-allow-your-address = see which addresses the proxy allows, and add yours or set a password instead
fix-set-a-password = set a user name and a password: with them everything public is open to you
fix-look-at-the-rules = look for rules about targets, and allow this one
fix-who-uses-it = see who has so many connections
fix-raise-the-limits = if they are all yours, raise the limits
fix-read-about-the-next-proxy = read in the log what is wrong with the next proxy, and check that one by itself
fix-encrypt-the-way = let the proxy speak TLS, so that nobody on the way can read the names
fix-enter-through-tls = run sami-proxy here as well, with the PIN from the log, and enter 127.0.0.1 in Sami
fix-give-it-name-servers = give the proxy other name servers
fix-ask-about-outgoing = ask whether outgoing connections of the server are blocked
fix-correct-the-target = check the address of the service (Base URL) letter by letter
fix-try-without-the-proxy = try the same on the server without the proxy
fix-only-ipv4 = let the proxy use IPv4 alone
fix-where-is-the-filter = try the same on the server without the proxy: if it works there, the filter is between you and the server
fix-other-country = take a server in another country, or at another hosting
fix-compare-the-issuer = see on the server who has really issued the certificate; never switch off its verification
risk-made-anew = the container is made anew: open connections end; add what else stood in its docker run (-e, -v)
risk-all-containers = every container of this server stops for a moment
risk-connections-end = open connections end
risk-images-deleted = deletes images that no container uses
risk-rule-deleted = somebody has set this rule: see first what it was for
risk-setting-deleted = deletes this setting: note its value first
fix-exclude-from-scanning = look whose root certificate was put into Windows, and exclude the application from its scanning of web traffic
fix-except-in-the-antivirus = in this antivirus, exclude the application from the scanning of encrypted connections
fix-ask-the-administrator = it is the network's: ask its administrator for an exception, or for the root certificate and give that to the application
fix-end-the-debugger = a program for developers does that: end it, or take its proxy out of the settings
fix-tell-the-operator = tell the operator of the service; nothing on your side mends it
fix-set-the-clock = set the clock of this computer
fix-other-address = take another address for the server, or another hosting
fix-wait = wait as long as the service asks for, and ask less often
fix-wait-for-the-service = wait, and look at the status page of the service
fix-lower-the-mtu = see the name of your connection and set its MTU to 1400
fix-clamp-the-mss = let the server agree on smaller packets
fix-try-port-443 = publish the proxy on port 443 and enter that port
fix-no-idle-timeout = see whether the proxy was told to end silent connections
fix-other-network = try without VPN, by cable, or over another network
fix-where-is-the-loss = see whether packets get lost; compare with a ping to your router

### what tells causes apart in a probe

separate-again = make the same check again, at another time too
separate-speak-in-the-clear = ask without TLS: curl -v http://{ $proxy }/healthz
separate-pin-of-the-proxy = compare the fingerprint with the proxy's own, on the server: docker logs sami-llm-proxy 2>&1 | grep pin
separate-whose-proxy = see whether this is the proxy that you mean, and not one of a company
separate-other-encoding = give name and password apart from the address: curl -v -x http://{ $proxy } -U USER:PASSWORD https://www.google.com/
separate-names-on-the-server = ask for the name on the server: docker exec sami-llm-proxy nslookup api.openai.com
separate-egress-on-the-server = try the way out on the server: curl -sS --max-time 10 -o /dev/null https://1.1.1.1/ && echo works
separate-tls-on-the-server = try the same on the server without the proxy: curl -v --max-time 15 https://api.openai.com/
separate-issuer-on-the-server = see on the server who has issued the certificate: openssl s_client -connect api.openai.com:443 -servername api.openai.com </dev/null | grep issuer
separate-clock = compare the clock with another one: w32tm /stripchart /computer:time.windows.com /samples:1
separate-other-egress = ask through a server in another country or at another hosting
separate-other-site = ask for another site through the proxy: curl -v -x http://{ $proxy } https://example.com/
separate-sizes = send packets of two sizes: ping -f -l 1372 { $host } && ping -f -l 1472 { $host }
separate-ping-the-host = see whether packets get lost: ping -n 30 { $host }

### doctor: docker

progress-docker = looking at Docker and its containers
progress-server = looking at who listens and what the firewall lets in
progress-inside = looking at what the container reaches

skip-no-engine = Docker can't be asked
skip-no-container = no container of the proxy is running
skip-not-permitted = only the administrator may look; run it with sudo
skip-not-here = it can only be seen on a Linux server

fact-docker-engine = Docker { $name } answers
fact-docker-engine-failed = Docker does not answer at { $subject }: { $failure }
fact-container = container { $container }: { $status }, published { $ports }
fact-container-none = none of the { $count } containers is the proxy's
fact-container-listens = inside the container somebody listens at { $addresses }
fact-container-egress = from inside the container: names { $what }, connections { $outcome }
fact-server-resources = { $subject }: { $megabytes } MB free

separate-log-of-the-kernel = see whether the server ran out of memory: sudo journalctl -k | grep -i 'out of memory'
separate-another-site = ask for another site from the server: curl -sS -m 10 -o /dev/null https://www.cloudflare.com && echo ok

fix-start-docker = start Docker, now and whenever the server starts
fix-log-of-docker = if it does not start, read why; if Docker was never installed: sudo apt install docker.io
fix-with-sudo = run the check with sudo
fix-another-name = see whether the proxy's container has another name; then give it with --container NAME
fix-make-the-container = if there is none, make one (the image comes first: docker build -t sami-llm-proxy . in the folder with the source)
fix-why-it-ended = read in the last lines of the log why it ended
fix-start-it = start it; if the log names a mistake in the settings, make it anew with the right ones instead
fix-start-with-the-server = have Docker start it again by itself, also after a restart of the server
fix-why-it-ends = read in the last lines of the log why it keeps ending
fix-make-it-anew = make the container anew with the right settings (this removes the old one: add the -e and -v that you had)
fix-unpause = let it go on
fix-more-memory = raise the limit of its memory and start it; if it has no limit, see who uses up the server's memory: free -h
fix-ask-it-again = ask the proxy itself: "ok" means that the proxy is well and only the question (--health-cmd) is wrong
fix-restart-it-all = restart the container (open connections break off)
fix-build-here = build the image on this server, in the folder with the source, and make the container anew (add the -e and -v that you had)
fix-stop-who-has-it = see who has port { $port }, and stop that program or container
fix-start-it-then = then start the proxy
fix-anew-published = make the container anew with its port published (this removes the old one: add the -e and -v that you had)
fix-anew-for-all = make the container anew with its port published to everybody, not to 127.0.0.1 only (this removes the old one: add the -e and -v that you had)
fix-enter-what-is-published = if that is on purpose, enter the published address and port as the proxy
fix-anew-in-a-usual-network = make the container anew in Docker's usual network (this removes the old one: add the -e and -v that you had, but no --network)
fix-why-nobody-listens = read in the log what the program in the container does; it should say "listening"
fix-anew-listening-to-all = make the container anew without --listen 127.0.0.1: inside a container the proxy has to listen on 0.0.0.0 (this removes the old one: add the -e and -v that you had)
fix-anew-for-its-port = make the container anew so that the published port leads to where the proxy listens (this removes the old one: add the -e and -v that you had)
fix-anew-with-more-files = make the container anew with a higher limit of open files (this removes the old one: add the -e and -v that you had)
fix-anew-with-name-servers = make the container anew with name servers that can be reached (this removes the old one: add the -e and -v that you had)
fix-restart-docker = restart Docker, which makes its own network rules anew (all its containers stop for a moment)
fix-who-forbids-it = if that does not help, look for a rule that drops what the container sends, and remove it
fix-does-the-server-get-out = see whether the server itself gets out (204 is good), and whether its own firewall forbids it
fix-ask-the-provider-for-a-way-out = ask why connections from the server to port 443 do not get out: a quota, an unpaid bill or a firewall for outgoing connections
fix-smaller-packets = have Docker make packets no larger than { $limit } bytes, and restart it (all containers stop for a moment; if that file exists already, add "mtu" to it by hand; a network of your own needs the option com.docker.network.driver.mtu)
fix-what-fills-the-disk = see what fills the disk
fix-remove-old-images = remove images and build remains that no container uses (asks before it does)
fix-who-has-the-memory = see who uses the memory; stop what is not needed, add swap, or rent a larger server
fix-anew-with-a-password = make the container anew with a user name and a password in place of --open (this removes the old one: add the -e and -v that you had)
fix-restart-docker-for-addresses = if clients come over IPv4, restart Docker, which makes its network rules anew (all containers stop for a moment)

### doctor: packets

check-packet-filter = packet filter
check-host-listeners = listeners
check-kernel-settings = kernel
check-public-address = own addresses
check-witness = witness


fix-forward-now = let the server pass packets on, from now on until it restarts
fix-forward-always = and after every restart
fix-ufw-route = let ufw pass packets on to the container; the port is that of the container, not the outer one
fix-ufw-allow = open the port in ufw
fix-firewalld = open the port in firewalld, now and for good
fix-delete-docker-user-rule = delete the rule that drops the packets; look first whether it keeps out somebody it should: sudo iptables -L DOCKER-USER -nv --line-numbers
fix-accept-first = let the port through before the rule that drops it; this opens it to everybody, and it is lost at the next restart unless you save it
fix-unban = lift the ban on your address; find out why it was banned, or it will be again
fix-find-the-ban = find the rule that names your address, and the program that made it
fix-more-conntrack = double the table of connections until the next restart; if the connections are not yours, see open-proxy
fix-loose-rp-filter = let answers leave by another interface than questions came by, until the next restart; this weakens the protection against forged addresses
fix-look-at-route = see by which interface answers to you leave; it should be the one that has the server's address
fix-test-from-outside = test from outside, not from the server itself, and use the address that the hosting's panel shows

separate-witness = run on the server, and connect from your computer meanwhile: sudo sami-proxy doctor --witness 30

fact-packet-filter = { $count } rules read; a client's packet to the port: { $outcome }
fact-packet-filter-unknown = the rules of the packet filter could not be read: { $why }
fact-host-listeners = listening on the port: { $what }
fact-host-listeners-none = nobody listens on the port
fact-kernel-settings = forwarding: { $outcome }; connections tracked: { $count } of { $limit }
fact-public-address = own addresses: { $addresses }
fact-witness = { $count } knocks on the port in { $seconds } s
fact-witness-blind = nobody could watch: { $why }

### doctor: what was seen on the server

reach-works = it answers
reach-missing = there is no such socket
reach-refused = nobody listens there
reach-forbidden = this user may not
reach-silent = it says nothing
reach-failed = connecting to it failed

run-created = made, but never started
run-running = running
run-paused = paused
run-restarting = ends again and again
run-removing = being removed
run-exited = has ended
run-dead = dead, Docker could not remove it
run-unknown = in a state that is not known

unseen-forbidden = only the administrator may look
unseen-gone = it is not there any more
unseen-failed = looking at it failed

read-whole = they were read
read-cut = there are too many
read-missing = no program for them is installed
read-forbidden = only the administrator may; run it with sudo
read-failed = what they say is not understood
read-late = they did not come in time

blind-no-permission = only the administrator may; run it with sudo
blind-not-linux = it can only be seen on Linux
blind-failed = the system did not allow it

fact-container-no-ports = nothing
fact-container-host-network = nothing, it uses the server's own network
fact-container-silent = nobody listens inside
fact-container-unseen = who listens inside is not known: { $why }
fact-container-egress-unseen = the container's network was not looked at: { $why }; from the server itself connections { $outcome }
fact-container-no-way = the container has no way out to the internet
fact-inside-listens = here the proxy runs as { $name } and listens at { $addresses }
fact-inside-deaf = here the proxy runs as { $name } and listens nowhere
fact-inside-nobody = no proxy runs here
fact-inside-alone = this container was started for this look only; the proxy is in another one
fact-inside-root = root
fact-inside-user = an ordinary user
fact-inside-answers = it answers
fact-inside-silent = it does not answer
fact-inside-host-network = the network is the server's own
fact-inside-memory = { $megabytes } of { $limit } MB of its memory are in use
fact-inside-killed = programs ended for want of memory: { $count }
fact-inside-packets = packets of up to { $bytes } bytes
fact-names-found = are found
fact-names-not-found = are not found
fact-connections-work = succeed
fact-connections-fail = fail
fact-connections-untried = were not tried
fact-server-memory = memory: { $megabytes } MB free
fact-server-files = open files: { $count } of { $limit }
fact-packet-accepted = let in
fact-packet-dropped = dropped ({ $what })
fact-packet-rejected = rejected ({ $what })
fact-packet-not-forwarded = not passed on to the container
fact-packet-no-route = has no way to the container
fact-packet-unknown = not known what becomes of it
fact-other-program = another program
fact-packet-yours = yours: { $outcome }
fact-container-mtu = packets of up to { $bytes } bytes, the server's network takes { $limit }
fact-forwarding-on = on
fact-forwarding-off = off
fact-forwarding-unknown = not known
fact-kernel-forwarding = forwarding: { $outcome }
fact-provider = the hosting is { $name }

check-docker-engine = Docker
check-container = container
check-container-egress = from the container
check-container-inside = this container
check-server-resources = disk and memory

not-checked-provider = the firewall of the hosting provider, in front of this server
not-checked-provider-why = it can't be seen from here
not-checked-provider-unlock = from your own computer: sami-proxy check-port ADDRESS:{ $port }
not-checked-host = the way to the container: published ports and the server's firewall
not-checked-host-why = from inside the container they can't be seen
not-checked-host-unlock = on the server: sudo docker cp { $subject } /tmp/ && sudo /tmp/sami-proxy doctor --role host
not-checked-root = what only the administrator may see
not-checked-root-why = this user may not look at it
not-checked-root-unlock = sudo sami-proxy doctor

### the machine that asks

progress-machine = looking at this computer
skip-online-only = only asked with --online

check-adapters = adapters
check-system-proxy = proxy settings
check-hosts-file = hosts file
check-portal = sign-in page
check-nat64 = IPv4

setting-environment = variables
setting-user-environment = variables for new programs
setting-windows = Windows
setting-windows-services = services of Windows
setting-gnome = GNOME
setting-macos = macOS

fact-adapters = packets leave by { $name } from { $source }; { $times } of { $attempts } adapters are connected
fact-adapters-none = no adapter leads out; { $times } of { $attempts } adapters are connected
fact-system-proxy = told to use a proxy: { $addresses }
fact-system-proxy-none = this computer was told of no proxy
fact-hosts-file = the hosts file has { $addresses }
fact-hosts-file-none = the hosts file says nothing of these names
fact-hosts-file-unread = { $subject } can't be read
fact-natsixfour = there is no IPv4 here; the network turns IPv4 addresses into { $to }
fact-natsixfour-none = there is no IPv4 here, and nobody turns IPv4 addresses into IPv6
fact-natsixfour-not = packets to IPv4 addresses leave as they are

fix-use-mapped = the server can be reached by the address that this network makes of its own: try it, and enter that in Sami
fix-use-ipv-six = this network has only IPv6: enter the server's IPv6 address, or use another network
fix-remove-the-line = remove the line with the proxy's name from the hosts file (as administrator; it changes a setting)
fix-switch-off-windows-proxy = switch off the other proxy in Windows, if you do not need it (it changes a setting)
fix-switch-off-proxy-for-all = switch off the other proxy for all users, as administrator (it changes a setting)
fix-remove-the-script = remove the script that chooses the proxy, if you do not know it (it changes a setting)
fix-remove-the-variable = remove the variable, in PowerShell, then open a new window (it changes a setting)
fix-unset-the-variable = remove the variable here, and from the file that sets it, such as ~/.profile
fix-reset-services = let the services of Windows go out directly, as administrator (it changes a setting)
fix-switch-off-gnome = switch off the other proxy of the desktop (it changes a setting)
fix-switch-off-macos = switch off the other proxy of the network service that you use (it changes a setting)
fix-own-settings = enter host and port of the proxy in Sami's own settings: they do not depend on the system's
fix-edit-exceptions = remove the service from the list of exceptions (it changes a setting)
fix-edit-no-proxy = remove the service from the exceptions (NO_PROXY, or the list in the network settings)
fix-start-it-anew = the variable is newer than the programs that run: close them and start them again
fix-past-the-vpn = lead packets to the server past the VPN until the next restart, as administrator (it changes a setting)
fix-without-vpn = or switch the VPN off, or exclude the server in its settings, and check again

vpn-captures-route = packets to { $host } go through the VPN { $name }
vpn-captures-route-long =
    A VPN on this computer has taken over the way to your proxy: packets to it leave by the VPN's
    adapter and not by your own network. The proxy then sees the address of the VPN, so a rule that
    allows only your address rejects you. Everything gets slower, and if the VPN hangs, the proxy
    seems to be dead.

    Looks alike: a dial-up connection of your internet provider (PPPoE) is an adapter of the same
    kind, but there is no other way out; then this warning is not given. Which adapter leads to the
    server, and which ones there are:
        Find-NetRoute -RemoteIPAddress ADDRESS
        Get-NetAdapter

    On Windows: switch the VPN off and check again. If the proxy works without it, exclude the server
    in the settings of the VPN ("split tunnelling"), or lead packets to the server past it. GATEWAY is
    the "Default Gateway" of your own network; as administrator:
        ipconfig
        route add ADDRESS mask 255.255.255.255 GATEWAY
    The route is gone after a restart, or with:
        route delete ADDRESS

change-target = examined
change-verdict = verdict
change-warnings = warning
change-check = check
change-addresses = addresses of the proxy's name
change-public-address = your address, as the proxy sees it
change-server-addresses = addresses of the server
change-gateways = gateway
change-name-servers = name servers
change-adapters = adapter
change-vpns = VPN adapters
change-system-proxy = proxy settings
change-hosts-file = hosts file
change-certificate-issuer = who signed the certificate
change-distance = hop that answers
change-container = container
change-image = image
change-container-started = container started
change-published-ports = published ports
change-docker-version = Docker
change-dnat = port forwarding rule
change-firewall-rules = firewall rule
change-mtu = largest packet
change-proxy-version = what answers
change-reached = target
change-provider = LLM service
change-timing = time

changes-since = what has changed since { $subject }
changes-since-untold = what has changed since the saved report
changes-other = the saved report is about { $other }, this one about { $proxy }
changes-none = nothing that both reports have seen

redacted-credentials = passwords and what carries them
redacted-tokens = keys and tokens
redacted-user-names = names of users
redacted-home-paths = users in paths of home folders
redacted-machine-names = names of this machine
redacted-macs = hardware addresses
redacted-identifiers = unique numbers
redacted-variables = values of variables
redacted-public-addresses = public addresses, replaced by others

bundle-written = { $name } has the report without passwords and names. Look into it, then send it to who helps you.
bundle-failed = { $name } was not written: { $why }
bundle-not-clean = the report can't be freed of secrets
bundle-redaction = What was replaced in evidence.json and report.txt, and how often:
bundle-addresses-kept = public addresses: kept (--pseudonyms replaces them)
bundle-verdict-differs = With the replaced addresses the verdict is another one than before; report.txt has that of the replaced ones.
bundle-readme =
    A report of sami-proxy doctor, made to be sent to somebody who helps.

    report.txt      what is wrong, how that is known, what to do
    evidence.json   everything that was measured; sami-proxy doctor --from evidence.json shows it again
    redaction.txt   what was replaced, and how often

    Passwords, tokens, names of users and of this machine, home folders, hardware addresses and values
    of variables are not in it. Look through it before you send it.

### Both ends

joint-kept-away = the server watched for { $seconds } s and saw no packet to port { $port }: most likely the hosting's firewall drops them
behind-nat-perhaps = this computer has no public address, only { $other }, and listens on port { $port } itself: if it is the server, its public address need not lead back to it, and a test from here means nothing
joint-command = on the server: { $subject }; then here: sami-proxy doctor { $proxy } --with TOKEN
joint-token = The token of this server; on your own computer: sami-proxy doctor ADDRESS:{ $port } --with TOKEN
joint-old-token = the server as it is now
joint-old-token-why = its token is old, it was made { $span } ago
joint-old-token-unlock = on the server again: { $subject }

fact-token = the server's token says so, made { $span } ago

fix-open-the-port-there = { $provider }: { $console }; let TCP port { $port } in from everywhere
fix-let-answers-out = see whether a rule for outgoing packets keeps the server's answers back, and let TCP from port { $port } out
fix-another-network = try over the phone's mobile internet; if that works, your router, antivirus or internet provider drops the answers
fix-find-what-drops = look for a rule that drops the packets for port { $port }, and let them through

silence-no-ssh = there is no ssh on this computer
silence-no-name = no address was found for { $host }
silence-refused = { $host } refuses the connection
silence-timed-out = { $host } does not answer
silence-key-unknown = the key of { $host } is not known on this computer yet
silence-key-changed = the key of { $host } is not the one it had before
silence-denied = { $host } does not let you in: the key or the user is wrong, or it wants a password
silence-no-program = on { $host } there is neither sami-proxy nor a container of it
silence-no-docker = on { $host } Docker does not answer
silence-needs-password = on { $host } only the administrator may ask Docker
silence-not-trusted = the proxy tells it to trusted clients only
silence-no-report = what answers has no report to give
silence-unreadable = what { $host } said is no report
silence-other-version = the report of { $host } is of another version
silence-out-of-time = { $host } was not done in time
silence-interrupted = interrupted
silence-failed = asking { $host } has failed

unheard-no-ssh = in Windows: Settings, Apps, Optional features, OpenSSH Client; or { $subject }
unheard-no-name = compare the name after --ssh with the server's name or address
unheard-refused = compare host and port after --ssh (user@host:port) with those of your SSH server
unheard-timed-out = see whether the server is on and lets you in by SSH: ssh { $target }
unheard-key-unknown = connect once by hand, compare the key, answer yes: ssh { $target }
unheard-key-changed = if the server was made anew: ssh-keygen -R { $host }, then connect once by hand; else somebody may be in between
unheard-denied = set up a key that needs no password: ssh-copy-id { $target }
unheard-no-program = on the server: { $subject }
unheard-no-docker = on the server: sudo systemctl start docker && sudo systemctl status docker
unheard-needs-password = on the server: { $subject }
unheard-not-trusted = give --user USER:PASSWORD, or on the server: { $subject }
unheard-no-report = on the server: { $subject }
unheard-unreadable = on the server: { $subject }
unheard-other-version = install the same version on both sides, or on the server: { $subject }
unheard-out-of-time = give the same check more time: --timeout 60
unheard-interrupted = make the same check again
unheard-failed = connect by hand and see what it says: ssh { $target }
