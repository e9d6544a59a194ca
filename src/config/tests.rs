use super::*;

const GOOD: &str = r#"scope: test
server:
  listen: 127.0.0.1:0
  tls: {certificate_file: none.pem, key_file: none.key, client_ca_file: none.pem}
keyring:
  local: {key_file: none}
audit: {directory: audit}
upstreams:
  app: {url: "http://127.0.0.1:9"}
classes:
  ssn: {mask: {keep_last: 4}}
  name: {}
roles:
  desk: {default_view: redact, views: {name: mask}, writes: [ssn]}
principals:
  - {spiffe: spiffe://test.example/desk, roles: [desk]}
  - {dns: other.example, roles: [desk]}
routes:
  - name: patient
    path: /Patient/{id}
    methods: [GET, PUT]
    upstream: app
    record: id
    rules:
      - {path: "$.ssn", class: ssn}
      - {path: "$.name", class: name}
  - name: open
    path: /open
    methods: [GET]
    upstream: app
    protect: none
"#;

fn env(name: &str) -> Option<String> {
    (name == "SECRET").then(|| "hunter2{".to_owned())
}

fn told(text: &str) -> Vec<String> {
    let problems = parse(text, Path::new("nowhere"), &env).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

/// The problems of the good text with the changes, but for the files that are not there.
#[track_caller]
fn problems(changes: &[(&str, &str)]) -> Vec<Problem> {
    let mut text = GOOD.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from:?}");
        text = text.replacen(from, to, 1);
    }
    let problems = parse(&text, Path::new("nowhere"), &env).err().unwrap();
    problems.into_iter().filter(|problem| !problem.message.contains("No such file")).collect()
}

#[track_caller]
fn check(changes: &[(&str, &str)], expect: &[&str]) {
    let problems = problems(changes);
    let told: Vec<_> = problems.iter().map(|Problem { path, message, .. }| format!("{path}: {message}")).collect();
    assert_eq!(told, expect, "{changes:#?}");
}

#[test]
fn mistakes_of_form_and_of_sense_are_told_together() {
    let (text, expect) = include_str!("mistakes.txt").split_once(">>>\n").unwrap();
    let told = told(text);
    assert_eq!(told, expect.lines().collect::<Vec<_>>(), "\n{}", told.join("\n"));
    assert!(!told.iter().any(|line| line.contains("hunter2")), "{told:#?}");
}

#[test]
fn nothing_is_told_that_only_follows() {
    type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);
    let cases: &[Case] = &[
        (&[], &[]),
        // A named thing stays named, whatever is wrong with it.
        (&[("name: {}", "name: 3")], &["classes.name"]),
        (&[("name: {}", "name: {musk: 1}")], &["classes.name.musk"]),
        (&[("name: {}", "name: {}\n  name: {}")], &["classes.name"]),
        (&[("{default_view: redact, views: {name: mask}, writes: [ssn]}", "[]")], &["roles.desk"]),
        (&[("{url: \"http://127.0.0.1:9\"}", "http://127.0.0.1:9")], &["upstreams.app"]),
        (&[("{url: \"http://127.0.0.1:9\"}", "{url: \"${NONE}\"}")], &["upstreams.app.url"]),
        // Of a section that cannot be read, names are not known.
        (&[("classes:", "clases:")], &["clases"]),
        (&[("  name: {}", "  1: {}")], &["classes"]),
        (&[("  ssn: {mask: {keep_last: 4}}\n  name: {}", "  - ssn\n  - name")], &["classes"]),
        (&[("classes:", "classes: {}\nclasses:")], &["classes"]),
        (&[("roles:", "rules:")], &["", "rules"]),
        (&[("upstreams:", "upstream:")], &["", "upstream"]),
        (&[("routes:", "router:")], &["", "router"]),
        (&[("principals:", "principles:")], &["", "principles"]),
        // Nor what a section lacks.
        (&[("  local: {", "  locale: {")], &["keyring.locale"]),
        (&[("{key_file: none}", "none")], &["keyring.local"]),
        (&[("{key_file: none}", "none\n  aws_kms: 1")], &["keyring.local", "keyring.aws_kms"]),
        (&[("{spiffe: ", "{spife: ")], &["principals[0].spife"]),
        (&[("dns: other.example", "dns: [a]")], &["principals[1].dns"]),
        (&[("dns: other.example", "spiffe: spiffe://test.example/desk, 1: x")], &["principals[1]"]),
        (&[("protect: none", "protect: some")], &["routes[1].protect"]),
        (&[("protect: none", "protekt: none")], &["routes[1].protekt"]),
        (&[("    protect: none", "    rules: all")], &["routes[1].rules"]),
        (&[("    rules:", "    protect: none\n    query_allowed: [a]\n    rulez:")], &["routes[0].rulez"]),
        (
            &[("{path: \"$.ssn\", class: ssn}", "3"), ("{path: \"$.name\", class: name}", "4")],
            &["routes[0].rules[0]", "routes[0].rules[1]"],
        ),
        (&[("writes: [ssn]", "writes: [ssn], read_only: no")], &["roles.desk.read_only"]),
        (&[("path: /Patient/{id}", "path: 3")], &["routes[0].path"]),
        (&[("methods: [GET]", "methods: []")], &["routes[1].methods"]),
        (&[("path: /Patient/{id}", "path: /open\n    host: 3")], &["routes[0].host", "routes[0].record"]),
        (&[("name: patient", "name: 1"), ("name: open", "name: 2")], &["routes[0].name", "routes[1].name"]),
        (
            &[("path: \"$.ssn\"", "path: 1"), ("path: \"$.name\"", "path: 2")],
            &["routes[0].rules[0].path", "routes[0].rules[1].path"],
        ),
        (
            &[("local: {key_file: none}", "aws_kms: {key_arn: 1, endpoint_url: \"http://x\"}\ndev_mode: yes")],
            &["keyring.aws_kms.key_arn", "dev_mode"],
        ),
        (
            &[
                ("listen: 127.0.0.1:0", "listen: 127.0.0.1:0\n  limits: {value_bytes_max: 0}"),
                ("{key_file: none}", "{key_file: none}\n  cache: {seal_bytes_max: 1}"),
            ],
            &["server.limits.value_bytes_max"],
        ),
        (&[("scope: test", "scope: [test]")], &["scope"]),
        (&[("directory: audit", "directry: audit")], &["audit", "audit.directry"]),
        (
            &[("\"http://127.0.0.1:9\"", "\"https://a.example\", certificate_file: none.pem, key_file: 3")],
            &["upstreams.app.key_file"],
        ),
    ];
    for (changes, expect) in cases {
        let problems = problems(changes);
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, *expect, "{changes:#?}\n{problems:#?}");
    }
}

#[test]
fn what_stands_in_a_file_is_told() {
    let kms = "local: {key_file: none}\n  aws_kms: {key_arn: x}";
    let arn = "keyring.aws_kms.key_arn: wanted a KMS key ARN such as arn:aws:kms:eu-west-1:111122223333:key/…, not an alias \
               or a bare id";
    let below =
        "keyring.cache.seal_bytes_max: below server.limits.value_bytes_max: the longest values could not be sealed";
    let above =
        "server.limits.value_bytes_max: above keyring.cache.seal_bytes_max: the longest values could not be sealed";
    let cases: &[(&str, &str, &[&str])] = &[
        ("", "", &[]),
        ("local: {key_file: none}", "local:", &["keyring: wanted exactly one of local and aws_kms, found neither"]),
        ("local: {key_file: none}", kms, &["keyring: wanted exactly one of local and aws_kms, found both", arn]),
        ("directory: audit", "directory: ''", &["audit.directory: wanted the name of a directory, found nothing"]),
        ("$.name", "$.ssn", &["routes[0].rules[1].path: field path \"$.ssn\" stands twice"]),
        ("local:", "cache: {seal_bytes_max: 1048575}\n  local:", &[below]),
        ("local:", "cache: {seal_bytes_max: 1048576}\n  local:", &[]),
        ("  tls:", "  limits: {value_bytes_max: 1073741825}\n  tls:", &[above]),
        ("  tls:", "  limits: {value_bytes_max: 1073741824}\n  tls:", &[]),
        (
            "upstream: app\n    protect",
            "upstream: ap\n    protect",
            &["routes[1].upstream: unknown upstream \"ap\"; upstreams are named under `upstreams`"],
        ),
        (
            "writes: [ssn]",
            "writes: [nothing], read_only: true",
            &[
                "roles.desk.writes: a read-only role writes nothing",
                "roles.desk.writes[0]: unknown class \"nothing\"; classes are named under `classes`",
            ],
        ),
        (
            "{default_view: redact, views: {name: mask}, writes: [ssn]}",
            "{default_view: redact, views: {name: remove}, writes: []}",
            &[
                "roles.desk: who sees values removed would delete them by writing back what is left: say `read_only: true`",
                "principals[0].roles: a role that removes values stands beside one that may write: what is left would be written back",
                "principals[1].roles: a role that removes values stands beside one that may write: what is left would be written back",
            ],
        ),
        ("{default_view: redact, views: {name: mask}, writes: [ssn]}", "{default_view: remove, read_only: true}", &[]),
        (
            "dns: other.example",
            "spiffe: spiffe://test.example/desk",
            &["principals[1]: this identity stands twice; give all its roles in one entry"],
        ),
        ("  ssn: {", "  s s: {}\n  ssn: {", &["classes[\"s s\"]: class: wanted 1 to 16 characters of [A-Za-z0-9_-]"]),
    ];
    for (from, to, expect) in cases {
        check(&[(from, to)], expect);
    }
    // A class of a wrong name is named all the same.
    check(
        &[("  name: {}", "  n.a: {}"), ("views: {name:", "views: {n.a:"), ("class: name", "class: n.a")],
        &["classes[\"n.a\"]: class: wanted 1 to 16 characters of [A-Za-z0-9_-]"],
    );
    let principals = GOOD.split_once("principals:\n").unwrap().1.split_once("routes:").unwrap().0;
    check(&[(principals, "  []\n")], &["principals: wanted at least one principal; nobody else gets in"]);
    // What else is wrong with two routes does not hide that they take the same requests.
    let twin = ("path: /Patient/{id}", "path: /open\n    host: '[0:0::1]'");
    check(
        &[twin, ("record: id", "scope: ''"), ("path: /open\n    methods", "path: /open\n    host: '::1'\n    methods")],
        &[
            "routes[0].scope: wanted 1 to 16 characters of [A-Za-z0-9_-]",
            "routes[1].path: takes the same requests as route \"patient\"",
        ],
    );
}

#[test]
fn the_host_of_a_route_is_a_name_or_an_address_and_nothing_else() {
    for host in ["a.example", "A.Example", "localhost", "10.0.0.1", "'::1'", "'[::1]'", "xn--mnchen-3ya.example", "a_b"]
    {
        check(&[("path: /open", &format!("path: /open\n    host: {host}"))], &[]);
    }
    let wanted = "routes[1].host: wanted a host name or an IP address and nothing else: no port, no user, no final dot";
    for host in [
        "localhost:8843",
        "a.example.",
        "''",
        "' a.example'",
        "a b",
        "'a.example '",
        "user@a.example",
        "https://a.example",
        "a.example/",
        "'[::1]:8443'",
        "'[10.0.0.1]'",
        "10.0.0.1.",
        "'*.example'",
        "münchen.example",
        "a..example",
        "'.'",
        "10.0.0.256",
    ] {
        check(&[("path: /open", &format!("path: /open\n    host: {host}"))], &[wanted]);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told_without_a_place() {
    let problems = load(Path::new("nowhere/gate.yaml")).err().unwrap();
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["nowhere/gate.yaml: No such file or directory (os error 2)"]);
}

#[test]
fn whatever_is_cut_out_of_a_file_the_rest_is_still_read() {
    let lines: Vec<_> = GOOD.lines().collect();
    for cut in 0..lines.len() {
        for end in cut + 1..=lines.len().min(cut + 4) {
            for with in ["", "x: 1", "  x: [1]", "    - 3"] {
                let rest = [&lines[..cut], &[with], &lines[end..]].concat().join("\n");
                let Err(refused) = source::load::<raw::Config>(&rest, &env) else { continue };
                let is_yaml = !refused.problems.iter().any(|problem| problem.message.starts_with("not YAML"));
                assert_eq!(refused.rest.is_some(), is_yaml, "{rest}\n{:#?}", refused.problems);
                assert!(told(&rest).iter().all(|line| !line.contains("line 0")), "{rest}");
            }
        }
    }
}
