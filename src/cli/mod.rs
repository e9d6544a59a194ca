//! The command line: one file a subcommand.

mod audit;
#[cfg(feature = "demo")]
mod demo;
mod healthcheck;
mod inspect;
mod keys;
mod purge;
mod rules;
mod run;
mod session;
mod validate;
mod values;

use crate::config::{self, Config, Problem};
use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How the program ends. Numbers are those of BSD's sysexits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// All well.
    Ok = 0,
    /// It failed while running, or a check found something.
    Failure = 1,
    /// The command line is wrong.
    Usage = 64,
    /// Something that it depends on is not there.
    Unavailable = 69,
    /// The config is wrong.
    Config = 78,
}

#[derive(Parser)]
#[command(name = "sealgate", version, about = "An encryption gateway for PHI", disable_help_subcommand = false)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve.
    Run(ConfigFile),
    /// Say what is wrong with a config file, all of it at once. Opens the files that it names; connects to nothing.
    #[command(visible_alias = "check")]
    Validate(validate::Validate),
    /// About the rules of routes.
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// About config files.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// About audit journals.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Tell what a token says of itself without a key.
    Inspect(inspect::Inspect),
    /// Open tokens of standard input, one a line, for the user as whom it runs; on record before they are shown.
    ///
    /// Out come JSON values, one a line; a token that does not open stands as null.
    Open(values::Open),
    /// Seal values of standard input, one a line, for the user as whom it runs.
    ///
    /// An empty line stays one.
    Seal(values::Seal),
    /// Work on data keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Show the gate at work, with a throw-away PKI and a small registry behind it.
    #[cfg(feature = "demo")]
    Demo {
        /// End after the show instead of serving on; exit 1 if a step did not show what it should.
        #[arg(long)]
        once: bool,
    },
    /// Ask a gate on this machine whether it is ready; exit 0 if it is. For containers without a shell.
    Healthcheck {
        /// Address of its admin listener.
        #[arg(long, default_value = "127.0.0.1:9464")]
        admin: std::net::SocketAddr,
    },
    /// Tell version and crypto providers.
    Version,
}

#[derive(clap::Args)]
struct ConfigFile {
    /// The config file.
    #[arg(short, long, env = "SEALGATE_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print the JSON Schema of the config file.
    Schema,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Check every record of a journal: exit 0 if the chain is whole, 1 if something was changed, removed or reordered.
    Verify {
        /// The journal's directory.
        directory: PathBuf,
        /// A head noted earlier, as SEQ:HASH: also find that the end was cut off. May be given several times.
        #[arg(long, value_name = "SEQ:HASH")]
        head: Vec<crate::audit::chain::Head>,
    },
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let exit = match Arguments::try_parse() {
        Ok(arguments) => dispatch(arguments.command),
        Err(error) => {
            // Help and version are errors to clap, and none to whoever asked for them.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            drop(error.print());
            exit
        }
    };
    ExitCode::from(exit as u8)
}

fn dispatch(command: Command) -> Exit {
    match command {
        Command::Run(file) => run::run(&file.config),
        Command::Validate(arguments) => validate::validate(&arguments),
        Command::Rules(command) => rules::rules(command),
        Command::Config(ConfigCommand::Schema) => say(&config::schema()),
        Command::Audit(AuditCommand::Verify { directory, head }) => audit::verify(&directory, &head),
        Command::Inspect(arguments) => inspect::inspect(arguments),
        Command::Open(arguments) => values::open(arguments),
        Command::Seal(arguments) => values::seal(arguments),
        Command::Keys(command) => keys::keys(command),
        #[cfg(feature = "demo")]
        Command::Demo { once } => demo::demo(once),
        Command::Healthcheck { admin } => healthcheck::healthcheck(admin),
        Command::Version => version(),
    }
}

fn version() -> Exit {
    let providers = crate::seal::crypto::providers().iter().map(|provider| match provider.fips_module() {
        Some(module) => format!("{} with FIPS module {module}", provider.name()),
        None => provider.name().to_owned(),
    });
    let providers: Vec<_> = providers.collect();
    say(&format!("sealgate {} ({})\n", env!("CARGO_PKG_VERSION"), providers.join(", ")))
}

/// Writes to standard output.
fn say(text: &str) -> Exit {
    say_bytes(text.as_bytes())
}

/// The same for what need not be UTF-8.
fn say_bytes(text: &[u8]) -> Exit {
    match io::stdout().write_all(text) {
        Ok(()) => Exit::Ok,
        Err(_) => Exit::Failure,
    }
}

/// Writes to standard error, where failing has nobody left to tell.
fn complain(text: &str) {
    drop(io::stderr().write_all(text.as_bytes()));
}

/// Loads a config, or says what is wrong with it.
fn load(file: &Path) -> Result<Config, Exit> {
    config::load(file).map_err(|problems| tell(file, &problems))
}

/// Says what is wrong with a config.
fn tell(file: &Path, problems: &[Problem]) -> Exit {
    for problem in problems {
        complain(&format!("{}: {problem}\n", file.display()));
    }
    Exit::Config
}

/// Lines of cells, one under the other.
fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Says how many problems there are.
fn count(problems: &[Problem]) -> String {
    match problems.len() {
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    }
}
