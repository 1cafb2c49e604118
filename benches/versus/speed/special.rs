//! The rows whose figure is another than CPU per request, or that load their servers in a way of their own.

use super::client::{self, get};
use super::h2load::{self, CLIENTS, Load, Protocol};
use super::origin::Origin;
use super::report::{self, Lane, Round, Section, Spread, Verdict};
use super::rows::{ROUNDS, Servers};
use super::server::{Server, folder};
use super::{median, percentile};
use crate::program::Program::{self, Freshgate, Haproxy, Nginx, Varnish};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs};

type Run = fn(&Origin, &dyn Fn(Program) -> bool) -> Result<Vec<Section>, String>;

/// Each by the word that it is asked for by.
pub const SPECIALS: [(&str, Run); 6] = [
    ("open", open_loop),
    ("latency", latency),
    ("memory", memory),
    ("million", million),
    ("stampede", stampede),
    ("idle", idle),
];

fn programs(of: &[Program], wanted: &dyn Fn(Program) -> bool) -> Vec<Program> {
    of.iter().copied().filter(|program| wanted(*program)).collect()
}

/// The paths below which a program's responses are stored.
fn stored_kind(program: Program) -> &'static str {
    if program == Freshgate { "/items" } else { "/tagged" }
}

fn lane_of(lanes: &[Lane], program: Program) -> Option<&Lane> {
    lanes.iter().find(|lane| lane.name == program.name())
}

/// Half of nginx's own peak, as a schedule that waits for nobody.
fn open_loop(origin: &Origin, wanted: &dyn Fn(Program) -> bool) -> Result<Vec<Section>, String> {
    let servers = Servers::start(programs(&[Nginx, Freshgate], wanted), origin)?;
    let path = |server: &Server| format!("{}/2048-open", stored_kind(server.program));
    let mut peaks = Vec::new();
    // The first server is nginx, unless only the other one is wanted; then half of its own peak will do to look at.
    let paced = servers.all().first().ok_or("neither nginx nor freshgate is wanted")?;
    client::once(paced.http1, &path(paced), &[])?;
    for _ in 0..ROUNDS {
        let (path, lines) = (path(paced), []);
        let load = Load {
            protocol: Protocol::Http1,
            address: paced.http1,
            path: &path,
            lines: &lines,
            connections: CLIENTS,
            requests: 60_000,
        };
        peaks.push(h2load::run(&load, folder()?.path())?.per_second);
    }
    let rate = median(peaks) / 2.0;
    let mut lanes: Vec<Lane> =
        servers.all().iter().map(|s| Lane { name: s.program.name().to_owned(), rounds: Vec::new() }).collect();
    let requests = rate as usize * 2;
    for _ in 0..ROUNDS {
        for (server, lane) in servers.all().iter().zip(&mut lanes) {
            h2load::rest();
            let request = get(&path(server), &[]);
            client::once(server.http1, &path(server), &[])?;
            let (asked, used) = (origin.asked(), server.used());
            let mut latencies = client::open(server.http1, CLIENTS, rate, requests, &request)?;
            if origin.asked() != asked {
                return Err("open loop: a hit was none".to_owned());
            }
            let cpu = server.used().since(&used) / requests as f64;
            let [p50, p99] = [0.5, 0.99].map(|share| percentile(&mut latencies, share));
            lane.rounds.push(Round { cpu, per_second: rate, p50, p99 });
        }
    }
    let verdicts = match (lane_of(&lanes, Freshgate), lane_of(&lanes, Nginx)) {
        (Some(ours), Some(theirs)) => {
            let ratio = Spread::of_ratios(&ours.rounds, &theirs.rounds, |round| round.p99);
            let figure = format!("{} of nginx's p99", ratio.text(2));
            let work = "Hit p99, open loop".to_owned();
            vec![Verdict { work, goal: "≤ nginx's".to_owned(), figure, share: ratio.median() }]
        }
        _ => Vec::new(),
    };
    let title =
        format!("Hit, 200, 2 KiB, open loop at half of nginx's peak: {rate:.0} requests/s, latency from the schedule");
    Ok(vec![report::lanes(title, &lanes, lane_of(&lanes, Nginx), verdicts)])
}

/// One client that asks one thing after the other: what passing through adds, and how soon a large miss begins.
fn latency(origin: &Origin, wanted: &dyn Fn(Program) -> bool) -> Result<Vec<Section>, String> {
    let servers = Servers::start(programs(&[Freshgate, Nginx], wanted), origin)?;
    let direct = ("the origin itself".to_owned(), origin.address, "");
    let others = servers.all().iter().map(|s| (s.program.name().to_owned(), s.http1, stored_kind(s.program)));
    let targets: Vec<_> = [direct].into_iter().chain(others).collect();
    let mut passed: Vec<Vec<[f64; 2]>> = vec![Vec::new(); targets.len()];
    let mut first: Vec<Vec<[f64; 2]>> = vec![Vec::new(); targets.len()];
    for round in 0..=ROUNDS {
        for (place, (_, address, kind)) in targets.iter().enumerate() {
            let mut pass = client::closed(*address, 1, 4_000, 2048, |_| "/pass/2048-one".to_owned())?.whole;
            let kind = if kind.is_empty() { "/items" } else { kind };
            let path = |index| format!("{kind}/204800-{round}-{index}");
            let mut miss = client::closed(*address, 1, 600, 204_800, path)?.first_octets;
            // The first round fills pools and is not counted.
            if round > 0 {
                passed[place].push([0.5, 0.99].map(|share| percentile(&mut pass, share)));
                first[place].push([0.5, 0.99].map(|share| percentile(&mut miss, share)));
            }
        }
    }
    let table = |title: &str, figures: &[Vec<[f64; 2]>]| {
        let row = |(place, (name, _, _)): (usize, &(String, _, _))| {
            let spread = |which: usize| Spread::of(figures[place].iter().map(|figure| figure[which])).text(0);
            vec![name.clone(), spread(0), spread(1)]
        };
        let rows = targets.iter().enumerate().map(row).collect();
        Section { title: title.to_owned(), header: vec!["", "p50 µs", "p99 µs"], rows, ..Section::default() }
    };
    let mut sections = vec![
        table("Pass-through, 2 KiB, one client", &passed),
        table("Stored miss of 200 KB, one client: time to the first octet", &first),
    ];
    let more = |figures: &[Vec<[f64; 2]>], of: usize, than: usize| {
        Spread::of(figures[of].iter().zip(&figures[than]).map(|(of, than)| (of[1] - than[1]) / 1e3).collect::<Vec<_>>())
    };
    let verdict = |work: &str, goal: &str, adds: Spread, at_most: f64| Verdict {
        work: work.to_owned(),
        goal: goal.to_owned(),
        figure: format!("{} ms", adds.text(3)),
        share: adds.median() / at_most,
    };
    let place = |program: Program| targets.iter().position(|(name, _, _)| name == program.name());
    if let Some(ours) = place(Freshgate) {
        sections[0].verdicts.push(verdict("Pass-through, p99", "adds ≤ 0.3 ms", more(&passed, ours, 0), 0.3));
        if let Some(theirs) = place(Nginx) {
            let goal = "≤ 2 ms more than nginx";
            sections[1].verdicts.push(verdict("200 KB miss, first octet, p99", goal, more(&first, ours, theirs), 2.0));
        }
    }
    Ok(sections)
}

/// Stores so many responses of so many octets each, every one by a path and with content of its own.
fn fill(server: &Server, size: usize, from: usize, to: usize) -> Result<(), String> {
    client::closed(server.http1, CLIENTS, to - from, size, |index| numbered(server, size, from + index)).map(drop)
}

fn numbered(server: &Server, size: usize, number: usize) -> String {
    format!("{}/{size}-n{number}", stored_kind(server.program))
}

/// That a response that was stored first, and one that was stored last, still are.
fn holds(server: &Server, origin: &Origin, size: usize, stored: usize) -> Result<(), String> {
    let asked = origin.asked();
    for number in [0, stored / 2, stored - 1] {
        client::once(server.http1, &numbered(server, size, number), &[])?;
    }
    let all = origin.asked() == asked;
    all.then_some(()).ok_or_else(|| format!("{} does not hold {stored} responses", server.program.name()))
}

/// How much the process grows by each stored response, beyond the octets of its content.
fn memory(origin: &Origin, wanted: &dyn Fn(Program) -> bool) -> Result<Vec<Section>, String> {
    const SIZE: usize = 2048;
    const FIRST: usize = 20_000;
    const STORED: usize = 220_000;
    let mut section = Section {
        title: format!("Memory per stored response of 2 KiB, {} of them", STORED - FIRST),
        header: vec!["", "octets beyond the content"],
        ..Section::default()
    };
    for program in programs(&[Freshgate, Varnish], wanted) {
        let server = Server::start(program, origin)?;
        fill(&server, SIZE, 0, FIRST)?;
        let before = server.resident();
        fill(&server, SIZE, FIRST, STORED)?;
        holds(&server, origin, SIZE, STORED)?;
        let beyond = server.resident().saturating_sub(before) as f64 / (STORED - FIRST) as f64 - SIZE as f64;
        section.rows.push(vec![program.name().to_owned(), format!("{beyond:.0}")]);
        if program == Freshgate {
            section.verdicts.push(Verdict {
                work: "Octets per stored response beyond its content".to_owned(),
                goal: "≤ 600".to_owned(),
                figure: format!("{beyond:.0}"),
                share: beyond / 600.0,
            });
        }
    }
    Ok(vec![section])
}

/// Hits drawn from a million stored responses, and from a thousand.
fn million(origin: &Origin, wanted: &dyn Fn(Program) -> bool) -> Result<Vec<Section>, String> {
    const SIZE: usize = 256;
    const FEW: usize = 1_000;
    const MANY: usize = 1_000_000;
    let servers = Servers::start(programs(&[Freshgate, Nginx], wanted), origin)?;
    let mut lanes: Vec<Lane> = Vec::new();
    let mut growth = Vec::new();
    for (stored, already) in [(FEW, 0), (MANY, FEW)] {
        for server in servers.all() {
            eprintln!("    {} is filled with {stored}", server.program.name());
            fill(server, SIZE, already, stored)?;
            holds(server, origin, SIZE, stored)?;
            lanes.push(Lane { name: format!("{}, {stored} stored", server.program.name()), rounds: Vec::new() });
        }
        let from = lanes.len() - servers.all().len();
        for _ in 0..ROUNDS {
            for (server, lane) in servers.all().iter().zip(&mut lanes[from..]) {
                lane.rounds.push(drawn(server, origin, SIZE, stored)?);
            }
        }
    }
    let count = servers.all().len();
    for place in 0..count {
        growth.push(Spread::of_ratios(&lanes[count + place].rounds, &lanes[place].rounds, |round| round.cpu));
    }
    let mut verdicts = Vec::new();
    let work = "Hit with 1 M stored responses against 1 k".to_owned();
    if let Some(ours) = servers.all().iter().position(|server| server.program == Freshgate) {
        let (ratio, text) = (growth[ours].median(), growth[ours].text(2));
        verdicts.push(Verdict {
            work: work.clone(),
            goal: "≤ 1.3 × our own".into(),
            figure: text.clone(),
            share: ratio / 1.3,
        });
        if let Some(theirs) = servers.all().iter().position(|server| server.program == Nginx) {
            let figure = format!("{text}, nginx's {}", growth[theirs].text(2));
            let share = ratio / growth[theirs].median();
            verdicts.push(Verdict { work, goal: "≤ nginx's own growth".into(), figure, share });
        }
    }
    let base = lanes.iter().find(|lane| lane.name == format!("{}, {FEW} stored", Nginx.name()));
    Ok(vec![report::lanes("Hit, 200, 256 octets, drawn from all that is stored".to_owned(), &lanes, base, verdicts)])
}

/// A load of hits whose numbers a multiplicative generator draws.
fn drawn(server: &Server, origin: &Origin, size: usize, stored: usize) -> Result<Round, String> {
    const REQUESTS: usize = 100_000;
    static SEED: AtomicUsize = AtomicUsize::new(1);
    let seed = SEED.fetch_add(REQUESTS, Ordering::Relaxed);
    h2load::rest();
    let (asked, used) = (origin.asked(), server.used());
    let path = |index: usize| {
        let mixed = (seed + index).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        numbered(server, size, (mixed >> 24) % stored)
    };
    let mut outcome = client::closed(server.http1, CLIENTS, REQUESTS, size, path)?;
    let cpu = server.used().since(&used) / REQUESTS as f64;
    if origin.asked() != asked {
        return Err(format!("{}: of {stored} stored responses not all are hits", server.program.name()));
    }
    let [p50, p99] = [0.5, 0.99].map(|share| percentile(&mut outcome.whole, share));
    Ok(Round { cpu, per_second: REQUESTS as f64 / outcome.seconds, p50, p99 })
}

/// A thousand clients that all miss on one key at once, at an origin that takes 50 ms.
fn stampede(origin: &Origin, wanted: &dyn Fn(Program) -> bool) -> Result<Vec<Section>, String> {
    const CROWD: usize = 1_000;
    let header = vec!["", "origin requests", "ms until the last has its answer", "CPU ms"];
    let title = format!("{CROWD} clients miss on one key at once, at an origin that takes 50 ms");
    let mut section = Section { title, header, ..Section::default() };
    for program in programs(&[Freshgate, Nginx, Haproxy, Varnish], wanted) {
        let server = Server::start(program, origin)?;
        let mut rounds: Vec<[f64; 3]> = Vec::new();
        for round in 0..ROUNDS {
            h2load::rest();
            let (asked, used) = (origin.asked(), server.used());
            let path = |_| format!("/slow/2048-round-{round}");
            let outcome = client::closed(server.http1, CROWD, CROWD, 2048, path)?;
            let asked = (origin.asked() - asked) as f64;
            rounds.push([asked, outcome.seconds * 1e3, server.used().since(&used) / 1e3]);
        }
        let figure = |place: usize| Spread::of(rounds.iter().map(|round| round[place]).collect::<Vec<_>>());
        let texts = [0, 1, 2].map(|place| figure(place).text(0));
        if program == Freshgate {
            section.verdicts.push(Verdict {
                work: format!("{CROWD} concurrent misses on one key"),
                goal: "1 origin request".to_owned(),
                figure: texts[0].clone(),
                share: figure(0).median(),
            });
        }
        section.rows.push([program.name().to_owned()].into_iter().chain(texts).collect());
    }
    Ok(vec![section])
}

/// What a server is before anybody asks it for anything.
fn idle(origin: &Origin, wanted: &dyn Fn(Program) -> bool) -> Result<Vec<Section>, String> {
    let header = vec!["", "RSS MiB", "start to listening ms", "program MiB, without debug information"];
    let mut rows = Vec::new();
    for program in programs(&[Freshgate, Nginx, Haproxy, Varnish], wanted) {
        let (mut resident, mut listening) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let server = Server::start(program, origin)?;
            resident.push(server.resident() as f64 / 1024.0 / 1024.0);
            listening.push(server.listening_ms);
        }
        let size = size(program).map_or_else(|| "?".to_owned(), |size| format!("{:.1}", size as f64 / 1024.0 / 1024.0));
        rows.push(vec![program.name().to_owned(), Spread::of(resident).text(1), Spread::of(listening).text(0), size]);
    }
    Ok(vec![Section { title: "Idle, as configured here".to_owned(), header, rows, ..Section::default() }])
}

/// Of the program's file, wherever it is found, without what only a debugger reads.
fn size(program: Program) -> Option<u64> {
    let path = env::var_os("PATH")?;
    // An absolute path stays as it is.
    let mut places = env::split_paths(&path).map(|folder| folder.join(program.executable()));
    let (file, folder) = (places.find(|file| file.is_file())?, folder().ok()?);
    let bare = folder.path().join("bare");
    let stripped = Command::new("strip").arg("--strip-debug").arg("-o").arg(&bare).arg(file).status().ok()?;
    stripped.success().then_some(fs::metadata(bare).ok()?.len())
}
