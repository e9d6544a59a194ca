//! What is accepted and should be known: `validate` tells it, and the gate logs it at each start.

use super::files::Files;
use super::source::{item, key};
use crate::policy::{Role, View};
use crate::proxy::rule::{ClassRule, Treatment};

/// Below so many different values a class is one of few: how often each token stands in a database tells then what it
/// stands for (frequency analysis, as of Naveed, Kamara and Wright, CCS 2015, on columns of hospital records).
pub(super) const DISTINCT_VALUES_FEW: u64 = 10_000;

/// Names of classes and members that have few values, in lower case, without separators.
const OF_FEW_VALUES: &[&str] = &[
    "active",
    "birthsex",
    "bloodgroup",
    "bloodtype",
    "citizenship",
    "country",
    "deceased",
    "deceasedboolean",
    "ethnicity",
    "gender",
    "genderidentity",
    "language",
    "maritalstatus",
    "nationality",
    "race",
    "religion",
    "sex",
    "sexualorientation",
    "smoker",
    "state",
    "status",
    "title",
];

/// Equal values have equal tokens.
pub(super) fn deterministic(files: &mut Files<'_>, path: &str, name: &str, distinct_values: Option<u64>) {
    match distinct_values {
        Some(count) if count < DISTINCT_VALUES_FEW => {
            let at = key(path, "distinct_values");
            files.warn(&at, "tokens of so few values can be told apart by counting them; take suite random");
        }
        None if is_of_few_values(name) => files.warn(&key(path, "suite"), &few("class")),
        Some(_) | None => {}
    }
}

/// The same, seen from the member that a rule selects.
pub(super) fn selected(files: &mut Files<'_>, at: &str, name: Option<&str>, class: &ClassRule, is_known: bool) {
    let is_deterministic = matches!(class.treatment, Treatment::Deterministic { .. });
    // The class has been told of already.
    let is_told = is_known || is_of_few_values(class.class.as_str());
    if is_deterministic && !is_told && name.is_some_and(is_of_few_values) {
        files.warn(at, &few("member"));
    }
}

fn few(what: &str) -> String {
    format!(
        "a {what} of that name has few values as a rule, and their tokens can be told apart by counting them; take suite \
         random, or say `distinct_values` on the class if there are {DISTINCT_VALUES_FEW} or more"
    )
}

fn is_of_few_values(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    OF_FEW_VALUES.binary_search(&plain.as_str()).is_ok()
}

/// A domain that the config accepts.
pub(super) fn small_domain(files: &mut Files<'_>, path: &str) {
    let said = "accepted: there are fewer than a million days, and whoever knows a little of the patients can tell sealed \
                ones apart by counting";
    files.warn(&key(path, "accept_small_domain"), said);
}

/// Whoever sees tokens of equal values and may have values sealed can look any guess up.
pub(super) fn guesses(files: &mut Files<'_>, path: &str, role: &Role, written: &[ClassRule]) {
    for (at, class) in written.iter().enumerate() {
        let is_sealed = role.views.get(&class.class).copied().or(role.default_view) == Some(View::Sealed);
        if is_sealed && matches!(class.treatment, Treatment::Deterministic { .. }) {
            let said = "this role sees the tokens of the class and may have values sealed: it can try guesses until a token \
                        is the same";
            files.warn(&item(&key(path, "writes"), at), said);
        }
    }
}

/// Tokens are asked for where scope or roles come from one, and nowhere else.
pub(super) fn unused_bearer(files: &mut Files<'_>) {
    let said = "no route takes its scope from a claim and no principal has user_roles: no request is asked for a token";
    files.warn("bearer", said);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_however_they_are_written() {
        assert!(OF_FEW_VALUES.is_sorted(), "they are searched");
        for (name, few) in [
            ("sex", true),
            ("Birth_Sex", true),
            ("maritalStatus", true),
            ("MARITAL-STATUS", true),
            ("ssn", false),
            ("sexton", false),
            ("", false),
        ] {
            assert_eq!(is_of_few_values(name), few, "{name}");
        }
    }
}
