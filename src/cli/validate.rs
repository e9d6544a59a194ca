//! `sealgate validate`.

use super::session::Failure;
use super::{ConfigFile, Exit, complain, count, rules, say};
use crate::config::{self, Config};
use crate::process;
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct Validate {
    #[command(flatten)]
    config: ConfigFile,
    /// A body in a file: exit 1 if a rule meets nothing in it. Of several samples together.
    ///
    /// Rules of packs that come with the gate may meet nothing.
    #[arg(long, value_name = "FILE")]
    sample: Vec<PathBuf>,
    /// The route whose rules the samples are for. Without it, every route that has rules for their types.
    #[arg(long, value_name = "NAME", requires = "sample")]
    route: Option<String>,
}

pub(super) fn validate(arguments: &Validate) -> Exit {
    let file = arguments.config.config.display();
    // It loads the keys that the config names, to see whether they are any good.
    let _unlogged = process::harden();
    match config::load(&arguments.config.config) {
        Ok(config) => {
            for warning in &config.warnings {
                complain(&format!("{file}: warning: {warning}\n"));
            }
            if let Err(exit) = try_samples(&config, arguments) {
                return exit;
            }
            let (routes, upstreams) = (config.routes.iter().count(), config.upstreams.len());
            say(&format!("{file}: good, {routes} routes to {upstreams} upstreams\n"))
        }
        Err(problems) => {
            for problem in &problems {
                complain(&format!("{file}: {problem}\n"));
            }
            complain(&format!("{file}: {}\n", count(&problems)));
            Exit::Config
        }
    }
}

fn try_samples(config: &Config, arguments: &Validate) -> Result<(), Exit> {
    let Validate { sample, route, .. } = arguments;
    if sample.is_empty() {
        return Ok(());
    }
    let problems = rules::judge(config, sample, route.as_deref()).map_err(|Failure { exit, text }| {
        complain(&format!("{text}\n"));
        exit
    })?;
    for problem in &problems {
        complain(&format!("{problem}\n"));
    }
    if problems.is_empty() { Ok(()) } else { Err(Exit::Failure) }
}
