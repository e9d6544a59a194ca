//! What a config may say and its operator should know: told by `validate`, and logged at the start.

use crate::fixture::keys::with_file_store;
use crate::fixture::{Setup, Upstream};

const CLASSES: &str = "\nclasses:
  sex: {suite: deterministic}
  code: {suite: deterministic}
  plan: {suite: deterministic, distinct_values: 9999}
  mrn: {suite: deterministic}
  race: {suite: deterministic, distinct_values: 10000}
  dob: {suite: format, alphabet: date, accept_small_domain: true}
  phone: {suite: format, alphabet: digits}
";
const RULES: &str = "
      - {path: $.code.maritalStatus, class: code}
      - {path: $.gender, class: sex}
      - {path: $.race, class: race}
      - {path: '$.mrns[*]', class: mrn}
      - {path: $.note, class: note}";
const ROLES: &str = "\nroles:
  matcher: {views: {mrn: sealed, ssn: sealed}, default_view: plain, writes: [ssn, mrn]}
  loader: {default_view: sealed, writes: [phone, code]}
  clerk: {default_view: redact, writes: [mrn]}
";

fn doubtful(setup: Setup) -> Setup {
    let setup = setup.replace("\nclasses:\n", CLASSES).replace("\nroles:\n", ROLES);
    with_file_store(setup.replace("\n      - {path: \"$.note\", class: note}", RULES))
}

#[test]
fn what_should_be_known_is_told_with_its_place_and_is_no_mistake() {
    let (code, told) = doubtful(Setup::before(([127, 0, 0, 1], 9).into())).validate();
    assert_eq!(code, Some(0), "{told}");
    let warned: Vec<&str> =
        told.lines().filter_map(|line| line.split_once(": warning: ")).map(|(_, said)| said).collect();
    let expect = [
        ("classes.sex.suite", "a class of that name has few values"),
        ("classes.plan.distinct_values", "tokens of so few values"),
        ("classes.dob.accept_small_domain", "fewer than a million days"),
        ("roles.matcher.writes[1]", "it can try guesses"),
        ("roles.loader.writes[1]", "it can try guesses"),
        ("routes[0].rules[3].path", "a member of that name has few values"),
        ("routes[1].rules[3].path", "a member of that name has few values"),
    ];
    assert_eq!(warned.len(), expect.len(), "{told}");
    for (path, said) in expect {
        let line =
            warned.iter().find(|line| line.contains(&format!(" {path}: "))).unwrap_or_else(|| panic!("{path}: {told}"));
        assert!(line.starts_with("line ") && line.contains(said), "{line}");
    }
    assert!(told.contains(": good, "), "{told}");
    let plain = Setup::before(([127, 0, 0, 1], 9).into()).validate().1;
    assert!(!plain.contains("warning"), "{plain}");
}

#[test]
fn a_gate_logs_it_at_the_start() {
    let setup = doubtful(Setup::before(Upstream::start().addr()));
    let gate = setup.start();
    let log = gate.log();
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains("\"WARN\"") && line.contains("classes.sex")).collect();
    assert_eq!(lines.len(), 1, "{log}");
}
