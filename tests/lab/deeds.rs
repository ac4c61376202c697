//! How troubles are made, seen to work, and taken back.

use rustix::process::Signal;

use super::origin::Manner;
use super::place::Killed;
use super::stub::{Habit, Stub};
use super::{Lab, Place};
use crate::common::dns::Say;
use crate::common::process::Serve;

/// One thing to do to the lab.
#[derive(Debug, Clone, Copy)]
pub enum Deed {
    /// `iptables -t TABLE -I CHAIN …`: where, the table and chain, the rest.
    Rule(Place, &'static str, &'static str),
    /// The same with `ip6tables`.
    Rule6(Place, &'static str, &'static str),
    /// A command, and the one that takes it back.
    Run(Place, &'static str, &'static str),
    /// A switch below `/proc/sys/net/`, its value, and the one that takes it back.
    Switch(Place, &'static str, [&'static str; 2]),
    /// What the client's name server says.
    ClientNames(Lie),
    /// What the container's name server says; the proxy starts anew, with nothing remembered.
    ServerNames(Lie),
    /// How the origins behave.
    Origin(Manner),
    /// No proxy in the container.
    NoProxy,
    /// The proxy in the container starts anew with these flags.
    ProxyWith(&'static [&'static str]),
    /// The proxy in the container is stopped (SIGSTOP), as `docker pause` does.
    Paused,
    /// The proxy runs on the server itself, not in a container.
    OnHost,
    /// Another program on this port of the place.
    Stub(Place, u16, Habit),
    /// Another proxy in the container, by its command line.
    Foreign(&'static str, &'static str),
    /// A file in the lab's folder: its name, and what is in it.
    File(&'static str, &'static str),
    /// The client's `/etc/resolv.conf`.
    Resolver(&'static str),
    /// Everything between the client and the rest takes so many milliseconds more each way.
    Delay(u64),
    /// A connection from the net to the proxy is held open.
    Held,
    /// A command in a place shows this text: the injector's own proof, looked at after the fault
    /// was met.
    Proof(Place, &'static str, &'static str),
}

/// `dns::Say` for a table.
#[derive(Debug, Clone, Copy)]
pub enum Lie {
    NoSuchName,
    Failure,
    Nothing,
    Address(&'static str),
}

impl Lie {
    fn say(self) -> Say {
        match self {
            Self::NoSuchName => Say::NoSuchName,
            Self::Failure => Say::Failure,
            Self::Nothing => Say::Nothing,
            Self::Address(text) => Say::Addresses(vec![text.parse().unwrap()], 0),
        }
    }
}

/// What this machine has not got.
#[derive(Debug)]
pub struct Lacking(pub String);

/// A trouble that is there until it is dropped.
pub struct Trouble<'lab> {
    lab: &'lab Lab,
    name: &'static str,
    deeds: &'static [Deed],
    /// How many of them are done.
    done: usize,
    held: Vec<Held>,
    questions: [usize; 2],
    visits: usize,
}

/// What ends by being dropped.
enum Held {
    Stub(Stub),
    Serve(Serve),
    Foreign(Killed),
    Delay(super::delay::Delay),
    Connection(std::net::TcpStream),
}

/// Marks the rules of a fault.
const MARK: &str = "-m comment --comment fault";

impl<'lab> Trouble<'lab> {
    pub fn make(
        lab: &'lab Lab,
        name: &'static str,
        deeds: &'static [Deed],
    ) -> Result<Self, Lacking> {
        let questions =
            std::array::from_fn(|at| lab.names[at].questions.load(super::Ordering::SeqCst));
        let visits = lab.origin.visits();
        let mut trouble = Self { lab, name, deeds, done: 0, held: Vec::new(), questions, visits };
        for deed in deeds {
            // Counted before it is done: what is half done is taken back, too.
            trouble.done += 1;
            if let Err(why) = trouble.act(deed) {
                println!("skipped: {name}: {why}");
                return Err(Lacking(why));
            }
        }
        Ok(trouble)
    }

    fn act(&mut self, deed: &Deed) -> Result<(), String> {
        let lab = self.lab;
        match *deed {
            Deed::Rule(place, chain, rest) => rule(lab, "iptables", place, ("-I", chain, rest))?,
            Deed::Rule6(place, chain, rest) => rule(lab, "ip6tables", place, ("-I", chain, rest))?,
            Deed::Run(place, words, _) => drop(lab.run(place, words)?),
            Deed::Switch(place, path, [value, _]) => switch(lab, place, path, value)?,
            Deed::ClientNames(lie) => *lab.names[0].lie.lock().unwrap() = Some(lie.say()),
            Deed::ServerNames(lie) => {
                *lab.names[1].lie.lock().unwrap() = Some(lie.say());
                lab.serve_in_container(&[]);
            }
            Deed::Origin(manner) => lab.origin.behave(manner),
            Deed::NoProxy => lab.stop_proxy(),
            Deed::ProxyWith(flags) => lab.serve_in_container(flags),
            Deed::Paused => lab.signal_proxy(Signal::STOP),
            Deed::OnHost => self.host_proxy()?,
            Deed::Stub(place, port, habit) => {
                self.held.push(Held::Stub(lab.stub(place, port, habit)));
            }
            Deed::Foreign(program, words) => {
                lab.run(Place::Container, &format!("which {program}"))
                    .map_err(|_| format!("{program} is not installed"))?;
                self.held.push(Held::Foreign(lab.foreign(words)));
            }
            Deed::File(name, text) => {
                std::fs::write(lab.folder().join(name), lab.with_folder(text)).unwrap();
            }
            Deed::Resolver(text) => lab.site(Place::Client).set_resolver(Some(text)),
            Deed::Delay(each_way) => {
                let delay = super::delay::Delay::start(lab, each_way)?;
                self.held.push(Held::Delay(delay));
            }
            Deed::Held => {
                let held = lab.on(Place::Net, || std::net::TcpStream::connect(super::PROXY));
                self.held.push(Held::Connection(held.map_err(|error| error.to_string())?));
            }
            Deed::Proof(..) => {}
        }
        Ok(())
    }

    fn host_proxy(&mut self) -> Result<(), String> {
        for tool in ["iptables", "ip6tables"] {
            self.lab.run(Place::Vps, &format!("{tool} -t nat -F PREROUTING"))?;
        }
        let clients = ["--trust-client", "10.1.0.0/24,2a01:10::/64"];
        let listen = ["--listen", "0.0.0.0:8080,[::]:8080"];
        let serve = self.lab.serve(Place::Vps, &[clients, listen].concat());
        self.held.push(Held::Serve(serve));
        Ok(())
    }

    /// What shows that the injector did what it says, after the fault was met; `Err` says what
    /// shows that it did not.
    pub fn check_evidence(&self) -> Result<(), String> {
        for deed in self.deeds {
            let seen = match *deed {
                Deed::Rule(place, chain, _) => counter(self.lab, "iptables", place, chain) > 0,
                Deed::Rule6(place, chain, _) => counter(self.lab, "ip6tables", place, chain) > 0,
                Deed::ClientNames(_) => self.asked(0),
                Deed::ServerNames(_) => self.asked(1),
                Deed::Origin(_) => self.lab.origin.visits() > self.visits,
                Deed::Proof(place, words, text) => {
                    let shown = self.lab.run(place, words)?;
                    let there = match text.strip_prefix('!') {
                        Some(text) => !shown.contains(text),
                        None => shown.contains(text),
                    };
                    if !there {
                        return Err(format!("{}: {words} shows {shown:?}", self.name));
                    }
                    true
                }
                _ => true,
            };
            if !seen {
                return Err(format!("{}: no trace of {deed:?}", self.name));
            }
        }
        let idle = self.held.iter().any(|held| match held {
            Held::Stub(stub) => stub.visits() == 0,
            Held::Delay(delay) => delay.packets() == 0,
            Held::Serve(_) | Held::Foreign(_) | Held::Connection(_) => false,
        });
        if idle { Err(format!("{}: nobody came to the stub", self.name)) } else { Ok(()) }
    }

    fn asked(&self, server: usize) -> bool {
        self.lab.names[server].questions.load(super::Ordering::SeqCst) > self.questions[server]
    }

    /// Takes it back; the same as dropping it.
    pub fn heal(self) {
        drop(self);
    }

    fn undo(&self, deed: &Deed) -> Result<(), String> {
        let lab = self.lab;
        match *deed {
            Deed::Rule(place, chain, rest) => rule(lab, "iptables", place, ("-D", chain, rest))?,
            Deed::Rule6(place, chain, rest) => rule(lab, "ip6tables", place, ("-D", chain, rest))?,
            Deed::Run(place, _, back) => {
                for words in back.split("; ").filter(|words| !words.is_empty()) {
                    lab.run(place, words)?;
                }
            }
            Deed::Switch(place, path, [_, value]) => switch(lab, place, path, value)?,
            Deed::ClientNames(_) => *lab.names[0].lie.lock().unwrap() = None,
            Deed::ServerNames(_) => {
                *lab.names[1].lie.lock().unwrap() = None;
                lab.serve_in_container(&[]);
            }
            Deed::Origin(_) => lab.origin.behave(Manner::Well),
            Deed::NoProxy | Deed::ProxyWith(_) => lab.serve_in_container(&[]),
            Deed::Paused => lab.signal_proxy(Signal::CONT),
            Deed::OnHost => lab.site(Place::Vps).translate()?,
            Deed::Resolver(_) => lab.site(Place::Client).set_resolver(None),
            Deed::Delay(_) => lab.site(Place::Isp).ip(super::delay::END)?,
            Deed::Stub(..) | Deed::Foreign(..) | Deed::File(..) | Deed::Held | Deed::Proof(..) => {}
        }
        Ok(())
    }
}

impl Drop for Trouble<'_> {
    fn drop(&mut self) {
        self.held.clear();
        // A failed test takes its lab down with it, and a second panic would hide the first.
        if std::thread::panicking() {
            return;
        }
        for deed in self.deeds[..self.done].iter().rev() {
            if let Err(why) = self.undo(deed) {
                println!("{}: not taken back: {why}", self.name);
            }
        }
        self.lab.settle();
    }
}

/// Adds or removes a rule: `TABLE CHAIN` and what it says.
fn rule(
    lab: &Lab,
    tool: &str,
    place: Place,
    (how, chain, rest): (&str, &str, &str),
) -> Result<(), String> {
    let (table, chain) = chain.split_once(' ').unwrap();
    lab.run(place, &format!("{tool} -w -t {table} {how} {chain} {rest} {MARK}")).map(drop)
}

fn switch(lab: &Lab, place: Place, path: &str, value: &str) -> Result<(), String> {
    let path = format!("/proc/sys/net/{path}");
    lab.on(place, || std::fs::write(&path, value)).map_err(|error| format!("{path}: {error}"))
}

fn counter(lab: &Lab, tool: &str, place: Place, chain: &str) -> u64 {
    let (table, chain) = chain.split_once(' ').unwrap();
    lab.counted(place, &format!("{tool} -w -t {table} -nvxL {chain}"), "fault")
}
