//! What was found, as Markdown.

use crate::attacks::{Attack, Kind};
use crate::normal::{ONE_IN, RATE, Sample};
use crate::stage::{CONFIG, Counts};
use crate::{machine, process};
use std::fmt::Write;

/// What the load was like for a while.
#[derive(Clone)]
pub struct Stretch {
    pub sample: Sample,
    /// How much of one processor the proxy took.
    pub share: f64,
}

/// An attack in one round.
pub struct Round {
    /// The load alone.
    pub before: Stretch,
    pub beside: Stretch,
    /// Alone again.
    pub after: Stretch,
    /// The most memory that the proxy held, in bytes.
    pub memory: u64,
    /// How often each limit answered.
    pub answered: Counts,
    /// Connections opened, connections that the proxy ended, and what was sent.
    pub did: Option<Vec<u64>>,
}

/// An attack in all rounds.
pub struct Measured {
    pub attack: &'static Attack,
    pub rounds: Vec<Round>,
}

/// What normal load may lose beside an attack that is slow.
const MAY_LOSE: f64 = 1.2;

const P50: usize = 500;
const P99: usize = 990;

impl Round {
    fn alone(&self) -> Sample {
        Sample::of([&self.before.sample, &self.after.sample].into_iter())
    }

    /// How many times as long the slowest hundredth took, at least.
    fn ratio(&self) -> f64 {
        self.beside.sample.all.quantile(P99) / self.alone().all.quantile(P99)
    }

    pub fn in_short(&self) -> String {
        let Round { beside, memory, answered, did, .. } = self;
        let (alone, did) =
            (self.alone(), did.as_ref().map_or_else(String::new, |did| format!(", {did:?} opened, ended, sent")));
        format!(
            "p50 {:.0} {:.0}, p99 {:.0} {:.0} µs ({:.2}), {} failed, {:.0} % of a processor, {} MiB, {answered:?}{did}",
            alone.all.quantile(P50),
            beside.sample.all.quantile(P50),
            alone.all.quantile(P99),
            beside.sample.all.quantile(P99),
            self.ratio(),
            beside.sample.failed,
            100.0 * beside.share,
            memory >> 20
        )
    }
}

impl Measured {
    fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }

    /// The latencies of these stretches of all rounds.
    fn all(&self, stretch: impl Fn(&Round) -> &Stretch) -> Sample {
        Sample::of(self.rounds.iter().map(|round| &stretch(round).sample))
    }

    fn alone(&self) -> Sample {
        Sample::of([self.all(|round| &round.before), self.all(|round| &round.after)].iter())
    }

    /// How many times as long the slowest hundredth took, at least, in all rounds together.
    fn ratio(&self) -> f64 {
        self.all(|round| &round.beside).all.quantile(P99) / self.alone().all.quantile(P99)
    }

    /// The same of what ought to be equal: the load alone after the attack by the load alone before it.
    fn noise(&self) -> f64 {
        self.all(|round| &round.after).all.quantile(P99) / self.all(|round| &round.before).all.quantile(P99)
    }

    fn row(&self) -> String {
        let (alone, beside) = (self.alone(), self.all(|round| &round.beside));
        let [least, most] = bounds(self.rounds.iter().map(Round::ratio));
        let failed = if beside.failed == 0 { String::new() } else { format!(", {} failed", beside.failed) };
        format!(
            "| {}: {} | {:.0} → {:.0} | {:.0} → {:.0} | {:.0} → {:.0} | {:.2} ({least:.2}–{most:.2}){failed} | {:.0} → {:.0} | {:.0} | {} |",
            self.attack.name,
            self.attack.does,
            alone.all.quantile(P50),
            beside.all.quantile(P50),
            alone.hits.quantile(P99),
            beside.hits.quantile(P99),
            alone.all.quantile(P99),
            beside.all.quantile(P99),
            self.ratio(),
            100.0 * self.median(|round| (round.before.share + round.after.share) / 2.0),
            100.0 * self.median(|round| round.beside.share),
            self.median(|round| round.memory as f64) / f64::from(1 << 20),
            self.answered(),
        )
    }

    /// How often each limit answered in a round.
    fn answered(&self) -> String {
        let mut names: Vec<&String> = self.rounds.iter().flat_map(|round| round.answered.keys()).collect();
        names.sort();
        names.dedup();
        let count = |name: &String| self.median(|round| *round.answered.get(name).unwrap_or(&0) as f64);
        let told: Vec<String> =
            names.into_iter().map(|name| (name, count(name))).filter(|(_, count)| *count > 0.0).map(told).collect();
        if told.is_empty() { "–".to_owned() } else { told.join(", ") }
    }
}

fn told((name, count): (&String, f64)) -> String {
    format!("{name} × {count:.0}")
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The least and the most of them.
fn bounds(figures: impl Iterator<Item = f64>) -> [f64; 2] {
    figures.fold([f64::MAX, 0.0], |[least, most], figure| [least.min(figure), most.max(figure)])
}

/// The whole page.
pub fn page(rows: &[Measured], foreign: &[Measured], rounds: usize, hurried: bool) -> String {
    let mut page = format!(
        "{}\nRun on {}, on {}, {}.\n",
        introduction(rounds, hurried),
        machine::today(),
        machine::system(),
        process::processors()
    );
    for (kind, title, says) in [(Kind::Slow, "Slow", SLOW), (Kind::Flood, "Floods", FLOODS)] {
        let rows = rows.iter().filter(|row| row.attack.kind == kind);
        write!(page, "\n## {title}\n\n{says}\n\n{}", table(rows)).expect("a String takes everything");
    }
    let slow = rows.iter().filter(|row| row.attack.kind == Kind::Slow);
    let over: Vec<_> = slow.clone().filter(|row| row.ratio() > MAY_LOSE).map(|row| row.attack.name).collect();
    let [least, most] = bounds(rows.iter().map(Measured::noise));
    write!(
        page,
        "\n## Verdict\n\n{} of {} slow attacks leave the p99 of normal load within 20 % of what it was{}.\n\nNoise: the load \
         alone after an attack by the load alone before it, which ought to be equal, is between {least:.2} and {most:.2} in \
         the same figure.\n",
        slow.clone().count() - over.len(),
        slow.count(),
        if over.is_empty() { String::new() } else { format!("; not so: {}", over.join(", ")) },
    )
    .expect("a String takes everything");
    if !foreign.is_empty() {
        write!(page, "\n## nginx\n\n{NGINX}\n\n{}", table(foreign.iter())).expect("a String takes everything");
    }
    page + &format!("\n## Configuration\n\n```toml\n{}\n```\n", CONFIG.trim())
}

fn table<'r>(rows: impl Iterator<Item = &'r Measured>) -> String {
    let rows: String = rows.map(|row| format!("{}\n", row.row())).collect();
    format!(
        "| attack | p50, µs | p99 of hits, µs | p99, µs | p99 beside ÷ alone | % of a processor | MiB | answered |\n\
         |---|---|---|---|---|---|---|---|\n{rows}"
    )
}

/// What was done, and how.
fn introduction(rounds: usize, hurried: bool) -> String {
    let first = match hurried {
        true => "the load and the origin before everybody else (SCHED_FIFO)",
        false => "the load and the origin like everybody else, since the system lets nobody here go first",
    };
    format!(
        "\
# Normal load beside slow clients and floods

`make slow` wrote this page. It runs normal load against freshgate alone, then beside an attack, then alone again, for each
attack, {rounds} times over. Attacks are slowhttptest's, and our own
([attacks.rs](hostile/attacks.rs)); each has a bounded number of connections and at most the rate that is named. Everything is on loopback.

- **Normal load**: {RATE} requests a second on 16 connections, sent when they are due whatever became of those before (an
  open loop); a latency counts from when its request was due. One in {ONE_IN} asks for what nobody has asked for and goes to
  the origin, one in {ONE_IN} comes on a new connection, all others are hits of 2 KiB. p50 and p99 are over all of them,
  p99 of hits over those others.
- **The machine is parted**: freshgate has one processor and one thread; the origin, the load and those who mean harm share
  the others, {first}, and those who mean harm
  behind everybody else (SCHED_IDLE), so that what is measured is what the attack costs the proxy, not what it costs the
  machine that measures.
- **p99 beside ÷ alone**: the p99 of all rounds beside the attack through that of all rounds alone, before it and after it;
  and the least and the most of single rounds. **% of a processor** is the proxy's time, alone → beside, and like the following
  columns the median of the rounds. **MiB** is the most memory that its process
  held; what the kernel holds for its sockets is not in it. **answered**: what the limits answered meanwhile, from
  `/stats`, by status or by what became of connections.
- **What is not shown**: attacks from many addresses are the same to a proxy that counts no clients; more of each than here
  costs more; nothing is said of a network that is full.
"
    )
}

const SLOW: &str = "They hold connections, streams and answers, and ask for next to nothing. Normal load must not notice: its \
p99 stays within 20 % of what it was.";

const FLOODS: &str = "They have the proxy work, and a processor has only so much time: what each costs is the processor time \
beside it, and normal load waits in line behind what is there at the moment. No limit of this proxy's counts requests per \
client by default; `server.limits.connections` bounds connections, `origin.max_concurrent` what reaches the origin, the \
HTTP/2 limits end a connection that resets, fills or pings too much. Put what counts clients in front of it where floods \
are to be expected.";

const NGINX: &str = "The same load beside the same runs of slowhttptest, with nginx as a cache \
([nginx.conf](hostile/nginx.conf)): one worker on the same processor, as many connections and as little patience.";
