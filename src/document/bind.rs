//! The values that rules are bound to, read out of a document before it is rewritten. Replaces nothing, and judges only what
//! is asked for.

use std::ops::Range;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::pairing::{Paired, Pairings};
use super::path::Selector;
use super::{Fault, Kind, Rewrite, Slot, Step};

/// Bounds on what is kept of a document. Each has an error of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindLimits {
    /// How many values, over all bind paths.
    pub entries_max: usize,
    /// How much they hold together, in bytes of [`BindValues::value`].
    pub bytes_max: usize,
}

/// The bind values of one document: read it once with `collect`, then ask for each slot of a rule when it is rewritten.
///
/// Zeroized on drop. No `Debug`, `Clone` or `Serialize`.
pub struct BindValues {
    pairings: Arc<Pairings>,
    /// By rule of the pairings, in the order of the document: so is, of all at once, what is around them at any level.
    found: Vec<Vec<Found>>,
    /// Where the objects and arrays around the values start, outermost first.
    containers: Vec<u64>,
    bytes: Zeroizing<Vec<u8>>,
}

struct Found {
    /// Of `containers`.
    around: Range<usize>,
    /// Of `bytes`; empty when the value cannot be bound to.
    value: Range<usize>,
}

impl BindValues {
    /// Reads a whole body. It must be, byte for byte, the one whose slots [`BindValues::value`] is asked about; `rewriter` is one
    /// for its format that was made of [`Pairings::rules`] and not used yet.
    ///
    /// # Errors
    ///
    /// The first fault of the document, or the first bound that it exceeds.
    pub fn collect(
        pairings: Arc<Pairings>,
        rewriter: &mut dyn Rewrite,
        bounds: &BindLimits,
        document: &[u8],
    ) -> Result<BindValues, NotCollected> {
        let mut values = BindValues {
            found: pairings.paths().iter().map(|_| Vec::new()).collect(),
            containers: Vec::new(),
            bytes: Zeroizing::new(Vec::new()),
            pairings,
        };
        let mut pieces = document.chunks(PIECE_BYTES);
        loop {
            match rewriter.step()? {
                Step::Slot => {
                    if let Some(slot) = rewriter.slot() {
                        values.keep(&slot, bounds)?;
                    }
                    rewriter.keep();
                }
                Step::NeedInput => {
                    drop(rewriter.take_output());
                    match pieces.next() {
                        Some(piece) => rewriter.feed(piece),
                        None => rewriter.finish(),
                    }
                }
                Step::Done => return Ok(values),
            }
        }
    }

    fn keep(&mut self, slot: &Slot<'_>, bounds: &BindLimits) -> Result<(), NotCollected> {
        let Some((rule, path)) = slot.rule().and_then(|rule| Some((rule, self.pairings.paths().get(rule)?))) else {
            return Ok(());
        };
        let segments = path.segments();
        if (0..).zip(segments).any(|(level, segment)| {
            matches!(segment.selector, Selector::Any | Selector::Filter(_)) && !slot.is_in_array(level)
        }) {
            return Ok(());
        }
        let (kind, content) = match slot.kind() {
            Kind::Text => (&[TEXT][..], slot.text().unwrap_or_default()),
            Kind::Number | Kind::Boolean => (&[LITERAL][..], slot.raw()),
            Kind::Null | Kind::Object | Kind::Array => Default::default(),
        };
        let (around, value) = (self.containers.len(), self.bytes.len());
        if self.found.iter().map(Vec::len).sum::<usize>() >= bounds.entries_max {
            return Err(NotCollected::TooMany { max: bounds.entries_max });
        }
        if kind.len() + content.len() > bounds.bytes_max.saturating_sub(value) {
            return Err(NotCollected::TooLong { max: bounds.bytes_max });
        }
        self.containers.extend((0..segments.len()).map_while(|level| slot.container(level)));
        append(&mut self.bytes, kind, content);
        if let Some(found) = self.found.get_mut(rule) {
            found.push(Found { around: around..self.containers.len(), value: value..self.bytes.len() });
        }
        Ok(())
    }

    /// What `slot`, which the rule of the pairing selects, is bound to: a byte that tells the kind, then the content.
    ///
    /// | value | kind | content |
    /// |---|---|---|
    /// | string | 0 | its text, escapes undone, as WTF-8 |
    /// | number, boolean | 1 | as written |
    ///
    /// So `"1"` and `1` differ, as do `1` and `1.0`, while `"1"` and `"\u0031"` do not. The bytes are authenticated with what
    /// is sealed: this encoding can never change.
    ///
    /// # Errors
    ///
    /// When there is not exactly one value, or none that can be bound to. A pairing that was not compiled, or a slot that its
    /// rule cannot select, has none.
    pub fn value(&self, pairing: usize, slot: &Slot<'_>) -> Result<&[u8], NotBound> {
        let Paired { rule, shared } = self.pairings.paired(pairing).ok_or(NotBound::Missing)?;
        let wanted = slot.container(shared).ok_or(NotBound::Missing)?;
        let found = self.found.get(rule).map(Vec::as_slice).unwrap_or_default();
        let container = |found: &Found| self.containers.get(found.around.clone())?.get(shared).copied();
        let first = found.partition_point(|found| container(found) < Some(wanted));
        let mut same = found.iter().skip(first).take_while(|found| container(found) == Some(wanted));
        let only = same.next().ok_or(NotBound::Missing)?;
        if same.next().is_some() {
            return Err(NotBound::Ambiguous);
        }
        match self.bytes.get(only.value.clone()).unwrap_or_default() {
            [] => Err(NotBound::Unusable),
            [TEXT] => Err(NotBound::Missing),
            value => Ok(value),
        }
    }
}

/// What stands before the content of a bind value. The same numbers tell the kinds of a sealed value.
const TEXT: u8 = 0;
const LITERAL: u8 = 1;

/// How much of a document is copied at once.
const PIECE_BYTES: usize = 64 << 10;

/// Appends, and leaves no copy behind when the buffer has to move.
fn append(bytes: &mut Zeroizing<Vec<u8>>, kind: &[u8], content: &[u8]) {
    let wanted = bytes.len() + kind.len() + content.len();
    if wanted > bytes.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(wanted.max(bytes.capacity() * 2).max(256)));
        larger.extend_from_slice(bytes);
        *bytes = larger;
    }
    bytes.extend_from_slice(kind);
    bytes.extend_from_slice(content);
}

/// Why a document's bind values were not read. Never holds content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotCollected {
    /// The document is at fault.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// There are more values to bind to than allowed.
    #[error("more than {max} values to bind to")]
    TooMany {
        /// `entries_max`.
        max: usize,
    },
    /// The values hold more than allowed.
    #[error("values to bind to of more than {max} bytes")]
    TooLong {
        /// `bytes_max`.
        max: usize,
    },
}

/// Why a value cannot be bound. Never holds content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotBound {
    /// Nothing stands at the bind path, or an empty string.
    #[error("no value to bind to")]
    Missing,
    /// Members of one name: more than one value stands at the bind path.
    #[error("more than one value to bind to")]
    Ambiguous,
    /// `null`, an object or an array stands at the bind path.
    #[error("value to bind to is null, an object or an array: wanted a string, a number or a boolean")]
    Unusable,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Limits;
    use crate::document::json::{Rewriter, Rules};
    use crate::document::pairing::Pairing;
    use crate::document::path::FieldPath;
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use serde_json_path::{JsonPath, PathElement};

    const AMPLE: BindLimits = BindLimits { entries_max: 1000, bytes_max: 1 << 20 };

    fn path(text: &str) -> FieldPath {
        FieldPath::parse(text).unwrap()
    }

    fn pairings(pairs: &[(&str, &str)]) -> Arc<Pairings> {
        let pairings: Vec<Pairing> =
            pairs.iter().map(|(rule, bind)| Pairing::of(&path(rule), &path(bind)).unwrap()).collect();
        Arc::new(Pairings::compile(&pairings).unwrap())
    }

    fn collect(
        pairings: Arc<Pairings>,
        limits: Limits,
        bounds: &BindLimits,
        document: &[u8],
    ) -> Result<BindValues, NotCollected> {
        let mut rewriter = Rewriter::new(Arc::clone(pairings.rules()), limits, None);
        BindValues::collect(pairings, &mut rewriter, bounds, document)
    }

    type Bound = Result<Vec<u8>, NotBound>;

    /// What each slot of the rules is bound to, by rule, in the order of the document; `rewritten` gives the slot's new value.
    fn bound(pairs: &[(&str, &str)], document: &[u8], mut rewritten: impl FnMut(&Bound) -> Option<String>) -> Vec<u8> {
        let values = collect(pairings(pairs), Limits::default(), &AMPLE, document).ok().unwrap();
        let rules: Vec<FieldPath> = pairs.iter().map(|(rule, _)| path(rule)).collect();
        let mut rewriter = Rewriter::new(Arc::new(Rules::compile(&rules).unwrap()), Limits::default(), None);
        rewriter.feed(document);
        rewriter.finish();
        while rewriter.step().unwrap() == Step::Slot {
            let slot = rewriter.slot().unwrap();
            match rewritten(&values.value(slot.rule().unwrap(), &slot).map(<[u8]>::to_vec)) {
                Some(json) => rewriter.replace(json.as_bytes()),
                None => rewriter.keep(),
            }
        }
        rewriter.take_output()
    }

    fn check(pairs: &[(&str, &str)], document: &str, expect: &[Result<&[u8], NotBound>]) {
        let mut seen = Vec::new();
        bound(pairs, document.as_bytes(), |bound| {
            seen.push(bound.clone());
            None
        });
        let seen: Vec<Result<&[u8], NotBound>> =
            seen.iter().map(|bound| bound.as_deref().map_err(|why| *why)).collect();
        assert_eq!(seen, expect, "{pairs:?} in {document}");
    }

    const NAMES: &[(&str, &str)] = &[("$.entry[*].resource.name[*].family", "$.entry[*].resource.id")];

    #[test]
    fn each_value_is_bound_to_the_one_beside_it() {
        let bundle = r#"{"entry":[
            {"resource":{"id":"A","name":[{"family":"x"},{"family":"x"}]}},
            {"resource":{"name":[{"family":"x"}]}},
            {"resource":{"name":[{"family":"x"}],"id":"C"}}]}"#;
        check(NAMES, bundle, &[Ok(b"\0A"), Ok(b"\0A"), Err(NotBound::Missing), Ok(b"\0C")]);
        // What a wildcard finds in an object has no bind value, even if it is the only one.
        let keyed = r#"{"entry":{"1":{"resource":{"id":"A","name":[{"family":"x"}]}},
            "2":{"resource":{"id":"B","name":{"k":{"family":"x"}}}}}}"#;
        check(NAMES, keyed, &[Err(NotBound::Missing); 2]);
        let below = r#"{"entry":[{"resource":{"id":"B","name":{"k":{"family":"x"}}}}]}"#;
        check(NAMES, below, &[Ok(b"\0B")]);
        check(&[("$.a[*].x", "$.a[0].id")], r#"{"a":[{"x":1},{"x":2,"id":"B"}]}"#, &[Err(NotBound::Missing); 2]);
        check(&[("$.a[*].x", "$.a[0].id")], r#"{"a":[{"x":1,"id":"A"},{"x":2}]}"#, &[Ok(b"\0A"), Ok(b"\0A")]);
        check(&[("$..x", "$.id[1].v")], r#"{"a":[[{"x":1}]],"id":[0,{"v":7}],"x":2}"#, &[Ok(b"\x017"), Ok(b"\x017")]);
        check(&[("$.x", "$.id")], r#"{"x":1}"#, &[Err(NotBound::Missing)]);
    }

    #[test]
    fn one_bind_path_serves_rules_at_several_depths() {
        let pairs = [("$.a.x", "$.a.id"), ("$.y", "$['a'].id"), ("$.z", "$.n")];
        check(&pairs, r#"{"y":1,"a":{"x":2,"id":"A"},"n":-1,"z":3}"#, &[Ok(b"\0A"), Ok(b"\0A"), Ok(b"\x01-1")]);
        // One `a` with an id and one without: that of the rule at the top is clear, that of `x` in the other is not there.
        let twice = r#"{"a":{"id":"A"},"a":{"x":2},"y":1,"z":3}"#;
        check(&pairs, twice, &[Err(NotBound::Missing), Ok(b"\0A"), Err(NotBound::Missing)]);
    }

    #[test]
    fn kinds_and_spellings_of_values() {
        for (id, expect) in [
            (r#""1""#, Ok(&b"\x001"[..])),
            ("1", Ok(b"\x011")),
            ("1.0", Ok(b"\x011.0")),
            ("-1E+400", Ok(b"\x01-1E+400")),
            ("true", Ok(b"\x01true")),
            (r#""true""#, Ok(b"\x00true")),
            (r#""\u0041\/""#, Ok(b"\x00A/")),
            (r#""\ud800""#, Ok(b"\x00\xed\xa0\x80")),
            (r#""""#, Err(NotBound::Missing)),
            (r#"" ""#, Ok(b"\x00 ")),
            ("null", Err(NotBound::Unusable)),
            ("{}", Err(NotBound::Unusable)),
            (r#"["1"]"#, Err(NotBound::Unusable)),
        ] {
            check(&[("$.x", "$.id")], &format!(r#"{{"id":{id},"x":1}}"#), &[expect]);
            check(&[("$.x", "$.id")], &format!(r#"{{"x":1,"id":{id}}}"#), &[expect]);
        }
    }

    #[test]
    fn members_of_one_name_are_never_mixed_up() {
        let ids = |first: &str, second: &str| format!(r#"{{"id":{first},"x":1,"id":{second}}}"#);
        for (first, second) in [(r#""A""#, r#""B""#), (r#""A""#, r#""A""#), (r#""""#, r#""A""#), (r#""A""#, "null")] {
            check(&[("$.x", "$.id")], &ids(first, second), &[Err(NotBound::Ambiguous)]);
        }
        check(&[("$.x", "$.id")], r#"{"\u0069d":1,"x":1,"id":1}"#, &[Err(NotBound::Ambiguous)]);
        check(&[("$.x", "$.m.id")], r#"{"m":{"id":1},"x":1,"m":{"id":1}}"#, &[Err(NotBound::Ambiguous)]);
        // The same indices, and not the same element.
        let one = |resource: &str| format!(r#""entry":[{{"resource":{resource}}}]"#);
        let id = one(r#"{"id":"A"}"#);
        let name = one(r#"{"name":[{"family":"x"}]}"#);
        let both = one(r#"{"id":"B","name":[{"family":"x"}]}"#);
        check(NAMES, &format!("{{{id},{name}}}"), &[Err(NotBound::Missing)]);
        check(NAMES, &format!("{{{name},{id}}}"), &[Err(NotBound::Missing)]);
        check(NAMES, &format!("{{{id},{both}}}"), &[Ok(b"\0B")]);
        let resources = r#"{"entry":[{"resource":{"id":"A"},"resource":{"name":[{"family":"x"}]}}]}"#;
        check(NAMES, resources, &[Err(NotBound::Missing)]);
        // One that is of no use to anyone is nobody's fault.
        let unruled = r#"{"entry":[{"resource":{"id":1,"id":2}},{"resource":{"id":3,"name":[{"family":"x"}]}}]}"#;
        check(NAMES, unruled, &[Ok(b"\x013")]);
    }

    fn refusal(bounds: &BindLimits, limits: Limits, document: &str) -> Option<NotCollected> {
        collect(pairings(&[("$[*].x", "$[*].id")]), limits, bounds, document.as_bytes()).err()
    }

    #[test]
    fn bounds_hold() {
        let document = r#"[{"id":"abc"},{"id":12},{"id":null},{"x":1}]"#;
        let bounds = BindLimits { entries_max: 3, bytes_max: 7 };
        assert_eq!(refusal(&bounds, Limits::default(), document), None);
        let fewer = BindLimits { entries_max: 2, ..bounds.clone() };
        assert_eq!(refusal(&fewer, Limits::default(), document), Some(NotCollected::TooMany { max: 2 }));
        let shorter = BindLimits { bytes_max: 6, ..bounds.clone() };
        assert_eq!(refusal(&shorter, Limits::default(), document), Some(NotCollected::TooLong { max: 6 }));
        let limits = Limits { value_bytes_max: 4, ..Limits::default() };
        let fault = Fault::ValueTooLong { offset: 7, max: 4 };
        assert_eq!(refusal(&bounds, limits, document), Some(NotCollected::Fault(fault)));
        let fault = Fault::UnexpectedEnd { offset: 1 };
        assert_eq!(refusal(&bounds, Limits::default(), "["), Some(NotCollected::Fault(fault)));
    }

    #[test]
    fn values_survive_the_growth_of_the_buffer_and_the_cuts_between_pieces() {
        let long = "v".repeat(PIECE_BYTES / 7);
        let records: Vec<Value> = (0..40).map(|n| json!({ "id": format!("{n}{long}"), "x": n })).collect();
        let mut n = 0;
        bound(&[("$[*].x", "$[*].id")], &serde_json::to_vec(&records).unwrap(), |bound| {
            assert_eq!(bound.as_deref(), Ok(format!("\0{n}{long}").as_bytes()));
            n += 1;
            None
        });
        assert_eq!(n, 40);
    }

    #[test]
    fn what_was_not_compiled_or_not_selected_is_bound_to_nothing() {
        let values = collect(pairings(NAMES), Limits::default(), &AMPLE, b"{}").ok().unwrap();
        let mut rewriter = Rewriter::new(Arc::new(Rules::compile(&[path("$.a")]).unwrap()), Limits::default(), None);
        rewriter.feed(br#"{"a":1}"#);
        assert_eq!(rewriter.step(), Ok(Step::Slot));
        let slot = rewriter.slot().unwrap();
        assert_eq!(values.value(0, &slot), Err(NotBound::Missing));
        assert_eq!(values.value(1, &slot), Err(NotBound::Missing));
    }

    fn steps(of: &[&'static str], len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<&'static str>> + use<> {
        vec(prop::sample::select(of.to_vec()), len)
    }

    /// An object with some of the members that the ends of both paths name, of any kind and shape.
    fn record() -> BoxedStrategy<Value> {
        let ids = vec![json!("A"), json!("B"), json!("\u{e9}\n"), json!(1), json!(true), json!(""), Value::Null];
        let id = prop::sample::select(ids).boxed();
        let value = id.clone().prop_recursive(3, 12, 3, |inner| {
            let members = btree_map(prop::sample::select(vec!["id", "x", "n"]), inner.clone(), 0..4);
            prop_oneof![vec(inner, 0..4).prop_map(Value::from), members.prop_map(|members| json!(members))]
        });
        let id = prop::option::weighted(0.9, prop_oneof![4 => id, 1 => value.clone()]);
        (id, btree_map(prop::sample::select(vec!["x", "n", "o"]), value, 1..4))
            .prop_map(|(id, members)| {
                let mut record = json!(members);
                id.into_iter().for_each(|id| record["id"] = id);
                record
            })
            .boxed()
    }

    /// A document in which the steps mostly lead to records, and `[*]` to some of an array or of an object.
    fn document(prefix: &[&'static str]) -> BoxedStrategy<Value> {
        prefix.iter().rev().fold(record(), |inner, step| {
            let elements = vec(inner.clone(), 1..4).prop_map(Value::from).boxed();
            let members =
                btree_map(prop::sample::select(vec!["a", "b"]), inner, 1..3).prop_map(|all| json!(all)).boxed();
            let (often, seldom) = if step.contains('\'') { (members, elements) } else { (elements, members) };
            prop_oneof![5 => often, 1 => seldom].boxed()
        })
    }

    fn paths() -> impl Strategy<Value = (Vec<&'static str>, String, Vec<&'static str>)> {
        let prefix = steps(&["['a']", "['b']", "[*]", "[*]", "[0]", "[1]"], 0..4);
        let below = (prop::sample::select(vec!["", "", ".."]), steps(&["['x']", "['n']", "['o']", "[*]", "[0]"], 1..3))
            .prop_map(|(descendant, steps)| format!("{descendant}{}", steps.concat()));
        let rest = prop_oneof![3 => Just(vec!["['id']"]), 1 => steps(&["['id']", "['n']", "[0]", "[1]"], 1..3)];
        (prefix, below, rest)
    }

    /// The bind value of the rule's value at `location`, found by walking the tree.
    fn walked(document: &Value, location: &[PathElement<'_>], shared: &[&str], rest: &[&str]) -> Bound {
        if shared.iter().zip(location).any(|(step, taken)| *step == "[*]" && taken.is_name()) {
            return Err(NotBound::Missing);
        }
        let steps = location[..shared.len()].iter().map(|step| match step {
            PathElement::Name(name) => format!("['{name}']"),
            PathElement::Index(index) => format!("[{index}]"),
        });
        let value = steps.chain(rest.iter().map(|step| (*step).to_owned())).try_fold(document, |value, step| {
            let inside = &step[1..step.len() - 1];
            match inside.strip_prefix('\'') {
                Some(name) => value.as_object()?.get(name.strip_suffix('\'')?),
                None => value.as_array()?.get(inside.parse::<usize>().ok()?),
            }
        });
        match value {
            None => Err(NotBound::Missing),
            Some(Value::Null | Value::Object(_) | Value::Array(_)) => Err(NotBound::Unusable),
            Some(Value::String(text)) if text.is_empty() => Err(NotBound::Missing),
            Some(Value::String(text)) => Ok([b"\0", text.as_bytes()].concat()),
            Some(literal) => Ok([b"\x01", literal.to_string().as_bytes()].concat()),
        }
    }

    fn shown(bound: &Bound) -> Value {
        match bound {
            Ok(bytes) => json!(bytes.escape_ascii().to_string()),
            Err(why) => json!(why.to_string()),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_bind_value_is_the_one_that_a_walk_of_the_tree_finds(
            (document, (prefix, below, rest)) in paths().prop_flat_map(|paths| (document(&paths.0), Just(paths))),
        ) {
            let rule = format!("${}{below}", prefix.concat());
            let bind = format!("${}{}", prefix.concat(), rest.concat());
            if Pairing::of(&path(&rule), &path(&bind)).is_err() {
                return Ok(());
            }
            let mut expect = document.clone();
            let nodes = JsonPath::parse(&rule).unwrap().query_located(&document);
            let mut locations: Vec<_> = nodes.locations().collect();
            // The outer value wins.
            locations.sort_by_key(|location| location.len());
            for location in locations {
                let elements: Vec<PathElement<'_>> = location.iter().cloned().collect();
                let bound = walked(&document, &elements, &prefix, &rest);
                if let Some(place) = expect.pointer_mut(&location.to_json_pointer()) {
                    *place = shown(&bound);
                }
            }
            let text = serde_json::to_vec(&document).unwrap();
            let output = bound(&[(&rule, &bind)], &text, |bound| Some(shown(bound).to_string()));
            prop_assert_eq!(serde_json::from_slice::<Value>(&output).unwrap(), expect, "{} bound to {}", rule, bind);
        }
    }
}
