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
        ipconfig /release
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
