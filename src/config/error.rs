//! What is wrong with a configuration: every problem, where it stands, and what to write in its place.

use std::fmt;
use std::ops::Range;

use super::written::closest;

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
    file: String,
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
    /// The line itself, and how many characters of it are at fault; `None` also where it may hold a secret.
    excerpt: Option<(String, usize)>,
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
            file: file.to_owned(),
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
        for problem in &self.problems {
            self.show(problem, f)?;
        }
        match self.problems.len() {
            1 => f.write_str("1 problem\n"),
            n => writeln!(f, "{n} problems"),
        }
    }
}

impl ConfigErrors {
    /// One problem as rustc would show it, without colour: the same in a terminal, a log and a test.
    fn show(&self, problem: &Located, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", problem.what)?;
        let number = problem.line.map_or_else(String::new, |line| line.to_string());
        let gutter = " ".repeat(number.len());
        if let (Some(line), Some(column)) = (problem.line, problem.column) {
            writeln!(f, "{gutter}--> {}:{line}:{column}", self.file)?;
            if let Some((text, length)) = &problem.excerpt {
                let carets = "^".repeat(*length);
                writeln!(f, "{gutter} |\n{number} | {text}")?;
                writeln!(f, "{gutter} | {}{carets}", " ".repeat(column - 1))?;
            }
        }
        writeln!(f, "{gutter} = {}\n", problem.hint)
    }
}

/// Bytes of a line that is shown; nobody finds anything in a longer one.
const LONGEST_EXCERPT: usize = 1000;

fn locate(text: &str, Problem { place, what, hint }: Problem) -> Located {
    let span = match place {
        Place::File(span) => span,
        Place::Flag(flag) => {
            return Located { line: None, column: None, what: format!("{flag}: {what}"), hint, excerpt: None };
        }
        Place::Nowhere => return Located { line: None, column: None, what, hint, excerpt: None },
    };
    let start = text.floor_char_boundary(span.start);
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].lines().next().unwrap_or("");
    // What goes on over several lines is underlined in its first; what is missing at the end of a line, just after it.
    let end = span.end.min(line_start + line.len());
    let length = text.get(start..end).map_or(1, |fault| fault.chars().count().max(1));
    Located {
        line: Some(line_of(text, start)),
        column: Some(text[line_start..start].chars().count() + 1),
        what,
        hint,
        // A tab would put the carets elsewhere.
        excerpt: (line.len() <= LONGEST_EXCERPT && !may_hold_secret(line)).then(|| (line.replace('\t', " "), length)),
    }
}

/// The line, counted from 1, in which the octet at `offset` stands.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text[..text.floor_char_boundary(offset)].matches('\n').count() + 1
}

/// Whether a line may hold a secret that was written into the file, so that it must not be printed: a user's password
/// in a URL, or something like `token`, `key` or `secret` and nothing that says where it is to be found.
fn may_hold_secret(line: &str) -> bool {
    let is_like = |word: &str, name| word.contains(name) || closest(word, [name].into_iter()).is_some();
    let names_token = line.split(|c: char| !c.is_alphanumeric()).any(|word| is_like(word, "token"));
    // Within quotes, x-api-key is the name of a field.
    let unquoted = line.split('"').step_by(2).flat_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '_'));
    let names_key = unquoted
        .filter(|word| *word != "query_key")
        .any(|word| ["key", "secret"].into_iter().any(|name| is_like(word, name)));
    let found_elsewhere = line.contains("env:") || line.contains("file:");
    ((names_token || names_key) && !found_elsewhere) || (line.contains("url") && line.contains('@'))
}
