//! The numbers of a day, and how they are printed.

use super::api::Gets;
use std::fmt;
use std::time::Duration;

/// What the clients saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// GETs that clients sent and that have ended.
    pub gets: u64,
    /// Those answered with 304.
    pub not_modified: u64,
    /// Bytes of body that clients received for GETs.
    pub bytes: u64,
    /// What they would have received had every answer been a 200.
    pub bytes_without: u64,
    /// Changes that were made.
    pub changes: u64,
    /// Answers older than a change that was acknowledged before they were asked for.
    pub stale: u64,
    /// Answers made for another tenant.
    pub foreign: u64,
    /// Answers that did not come, were errors, or did not belong to their question.
    pub failed: u64,
    /// The fewest GETs that a correct cache could have sent to the origin.
    pub oracle: u64,
    /// GETs of another tenant on the same URLs: they are in no other number but those of wrong answers.
    pub next_door: u64,
}

impl Tally {
    /// Whether every answer was right.
    pub fn is_clean(&self) -> bool {
        self.stale + self.foreign + self.failed == 0
    }
}

/// One live line: the time of day, and what was counted until then.
pub struct Line {
    /// Since opening.
    pub at: Duration,
    pub tally: Tally,
    /// GETs that reached the origin.
    pub origin: Gets,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { at, tally, origin } = self;
        write!(
            f,
            "{}  {:>6} GETs, {:>6} reached the origin ({} saved; oracle {:>6})  {:>9} to clients, {:>9} without ({} saved)  {} stale",
            TimeOfDay(*at),
            tally.gets,
            origin.count,
            Saved(origin.count, tally.gets),
            tally.oracle,
            Bytes(tally.bytes),
            Bytes(tally.bytes_without),
            Saved(tally.bytes, tally.bytes_without),
            tally.stale,
        )?;
        if tally.foreign + tally.failed > 0 {
            write!(f, ", {} foreign, {} failed", tally.foreign, tally.failed)?;
        }
        Ok(())
    }
}

/// A whole day.
#[derive(Clone, Debug)]
pub struct Summary {
    pub seed: u64,
    pub factor: u32,
    pub tally: Tally,
    /// GETs that reached the origin, background refreshes included.
    pub origin: Gets,
    /// The first wrong answers, in words.
    pub findings: Vec<String>,
}

impl Summary {
    /// Origin GETs, as a multiple of the oracle's; infinite where the oracle needs none.
    pub fn times_oracle(&self) -> f64 {
        ratio(self.origin.count, self.tally.oracle)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { seed, factor, tally, origin, findings } = self;
        writeln!(f, "One day at the point of sale, seed {seed}, {factor} times as fast\n")?;
        writeln!(f, "{:<30}{:>14}{:>14}{:>10}", "", "without", "with", "saved")?;
        let calls = Saved(origin.count, tally.gets);
        writeln!(f, "{:<30}{:>14}{:>14}{calls:>10}", "GETs that reach the origin", tally.gets, origin.count)?;
        let (without, with) = (Bytes(tally.bytes_without).to_string(), Bytes(tally.bytes).to_string());
        let bytes = Saved(tally.bytes, tally.bytes_without);
        writeln!(f, "{:<30}{without:>14}{with:>14}{bytes:>10}", "bytes of body to clients")?;
        let (without, with) = (Bytes(tally.bytes_without).to_string(), Bytes(origin.bytes).to_string());
        let bytes = Saved(origin.bytes, tally.bytes_without);
        writeln!(f, "{:<30}{without:>14}{with:>14}{bytes:>10}\n", "bytes of body from the origin")?;
        writeln!(f, "{:<30}{:>14}", "answered with 304", tally.not_modified)?;
        writeln!(f, "{:<30}{:>14}", "changes made", tally.changes)?;
        writeln!(f, "{:<30}{:>14}   (with / oracle: {:.3})", "oracle, fewest GETs", tally.oracle, self.times_oracle())?;
        writeln!(f, "{:<30}{:>14}", "stale reads", tally.stale)?;
        writeln!(f, "{:<30}{:>14}", "GETs of another tenant", tally.next_door)?;
        writeln!(f, "{:<30}{:>14}", "another tenant's answers", tally.foreign)?;
        writeln!(f, "{:<30}{:>14}", "failed answers", tally.failed)?;
        findings.iter().try_for_each(|finding| writeln!(f, "  {finding}"))
    }
}

/// The shop opens at nine.
struct TimeOfDay(Duration);

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = 9 * 60 + self.0.as_secs() / 60;
        write!(f, "{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// The part of the second that the first leaves out.
struct Saved(u64, u64);

impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Saved(with, without) = *self;
        match without {
            0 => f.pad("–"),
            _ => f.pad(&format!("{:.1} %", 100.0 * (1.0 - ratio(with, without)))),
        }
    }
}

struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        f.pad(&format!("{:.1} MiB", ratio(self.0, MIB)))
    }
}

#[expect(clippy::cast_precision_loss, reason = "printed with four digits at most")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TALLY: Tally = Tally {
        gets: 1000,
        not_modified: 700,
        bytes: 15 << 20,
        bytes_without: 100 << 20,
        changes: 12,
        stale: 0,
        foreign: 0,
        failed: 0,
        oracle: 200,
        next_door: 100,
    };
    const ORIGIN: Gets = Gets { count: 210, bytes: 20 << 20 };

    #[track_caller]
    fn check_line(tally: Tally, origin: Gets, expected: &str) {
        let at = Duration::from_secs(90 * 60);
        assert_eq!(Line { at, tally, origin }.to_string(), expected);
    }

    #[test]
    fn a_line_says_what_is_saved_so_far() {
        check_line(
            TALLY,
            ORIGIN,
            "10:30    1000 GETs,    210 reached the origin (79.0 % saved; oracle    200)   \
             15.0 MiB to clients, 100.0 MiB without (85.0 % saved)  0 stale",
        );
        check_line(
            Tally { failed: 3, ..Tally::default() },
            Gets::default(),
            "10:30       0 GETs,      0 reached the origin (– saved; oracle      0)    \
             0.0 MiB to clients,   0.0 MiB without (– saved)  0 stale, 0 foreign, 3 failed",
        );
    }

    #[test]
    fn the_table_sets_the_day_against_no_proxy_and_the_oracle() {
        let findings = vec!["/stock: reset".to_owned()];
        let summary = Summary { seed: 1, factor: 140, tally: TALLY, origin: ORIGIN, findings };
        let expected = "\
One day at the point of sale, seed 1, 140 times as fast

                                     without          with     saved
GETs that reach the origin              1000           210    79.0 %
bytes of body to clients           100.0 MiB      15.0 MiB    85.0 %
bytes of body from the origin      100.0 MiB      20.0 MiB    80.0 %

answered with 304                        700
changes made                              12
oracle, fewest GETs                      200   (with / oracle: 1.050)
stale reads                                0
GETs of another tenant                   100
another tenant's answers                   0
failed answers                             0
  /stock: reset
";
        assert_eq!(summary.to_string(), expected);
    }

    #[test]
    fn one_wrong_answer_is_enough() {
        assert!(TALLY.is_clean());
        assert!(!Tally { stale: 1, ..TALLY }.is_clean());
        assert!(!Tally { foreign: 1, ..TALLY }.is_clean());
        assert!(!Tally { failed: 1, ..TALLY }.is_clean());
    }
}
