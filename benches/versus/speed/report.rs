//! What was measured, as Markdown.

use super::median;

/// One load on one server.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Microseconds of CPU per request.
    pub cpu: f64,
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
}

type Figure = fn(&Round) -> f64;

/// Whoever does the work of a row, and its rounds.
pub struct Lane {
    pub name: String,
    pub rounds: Vec<Round>,
}

/// A table with its title.
#[derive(Default)]
pub struct Section {
    pub title: String,
    pub header: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
    pub verdicts: Vec<Verdict>,
    /// The row in short, if CPU per request is its figure.
    pub short: Option<Vec<String>>,
}

/// A goal, and what became of it.
pub struct Verdict {
    pub work: String,
    pub goal: String,
    pub figure: String,
    /// The figure as a share of what was allowed.
    pub share: f64,
}

impl Verdict {
    fn text(&self) -> String {
        match self.share {
            share if share <= 1.0 => "met".to_owned(),
            share if share.is_finite() => format!("**missed by {:.0} %**", (share - 1.0) * 100.0),
            _ => "**missed**".to_owned(),
        }
    }
}

/// The median of some figures, and the least and the greatest.
pub struct Spread([f64; 3]);

impl Spread {
    pub fn of(figures: impl IntoIterator<Item = f64> + Clone) -> Spread {
        let least = figures.clone().into_iter().fold(f64::INFINITY, f64::min);
        let greatest = figures.clone().into_iter().fold(f64::NEG_INFINITY, f64::max);
        Spread([median(figures), least, greatest])
    }

    /// Round by round, since rounds that stand beside each other share the machine's moods.
    pub fn of_ratios(over: &[Round], under: &[Round], figure: Figure) -> Spread {
        let ratios: Vec<f64> = over.iter().zip(under).map(|(over, under)| figure(over) / figure(under)).collect();
        Spread::of(ratios)
    }

    pub fn median(&self) -> f64 {
        self.0[0]
    }

    pub fn text(&self, digits: usize) -> String {
        let [median, least, greatest] = self.0;
        format!("{median:.digits$} ({least:.digits$}–{greatest:.digits$})")
    }
}

const HEADER: [&str; 9] = ["", "CPU µs per request", "×", "requests/s", "×", "p50 µs", "×", "p99 µs", "×"];

/// The lanes of a row, with their ratios to one of them.
pub fn lanes(title: String, lanes: &[Lane], base: Option<&Lane>, verdicts: Vec<Verdict>) -> Section {
    let figures: [Figure; 4] = [|round| round.cpu, |round| round.per_second, |round| round.p50, |round| round.p99];
    let row = |lane: &Lane| {
        let mut cells = vec![lane.name.clone()];
        for (place, figure) in figures.into_iter().enumerate() {
            let spread = Spread::of(lane.rounds.iter().map(figure));
            let ratio = base.map(|base| Spread::of_ratios(&lane.rounds, &base.rounds, figure));
            cells.push(if place == 0 { spread.text(2) } else { format!("{:.0}", spread.median()) });
            cells.push(match ratio {
                Some(ratio) if place == 0 => ratio.text(2),
                Some(ratio) => format!("{:.2}", ratio.median()),
                None => String::new(),
            });
        }
        cells
    };
    Section { title, header: HEADER.to_vec(), rows: lanes.iter().map(row).collect(), verdicts, short: None }
}

fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    format!(
        "{}|{}\n{}",
        line(&header),
        "---|".repeat(header.len()),
        rows.iter().map(|row| line(row)).collect::<String>()
    )
}

/// One section.
pub fn section(section: &Section) -> String {
    format!("### {}\n\n{}\n", section.title, table(&section.header, &section.rows))
}

/// Every goal of these sections.
pub fn goals(sections: &[Section]) -> String {
    let verdicts = sections.iter().flat_map(|section| &section.verdicts);
    let rows: Vec<Vec<String>> = verdicts
        .map(|verdict| vec![verdict.work.clone(), verdict.goal.clone(), verdict.figure.clone(), verdict.text()])
        .collect();
    table(&["work", "goal", "figure", ""], &rows)
}

/// The whole page.
pub fn page(sections: &[Section], run: &str) -> String {
    let tables: String = sections.iter().map(section).collect();
    let rows: Vec<Vec<String>> = sections.iter().filter_map(|section| section.short.clone()).collect();
    let (short, goals) = (table(&SHORT, &rows), goals(sections));
    format!(
        "{INTRODUCTION}\n{run}\n\n## CPU per request\n\n{short}\n## Goals\n\n{goals}\n## Figures\n\n{tables}{METHOD}"
    )
}

const SHORT: [&str; 5] = ["", "freshgate µs", "to nginx", "to HAProxy", "to Varnish"];

const INTRODUCTION: &str = "\
# Speed beside other caches

`make bench` wrote this page. It starts nginx, Varnish and HAProxy, as Debian packages them, and freshgate in its release build
in front of one origin, and offers each the same load. Ratios within one run are what counts; absolute figures are of the
machine. `make bench BENCH=\"hit 304\"` repeats some rows.
";

const METHOD: &str = "\
## Method

- The server has core 0 to itself; the load and the origin, a keep-alive server in the program that measures, share the last
  one. nginx has one worker, HAProxy and freshgate one thread, Varnish a thread per client.
- Servers and load go before whatever else runs on the machine, where the system lets them (autogroups).
- CPU is what the scheduler has given all threads of all the server's processes, in nanoseconds (`/proc/PID/task/*/schedstat`,
  of which `utime` and `stime` are cut into ticks), over the requests of the load. It is the figure that counts: where the
  load has one core and the server another, requests per second and latencies say as much of the load as of the server.
- Configurations: [nginx](versus/nginx/speed.conf), [Varnish](versus/varnish/speed.vcl), [HAProxy](versus/haproxy/speed.cfg),
  [freshgate](versus/freshgate/speed.toml).
- Every row runs its servers side by side and in turns: one load that does not count, then rounds of each. A figure is the
  median of the rounds, a ratio (×) the median of the ratios round by round; in brackets stand the least and the greatest,
  which are the noise.
- *recv and send* is no cache but [the least](versus/speed/least.rs) that an answer can cost here: one receive, one send of as
  many octets, and waiting for sockets. What is below its ratio to nginx does with fewer system calls, or with less for each.
- The 10,000 connections are opened while it is counted what their requests take, ten on each.
- Load: h2load, 32 connections of HTTP/1.1 with one request at a time where the row has no number of its own, or 8 of HTTP/2
  with 8 streams each and no TLS; for targets that are drawn or never the same, a generator of 32 threads that block. All is
  over loopback.
- Checked: every status, the octets of content, the coding; and that the origin was asked for each request, or for none.
- freshgate runs with everything on that a user has on: metrics, Cache-Status, scopes, the usual log. nginx, Varnish and
  HAProxy get an ETag from the origin, since they make none. nginx has its cache on tmpfs, its files kept open, no log, and no
  sendfile, which takes longer here; Varnish and HAProxy keep theirs in memory. Of a million files nginx keeps 10,000 open,
  as many as the limit of open files lets it.
";
