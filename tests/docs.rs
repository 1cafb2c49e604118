//! What the documents show is true: every `toml` block is a configuration, and every `console` block does what it shows.
//!
//! Conventions, so that a reader sees only what a user would type:
//! - A `toml` block without an origin is a fragment; it gets one. Its first line may be `# freshgate.toml`: the blocks
//!   after it find the file under that name.
//! - In a `console` block, a line after `$ ` is a command and what follows is its output. `…` stands for any text in a
//!   line; on a line of its own, for any lines. A command without output is only run, and must succeed.
//! - `freshgate serve` keeps running until the next one, or to the end of its document.
//! - `make` is looked up in the Makefile, not run; `git` and `cd` are not run.
//! - The documents' addresses stand for ones that are free: [`API`] for a small API, [`PUBLIC`] and [`ADMIN`] for the
//!   proxy's. So a `freshgate serve` without a file runs as it stands, but for `--listen` with a free port.

use freshgate::semantics::cache_status::Detail;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use tempfile::TempDir;

/// What the documents call the API behind the proxy.
const API: [&str; 2] = ["https://api.example.com", "http://127.0.0.1:3000"];
const PUBLIC: &str = "127.0.0.1:8080";
const ADMIN: &str = "127.0.0.1:9090";
const FREE: &str = "127.0.0.1:0";
/// What the documents call the secret that tokens are signed with.
const SECRET: (&str, &str) = ("JWT_SECRET", "only what the documents are tried with");

#[test]
fn every_toml_block_is_a_configuration() {
    let folder = TempDir::new().expect("a folder can be made");
    for (document, block) in blocks_of_all("toml") {
        let file = folder.path().join("freshgate.toml");
        fs::write(&file, completed(&block.text)).expect("a file can be written");
        let checked = freshgate()
            .args(["check", "--config"])
            .arg(&file)
            .env(SECRET.0, SECRET.1)
            .output()
            .expect("the program was built");
        let problems = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{document}:{}: {problems}", block.line);
    }
}

#[test]
fn every_console_block_does_what_it_shows() {
    for document in documents() {
        let mut shell = Shell::new();
        for block in blocks(&read(&document)) {
            let at = format!("{document}:{}", block.line);
            match block.language.as_str() {
                "toml" => shell.keep(&block.text),
                "console" => shell.run(&block.text, &at),
                _ => {}
            }
        }
    }
}

#[test]
fn the_readme_begins_with_what_can_be_run() {
    let blocks = blocks(&read("README.md"));
    let commands: Vec<&str> = blocks.iter().filter(|b| b.language == "console").flat_map(|b| b.text.lines()).collect();
    assert!(commands.contains(&"$ make demo") && commands.contains(&"$ make test"), "{commands:?}");
    assert!(blocks.iter().any(|block| block.language == "toml"));
}

#[test]
fn the_speed_in_the_readme_is_what_one_run_measured() {
    let (results, readme) = (read("benches/RESULTS.md"), read("README.md"));
    let run = results.lines().find_map(|line| line.strip_prefix("Run on ")).expect("the page says when");
    let (date, _) = run.split_once(',').expect("a date, and on what");
    let (_, short) = results.split_once("## CPU per request\n\n").expect("the page has it in short");
    let rows: Vec<&str> = short.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 2, "{rows:?}");
    let table = format!("The run of {date}:\n\n{}\n", rows.join("\n"));
    assert!(readme.contains(&table), "README.md is to have\n{table}");
}

#[test]
fn every_relative_link_leads_somewhere() {
    for document in documents() {
        let folder = root().join(&document).parent().expect("a file has a folder").to_owned();
        for target in links(&read(&document)) {
            assert!(folder.join(&target).exists(), "{document} links to {target}");
        }
    }
}

#[test]
fn every_cache_status_detail_is_documented() {
    let page = read("docs/cache-status.md");
    let (_, table) = page.split_once("| detail | meaning |\n|---|---|\n").expect("the table has a head");
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    let told: Vec<String> =
        Detail::ALL.iter().map(|detail| format!("| `{}` | {} |", detail.as_str(), detail.sentence())).collect();
    assert!(rows == told, "the table in docs/cache-status.md is to be\n{}", told.join("\n"));
}

/// A fenced block of a document.
#[derive(Debug, PartialEq)]
struct Block {
    language: String,
    text: String,
    line: usize,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in document.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block { language: language.to_owned(), text: String::new(), line: index + 1 });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a block has an end");
    blocks
}

#[test]
fn blocks_are_what_stands_between_fences() {
    let found = blocks("text\n```toml\na = 1\n```\n\n```console\n$ x\n```\n");
    let block = |language: &str, text: &str, line| Block { language: language.into(), text: text.into(), line };
    assert_eq!(found, [block("toml", "a = 1\n", 2), block("console", "$ x\n", 6)]);
}

/// The targets of links that are neither absolute nor within the page.
fn links(document: &str) -> Vec<String> {
    let targets = document.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://")).map(str::to_owned).collect()
}

#[test]
fn links_are_those_into_this_repository() {
    assert_eq!(links("[a](b.md) [c](https://x.org) [d](#e) [f](docs/g.md#h)"), ["b.md", "docs/g.md"]);
}

/// A fragment with an origin in front; a whole configuration as it is.
fn completed(block: &str) -> String {
    let whole = block.contains("[origin]") || block.contains("origin.url");
    if whole { block.to_owned() } else { format!("origin.url = \"{}\"\n{block}", API[1]) }
}

/// Whether the lines of an output are those shown.
fn shown(pattern: &[&str], output: &[&str]) -> bool {
    match (pattern, output) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=output.len()).any(|skipped| shown(rest, &output[skipped..])),
        ([first, pattern @ ..], [line, output @ ..]) => fits(first, line) && shown(pattern, output),
        _ => false,
    }
}

/// Whether a line is the one shown, where `…` stands for any text.
fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    rest.is_empty() || last.is_some_and(|last| last.is_empty() || line.ends_with(last))
}

#[test]
fn an_ellipsis_stands_for_any_text() {
    for (pattern, line) in [("a", "a"), ("a…", "abc"), ("…c", "abcc"), ("a…c", "abc"), ("a…b…", "axbx"), ("…", "")]
    {
        assert!(fits(pattern, line), "{pattern} {line}");
    }
    for (pattern, line) in [("a", "ab"), ("a…", "b"), ("a…c", "abcd"), ("a…b", "a"), ("", "a")] {
        assert!(!fits(pattern, line), "{pattern} {line}");
    }
    assert!(shown(&["a", "…", "d"], &["a", "b", "c", "d"]));
    assert!(shown(&["a", "…"], &["a"]));
    assert!(!shown(&["a", "…", "d"], &["a", "b"]));
    assert!(!shown(&["a"], &["a", "b"]));
    assert!(!shown(&["a", "b"], &["a"]));
}

/// Where the console blocks of one document run: a folder, an API, and the proxy that they start.
struct Shell {
    folder: TempDir,
    api: String,
    proxy: Option<Running>,
}

/// A proxy in the background, and where it really listens.
struct Running {
    child: Child,
    public: String,
    admin: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shell {
    fn new() -> Shell {
        let folder = TempDir::new().expect("a folder can be made");
        let shell = Shell { folder, api: start_api(), proxy: None };
        fs::create_dir(shell.path("config")).expect("a folder can be made");
        for name in ["pos.toml", "reference.toml"] {
            shell.write(&format!("config/{name}"), &read(&format!("config/{name}")));
        }
        shell
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a configuration that names real addresses in place of the documents' own; a `[server]` or `[admin]` table
    /// in it names its address.
    fn write(&self, name: &str, text: &str) {
        let text = self.with_api(text).replace(PUBLIC, FREE).replace(ADMIN, FREE);
        let silent = ["server", "admin"].into_iter().filter(|table| !text.contains(&format!("[{table}]")));
        let listeners: String = silent.map(|table| format!("{table}.listen = \"{FREE}\"\n")).collect();
        fs::write(self.path(name), listeners + &text).expect("a file can be written");
    }

    fn with_api(&self, text: &str) -> String {
        API.iter().fold(text.to_owned(), |text, name| text.replace(name, &self.api))
    }

    /// Keeps a block that names itself as a file.
    fn keep(&self, block: &str) {
        let name = block.lines().next().and_then(|line| line.strip_prefix("# ")).filter(|name| name.ends_with(".toml"));
        if let Some(name) = name {
            self.write(name, block);
        }
    }

    /// Runs a block's commands in order.
    fn run(&mut self, block: &str, at: &str) {
        let mut commands: Vec<(String, Vec<&str>)> = Vec::new();
        for line in block.lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
                (None, Some((_, output))) => output.push(line),
                (None, None) => panic!("{at}: a console block begins with a command"),
            }
        }
        for (command, output) in commands {
            self.run_command(&command, &output, at);
        }
    }

    fn run_command(&mut self, command: &str, output: &[&str], at: &str) {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["git" | "cd", ..] => {}
            ["make", targets @ ..] => targets.iter().for_each(|target| assert_is_target(target, at)),
            ["freshgate", "serve", ..] => self.start(command, output, at),
            _ => self.compare(command, output, at),
        }
    }

    /// Runs a command to its end.
    fn compare(&self, command: &str, output: &[&str], at: &str) {
        let result = self.sh(&self.real(command)).output().expect("there is a shell");
        let both = [result.stdout, result.stderr].concat();
        let seen = self.documented(&String::from_utf8_lossy(&both));
        let lines: Vec<&str> = seen.lines().map(str::trim_end).collect();
        if output.is_empty() {
            assert!(result.status.success(), "{at}: `{command}` failed:\n{seen}");
        } else {
            assert!(shown(output, &lines), "{at}: `{command}` shows\n{}\nbut prints\n{seen}", output.join("\n"));
        }
    }

    /// Starts a proxy and waits until it has said where it listens.
    fn start(&mut self, command: &str, output: &[&str], at: &str) {
        self.proxy = None;
        let mut child =
            self.sh(&format!("exec {}", self.real(command))).stdout(Stdio::piped()).spawn().expect("a shell");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let mut running = Running { child, public: String::new(), admin: String::new() };
        let mut seen = Vec::new();
        while running.public.is_empty() || running.admin.is_empty() {
            let line = lines.next().unwrap_or_else(|| panic!("{at}: `{command}` ended after {seen:?}"));
            if let Some(address) = line.strip_prefix("listening on ") {
                running.public = address.trim().to_owned();
            } else if let Some(address) = line.strip_prefix("admin on ") {
                running.admin = address.trim().to_owned();
            }
            seen.push(line);
        }
        thread::spawn(move || lines.for_each(drop));
        self.proxy = Some(running);
        let seen = self.documented(&seen.join("\n"));
        let lines: Vec<&str> = seen.lines().collect();
        assert!(output.is_empty() || shown(output, &lines), "{at}: `{command}` prints\n{seen}");
    }

    /// A command with real addresses in place of the documents' own.
    fn real(&self, command: &str) -> String {
        let mut command = self.with_api(command);
        if command.starts_with("freshgate serve") && !command.contains("--config") {
            command += &format!(" --listen {FREE}");
        }
        let Some(proxy) = &self.proxy else { return command };
        let asks = ["freshgate stats", "freshgate purge"].iter().any(|asks| command.starts_with(asks));
        if asks && !command.contains("--admin") {
            command += &format!(" --admin http://{ADMIN}");
        }
        command.replace(PUBLIC, &proxy.public).replace(ADMIN, &proxy.admin)
    }

    /// An output with the documents' addresses in place of the real ones.
    fn documented(&self, output: &str) -> String {
        let output = output.replace(&self.api, API[1]);
        match &self.proxy {
            Some(proxy) => output.replace(&proxy.public, PUBLIC).replace(&proxy.admin, ADMIN),
            None => output,
        }
    }

    fn sh(&self, command: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_freshgate")).parent().expect("a file has a folder");
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(command)
            .env("PATH", path)
            .env(SECRET.0, SECRET.1)
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        shell
    }
}

/// A legacy API: JSON for every path, no validators.
fn start_api() -> String {
    let listener = TcpListener::bind(FREE).expect("loopback has a free port");
    let address: SocketAddr = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream));
        }
    });
    format!("http://{address}")
}

/// Answers until the peer is gone.
fn serve(stream: TcpStream) -> Option<()> {
    let body = r#"{"data":[{"id":1,"name":"Chai","updated_at":"2026-01-02T03:04:05Z"}]}"#;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
    let answer = format!("{head}\r\n\r\n{body}");
    let mut reader = BufReader::new(stream);
    loop {
        let mut lines = reader.by_ref().lines();
        let mut line = lines.next()?.ok()?;
        let mut length = 0;
        while !line.is_empty() {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            line = lines.next()?.ok()?;
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        reader.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

#[track_caller]
fn assert_is_target(target: &str, at: &str) {
    let makefile = read("Makefile");
    let known = target.contains('=') || makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
    assert!(known, "{at}: the Makefile has no target {target}");
}

fn blocks_of_all(language: &str) -> Vec<(String, Block)> {
    let all = documents().into_iter().flat_map(|document| {
        let blocks = blocks(&read(&document));
        blocks.into_iter().map(move |block| (document.clone(), block))
    });
    all.filter(|(_, block)| block.language == language).collect()
}

/// The documents at the root, and those below docs.
fn documents() -> Vec<String> {
    let mut documents = Vec::new();
    for folder in ["", "docs"] {
        for entry in fs::read_dir(root().join(folder)).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.strip_prefix(root()).expect("it was found below the root");
                documents.push(name.to_string_lossy().into_owned());
            }
        }
    }
    documents.sort();
    assert!(documents.iter().any(|document| document == "README.md"));
    documents
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|problem| panic!("{path}: {problem}"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn freshgate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_freshgate"))
}
