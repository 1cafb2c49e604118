//! The program: reads the command line and hands over.

use clap::{Parser, Subcommand};
use freshgate::cli::{check, demo, explain, purge, serve, stats};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An ETag-validating caching reverse proxy for JSON APIs that send no validators
#[derive(Parser)]
#[command(version)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    Check(check::Args),
    Explain(explain::Args),
    Stats(stats::Args),
    Purge(purge::Args),
    Demo(demo::Args),
}

fn main() -> ExitCode {
    let program = match Program::try_parse() {
        Ok(program) => program,
        Err(error) => {
            // --help and --version come this way too, and are no errors.
            let code = if error.use_stderr() { serve::USAGE } else { serve::DONE };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    serve::start_logging();
    match &program.command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Stats(args) => stats::run(args),
        Command::Purge(args) => purge::run(args),
        Command::Demo(args) => demo::run_command(args),
    }
}
