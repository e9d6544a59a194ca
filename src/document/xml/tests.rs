//! The rewriter as its callers see it.

mod fhir;
mod grammar;
mod properties;
mod slots;

use std::sync::Arc;

use super::*;
use crate::document::testing::rewrite;
use crate::document::{Escape, Place};

/// A slot as it was shown, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    rule: Option<usize>,
    place: Place,
    raw: String,
    text: String,
    start: u64,
    escape: Escape,
    watched: bool,
    inner: Vec<usize>,
}

type Rewritten = (Result<Vec<u8>, Fault>, Vec<Seen>);

/// Strings that stand for sealed values.
fn tokens(text: &[u8]) -> bool {
    text.starts_with(b"tok.")
}

struct Case {
    rules: Arc<Rules>,
    limits: Limits,
    watch: Option<Watch>,
}

impl Case {
    fn new(paths: &[&str]) -> Case {
        let paths: Vec<(usize, XmlPath)> =
            paths.iter().enumerate().map(|(rule, path)| (rule, XmlPath::parse(path).unwrap())).collect();
        Case { rules: Arc::new(Rules::compile(&paths).unwrap()), limits: Limits::default(), watch: None }
    }

    fn watched(self) -> Case {
        Case { watch: Some(Watch::new(tokens)), ..self }
    }

    fn limited(self, limits: Limits) -> Case {
        Case { limits, ..self }
    }

    fn answered(
        &self,
        document: &[u8],
        sizes: &[usize],
        answer: &mut dyn FnMut(&Seen) -> Option<Vec<u8>>,
    ) -> Rewritten {
        let mut rewriter = Rewriter::new(self.rules.clone(), self.limits.clone(), self.watch);
        let mut seen = Vec::new();
        let output = rewrite(&mut rewriter, document, sizes, &mut |slot| {
            let shown = Seen {
                rule: slot.rule(),
                place: slot.place(),
                raw: String::from_utf8(slot.raw().to_vec()).unwrap(),
                text: String::from_utf8(slot.text().unwrap().to_vec()).unwrap(),
                start: slot.range().start,
                escape: slot.escape(),
                watched: slot.holds_watched(),
                inner: slot.inner_rules().to_vec(),
            };
            let written = answer(&shown);
            seen.push(shown);
            written
        });
        (output, seen)
    }

    fn run(&self, document: &[u8], sizes: &[usize]) -> Rewritten {
        self.answered(document, sizes, &mut |_| None)
    }

    /// Whole, by single bytes and by some sizes between, which must make no difference.
    fn check(&self, document: &[u8]) -> Rewritten {
        let whole = self.run(document, &[]);
        for sizes in [&[1][..], &[2], &[3, 1], &[7], &[1, 16, 2]] {
            assert_eq!(self.run(document, sizes), whole, "{} in pieces of {sizes:?}", document.escape_ascii());
        }
        if let Ok(output) = &whole.0 {
            assert_eq!(output, document, "kept slots change nothing");
        }
        whole
    }

    /// The slots of a document that is taken, as `rule:text`, strays as `-:text`.
    fn listed(&self, document: &str) -> Vec<String> {
        let (output, seen) = self.check(document.as_bytes());
        assert_eq!(output, Ok(document.as_bytes().to_vec()), "{document}");
        seen.iter()
            .map(|slot| {
                let start = usize::try_from(slot.start).unwrap();
                assert!(document[start..].starts_with(&slot.raw));
                match slot.rule {
                    Some(rule) => format!("{rule}:{}", slot.text),
                    None => format!("-:{}", slot.text),
                }
            })
            .collect()
    }

    fn fault(&self, document: &[u8]) -> String {
        match self.check(document).0 {
            Ok(_) => "none".to_owned(),
            Err(fault) => fault.to_string(),
        }
    }
}
