//! `sealgate rules explain`.

use super::super::session::{self, Failure};
use super::super::{ConfigFile, Exit, say, table};
use super::found::{self, Unread, Value};
use super::lines::{escaped, shown};
use super::names::Names;
use super::phi::{Look, looks};
use super::sample::Sample;
use super::tally::{Tally, is_built_in};
use super::{Rule, Ruled, ruled};
use crate::config::Config;
use crate::proxy::rule::Protected;
use clap::Args;
use std::ops::Range;
use std::path::PathBuf;

#[derive(Args)]
pub(in crate::cli) struct Explain {
    #[command(flatten)]
    config: ConfigFile,
    /// The route whose rules are looked at; needed where several have rules for bodies of that type.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// The type of the sample, if the name of the file does not tell it.
    #[arg(long = "type", value_name = "MEDIA_TYPE")]
    media_type: Option<String>,
    /// A body, in a file.
    sample: PathBuf,
}

pub(super) fn explain(arguments: &Explain) -> Result<Exit, Failure> {
    let Explain { config, route, media_type, sample } = arguments;
    let config = session::config(&config.config)?;
    let sample = Sample::read(sample, media_type.as_deref())?;
    let (route, protected) = taking(&config, route.as_deref(), &sample)?;
    let values = found::values(&sample, &protected.formats, &config.limits.document);
    let values = values.map_err(|unread| {
        let file = sample.file.display();
        Failure::new(match unread {
            Unread::NoRules => format!("{file}: route {} has no rules for {}", route.name, sample.media_type),
            Unread::Refused(fault) => format!("{file}: route {} refuses it: {fault}", route.name),
        })
    })?;
    let missed = missed(&values);
    let mut text = format!("{}: {} by the rules of route {}\n", sample.file.display(), sample.media_type, route.name);
    text += &section("Values and the rules that they meet", &met(protected, &values));
    text += &section("Values that look like PHI and meet no rule", &missed);
    text += &section("Rules that nothing in the sample meets", &unmet(protected, &sample, &values));
    let said = say(&text);
    Ok(if missed.is_empty() { said } else { Exit::Failure })
}

/// The route that is meant: the one that is named, or the only one that takes such bodies.
fn taking<'a>(config: &'a Config, name: Option<&str>, sample: &Sample) -> Result<Ruled<'a>, Failure> {
    let mut taking = ruled(config, name)?;
    if name.is_none() {
        taking.retain(|(_, protected)| sample.format(&protected.formats).is_some());
    }
    match taking.as_slice() {
        [only] => Ok(*only),
        [] => Err(Failure::new(format!("{}: no route has rules for {}", sample.file.display(), sample.media_type))),
        several => {
            let names: Vec<&str> = several.iter().map(|(route, _)| &*route.name).collect();
            Err(Failure::usage(format!("say which with --route: {}", names.join(", "))))
        }
    }
}

type Lines = Vec<Vec<String>>;

fn section(title: &str, lines: &Lines) -> String {
    match lines.is_empty() {
        true => format!("\n{title}: none\n"),
        false => format!("\n{title}:\n{}", table(lines)),
    }
}

fn met(protected: &Protected, values: &[Value]) -> Lines {
    let met = values.iter().filter_map(|value| Some((value, Rule::of(protected, value.rule?)?)));
    met.map(|(value, rule)| {
        vec![place(value), value.place.path.clone(), rule.place(), rule.does(), shown(&value.text, 0)]
    })
    .collect()
}

fn missed(values: &[Value]) -> Lines {
    let names = Names::of(values);
    let mut lines = Vec::new();
    for value in values.iter().filter(|value| value.rule.is_none()) {
        // What a name is called says nothing of the name.
        let (around, beside): (&[String], &[String]) =
            if value.is_name { (&[], &[]) } else { (&value.place.names, &value.place.beside) };
        let mut found: Vec<(Look, Range<usize>)> = looks(&value.text, around, beside);
        found.extend(names.find(value).map(|range| (Look::PatientName, range)));
        for (look, range) in found {
            let path = value.place.path.clone();
            lines.push(vec![place(value), path, look.as_str().to_owned(), shown(&value.text, range.start)]);
        }
    }
    lines
}

fn unmet(protected: &Protected, sample: &Sample, values: &[Value]) -> Lines {
    let mut tally = Tally::default();
    tally.add(sample.format(&protected.formats), values);
    let (built_in, own): (Vec<_>, Vec<_>) = tally.unmet(protected).into_iter().partition(is_built_in);
    let mut lines: Lines = own.iter().map(|rule| vec![rule.place(), rule.does()]).collect();
    let mut packs: Vec<&str> = built_in.iter().filter_map(|rule| rule.written.pack.as_deref()).collect();
    packs.dedup();
    for pack in packs {
        let count = built_in.iter().filter(|rule| rule.written.pack.as_deref() == Some(pack)).count();
        lines.push(vec![format!("{count} rules of the pack {}", escaped(pack))]);
    }
    lines
}

fn place(value: &Value) -> String {
    value.position.to_string()
}
