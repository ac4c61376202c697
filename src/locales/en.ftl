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

state-ok = works
state-bad = broken
state-warn = look here
state-unknown = not known
state-skipped = not checked

severity-fine = all is well
severity-warning = warning
severity-problem = problem

confidence-certain = certain
confidence-likely = likely
confidence-possible = possible

heading-because = because
heading-could-also-be = could also be
heading-tell-apart = to tell them apart
heading-fix = fix
heading-not-checked = not checked
heading-warnings = also worth knowing

place-windows = on Windows
place-server = on the server
place-docker = on the server, Docker
place-provider = in the hosting provider's control panel
place-sami = in Sami

status-ok = everything works
status-degraded = it works, but not as it should
status-broken = it does not work
status-inconclusive = this could not be decided

count-checks =
    { $count ->
        [one] { $count } check
       *[other] { $count } checks
    }
count-checks-fine =
    { $count ->
        [one] { $count } check found nothing wrong
       *[other] { $count } checks found nothing wrong
    }
count-checks-skipped =
    { $count ->
        [one] { $count } check was not made
       *[other] { $count } checks were not made
    }

### What stands where an argument is not given

argument-host = <host>
argument-port = <port>
argument-other = <other>
argument-name = <name>
argument-server = <name server>
argument-target = <target>
argument-client = <your address>
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
    In the commands above SERVER stands for your server's address, 8080 for the proxy's port and
    sami-llm-proxy for the name of the container and of its image. If yours are different, change them.
explain-list = One of them in full: sami-proxy explain CODE
explain-unknown = there is no code "{ $name }"; `sami-proxy explain` lists them all
explain-near = there is no code "{ $name }"; did you mean: { $other }?

### Nothing is wrong

ok = the proxy { $host }:{ $port } works
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

dns-server-unreachable = the name server { $server } does not answer this computer
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

dns-server-failing = the name server { $server } answers with a failure when asked for { $name }
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

    Looks alike: an address that really changed a short while ago, or a service that has several. Compare
    the two answers, and both with the address that the hosting provider shows for your server:
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

no-route = this computer knows no way to the internet
no-route-long =
    The computer is connected to a network, but has no "default gateway": nobody has told it which device
    leads to the internet. Connections to the outside fail at once, before anything is sent, while
    devices at home can be reached. Another form: the network has only IPv6, and the proxy is given as an
    IPv4 address (numbers with dots).

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

    Looks alike: an antivirus or a company that opens encrypted traffic (tls-intercepted) does so all the
    time and leaves plain http alone; a captive portal redirects plain http as well, and goes away after
    the sign-in.

    On Windows: open this address in a browser; the sign-in page appears. Sign in, then try again.
        start http://neverssl.com
    If the site itself is shown, you are signed in already. The sign-in often ends after some hours.

local-firewall = a firewall or antivirus on this computer does not let the program out
local-firewall-long =
    The connection dies on your own computer: the Windows firewall, an antivirus or the "kill switch" of
    a VPN forbids this program to reach the proxy. No packet leaves the computer. A refusal comes faster
    than any answer from the network could; or there is only silence.

    Looks alike: a closed port on the server (port-refused) takes at least one way there and back. And
    another program on the same computer would meet the same refusal. Try with another one:
        Test-NetConnection SERVER -Port 8080
        curl.exe -v --max-time 10 http://SERVER:8080/healthz
    If these work and your application does not, the block is for that application.

    On Windows: look into the antivirus (network protection, application control) and allow your
    application and sami-proxy.exe. Is there a rule of Windows that blocks?
        Get-NetFirewallRule -Direction Outbound -Action Block -Enabled True
    A rule that allows sami-proxy (PowerShell as administrator; put the real path):
        New-NetFirewallRule -DisplayName sami-proxy -Direction Outbound -Program C:\sami-proxy.exe -Action Allow

### The way to the port

host-unreachable = { $other } reports that { $host } cannot be reached
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

host-silent = { $host } does not answer at all, on port { $port } or any other
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

port-filtered = port { $port } of { $host } stays silent, although the server itself answers
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
    If it is your internet provider, publish the proxy on port 443, which is hardly ever blocked, and
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
        sudo iptables -I DOCKER-USER 1 -p tcp --dport 8080 -j ACCEPT
    For a proxy without Docker, or with --network host (INPUT):
        sudo iptables -I INPUT 1 -p tcp --dport 8080 -j ACCEPT
    To keep it after a restart of the server (package iptables-persistent):
        sudo netfilter-persistent save

port-refused = { $host } refuses connections to port { $port }: nothing listens there
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

    The cure is to encrypt the way to the server, so that no name can be read. Run the proxy on the
    server with SAMI_PROXY_TLS_SELF_SIGNED=true, and sami-proxy on your own computer, too:
        sami-proxy serve --listen 127.0.0.1:8080 --upstream https://SERVER:8080 --upstream-pin sha256:PIN
    In Sami enter the host 127.0.0.1 and the port 8080. The pin stands in the log of the server:
        docker logs sami-llm-proxy 2>&1 | grep pin

not-a-proxy = { $host }:{ $port } is not a proxy but { $other }
not-a-proxy-long =
    Something answers, but it is no proxy: a web server, an administration page, SSH, or a device of your
    provider or VPN that accepts every connection.

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

tls-required = { $host }:{ $port } wants encryption (TLS) from the first byte
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
        sami-proxy serve --listen 127.0.0.1:8080 --upstream https://SERVER:8080 --upstream-pin sha256:PIN
    and enter 127.0.0.1 and 8080 in Sami.

tls-not-spoken = { $host }:{ $port } does not speak TLS, but was addressed with https://
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
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped -e SAMI_PROXY_TLS_SELF_SIGNED=true -v sami-llm-proxy:/var/lib/sami-proxy sami-llm-proxy

proxy-auth-required = the proxy { $host }:{ $port } wants a user name and a password
proxy-auth-required-long =
    The proxy works and can be reached, but it answers 407: it lets in only those who give a user name
    and a password, and none was given.

    Looks alike: an answer 401 comes from the service, not from the proxy, and is about your key there.
    With proxy-auth-rejected a name and a password were given, but wrong ones.
    If the proxy wants a scheme such as NTLM or Digest, it is not sami-proxy: check host and port.

    In Sami: fill in Username and Password of the proxy. For programs that read variables (special
    characters of the password as codes: @ is %40, : is %3A, / is %2F):
        set HTTPS_PROXY=http://USER:PASSWORD@SERVER:8080
    On the server, if you have forgotten them; the first line shows what was set:
        docker inspect sami-llm-proxy | grep SAMI_PROXY_AUTH
    To set new ones, make the container anew:
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped -e SAMI_PROXY_AUTH=USER:PASSWORD sami-llm-proxy

proxy-auth-rejected = the proxy { $host }:{ $port } does not accept this user name and password
proxy-auth-rejected-long =
    A user name and a password were sent, and the proxy answers 407 all the same: they are not right.
    Mostly a typing mistake, a space copied along, or a special character in an address: in
    http://user:password@host the characters @ : / # % of the password must be written as codes (@ is
    %40, : is %3A, / is %2F, # is %23, % is %25). In separate fields, as in Sami, they must not.

    Looks alike: 401 is an answer of the service and is about your key there. proxy-auth-required means
    that nothing was sent at all.

    In Sami: type name and password again by hand; capitals and small letters count.
    Test them outside of Sami:
        curl.exe -v --max-time 15 -x http://SERVER:8080 --proxy-user USER:PASSWORD https://www.google.com/
    On the server, see what was set, or set a new pair of letters and digits only:
        docker inspect sami-llm-proxy | grep SAMI_PROXY_AUTH
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped -e SAMI_PROXY_AUTH=USER:PASSWORD sami-llm-proxy

client-not-allowed = the proxy does not serve your address { $client }
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
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped -e SAMI_PROXY_AUTH=USER:PASSWORD sami-llm-proxy

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
        curl.exe -v --max-time 15 -x http://SERVER:8080 https://www.google.com/

    On the server, open everything public to yourself by setting a user name and a password:
        docker rm -f sami-llm-proxy
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped -e SAMI_PROXY_AUTH=USER:PASSWORD sami-llm-proxy
    If there are SAMI_PROXY_ALLOW_TO or SAMI_PROXY_DENY_TO, add the service there or take the rule out:
        docker inspect sami-llm-proxy | grep SAMI_PROXY

proxy-overloaded = the proxy has reached its limit of connections ({ $limit })
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
        docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped --ulimit nofile=65536 -e SAMI_PROXY_MAX_PER_CLIENT=8192 sami-llm-proxy

upstream-proxy-down = the next proxy in the chain, { $other }, does not answer
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
