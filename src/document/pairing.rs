//! Which value of a document belongs to which: two paths that start alike, and meet in one object or array. No values here.

use std::sync::Arc;

use super::json::{Rules, TooManySteps};
use super::path::{FieldPath, Selector};

/// Pairs what a rule selects with the one value that a bind path selects for it.
///
/// The leading segments that are the same in both paths choose the object or array that both values stand in: with
/// `$.entry[*].resource.name[*].family` bound to `$.entry[*].resource.id` the `resource`. From there the bind path goes on by
/// names and indices only. Two values are a pair when the object or array is the same one, not when places of the same name
/// or number choose it: members of one name are told apart.
///
/// A wildcard in a bind path selects the elements of arrays, never the members of objects, however it is written: a value of
/// the rule that stands in a member so selected has nothing to be bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairing {
    bind: FieldPath,
    /// How many segments are shared: how many levels below the top of the document the shared object or array is.
    shared: usize,
}

impl Pairing {
    /// Pairs the path of a rule with one of its bind paths.
    ///
    /// # Errors
    ///
    /// When the bind path could select more than one value for a value of the rule, or something that the rule replaces.
    /// Whether another rule replaces it is for [`may_cover`] to tell.
    pub fn of(rule: &FieldPath, bind: &FieldPath) -> Result<Pairing, NotPaired> {
        let segments = bind.segments();
        if segments.iter().any(|segment| segment.descendant) {
            return Err(NotPaired::Descendant);
        }
        if may_cover(rule, bind) {
            return Err(NotPaired::Covered);
        }
        // Fewer than the rule has: else it would cover the bind path.
        let shared = rule.segments().iter().zip(segments).take_while(|(rule, bind)| rule == bind).count();
        if shared == segments.len() {
            return Err(NotPaired::Around);
        }
        if segments.iter().skip(shared).any(|segment| matches!(segment.selector, Selector::Any | Selector::Filter(_))) {
            return Err(NotPaired::Wildcard);
        }
        Ok(Pairing { bind: bind.clone(), shared })
    }

    /// The bind path.
    pub fn bind(&self) -> &FieldPath {
        &self.bind
    }
}

/// Why a bind path does not give one value for each value of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotPaired {
    /// A step of the bind path may be taken at any depth.
    #[error("`..` in a bind path: what it selects belongs to no one value of the rule")]
    Descendant,
    /// The paths part, and then the bind path selects several values.
    #[error("wildcard in a bind path where the rule's path does not have it: there must be one value to bind to")]
    Wildcard,
    /// The rule can select what the bind path selects, or an object or array around it.
    #[error("bind path to a value that the rule replaces")]
    Covered,
    /// The rule's path goes through what the bind path selects.
    #[error(
        "bind path to an object or array around the rule's value: wanted a path to a string, a number or a boolean"
    )]
    Around,
}

/// Whether, in some document, a rule selects what a bind path selects, or an object or array around it.
///
/// Exact but for filters, which are taken to let everything through: it is `false` only if there is no such document, and `true`
/// only if there is one. It is to be asked of every rule of
/// a route about every bind path. The other way round need not be asked: what has something inside is no value to bind to, so
/// `$..family` and `$.id` get along. Wildcards of `bind` select elements only, see [`Pairing`].
pub fn may_cover(rule: &FieldPath, bind: &FieldPath) -> bool {
    covers(rule, bind, meet_in_array)
}

/// Whether, in some document, both paths select one value, or one selects an object or array around a value of the other.
/// Exact likewise; wildcards of both select members and elements.
pub fn may_touch(a: &FieldPath, b: &FieldPath) -> bool {
    covers(a, b, meet) || covers(b, a, meet)
}

/// Whether `outer` can lead to a place, and `inner` to there or below. `meet` says whether one step can be taken by both.
fn covers(outer: &FieldPath, inner: &FieldPath, meet: fn(&Selector, &Selector) -> bool) -> bool {
    let inner = inner.segments();
    // By number of segments of `inner`: whether these, and the segments of `outer` before this one, can lead to one place.
    let mut here = vec![false; inner.len() + 1];
    let mut next = here.clone();
    mark(&mut here, 0, true);
    for of_outer in outer.segments() {
        next.fill(false);
        for (at, of_inner) in inner.iter().enumerate() {
            if here.get(at) != Some(&true) {
                continue;
            }
            // Either path may let the other take a step alone when it may stay where it is.
            mark(&mut here, at + 1, of_outer.descendant);
            mark(&mut next, at, of_inner.descendant);
            mark(&mut next, at + 1, meet(&of_outer.selector, &of_inner.selector));
        }
        std::mem::swap(&mut here, &mut next);
    }
    // All of `outer` is taken; of `inner`, whatever is left leads further down.
    here.contains(&true)
}

fn mark(places: &mut [bool], at: usize, mark: bool) {
    if let Some(place) = places.get_mut(at) {
        *place |= mark;
    }
}

/// Whether some member or element is selected by both.
fn meet(a: &Selector, b: &Selector) -> bool {
    match (a, b) {
        // Whether a filter lets something through the document says.
        (Selector::Any | Selector::Filter(_), _) | (_, Selector::Any | Selector::Filter(_)) => true,
        (Selector::Name(a), Selector::Name(b)) => a == b,
        (Selector::Index(a), Selector::Index(b)) => a == b,
        (Selector::Name(_), Selector::Index(_)) | (Selector::Index(_), Selector::Name(_)) => false,
    }
}

/// Likewise where a wildcard of `b` selects elements only.
fn meet_in_array(a: &Selector, b: &Selector) -> bool {
    match (a, b) {
        (Selector::Name(_), Selector::Any | Selector::Filter(_)) => false,
        _ => meet(a, b),
    }
}

/// The pairings of a route, compiled for [`BindValues`](super::bind::BindValues). Shared by all bodies of the route.
pub struct Pairings {
    pairings: Vec<Paired>,
    /// By rule of `rules`.
    paths: Vec<FieldPath>,
    rules: Arc<Rules>,
}

/// A pairing whose bind path has become a rule.
#[derive(Clone, Copy)]
pub(super) struct Paired {
    pub(super) rule: usize,
    pub(super) shared: usize,
}

impl Pairings {
    /// Compiles pairings; the number of one is its index in `pairings`. Any number of them may have the same bind path.
    ///
    /// # Errors
    ///
    /// When two different bind paths can select one value, or one a part of the other: the value could be read for only one
    /// of them. When the paths have too many steps.
    pub fn compile(pairings: &[Pairing]) -> Result<Pairings, NotCompiled> {
        let mut paths: Vec<FieldPath> = Vec::new();
        let mut numbered = Vec::with_capacity(pairings.len());
        for (second, Pairing { bind, shared }) in pairings.iter().enumerate() {
            let known = paths.iter().position(|path| path.segments() == bind.segments());
            if known.is_none() && paths.iter().any(|path| may_touch(path, bind)) {
                let first = pairings.iter().position(|first| may_touch(&first.bind, bind)).unwrap_or(second);
                return Err(NotCompiled::Touching { first, second });
            }
            numbered.push(Paired { rule: known.unwrap_or(paths.len()), shared: *shared });
            if known.is_none() {
                paths.push(bind.clone());
            }
        }
        let rules = Arc::new(Rules::compile(&paths)?);
        Ok(Pairings { pairings: numbered, paths, rules })
    }

    /// How many pairings there are.
    pub fn len(&self) -> usize {
        self.pairings.len()
    }

    /// Whether there is nothing to collect.
    pub fn is_empty(&self) -> bool {
        self.pairings.is_empty()
    }

    pub(super) fn paired(&self, pairing: usize) -> Option<Paired> {
        self.pairings.get(pairing).copied()
    }

    /// The different bind paths: what the rules of [`Pairings::rules`] were compiled from.
    pub(super) fn paths(&self) -> &[FieldPath] {
        &self.paths
    }

    /// What finds the values that are bound to.
    #[must_use]
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }
}

/// Why pairings do not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotCompiled {
    /// Two different bind paths can select one value, or one a part of the other.
    #[error("bind paths that differ and select one value, or one a part of the other")]
    Touching {
        /// The number of the earlier pairing.
        first: usize,
        /// The number of the later one.
        second: usize,
    },
    /// The bind paths are too many.
    #[error(transparent)]
    TooManySteps(#[from] TooManySteps),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use serde_json_path::JsonPath;

    fn path(text: &str) -> FieldPath {
        FieldPath::parse(text).unwrap()
    }

    #[test]
    fn paths_pair_by_the_segments_they_share() {
        for (rule, bind, shared) in [
            ("$.entry[*].resource.name[*].family", "$.entry[*].resource.id", 3),
            ("$.name", "$.id", 0),
            ("$..name", "$.id", 0),
            ("$.a.*", "$.id", 0),
            ("$.a[*].name", "$['a'][*]['id']", 2),
            ("$.a[*].name", "$.a[0].id", 1),
            ("$.a[2].name", "$.a[2].id", 2),
            ("$.a[2].name", "$.a[1].id", 1),
            ("$.*.name", "$[*].id", 1),
            ("$[*][*].v", "$[*][*].id[0].value", 2),
            ("$[*][*].v", "$[*][0].id", 1),
            ("$.a[*]..name", "$.b.c.id", 0),
        ] {
            let paired = Pairing::of(&path(rule), &path(bind)).map(|pairing| pairing.shared);
            assert_eq!(paired, Ok(shared), "{rule} bound to {bind}");
        }
    }

    #[test]
    fn paths_that_leave_a_choice_are_refused() {
        for (rule, bind, why) in [
            ("$.a.name", "$..id", NotPaired::Descendant),
            ("$..a.name", "$..a.id", NotPaired::Descendant),
            ("$.a[*].name", "$.a[*]..id", NotPaired::Descendant),
            ("$.a[0].name", "$.a[*].id", NotPaired::Wildcard),
            ("$.a[*].name", "$.b[*].id", NotPaired::Wildcard),
            ("$.a[*].n.x", "$.a[*].*.id", NotPaired::Wildcard),
            ("$.n.x", "$.*.id", NotPaired::Wildcard),
            ("$..name", "$[*].id", NotPaired::Wildcard),
            ("$..name", "$.*.id", NotPaired::Wildcard),
            ("$..name", "$.a[*].id", NotPaired::Wildcard),
            ("$.a", "$.a", NotPaired::Covered),
            ("$.a[*].name", "$.a[*]", NotPaired::Around),
            ("$.a.b.c", "$.a.b", NotPaired::Around),
            ("$.a[*]", "$.a[*].id", NotPaired::Covered),
            ("$.a[*].*", "$.a[*].id", NotPaired::Covered),
            ("$..id", "$.id", NotPaired::Covered),
        ] {
            assert_eq!(Pairing::of(&path(rule), &path(bind)), Err(why), "{rule} bound to {bind}");
        }
    }

    #[test]
    fn a_path_covers_what_it_selects_and_what_is_inside() {
        for (a, b, a_covers, b_covers) in [
            ("$.a", "$.a", true, true),
            ("$.a", "$.b", false, false),
            ("$.a", "$.a.b", true, false),
            ("$.a.b", "$.a.c", false, false),
            ("$['a']", "$.a", true, true),
            ("$.a", "$.A", false, false),
            ("$[0]", "$[0].a", true, false),
            ("$[0]", "$[1].a", false, false),
            ("$[0]", "$['0']", false, false),
            ("$[*]", "$.a.b", true, false),
            ("$.*", "$[3].b", true, false),
            ("$.*.a", "$[3].b", false, false),
            ("$..a", "$.b", false, true),
            ("$..a", "$.b.c", false, true),
            ("$..a", "$.b.a", true, true),
            ("$..a", "$.b.a.c", true, true),
            ("$..a.b", "$.a.c", false, true),
            ("$..a", "$..b", true, true),
            ("$..[0]", "$.x", false, true),
            ("$..[0]", "$.x[0].id", true, true),
            ("$..*", "$.x", true, true),
            ("$.a..x", "$.b..x", false, false),
            ("$.a..x", "$.*.b", false, true),
            ("$.a[*].name", "$.a[*].id", false, false),
            ("$.a[0].name", "$.a[*].name", true, true),
            ("$.a[0]..x", "$.a[1]..x", false, false),
        ] {
            let [one, other] = [a, b].map(path);
            assert_eq!(covers(&one, &other, meet), a_covers, "{a} covers {b}");
            assert_eq!(covers(&other, &one, meet), b_covers, "{b} covers {a}");
            assert_eq!(may_touch(&one, &other), a_covers || b_covers, "{a} touches {b}");
            assert_eq!(may_touch(&other, &one), a_covers || b_covers, "{b} touches {a}");
        }
    }

    #[test]
    fn a_wildcard_of_a_bind_path_leads_to_elements_only() {
        for (rule, bind, expect) in [
            ("$..ssn", "$.entry[*].resource.id", false),
            ("$.a.x", "$.a[*].id", false),
            ("$.a.x", "$.a.*", false),
            ("$.a[0]", "$.a[*].id", true),
            ("$.a.*", "$.a[*].id", true),
            ("$.a[*].id", "$.a.x.id", true),
            ("$..[*]", "$.a[*].id", true),
        ] {
            assert_eq!(may_cover(&path(rule), &path(bind)), expect, "{rule} and {bind}");
        }
        assert!(may_touch(&path("$.a.x"), &path("$.a[*].id")));
    }

    #[test]
    fn pairings_compile_unless_two_bind_paths_want_one_value() {
        let pairing = |rule: &str, bind: &str| Pairing::of(&path(rule), &path(bind)).unwrap();
        let same = [pairing("$.a.x", "$.a.id"), pairing("$.b", "$['a'].id"), pairing("$.a.y", "$.n")];
        let pairings = Pairings::compile(&same).unwrap();
        assert_eq!((pairings.len(), pairings.paths().len()), (3, 2));
        let touching = [pairing("$.x", "$.n"), pairing("$.a[*].x", "$.a[*].id"), pairing("$.x", "$.a[0].id")];
        assert_eq!(Pairings::compile(&touching).err(), Some(NotCompiled::Touching { first: 1, second: 2 }));
        let within = [pairing("$.x", "$.a.id"), pairing("$.x", "$.a")];
        assert_eq!(Pairings::compile(&within).err(), Some(NotCompiled::Touching { first: 0, second: 1 }));
        assert!(Pairings::compile(&[]).unwrap().is_empty());
        let many: Vec<Pairing> = (0..4097).map(|n| pairing("$.x", &format!("$.id{n}"))).collect();
        assert_eq!(Pairings::compile(&many).err(), Some(NotCompiled::TooManySteps(TooManySteps)));
    }

    fn segments() -> impl Strategy<Value = Vec<String>> {
        let selector = prop::sample::select(vec!["['a']", "['b']", "[*]", "[0]", "[1]"]);
        let segment = (selector, prop::bool::weighted(0.3));
        vec(segment.prop_map(|(selector, descendant)| [if descendant { ".." } else { "" }, selector].concat()), 1..4)
    }

    /// Whether a path selects a location, told by trying everything.
    fn selects(segments: &[String], location: &[&str], members: bool) -> bool {
        let (Some((segment, after)), Some((step, below))) = (segments.split_first(), location.split_first()) else {
            return segments.is_empty() && location.is_empty();
        };
        let (descendant, selector) = segment.strip_prefix("..").map_or((false, segment.as_str()), |rest| (true, rest));
        let taken = selector == *step || selector == "[*]" && (members || !step.contains('\''));
        taken && selects(after, below, members) || descendant && selects(segments, below, members)
    }

    /// Every location of up to six steps over two names and two indices.
    fn locations() -> Vec<Vec<&'static str>> {
        let mut all: Vec<Vec<&'static str>> = vec![vec![]];
        let mut from = 0;
        for _ in 0..6 {
            let to = all.len();
            for at in from..to {
                for step in ["['a']", "['b']", "[0]", "[1]"] {
                    let mut location = all[at].clone();
                    location.push(step);
                    all.push(location);
                }
            }
            from = to;
        }
        all
    }

    fn document() -> impl Strategy<Value = Value> {
        Just(json!("x")).prop_recursive(4, 24, 3, |inner| {
            let members = prop::collection::btree_map(prop::sample::select(vec!["a", "b"]), inner.clone(), 0..3);
            prop_oneof![vec(inner, 0..3).prop_map(Value::from), members.prop_map(|members| json!(members))]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        // Two paths of three segments that meet at all meet within six steps: no segment needs more than one step to itself.
        #[test]
        fn paths_meet_exactly_when_some_location_says_so(a in segments(), b in segments()) {
            let covers = |outer: &[String], inner: &[String], members: bool| {
                locations().iter().any(|location| {
                    selects(inner, location, members)
                        && (0..=location.len()).any(|end| selects(outer, &location[..end], true))
                })
            };
            let expect = (covers(&a, &b, false), covers(&a, &b, true) || covers(&b, &a, true));
            let [a, b] = [a, b].map(|segments| path(&format!("${}", segments.concat())));
            prop_assert_eq!((may_cover(&a, &b), may_touch(&a, &b)), expect, "{} and {}", a, b);
        }

        #[test]
        fn paths_that_meet_in_a_document_may_touch(document in document(), a in segments(), b in segments()) {
            let [a, b] = [a, b].map(|segments| format!("${}", segments.concat()));
            let selected = |path: &str| {
                let nodes = JsonPath::parse(path).unwrap().query_located(&document);
                nodes.locations().map(|location| format!("{}/", location.to_json_pointer())).collect::<Vec<_>>()
            };
            let of_b = selected(&b);
            let meets = |of_a: &String| of_b.iter().any(|of_b| of_a.starts_with(of_b) || of_b.starts_with(of_a));
            prop_assert!(!selected(&a).iter().any(meets) || may_touch(&path(&a), &path(&b)), "{} and {}", a, b);
        }
    }
}
