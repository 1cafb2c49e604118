//! What was found, as Markdown.

use crate::versus::history::Event;
use crate::versus::product::Product;
use crate::versus::races::{COLUMNS, Cell, Failure};
use std::fmt::Write;

/// What one product made of all races.
pub struct Row {
    pub product: &'static Product,
    pub version: String,
    pub stores: [bool; 2],
    pub cells: Vec<Cell>,
}

/// One row for each product and configuration.
pub fn table(rows: &[Row]) -> String {
    let mut table =
        format!("| | from the store | {} |\n|---|---|{}\n", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()));
    for Row { product, version, stores, cells } in rows {
        let stores = match stores {
            [true, true] => "yes",
            [true, false] => "without credentials",
            [false, true] => "with credentials",
            [false, false] => "no",
        };
        let cells: Vec<String> = cells.iter().map(Cell::verdict).collect();
        writeln!(table, "| {} | {stores} | {} |", product.title(version), cells.join(" | "))
            .expect("a String takes everything");
    }
    table
}

/// The whole page.
pub fn page(rows: &[Row], date: &str, system: &str) -> String {
    let mut page = format!("{INTRODUCTION}\nRun on {date}, on {system}.\n\n{}\n## Configurations\n\n", table(rows));
    for Row { product, .. } in rows {
        let Product { program, name, file, says } = product;
        writeln!(page, "- **{}, {name}** ([{file}]({file})): {says}", program.name())
            .expect("a String takes everything");
    }
    page += "\n## The shortest failing histories\n\nEach as it was seen: the steps in their order, up to \
             the one that must not have happened.\n";
    for row in rows {
        for cell in &row.cells {
            for failure in &cell.faults {
                page += &told(row, cell, failure);
            }
        }
    }
    page
}

fn told(row: &Row, cell: &Cell, failure: &Failure) -> String {
    let Failure { variant, fault, history } = failure;
    let variant = if variant.is_empty() { String::new() } else { format!(" {variant}") };
    let title = format!("{}, {}: {}{variant}: {fault}", row.product.program.name(), row.product.name, cell.column);
    let steps: String = history.iter().map(|event: &Event| format!("{event}\n")).collect();
    format!("\n### {title}\n\n```text\n{steps}```\n")
}

const INTRODUCTION: &str = "\
# Races against other caches

`make versus-races` wrote this page. It puts each product, as its Debian package comes and with the configurations beside
this page, between clients and one scripted origin, and plays the same races with each. Gates at the origin make the order
of events certain. The origin numbers its versions and writes into each body for whom it is; a judge that knows nothing of
the products reads each history. Each race is run three times, with pauses of 0, 50 and 250 ms before the last GET; one
violation is enough.

- **STALE**: a GET that began after a write was acknowledged got what was there before the write.
- **LEAK**: a caller got, or was told with 304 to keep, what the origin had said to another.
- **TRUNCATED**: somebody got a 200 that looked complete with a part of the body.
- **fine**: none of these. **n.a.**: the product, so configured, does not do what the race is about.

| column | the race |
|---|---|
| from the store | not a race: whether a second GET is answered without the origin, for a caller with credentials and for one without; what stores nothing loses no race |
| write, then read | not a race: GET, PUT, GET, one after the other |
| overtaken fetch | a GET is in flight; a PUT is acknowledged; the GET ends; the next GET |
| collapsed join | a GET is in flight; a PUT is acknowledged; a GET that begins then; the first GET ends |
| stale while revalidating | a refresh of a stored response is in flight; a PUT is acknowledged; a GET that begins then; the refresh ends; the next GET |
| another caller | what the origin said to Alice, for Bob: from the store, by joining her GET, by a 304 to her entity-tag |
| truncated body | the origin ends the connection in the middle of a body, of known length or chunked: who asked, who joined, who asks next |

All but *another caller* are run without credentials, since some of the products store nothing with them. The origin sends
`Cache-Control: max-age=600` (in *stale while revalidating*, `max-age=1, stale-while-revalidate=600`) and an `ETag`, so that
every product may store its answers.
";
