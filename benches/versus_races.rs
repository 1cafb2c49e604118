//! The races that a cache can lose, run against nginx, Varnish, HAProxy, Squid and freshgate: `make versus-races`. Prints
//! the table and writes it, with the shortest failing histories, to `benches/versus/RACES.md`.
//!
//! Given words, it runs only the products whose configuration's path contains one of them, and writes nothing.

#[path = "versus/machine.rs"]
mod machine;
#[path = "versus/report.rs"]
mod report;
#[path = "../tests/live/scripted.rs"]
#[expect(dead_code, reason = "the races script their origin themselves")]
mod scripted;
#[path = "versus/mod.rs"]
mod versus;
#[path = "../tests/live/wire.rs"]
#[expect(dead_code, reason = "the races use whole responses only")]
mod wire;

use report::Row;
use std::process::ExitCode;
use std::{env, fs};
use versus::lab::Lab;
use versus::product::{FRESHGATE, PRODUCTS, Product};
use versus::races::{self, PAUSES};

fn main() -> ExitCode {
    // cargo itself adds `--bench`.
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let products = PRODUCTS.iter().chain([&FRESHGATE]);
    let chosen = products.filter(|product| words.is_empty() || words.iter().any(|word| product.file.contains(word)));
    let rows: Result<Vec<Row>, String> = chosen.map(raced).collect();
    let rows = match rows {
        Ok(rows) => rows,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    let page = report::page(&rows, &machine::today(), &machine::system());
    if words.is_empty() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/versus/RACES.md");
        fs::write(file, &page).expect("the repository can be written");
    }
    println!("{page}");
    ExitCode::SUCCESS
}

fn raced(product: &'static Product) -> Result<Row, String> {
    eprintln!("{} …", product.file);
    let version = product.program.version()?;
    let lab = Lab::start(product)?;
    Ok(Row { product, version, stores: races::stores(&lab), cells: races::run(&lab, &PAUSES) })
}
