//! The rewriters as their callers see them.

mod elements;
mod merging;
mod operations;
mod properties;
mod rules;

use std::sync::Arc;

use super::*;
use crate::document::fhir::FhirPath;
use crate::document::json::{JsonPath, Selected};
use crate::document::path::FieldPath;
use crate::document::testing::{Answer, rewrite};
use crate::document::{Kind, Role};

/// Compiles paths of both kinds; those that start with `-` let pass, those with `!` are primitives sealed beside their
/// place.
fn rules(paths: &[&str], types: &[&str]) -> Arc<Rules> {
    let bare = |path: &&str| path.trim_start_matches(['-', '!']).to_owned();
    let fields: Vec<Option<FieldPath>> = paths.iter().map(|path| FieldPath::parse(&bare(path)).ok()).collect();
    let resources: Vec<Option<FhirPath>> = paths.iter().map(|path| FhirPath::parse(&bare(path)).ok()).collect();
    let of = |number: usize| match (&fields[number], &resources[number]) {
        (Some(path), _) => JsonPath::Field(path),
        (None, Some(path)) => JsonPath::Fhir(path),
        (None, None) => panic!("{}", paths[number]),
    };
    let selected: Vec<_> = (0..paths.len())
        .map(|number| Selected {
            path: of(number),
            rule: number,
            role: if paths[number].starts_with('!') { Role::Primitive } else { Role::Value },
            passes: paths[number].starts_with('-'),
        })
        .collect();
    let types: Vec<String> = types.iter().map(|name| (*name).to_owned()).collect();
    Arc::new(Rules::compile_all(&selected, &types).unwrap())
}

/// Strings that stand for sealed values.
const TOKENS: Watch = Watch::marked(tokens, |bytes| memchr::memmem::find(bytes, b"tok:"));

fn tokens(text: &[u8]) -> bool {
    text.starts_with(b"tok:")
}

struct Case<'a> {
    rules: Arc<Rules>,
    resource: Option<&'a str>,
    limits: Limits,
    watch: Option<Watch>,
    merge: bool,
}

impl<'a> Case<'a> {
    fn new(paths: &[&str]) -> Case<'a> {
        Case::of(paths, &[], None)
    }

    fn of(paths: &[&str], types: &[&str], resource: Option<&'a str>) -> Case<'a> {
        Case { rules: rules(paths, types), resource, limits: Limits::default(), watch: None, merge: false }
    }

    fn run(&self, patch: &[u8], lengths: &[usize], answer: Answer<'_>) -> Result<Vec<u8>, Fault> {
        let (rules, limits) = (Arc::clone(&self.rules), self.limits.clone());
        let mut rewriter: Box<dyn Rewrite> = if self.merge {
            Box::new(merge(rules, self.resource, limits, self.watch))
        } else {
            Box::new(Rewriter::new(rules, self.resource, limits, self.watch))
        };
        let result = rewrite(&mut *rewriter, patch, lengths, answer);
        if let Err(fault) = &result {
            assert_eq!(rewriter.step().as_ref(), Err(fault), "a fault is final");
        }
        result
    }

    /// What comes out where each slot is replaced by the number of its rule, however it is cut. Those of a `test` are
    /// marked too, and strays are.
    fn marked(&self, patch: &str) -> Result<String, String> {
        let marked = |lengths: &[usize]| {
            let output = self.run(patch.as_bytes(), lengths, &mut |slot| {
                let at = |offset| usize::try_from(offset).unwrap();
                assert_eq!(slot.raw(), &patch.as_bytes()[at(slot.range().start)..at(slot.range().end)]);
                let mark = slot.rule().map_or("#-".to_owned(), |rule| format!("#{rule}"));
                Some(format!("{mark}{}", if slot.is_test() { "t" } else { "" }).into_bytes())
            });
            output.map(|output| String::from_utf8(output).unwrap()).map_err(|fault| fault.to_string())
        };
        let whole = marked(&[]);
        for lengths in [&[1][..], &[7], &[16, 1]] {
            assert_eq!(marked(lengths), whole, "{patch} in pieces of {lengths:?}");
        }
        if whole.is_ok() {
            let kept = self.run(patch.as_bytes(), &[5], &mut |_| None);
            assert_eq!(kept.as_deref(), Ok(patch.as_bytes()), "kept");
        }
        whole
    }

    fn check(&self, patch: &str, want: Result<&str, &str>) {
        let found = self.marked(patch);
        match (&found, want) {
            (Err(found), Err(want)) => assert!(found.starts_with(want), "{patch}: found {found}, wanted {want}"),
            _ => assert_eq!(found.as_deref().map_err(String::as_str), want, "{patch}"),
        }
    }

    /// `operations` in short: `add /a 1`, `remove /a`, `move /a /b` (to, from).
    fn check_one(&self, operation: &str, want: Result<&str, &str>) {
        let written = |operation: &str| {
            let mut words = operation.splitn(3, ' ');
            let (verb, path, rest) = (words.next().unwrap(), words.next().unwrap(), words.next());
            let rest = match (verb, rest) {
                (_, None) => String::new(),
                ("move" | "copy", Some(from)) => format!(r#","from":"{from}""#),
                (_, Some(value)) => format!(r#","value":{value}"#),
            };
            format!(r#"[{{"op":"{verb}","path":"{path}"{rest}}}]"#)
        };
        self.check(&written(operation), want.map(written).as_deref().map_err(|want| *want));
    }
}

const CONTEXT: &str = "patch needs context: a rule looks at what stands beside";
const COVERED: &str = "a pointer into a value that is protected whole";
const MOVED: &str = "move or copy of a value that is protected";
const COUNTED: &str = "patch needs context: a rule counts the elements of the array";
const ALIKE: &str = "a name that differs from a ruled one by case alone";
const TYPE: &str = "a patch of a resourceType";
