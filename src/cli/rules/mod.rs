//! `sealgate rules`: what the rules of a route find in a sample, and what they miss.

mod explain;
mod found;
mod lines;
mod names;
mod phi;
mod places;
mod sample;
mod tally;

pub(super) use tally::judge;

use super::Exit;
use super::session::{Failure, run};
use crate::config::Config;
use crate::proxy::route::{Protection, Route};
use crate::proxy::rule::{FieldRule, Protected, Written};
use clap::Subcommand;

/// What is done with rules.
#[derive(Subcommand)]
pub(super) enum RulesCommand {
    /// Tell which value of a sample meets which rule, and which look like PHI and meet none.
    ///
    /// Shows the values themselves. Exit 1 if any looks like PHI and meets no rule, or if the gate refuses the sample.
    Explain(explain::Explain),
}

pub(super) fn rules(command: RulesCommand) -> Exit {
    match command {
        RulesCommand::Explain(arguments) => run(async move { explain::explain(&arguments) }),
    }
}

/// A route that has rules, and these.
type Ruled<'a> = (&'a Route, &'a Protected);

/// The routes that have rules, or the one of that name.
fn ruled<'a>(config: &'a Config, name: Option<&str>) -> Result<Vec<Ruled<'a>>, Failure> {
    let named = config.routes.iter().filter(|route| name.is_none_or(|name| *route.name == *name));
    let all: Vec<_> = named
        .filter_map(|route| match &route.protection {
            Protection::None => None,
            Protection::Rules(protected) => Some((&**route, &**protected)),
        })
        .collect();
    match name {
        Some(name) if all.is_empty() => Err(Failure::usage(format!("no route {name} that has rules"))),
        _ => Ok(all),
    }
}

/// A rule as the config has it.
struct Rule<'a> {
    written: &'a Written,
    field: Option<&'a FieldRule>,
}

impl<'a> Rule<'a> {
    fn of(protected: &'a Protected, number: usize) -> Option<Self> {
        let field = protected.fields.get(number)?.as_ref();
        Some(Rule { written: protected.written.get(number)?, field })
    }

    fn place(&self) -> String {
        format!("{}: {}", self.written.key, lines::escaped(&self.written.place))
    }

    fn does(&self) -> String {
        self.field.map_or_else(|| "pass".to_owned(), |field| format!("class {}", field.class.class.as_str()))
    }
}
