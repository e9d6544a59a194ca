//! What a token's claims say of the roles of its user. What the config does not name gives none.

use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// The claim that says what a user is, and which role each of its values gives.
#[derive(Clone, Debug)]
pub struct RoleClaim {
    /// A name, or a path of names with dots between: `realm_access.roles`.
    pub claim: String,
    /// Roles by the values of the claim.
    pub map: HashMap<String, Arc<str>>,
}

impl RoleClaim {
    /// The roles that the claims give, in no order.
    pub(super) fn roles(&self, claims: &Map<String, Value>) -> Vec<Arc<str>> {
        let role = |value: &Value| self.map.get(value.as_str()?).map(Arc::clone);
        match find(claims, &self.claim) {
            Some(Value::Array(values)) => values.iter().filter_map(role).collect(),
            Some(value) => role(value).into_iter().collect(),
            None => Vec::new(),
        }
    }
}

/// The member that a path leads to. A name may have dots itself, as of claims that are URLs: a longer name goes first.
fn find<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    claims.get(path).or_else(|| {
        path.rmatch_indices('.').find_map(|(at, dot)| {
            let (name, rest) = (path.get(..at)?, path.get(at + dot.len()..)?);
            find(claims.get(name)?.as_object()?, rest)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn claims_give_the_roles_that_the_config_names_and_no_others() {
        let map = [("doctors", "clinician"), ("Billing", "billing"), ("", "nobody")];
        let map: HashMap<_, _> = map.into_iter().map(|(value, role)| (value.to_owned(), Arc::from(role))).collect();
        for (claim, claims, want) in [
            ("groups", json!({"groups": ["doctors", "x", "Billing"]}), &["clinician", "billing"][..]),
            ("groups", json!({"groups": "doctors"}), &["clinician"]),
            ("groups", json!({"groups": "doctors Billing"}), &[]),
            ("groups", json!({"groups": "billing"}), &[]),
            ("groups", json!({"groups": [["doctors"], {"doctors": 1}, 7, null, "doctors"]}), &["clinician"]),
            ("groups", json!({"groups": {"doctors": true}}), &[]),
            ("groups", json!({"groups": null}), &[]),
            ("groups", json!({}), &[]),
            ("realm_access.roles", json!({"realm_access": {"roles": ["doctors"]}}), &["clinician"]),
            ("realm_access.roles", json!({"realm_access.roles": "doctors"}), &["clinician"]),
            ("realm_access.roles", json!({"realm_access": ["roles", "doctors"]}), &[]),
            ("realm_access.roles", json!({"realm_access": {"role": "doctors"}}), &[]),
            ("https://idp.example/roles", json!({"https://idp.example/roles": ["doctors"]}), &["clinician"]),
            ("a.b.c", json!({"a.b": {"c": "doctors"}, "a": {"b": {"c": "Billing"}}}), &["clinician"]),
            ("a.b.c", json!({"a": {"b.c": "doctors"}}), &["clinician"]),
            ("cognito:groups", json!({"cognito:groups": ["doctors"]}), &["clinician"]),
        ] {
            let claims = claims.as_object().unwrap();
            let got = RoleClaim { claim: claim.to_owned(), map: map.clone() }.roles(claims);
            assert_eq!(got.iter().map(|role| &**role).collect::<Vec<_>>(), want, "{claim} of {claims:?}");
        }
    }
}
