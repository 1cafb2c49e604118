//! The rows whose figure is CPU per request: who does the work, how it is loaded, and what would be good.

use super::client;
use super::h2load::{self, CLIENTS, Load, Protocol};
use super::origin::Origin;
use super::report::{self, Lane, Round, Section, Spread, Verdict};
use super::server::{Server, folder};
use super::{median, percentile};
use crate::program::Program::{self, Freshgate, Haproxy, Least, Nginx, Varnish};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Of each load; odd, so that there is one in the middle.
pub const ROUNDS: usize = 5;

/// How a target is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// Again and again, and answered without the origin.
    Stored,
    /// Again and again with its entity-tag, and answered 304 without the origin.
    Held,
    /// Again and again, and always answered by the origin.
    Passed,
    /// Never twice.
    New,
}

/// Who does the work.
struct Contender {
    program: Program,
    /// Beside its name, where a program is here twice.
    way: &'static str,
    path: &'static str,
    ask: Ask,
    /// Field lines of each request.
    lines: &'static [&'static str],
    coding: Option<&'static str>,
    protocol: Protocol,
    /// Of HTTP/1.1.
    connections: usize,
}

/// At most so much CPU per request of one contender as a share of another's.
struct Goal {
    of: usize,
    to: usize,
    at_most: f64,
}

pub struct Row {
    /// What it is asked for by.
    pub word: &'static str,
    title: &'static str,
    requests: usize,
    contenders: &'static [Contender],
    /// Whose figures the others are divided by.
    base: usize,
    goals: &'static [Goal],
}

const fn goal(of: usize, to: usize, at_most: f64) -> Goal {
    Goal { of, to, at_most }
}

const fn does(program: Program, path: &'static str, ask: Ask) -> Contender {
    Contender { program, way: "", path, ask, lines: &[], coding: None, protocol: Protocol::Http1, connections: CLIENTS }
}

const GZIP: &[&str] = &["Accept-Encoding: gzip"];
const BR: &[&str] = &["Accept-Encoding: br"];
const ALICE: &[&str] = &["Authorization: Bearer alice"];

pub const ROWS: [Row; 10] = [
    Row {
        word: "hit",
        title: "Hit, 200, 2 KiB",
        requests: 100_000,
        contenders: &[
            does(Freshgate, "/items/2048-hit", Ask::Stored),
            does(Nginx, "/tagged/2048-hit", Ask::Stored),
            does(Haproxy, "/tagged/2048-hit", Ask::Stored),
            does(Varnish, "/tagged/2048-hit", Ask::Stored),
            does(Least, "/least/2048-hit", Ask::Stored),
        ],
        base: 1,
        goals: &[goal(0, 1, 0.65), goal(0, 2, 0.70), goal(0, 3, 0.33)],
    },
    Row {
        word: "304",
        title: "304 to If-None-Match",
        requests: 100_000,
        contenders: &[
            does(Freshgate, "/items/2048-held", Ask::Held),
            does(Nginx, "/tagged/2048-held", Ask::Held),
            does(Haproxy, "/tagged/2048-held", Ask::Held),
            does(Varnish, "/tagged/2048-held", Ask::Held),
            does(Least, "/least/2048-held", Ask::Held),
        ],
        base: 1,
        goals: &[goal(0, 1, 0.75), goal(0, 3, 0.33)],
    },
    Row {
        word: "large",
        title: "Hit, 200, 64 KiB",
        requests: 40_000,
        contenders: &[
            does(Freshgate, "/items/65536-large", Ask::Stored),
            does(Nginx, "/tagged/65536-large", Ask::Stored),
            does(Varnish, "/tagged/65536-large", Ask::Stored),
            does(Least, "/least/65536-large", Ask::Stored),
        ],
        base: 1,
        goals: &[goal(0, 1, 0.9)],
    },
    Row {
        word: "coded",
        title: "Coded hit, 2.4 kB of JSON",
        requests: 60_000,
        contenders: &[
            Contender {
                way: "gzip",
                lines: GZIP,
                coding: Some("gzip"),
                ..does(Freshgate, "/json/2400-list", Ask::Stored)
            },
            Contender { way: "br", lines: BR, coding: Some("br"), ..does(Freshgate, "/json/2400-list", Ask::Stored) },
            Contender {
                way: "compressing it for each client",
                lines: GZIP,
                coding: Some("gzip"),
                ..does(Nginx, "/json/2400-list", Ask::Stored)
            },
            Contender {
                way: "compressed by its origin",
                lines: GZIP,
                coding: Some("gzip"),
                ..does(Nginx, "/coded/2400-list", Ask::Stored)
            },
        ],
        base: 3,
        goals: &[goal(0, 2, 0.30), goal(1, 2, 0.30), goal(0, 3, 0.65), goal(1, 3, 0.65)],
    },
    Row {
        word: "user",
        title: "Hit, 200, 2 KiB, of one caller with Authorization",
        requests: 100_000,
        contenders: &[
            Contender { lines: ALICE, ..does(Freshgate, "/mine/2048-own", Ask::Stored) },
            Contender { lines: ALICE, ..does(Nginx, "/mine/2048-own", Ask::Stored) },
        ],
        base: 1,
        goals: &[goal(0, 1, 0.80)],
    },
    Row {
        word: "many",
        title: "Hit, 200, 2 KiB, on 10,000 connections",
        requests: 100_000,
        contenders: &[
            Contender { connections: 10_000, ..does(Freshgate, "/items/2048-hit", Ask::Stored) },
            Contender { connections: 10_000, ..does(Nginx, "/tagged/2048-hit", Ask::Stored) },
        ],
        base: 1,
        goals: &[],
    },
    Row {
        word: "http2",
        title: "HTTP/2 hit, 200, 2 KiB",
        requests: 100_000,
        contenders: &[
            Contender { protocol: Protocol::Http2, ..does(Freshgate, "/items/2048-hit", Ask::Stored) },
            Contender { protocol: Protocol::Http2, ..does(Nginx, "/tagged/2048-hit", Ask::Stored) },
        ],
        base: 1,
        goals: &[goal(0, 1, 0.85)],
    },
    Row {
        word: "http2",
        title: "HTTP/2, 304 to If-None-Match",
        requests: 100_000,
        contenders: &[
            Contender { protocol: Protocol::Http2, ..does(Freshgate, "/items/2048-held", Ask::Held) },
            Contender { protocol: Protocol::Http2, ..does(Nginx, "/tagged/2048-held", Ask::Held) },
        ],
        base: 1,
        goals: &[goal(0, 1, 0.85)],
    },
    Row {
        word: "miss",
        title: "Stored miss, 2 KiB",
        requests: 20_000,
        contenders: &[
            does(Freshgate, "/items/2048-", Ask::New),
            does(Nginx, "/tagged/2048-", Ask::New),
            does(Varnish, "/tagged/2048-", Ask::New),
        ],
        base: 1,
        goals: &[goal(0, 1, 0.9)],
    },
    Row {
        word: "pass",
        title: "Pass-through, 2 KiB",
        requests: 40_000,
        contenders: &[
            does(Freshgate, "/pass/2048-on", Ask::Passed),
            does(Nginx, "/pass/2048-on", Ask::Passed),
            does(Haproxy, "/pass/2048-on", Ask::Passed),
            does(Varnish, "/pass/2048-on", Ask::Passed),
        ],
        base: 1,
        goals: &[goal(0, 1, 2.2)],
    },
];

/// The servers of some programs, each once.
pub struct Servers(Vec<Server>);

impl Servers {
    pub fn start(programs: impl IntoIterator<Item = Program>, origin: &Origin) -> Result<Servers, String> {
        let mut servers: Vec<Server> = Vec::new();
        for program in programs {
            if servers.iter().all(|server| server.program != program) {
                servers.push(Server::start(program, origin)?);
            }
        }
        Ok(Servers(servers))
    }

    pub fn all(&self) -> &[Server] {
        &self.0
    }

    fn of(&self, program: Program) -> &Server {
        self.0.iter().find(|server| server.program == program).expect("it was started")
    }
}

/// What every answer of a load has to be.
struct Wanted {
    lines: Vec<String>,
    /// Octets of content; of a 304 none.
    length: usize,
}

impl Contender {
    fn name(&self) -> String {
        match self.way {
            "" => self.program.name().to_owned(),
            way => format!("{}, {way}", self.program.name()),
        }
    }

    /// Lets the server have what it is to have, and says what its answers are to be.
    fn prepare(&self, server: &Server) -> Result<Wanted, String> {
        let mut lines: Vec<String> = self.lines.iter().map(|line| (*line).to_owned()).collect();
        if self.ask == Ask::New {
            return Ok(Wanted { lines, length: 2048 });
        }
        let mut answer = client::once(server.http1, self.path, &lines)?;
        // Some make a coded form only once somebody has asked for it.
        for _ in 0..100 {
            if answer.coding.as_deref() == self.coding {
                break;
            }
            thread::sleep(Duration::from_millis(20));
            answer = client::once(server.http1, self.path, &lines)?;
        }
        if answer.status != 200 || answer.coding.as_deref() != self.coding {
            return Err(format!("{}: {} brought {answer:?}", self.name(), self.path));
        }
        if self.ask != Ask::Held {
            return Ok(Wanted { lines, length: answer.length });
        }
        let entity_tag = answer.entity_tag.ok_or_else(|| format!("{}: no entity-tag", self.name()))?;
        lines.push(format!("If-None-Match: {entity_tag}"));
        Ok(Wanted { lines, length: 0 })
    }

    fn round(&self, server: &Server, origin: &Origin, wanted: &Wanted, requests: usize) -> Result<Round, String> {
        h2load::rest();
        let (asked, used) = (origin.asked(), server.used());
        let mut round = match self.ask {
            Ask::New => self.fresh_targets(server, wanted, requests)?,
            Ask::Stored | Ask::Held | Ask::Passed => self.same_target(server, wanted, requests)?,
        };
        round.cpu = server.used().since(&used) / requests as f64;
        let expected = if matches!(self.ask, Ask::New | Ask::Passed) { requests } else { 0 };
        match origin.asked() - asked {
            asked if asked == expected => Ok(round),
            asked => Err(format!("{}: the origin was asked {asked} times, not {expected}", self.name())),
        }
    }

    fn same_target(&self, server: &Server, wanted: &Wanted, requests: usize) -> Result<Round, String> {
        let address = if self.protocol == Protocol::Http1 { server.http1 } else { server.http2 };
        let load = Load {
            protocol: self.protocol,
            address,
            connections: self.connections,
            path: self.path,
            lines: &wanted.lines,
            requests,
        };
        let found = h2load::run(&load, folder()?.path())?;
        let statuses = if self.ask == Ask::Held { [0, requests, 0] } else { [requests, 0, 0] };
        if found.statuses != statuses || found.content != wanted.length * requests {
            return Err(format!("{}: not {statuses:?} with {} octets each: {found:?}", self.name(), wanted.length));
        }
        Ok(Round { cpu: f64::NAN, per_second: found.per_second, p50: found.p50, p99: found.p99 })
    }

    fn fresh_targets(&self, server: &Server, wanted: &Wanted, requests: usize) -> Result<Round, String> {
        static SERIAL: AtomicUsize = AtomicUsize::new(0);
        let first = SERIAL.fetch_add(requests, Ordering::Relaxed);
        let path = |index| format!("{}{}", self.path, first + index);
        let mut outcome = client::closed(server.http1, CLIENTS, requests, wanted.length, path)?;
        let [p50, p99] = [0.5, 0.99].map(|share| percentile(&mut outcome.whole, share));
        Ok(Round { cpu: f64::NAN, per_second: requests as f64 / outcome.seconds, p50, p99 })
    }

    /// That what was fetched in a load was stored: a second GET of it does not reach the origin.
    fn has_stored(&self, server: &Server, origin: &Origin) -> Result<(), String> {
        if self.ask != Ask::New {
            return Ok(());
        }
        let path = format!("{}twice", self.path);
        client::once(server.http1, &path, &[])?;
        let asked = origin.asked();
        client::once(server.http1, &path, &[])?;
        let stored = origin.asked() == asked;
        stored.then_some(()).ok_or_else(|| format!("{}: {path} was not stored", self.name()))
    }
}

impl Row {
    /// Runs it with those of its programs that are wanted.
    pub fn run(&self, origin: &Origin, wanted: impl Fn(Program) -> bool) -> Result<Section, String> {
        let contenders: Vec<&Contender> = self.contenders.iter().filter(|c| wanted(c.program)).collect();
        let servers = Servers::start(contenders.iter().map(|contender| contender.program), origin)?;
        let mut lanes = Vec::new();
        let mut prepared = Vec::new();
        for contender in &contenders {
            let server = servers.of(contender.program);
            let wanted = contender.prepare(server)?;
            contender.round(server, origin, &wanted, self.requests / 4)?;
            contender.has_stored(server, origin)?;
            prepared.push((server, wanted));
            lanes.push(Lane { name: contender.name(), rounds: Vec::new() });
        }
        for _ in 0..ROUNDS {
            for (place, contender) in contenders.iter().enumerate() {
                let (server, wanted) = &prepared[place];
                lanes[place].rounds.push(contender.round(server, origin, wanted, self.requests)?);
            }
        }
        let lane = |place: usize| lanes.iter().find(|lane| lane.name == self.contenders[place].name());
        let verdicts = self.goals.iter().filter_map(|goal| {
            let (of, to) = (lane(goal.of)?, lane(goal.to)?);
            let ratio = Spread::of_ratios(&of.rounds, &to.rounds, |round| round.cpu);
            let [of, to] = [of, to].map(|lane| median(lane.rounds.iter().map(|round| round.cpu)));
            Some(Verdict {
                work: self.goal_of(goal.of),
                goal: format!("≤ {:.2} of {}", goal.at_most, self.contenders[goal.to].name()),
                figure: format!("{}: {of:.2} µs to {to:.2} µs", ratio.text(2)),
                share: ratio.median() / goal.at_most,
            })
        });
        let verdicts = verdicts.collect();
        let short = self.short(lane);
        Ok(Section { short, ..report::lanes(self.title.to_owned(), &lanes, lane(self.base), verdicts) })
    }

    /// The first contender's figure, and its ratio to the others', for whom there is one.
    fn short<'a>(&self, lane: impl Fn(usize) -> Option<&'a Lane>) -> Option<Vec<String>> {
        let ours = lane(0).filter(|_| self.contenders[0].program == Freshgate)?;
        let cpu: fn(&Round) -> f64 = |round| round.cpu;
        let mut cells = vec![self.title.to_owned(), format!("{:.2}", median(ours.rounds.iter().map(cpu)))];
        let first = |program| self.contenders.iter().position(|contender| contender.program == program);
        for other in [Some(self.base), first(Haproxy), first(Varnish)] {
            let ratio = other.and_then(&lane).map(|other| Spread::of_ratios(&ours.rounds, &other.rounds, cpu).median());
            cells.push(ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")));
        }
        Some(cells)
    }

    fn goal_of(&self, contender: usize) -> String {
        match self.contenders[contender].way {
            "" => self.title.to_owned(),
            way => format!("{}, {way}", self.title),
        }
    }
}
