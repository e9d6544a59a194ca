//! `sealgate validate`.

use super::{Exit, complain, count, say};
use crate::{config, process};
use std::path::Path;

pub(super) fn validate(file: &Path) -> Exit {
    // It loads the keys that the config names, to see whether they are any good.
    let _unlogged = process::harden();
    match config::load(file) {
        Ok(config) => {
            for warning in &config.warnings {
                complain(&format!("{}: warning: {warning}\n", file.display()));
            }
            let (routes, upstreams) = (config.routes.iter().count(), config.upstreams.len());
            say(&format!("{}: good, {routes} routes to {upstreams} upstreams\n", file.display()))
        }
        Err(problems) => {
            for problem in &problems {
                complain(&format!("{}: {problem}\n", file.display()));
            }
            complain(&format!("{}: {}\n", file.display(), count(&problems)));
            Exit::Config
        }
    }
}
