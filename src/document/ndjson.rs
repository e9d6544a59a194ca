//! Newline-delimited JSON: one document (RFC 8259) a line, as the FHIR Bulk Data export writes it.
//!
//! Every line is a document of its own: what one line holds has no influence on the next. Lines may be of any length, lines of
//! white space pass, the last line need not end. A document that goes on over several lines is refused.

use std::sync::Arc;

use super::json::{self, Rules};
use super::{Fault, Limits, Resources, Rewrite, Slot, Step, Watch};

/// Rewrites one body of lines.
pub struct Rewriter {
    rules: Arc<Rules>,
    limits: Limits,
    watch: Option<Watch>,
    shows_passed: bool,
    /// The document of the line at hand, once there is anything but white space.
    line: Option<json::Rewriter>,
    /// Whether all of that line was fed.
    ended: bool,
    /// Input after that line.
    rest: Vec<u8>,
    /// How much of `rest` was used.
    used: usize,
    /// Where the byte after that stands in the body.
    offset: u64,
    output: Vec<u8>,
    resources: Resources,
    finished: bool,
    fault: Option<Fault>,
}

impl Rewriter {
    /// Starts on a body.
    pub fn new(rules: Arc<Rules>, limits: Limits, watch: Option<Watch>) -> Rewriter {
        Rewriter {
            rules,
            limits,
            watch,
            shows_passed: false,
            line: None,
            ended: false,
            rest: Vec::new(),
            used: 0,
            offset: 0,
            output: Vec::new(),
            resources: Resources::default(),
            finished: false,
            fault: None,
        }
    }

    /// Yields also what rules let pass, as [`json::Rewriter::showing_passed`] does.
    #[must_use]
    pub fn showing_passed(self) -> Rewriter {
        Rewriter { shows_passed: true, ..self }
    }

    /// Goes on with the line at hand; `None` if it is done.
    fn line(&mut self) -> Result<Option<Step>, Fault> {
        let Some(line) = &mut self.line else { return Ok(None) };
        if self.ended {
            line.finish();
        }
        let step = line.step()?;
        self.output.append(&mut line.take_output());
        self.resources.extend(&line.take_resources());
        match step {
            Step::Done => {
                self.line = None;
                Ok(None)
            }
            Step::Slot => Ok(Some(Step::Slot)),
            Step::NeedInput => Ok(Some(Step::NeedInput)),
        }
    }

    /// Takes the next piece of the line at hand, or the start of another one. Tells whether there was any.
    fn take(&mut self) -> bool {
        let rest = self.rest.get(self.used..).unwrap_or_default();
        if rest.is_empty() {
            return false;
        }
        // Blanks before a document are none of it, however the body was cut.
        let blanks = match self.line {
            Some(_) => 0,
            None => rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count(),
        };
        let (blank, rest) = rest.split_at(blanks);
        self.output.extend_from_slice(blank);
        let end = memchr::memchr(b'\n', rest);
        // The line feed is white space to the document before it.
        let piece = rest.get(..end.map_or(rest.len(), |end| end + 1)).unwrap_or(rest);
        if !piece.is_empty() {
            let start = self.offset + blank.len() as u64;
            let line = self.line.get_or_insert_with(|| {
                let line = json::Rewriter::at(start, Arc::clone(&self.rules), self.limits.clone(), self.watch);
                if self.shows_passed { line.showing_passed() } else { line }
            });
            line.feed(piece);
        }
        self.ended = end.is_some();
        self.used += blank.len() + piece.len();
        self.offset += (blank.len() + piece.len()) as u64;
        true
    }

    fn turn(&mut self) -> Result<Step, Fault> {
        loop {
            match self.line()? {
                Some(Step::NeedInput) if !self.ended => {}
                Some(step) => return Ok(step),
                None => {}
            }
            if self.take() {
                continue;
            }
            if !self.finished {
                return Ok(Step::NeedInput);
            }
            if self.line.is_none() {
                return Ok(Step::Done);
            }
            self.ended = true;
        }
    }
}

impl Rewrite for Rewriter {
    fn feed(&mut self, chunk: &[u8]) {
        if self.used == self.rest.len() {
            self.rest.clear();
            self.used = 0;
        }
        self.rest.extend_from_slice(chunk);
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn step(&mut self) -> Result<Step, Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        self.turn().inspect_err(|fault| self.fault = Some(fault.clone()))
    }

    fn slot(&self) -> Option<Slot<'_>> {
        self.line.as_ref()?.slot()
    }

    fn keep(&mut self) {
        if let Some(line) = &mut self.line {
            line.keep();
        }
    }

    fn replace(&mut self, written: &[u8]) {
        if let Some(line) = &mut self.line {
            line.replace(written);
        }
    }

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    fn take_resources(&mut self) -> Resources {
        std::mem::take(&mut self.resources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::path::FieldPath;
    use crate::document::testing::rewrite;
    use proptest::prelude::*;

    fn rewritten(document: &[u8], lengths: &[usize]) -> (Result<String, Fault>, Vec<(u64, String)>) {
        let paths = ["$.a", "$.b[*]"].map(|path| FieldPath::parse(path).unwrap());
        let rules = Arc::new(Rules::compile(&paths).unwrap());
        let limits = Limits { value_bytes_max: 64, ..Limits::default() };
        let mut rewriter = Rewriter::new(rules, limits, Some(Watch::new(|text| text.starts_with(b"tok:"))));
        let mut seen = Vec::new();
        let result = rewrite(&mut rewriter, document, lengths, &mut |slot| {
            seen.push((slot.range().start, String::from_utf8(slot.raw().to_vec()).unwrap()));
            slot.rule().map(|rule| format!("<{rule}>").into_bytes())
        });
        (result.map(|output| String::from_utf8(output).unwrap()), seen)
    }

    #[test]
    fn every_line_is_a_document() {
        for (document, want) in [
            ("", ""),
            ("\n", "\n"),
            ("{\"a\":1}", "{\"a\":<0>}"),
            ("{\"a\":1}\n", "{\"a\":<0>}\n"),
            ("{\"a\":1}\r\n{ \"b\" : [1,\"x\"]}\n", "{\"a\":<0>}\r\n{ \"b\" : [<1>,<1>]}\n"),
            ("\n \t\r\n{\"a\":1}\n\n\n[\"a\"]\n7", "\n \t\r\n{\"a\":<0>}\n\n\n[\"a\"]\n7"),
            (" {\"a\":1} \n {\"a\":2}", " {\"a\":<0>} \n {\"a\":<0>}"),
            ("{\"c\":\"tok:1\"}\n", "{\"c\":\"tok:1\"}\n"),
        ] {
            assert_eq!(rewritten(document.as_bytes(), &[]).0.as_deref(), Ok(want), "{document:?}");
        }
    }

    #[test]
    fn only_a_body_may_start_with_a_byte_order_mark() {
        for document in [" \u{feff}1", "1\n \u{feff}1", "\u{feff}1\n\u{feff}1", "\u{feff}{\"a\":1}"] {
            let whole = rewritten(document.as_bytes(), &[]);
            assert_eq!(whole.0.is_ok(), document.ends_with('}'), "{document:?}");
            assert_eq!(rewritten(document.as_bytes(), &[1]), whole, "{document:?}");
        }
    }

    #[test]
    fn slots_say_where_they_stand_in_the_body() {
        let (_, seen) = rewritten(b"{\"a\":1}\n\n{\"a\":\"x\"}\n{\"c\":\"tok:1\"}", &[3]);
        let want = [(5, "1"), (14, "\"x\""), (24, "\"tok:1\"")];
        assert_eq!(seen, want.map(|(start, raw)| (start, raw.to_owned())));
    }

    #[test]
    fn what_is_not_one_document_a_line_is_refused() {
        for (document, offset) in [
            ("{\n\"a\":1}", 2),
            ("{\"a\":1}\n{\"a\":", 13),
            ("{\"a\":1}{\"a\":2}\n", 7),
            ("{\"a\":1},\n", 7),
            ("{\"a\":1}\n{a}\n", 9),
            ("{\"a\":1}\n\u{1e}{\"a\":1}\n", 8),
            ("{\"a\":1}\u{2028}{\"a\":1}", 7),
        ] {
            let fault = rewritten(document.as_bytes(), &[]).0.unwrap_err();
            let (Fault::UnexpectedByte { offset: at, .. } | Fault::UnexpectedEnd { offset: at }) = fault else {
                panic!("{document:?}: {fault}");
            };
            assert_eq!(at, offset, "{document:?}");
        }
    }

    #[test]
    fn a_line_may_be_longer_than_any_value() {
        let passing = "x".repeat(3 << 20);
        let line = format!("{{\"c\":\"{passing}\",\"a\":1}}\n");
        let (result, _) = rewritten(line.repeat(2).as_bytes(), &[1 << 16]);
        assert_eq!(result.unwrap(), line.replace("\"a\":1", "\"a\":<0>").repeat(2));
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(
            lines in proptest::collection::vec(
                prop::sample::select(vec![
                    "{\"a\":\"x\\n\"}", "", " ", "{\"b\":[1,{\"a\":2}]}", "{\"c\":\"tok:\"}", "[", "7 8", "\u{feff}1",
                ]), 0..6),
            end in prop::sample::select(vec!["\n", "\r\n"]),
            lengths in proptest::collection::vec(1_usize..9, 1..5),
        ) {
            let document = lines.join(end);
            prop_assert_eq!(rewritten(document.as_bytes(), &lengths), rewritten(document.as_bytes(), &[]));
        }
    }
}
