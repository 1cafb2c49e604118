//! Which clauses of the RFCs the scenarios rest on: `clauses.toml` lists them, each scenario names its own, and
//! `docs/rfc.md` is the table of both. `INSTA_UPDATE=always cargo test --test spec` writes it anew, as it does snapshots.

use crate::{FOLDERS, files, read, root};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// A clause, in the words of its RFC.
struct Clause {
    /// `RFC 9111 §4.1`
    at: String,
    name: String,
    words: String,
    /// Why no scenario rests on it.
    without: Option<String>,
}

impl Clause {
    /// How a scenario names it.
    fn id(&self) -> String {
        format!("{} {}", self.at, self.name)
    }
}

/// A scenario and what it rests on.
struct Resting {
    title: String,
    /// Below `tests/spec`.
    file: PathBuf,
    clauses: Vec<String>,
}

#[test]
fn every_clause_rests_on_a_scenario_or_has_a_reason() {
    let problems = problems(&listed(), &resting());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_table_of_the_rfcs_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rfc.md");
    let table = table(&listed(), &resting());
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(&page, &table).expect("the page can be written");
    }
    let how = "docs/rfc.md is not what the scenarios say: INSTA_UPDATE=always cargo test --test spec writes it anew";
    assert!(fs::read_to_string(&page).is_ok_and(|written| written == table), "{how}");
}

/// What `clauses.toml` lists, in its order.
fn listed() -> Vec<Clause> {
    let text = fs::read_to_string(root().join("clauses.toml")).expect("the list can be read");
    let list: Table = text.parse().expect("the list is TOML");
    let clauses = list["clause"].as_array().expect("the list holds clauses");
    clauses.iter().map(|clause| clause_of(clause.as_table().expect("a clause is a table"))).collect()
}

fn clause_of(table: &Table) -> Clause {
    let text = |key: &str| table.get(key).and_then(Value::as_str).map(str::to_owned);
    let there = |key: &str| text(key).unwrap_or_else(|| panic!("`{key}` is missing: {table}"));
    let clause = Clause { at: there("at"), name: there("name"), words: there("words"), without: text("without") };
    assert_eq!(table.len(), 3 + usize::from(clause.without.is_some()), "a key that nobody knows: {table}");
    clause
}

/// All scenarios, in the order of their folders.
fn resting() -> Vec<Resting> {
    let all = FOLDERS.iter().flat_map(|folder| files(&root().join(folder)));
    let resting = |file: PathBuf| {
        let scenario = read(&file).expect("another test says what is wrong with it");
        let file = file.strip_prefix(root()).expect("it is below the root").to_owned();
        Resting { title: scenario.title, file, clauses: scenario.clauses }
    };
    all.map(resting).collect()
}

fn problems(listed: &[Clause], resting: &[Resting]) -> Vec<String> {
    let mut problems = Vec::new();
    for scenario in resting {
        let file = scenario.file.display();
        let unlisted = |id: &&String| !listed.iter().any(|clause| clause.id() == **id);
        problems.extend(scenario.clauses.iter().filter(unlisted).map(|id| format!("{file}: clauses.toml has no {id}")));
        if let Some(section) = section_of(&scenario.file)
            && !scenario.clauses.iter().any(|id| is_in(id, &section))
        {
            problems.push(format!("{file}: rests on no clause of {section}"));
        }
    }
    for (index, clause) in listed.iter().enumerate() {
        let id = clause.id();
        let rests = resting.iter().any(|scenario| scenario.clauses.contains(&id));
        match (rests, &clause.without) {
            (false, None) => problems.push(format!("{id}: neither a scenario nor a reason")),
            (true, Some(_)) => problems.push(format!("{id}: a scenario, and a reason why there is none")),
            _ => {}
        }
        if listed[..index].iter().any(|other| other.id() == id) {
            problems.push(format!("{id}: listed twice"));
        }
    }
    problems
}

/// The section whose folder a file stands in, `RFC 9111 §4.2` for `rfc9111/4.2_freshness/max_age.toml`; `None` below
/// `contract`.
fn section_of(file: &Path) -> Option<String> {
    let mut folders = file.iter().map(|part| part.to_string_lossy());
    let rfc = folders.next()?.strip_prefix("rfc")?.to_owned();
    let section = folders.next()?.split('_').next()?.to_owned();
    Some(format!("RFC {rfc} §{section}"))
}

/// Whether a clause is of a section, or of one within it.
fn is_in(id: &str, section: &str) -> bool {
    id.strip_prefix(section).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('.'))
}

fn table(listed: &[Clause], resting: &[Resting]) -> String {
    let without = listed.iter().filter(|clause| clause.without.is_some()).count();
    let mut page = format!(
        "# The RFCs, clause by clause\n\n\
         {} clauses of the RFCs, in their words; scenarios rest on {} of them, and {without} have none, for a reason. All \
         that\nRFC 9111 §3 to §5 and RFC 9110 §13 say with MUST, MUST NOT, SHOULD or SHOULD NOT to a cache or an origin \
         server is there; of\nother sections, what the scenarios show. Each scenario is a file that says what a client \
         asks, what the origin answers, and\nwhat comes of it.\n\n\
         This page is made from `tests/spec/clauses.toml` and the scenarios beside it: \
         `INSTA_UPDATE=always cargo test --test spec`\nwrites it anew.\n",
        listed.len(),
        listed.len() - without,
    );
    let mut at = "";
    for clause in listed {
        if clause.at != at {
            at = &clause.at;
            write!(page, "\n## {at}\n\n| clause | words | scenarios |\n|---|---|---|\n")
                .expect("a text takes every text");
        }
        let id = clause.id();
        let links: Vec<String> =
            resting.iter().filter(|scenario| scenario.clauses.contains(&id)).map(Resting::link).collect();
        let shown = clause.without.clone().map_or_else(|| links.join("; "), |why| format!("none: {why}"));
        writeln!(page, "| {} | {} | {shown} |", clause.name, strong(&clause.words)).expect("a text takes every text");
    }
    page
}

impl Resting {
    fn link(&self) -> String {
        format!("[{}](../tests/spec/{})", plain(&self.title), self.file.display())
    }
}

/// A text that means nothing in Markdown.
fn plain(text: &str) -> String {
    text.replace('*', "\\*").replace('|', "\\|")
}

/// The words, with what they require in bold.
fn strong(words: &str) -> String {
    let mut marked = plain(words);
    for word in ["MUST", "SHOULD"] {
        marked = marked.replace(&format!("{word} NOT"), &format!("**{word}_NOT**"));
        marked = marked.replace(&format!("{word} "), &format!("**{word}** "));
    }
    marked.replace("_NOT**", " NOT**")
}

#[test]
fn what_is_wrong_with_the_list_is_told() {
    let clause = |name: &str, without: Option<&str>| Clause {
        at: "RFC 9111 §4.2".into(),
        name: name.into(),
        words: "A cache MUST NOT".into(),
        without: without.map(str::to_owned),
    };
    let resting = |file: &str, clauses: &[&str]| Resting {
        title: "t".into(),
        file: file.into(),
        clauses: clauses.iter().map(|clause| format!("RFC 9111 §{clause}")).collect(),
    };
    let file = "rfc9111/4.2_freshness/a.toml";
    let found = |listed: &[Clause], scenario: Resting| problems(listed, &[scenario]);
    let right = || vec![clause("a", None), clause("b", Some("later"))];
    let none: [String; 0] = [];
    assert_eq!(found(&right(), resting(file, &["4.2 a"])), none);
    assert_eq!(
        found(&right(), resting(file, &["4.2 a", "4.2 c"])),
        [format!("{file}: clauses.toml has no RFC 9111 §4.2 c")]
    );
    assert_eq!(
        found(&right(), resting("rfc9111/4.20_x/a.toml", &["4.2 a"])),
        ["rfc9111/4.20_x/a.toml: rests on no clause of RFC 9111 §4.20"]
    );
    assert_eq!(found(&right(), resting("contract/x/a.toml", &["4.2 a"])), none);
    assert_eq!(
        found(&right(), resting("contract/x/a.toml", &[])),
        ["RFC 9111 §4.2 a: neither a scenario nor a reason"]
    );
    assert_eq!(
        found(&right(), resting(file, &["4.2 a", "4.2 b"])),
        ["RFC 9111 §4.2 b: a scenario, and a reason why there is none"]
    );
    let twice = vec![clause("a", None), clause("a", None)];
    assert_eq!(found(&twice, resting(file, &["4.2 a"])), ["RFC 9111 §4.2 a: listed twice"]);
}

#[test]
fn what_is_required_is_in_bold() {
    assert_eq!(strong("A cache MUST NOT do x; it SHOULD do *."), "A cache **MUST NOT** do x; it **SHOULD** do \\*.");
}
