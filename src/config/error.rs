//! What is wrong with a configuration: every problem, where it stands, and what to write in its place.

use std::fmt;
use std::ops::Range;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// These octets of the file.
    File(Range<usize>),
    /// A command-line flag, such as `--listen`.
    Flag(&'static str),
    /// Nowhere: something is missing from the file as a whole.
    Nowhere,
}

/// One problem, before the file is laid beside it.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub place: Place,
    /// What is wrong.
    pub what: String,
    /// What to change.
    pub hint: String,
}

impl Problem {
    pub fn new(place: &Place, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Problem { place: place.clone(), what: what.into(), hint: hint.into() }
    }
}

/// Everything that is wrong with one configuration, in the order of the file. Its `Display` is what a person sees.
#[derive(Debug)]
pub struct ConfigErrors {
    source: NamedSource<String>,
    problems: Vec<Located>,
}

/// One problem and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Counted from 1; `None` for what stands in no line: a flag, or something missing.
    pub line: Option<usize>,
    /// Counted from 1, in characters.
    pub column: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to change.
    pub hint: String,
    /// The octets to underline; `None` also where the line holds a secret.
    underline: Option<Range<usize>>,
}

impl ConfigErrors {
    pub(super) fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| match &problem.place {
            Place::Flag(_) => (0, 0),
            Place::Nowhere => (1, 0),
            Place::File(span) => (2, span.start),
        });
        // What stands in `[defaults]` is met again by every route that inherits it.
        problems.dedup_by(|a, b| a.place == b.place && a.what == b.what);
        ConfigErrors {
            source: NamedSource::new(file, text.to_owned()),
            problems: problems.into_iter().map(|problem| locate(text, problem)).collect(),
        }
    }

    /// Every problem, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Located> {
        self.problems.iter()
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without colour and of one width, so that the text is the same in a terminal, a log and a test.
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
            .with_context_lines(0)
            .with_wrap_lines(false);
        for problem in &self.problems {
            handler.render_report(f, &Shown { problem, source: &self.source })?;
        }
        match self.problems.len() {
            1 => f.write_str("1 problem\n"),
            n => writeln!(f, "{n} problems"),
        }
    }
}

/// One problem beside its source, as miette wants it.
#[derive(Debug)]
struct Shown<'e> {
    problem: &'e Located,
    source: &'e NamedSource<String>,
}

impl std::error::Error for Shown<'_> {}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.what)?;
        match (&self.problem.underline, self.problem.line) {
            (None, Some(line)) => write!(f, " ({}, line {line})", self.source.name()),
            _ => Ok(()),
        }
    }
}

impl Diagnostic for Shown<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.problem.hint))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.problem.underline.as_ref().map(|_| self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.problem.underline.clone()?;
        Some(Box::new(std::iter::once(LabeledSpan::new(None, span.start, span.len()))))
    }
}

fn locate(text: &str, Problem { place, what, hint }: Problem) -> Located {
    let span = match place {
        Place::File(span) => span,
        Place::Flag(flag) => {
            return Located { line: None, column: None, what: format!("{flag}: {what}"), hint, underline: None };
        }
        Place::Nowhere => return Located { line: None, column: None, what, hint, underline: None },
    };
    let start = span.start.min(text.len());
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].lines().next().unwrap_or("");
    // A span over several lines is underlined in its first.
    let end = span.end.clamp(start, (line_start + line.len()).max(start));
    Located {
        line: Some(line_of(text, start)),
        column: Some(text[line_start..start].chars().count() + 1),
        what,
        hint,
        underline: (!may_hold_secret(line)).then_some(start..end),
    }
}

/// The line, counted from 1, in which the octet at `offset` stands.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].matches('\n').count() + 1
}

/// Whether a line may hold a secret that was written into the file, so that it must not be printed.
fn may_hold_secret(line: &str) -> bool {
    let Some((_, after)) = line.split_once("token") else { return false };
    let value = after.trim_start_matches(['"', '\'', ' ', '\t', '=']);
    !value.starts_with("env:") && !value.starts_with("file:")
}
