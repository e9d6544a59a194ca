//! Who may do what. Pure: it never sees a request, a body or a clock. What is not granted is denied.

mod decision;
mod principal;
mod rule;

pub use decision::{Action, Denied, Permit, Policy, Query};
pub use principal::{Acting, Identity, Principal, Roles};
pub use rule::{Role, View};
