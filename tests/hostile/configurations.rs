//! Configurations that are refused, or not what they seem: what `freshgate check` has to say of them.

use crate::catalogue::Row;
use crate::play::Outcome;
use crate::proxy::freshgate;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const FILE: &str = "freshgate.toml";

/// Checks the file of a row.
pub fn check(row: &Row) -> Result<Outcome, String> {
    let folder = TempDir::new().expect("a folder can be made");
    let text = crate::catalogue::octets(row.file.as_deref().expect("the row has a file"), "");
    fs::write(folder.path().join(FILE), text).expect("a file can be written");
    let (code, told) = checked(folder.path());
    if code != row.exit || !row.says.iter().all(|part| told.contains(part)) {
        return Err(format!("it ends with {code}, not {}, or does not say {:?}:\n{told}", row.exit, row.says));
    }
    let first = told.lines().find_map(|line| line.strip_prefix("error: "));
    let place = told.lines().find_map(|line| line.trim_start().strip_prefix("--> "));
    let answer = match (code, first, place) {
        (0, ..) => "taken".to_owned(),
        (_, Some(first), Some(place)) => format!("{code}, {place}: {first}"),
        (_, first, _) => format!("{code}: {}", first.unwrap_or_default()),
    };
    Ok(Outcome { answer, origin: "–".into() })
}

/// The exit code, and everything that was said.
fn checked(folder: &Path) -> (i32, String) {
    let Output { status, stdout, stderr } = freshgate()
        .args(["check", "--config", FILE])
        .current_dir(folder)
        .output()
        .expect("the program was built for this test");
    let told = [stdout, stderr].concat();
    (status.code().expect("no signal ends it"), String::from_utf8_lossy(&told).into_owned())
}

const SOUND: &str = "origin.url = \"http://127.0.0.1:3000\"\n";

/// G7: what is no file of its own is read if it can be, and told if not.
#[test]
fn files_that_are_none() {
    let folder = TempDir::new().expect("a folder can be made");
    let file = folder.path().join(FILE);

    fs::create_dir(&file).expect("a folder can be made");
    let (code, told) = checked(folder.path());
    assert!(code == 78 && told.contains("cannot read freshgate.toml"), "{told}");
    fs::remove_dir(&file).expect("it is empty");

    let elsewhere = folder.path().join("elsewhere.toml");
    fs::write(&elsewhere, SOUND).expect("a file can be written");
    std::os::unix::fs::symlink(&elsewhere, &file).expect("a link can be made");
    assert_eq!(checked(folder.path()).0, 0, "a link is what it leads to");
    fs::remove_file(&elsewhere).expect("it is there");
    let (code, told) = checked(folder.path());
    assert!(code == 78 && told.contains("cannot read freshgate.toml"), "{told}");
    fs::remove_file(&file).expect("it is there");

    // As `--config <(generate)` gives it.
    let made = Command::new("mkfifo").arg(&file).status().expect("every system has it");
    assert!(made.success());
    let mut writer = Command::new("sh");
    let mut writer = writer.arg("-c").arg(format!("printf '{SOUND}' > {}", file.display()));
    writer = writer.stdin(Stdio::null());
    let mut writer = writer.spawn().expect("there is a shell");
    assert_eq!(checked(folder.path()).0, 0, "a pipe is read to its end");
    assert!(writer.wait().expect("it was started").success());
    fs::remove_file(&file).expect("it is there");

    // Sparse: 100 MiB of NUL that take no place.
    fs::File::create(&file).and_then(|file| file.set_len(100 << 20)).expect("a file can be long");
    let (code, told) = checked(folder.path());
    assert!(code == 78 && told.contains("longer than"), "{}", &told[..told.len().min(300)]);
}

/// G8: the file is read once, from beginning to end; what replaces it afterwards is another file.
#[test]
fn a_file_that_is_replaced_while_it_serves_changes_nothing() {
    let talker = crate::origin::Talker::default();
    let folder = TempDir::new().expect("a folder can be made");
    let file = folder.path().join(FILE);
    let listen = "server.listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n";
    fs::write(&file, format!("{listen}origin.url = \"{}\"\n", talker.origin.url)).expect("a file can be written");
    let program = crate::proxy::Program::start(folder, &["serve", "--config", FILE]);
    let address = program.prints(|line| Some(line.strip_prefix("listening on ")?.trim().parse().expect("an address")));
    fs::write(&file, "this is no configuration").expect("a file can be written");
    let mut connection = crate::wire::Connection::open(address);
    connection.ask("GET /fine", &[], "");
    assert_eq!(connection.response().status(), 200);
}
