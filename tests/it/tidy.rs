//! The architecture, held by a table: which module may name which, who may name the crypto crates, how long a file may
//! be, and that no file knows the machine it was written on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module of the top level may name besides itself. `config` and `app` are the ones that name nearly all.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("seal", &[]),
    ("document", &[]),
    ("process", &[]),
    ("embed", &["seal", "document"]),
    ("policy", &["seal"]),
    ("telemetry", &[]),
    ("net", &["seal", "telemetry"]),
    ("view", &["policy", "document", "seal"]),
    ("keyring", &["seal", "net", "telemetry"]),
    ("audit", &["policy", "seal", "keyring", "net", "telemetry"]),
    ("proxy", &["seal", "document", "keyring", "policy", "view", "audit", "net", "telemetry"]),
    ("config", &["seal", "document", "policy", "telemetry", "net", "view", "keyring", "audit", "proxy"]),
    ("app", &["seal", "document", "policy", "telemetry", "net", "view", "keyring", "audit", "proxy", "config"]),
    (
        "cli",
        &[
            "seal",
            "document",
            "process",
            "policy",
            "telemetry",
            "net",
            "view",
            "keyring",
            "audit",
            "proxy",
            "config",
            "app",
        ],
    ),
];

/// Each crypto crate, and the one file that may name it. rustls has paths of its own by these names.
const CRYPTO: &[(&str, &str)] = &[("aws_lc_rs", "src/seal/crypto/aws_lc.rs"), ("ring", "src/seal/crypto/ring.rs")];

/// Lines of a file before its unit tests.
const LINES_MAX: usize = 400;

/// Places of one machine. Made up here so that this file does not name them itself.
fn of_one_machine() -> Vec<String> {
    let mut places: Vec<String> = ["work", "root", "home", "Users"].map(|folder| format!("/{folder}/")).into();
    places.push(format!("..{}shared", '/'));
    places
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder`, by its path from the repository, but not what is built or not ours.
fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(repository()).unwrap().to_str().unwrap().to_owned();
            let ours = !["target", ".git", "node_modules", "__pycache__"].iter().any(|other| path.ends_with(other));
            match path.is_dir() {
                true if ours => folders.push(path),
                true => {}
                false if ours => all.push((name, path)),
                false => {}
            }
        }
    }
    all.sort();
    all
}

fn sources() -> Vec<(String, String)> {
    let sources = files(&repository().join("src")).into_iter().filter(|(name, _)| name.ends_with(".rs"));
    sources.map(|(name, path)| (name, fs::read_to_string(path).unwrap())).collect()
}

/// The module of the top level that a file belongs to; none for `lib.rs` and `main.rs`.
fn module(file: &str) -> Option<&str> {
    let file = file.strip_prefix("src/")?;
    let top = file.split('/').next()?;
    let top = top.strip_suffix(".rs").unwrap_or(top);
    (!matches!(top, "lib" | "main")).then_some(top)
}

/// The source without its comments, strings and unit tests, line by line: only what is left can name anything.
fn code(source: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut in_block_comment = false;
    for line in source.lines() {
        if line == "#[cfg(test)]" {
            break;
        }
        let mut kept = String::new();
        let mut in_string = false;
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let after = &rest[c.len_utf8()..];
            if in_block_comment {
                in_block_comment = !rest.starts_with("*/");
                rest = if in_block_comment { after } else { &rest[2..] };
                continue;
            }
            match c {
                '\\' if in_string => {
                    rest = after.get(1..).unwrap_or_default();
                    continue;
                }
                '"' => in_string = !in_string,
                '/' if !in_string && after.starts_with('/') => break,
                '/' if !in_string && after.starts_with('*') => in_block_comment = true,
                _ if in_string => {}
                _ => kept.push(c),
            }
            rest = after;
        }
        lines.push(kept);
    }
    lines
}

/// The modules that a line of code names by a path from the crate's root: `crate::a`, `use crate::{a, b::c}`.
fn named(line: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let word = |text: &str| -> String { text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect() };
    for (at, root) in line.match_indices("crate::") {
        let before = line[..at].chars().next_back();
        if before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &line[at + root.len()..];
        match rest.strip_prefix('{') {
            None => drop(names.insert(word(rest))),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        ' ' => {}
                        _ if start => {
                            names.insert(word(&group[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names.remove("");
    names
}

/// What breaks the table, as `file:line: module names offender`.
fn wrong_edges(file: &str, source: &str) -> Vec<String> {
    let Some(module) = module(file) else { return Vec::new() };
    let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{file}: module {module} is not in the table")];
    };
    // A group of a `use` may go over several lines: it is judged where it begins.
    let mut wrong = Vec::new();
    let lines = code(source);
    for (number, line) in lines.iter().enumerate() {
        let mut line = line.clone();
        let mut next = number + 1;
        while line.contains("crate::{") && line.matches('{').count() > line.matches('}').count() && next < lines.len() {
            line.push_str(&lines[next]);
            next += 1;
        }
        for name in named(&line) {
            let top = MAY_NAME.iter().any(|(known, _)| *known == name);
            if top && name != module && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{file}:{}: {module} names {name}", number + 1));
            }
        }
    }
    wrong
}

/// Where a crypto crate is named outside its file.
fn wrong_crypto(file: &str, source: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = code(source);
    for (number, line) in lines.iter().enumerate() {
        for (name, home) in CRYPTO {
            // A file that has a module of that name means the module, unless it says otherwise.
            let module = lines.iter().any(|line| line.trim_start_matches("pub ").trim_end() == format!("mod {name};"));
            let path = if module { format!("::{name}::") } else { format!("{name}::") };
            let named = line.match_indices(&path).any(|(at, _)| {
                let before = &line[..at];
                // The crate itself stands at the start of a path; `rustls::crypto::ring::` is rustls'.
                !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':')
                    || before.ends_with(" ::")
            });
            let imported = !module && line.trim().starts_with(&format!("use {name}")) && !line.contains("rustls");
            let external = line.contains(&format!("extern crate {name}"));
            if (named || imported || external) && file != *home {
                wrong.push(format!("{file}:{}: names {name}, which is for {home} alone", number + 1));
            }
        }
    }
    wrong
}

/// Where a file speaks of a place that other machines do not have.
fn wrong_places(file: &str, text: &str) -> Vec<String> {
    let places = of_one_machine();
    let named = |line: &str, place: &str| {
        line.match_indices(place).any(|(at, _)| {
            // A folder of that name inside a longer path, such as a URL's, is another one.
            at == 0
                || place.starts_with('.')
                || !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || "}>_-*.".contains(c))
        })
    };
    let lines = text.lines().enumerate();
    let found = lines.flat_map(|(number, line)| {
        let named = places.iter().filter(move |place| named(line, place));
        named.map(move |place| format!("{file}:{}: {place}", number + 1))
    });
    found.collect()
}

#[test]
fn modules_name_only_what_they_may() {
    let sources = sources();
    assert!(sources.len() > 50, "the sources are there");
    let wrong: Vec<String> = sources.iter().flat_map(|(file, source)| wrong_edges(file, source)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // No line of the table is left over.
    let there: BTreeSet<&str> = sources.iter().filter_map(|(file, _)| module(file)).collect();
    assert_eq!(there, MAY_NAME.iter().map(|(name, _)| *name).collect());
}

#[test]
fn crypto_crates_are_named_in_one_file_each() {
    let sources = sources();
    let wrong: Vec<String> = sources.iter().flat_map(|(file, source)| wrong_crypto(file, source)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (name, home) in CRYPTO {
        assert!(sources.iter().any(|(file, source)| file == home && source.contains(name)), "{home}");
    }
}

#[test]
fn no_file_is_long() {
    for (file, source) in sources() {
        let tests = Path::new(&file).file_stem().is_some_and(|name| name.to_str().unwrap().contains("tests"));
        let tests = tests || file.contains("/tests/");
        let lines = source.lines().take_while(|line| *line != "#[cfg(test)]").count();
        assert!(tests || lines <= LINES_MAX, "{file}: {lines} lines; find the noun that is in it twice");
    }
}

#[test]
fn the_process_ends_in_one_place() {
    for (file, source) in sources() {
        let code = code(&source).join("\n");
        assert!(!code.contains("process::exit") && !code.contains("process::abort"), "{file}");
        let exits = code.contains("ExitCode");
        assert!(!exits || matches!(file.as_str(), "src/main.rs" | "src/cli/mod.rs"), "{file} makes an exit code");
        let starts = code.lines().any(|line| line.starts_with("fn main("));
        assert_eq!(starts, file == "src/main.rs", "{file}");
    }
}

#[test]
fn nothing_knows_the_machine_it_was_written_on() {
    let mut wrong = Vec::new();
    for (file, path) in files(&repository()) {
        // What is no text names nothing.
        if let Ok(text) = String::from_utf8(fs::read(path).unwrap()) {
            wrong.extend(wrong_places(&file, &text));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_checks_find_what_they_are_for() {
    let edges = |file: &str, source: &str| wrong_edges(file, source);
    for (file, source, offender) in [
        ("src/seal/key.rs", "use crate::proxy::Gate;", Some("src/seal/key.rs:1: seal names proxy")),
        ("src/seal/key.rs", "\n\nfn f() -> crate::audit::Receipt {}", Some("src/seal/key.rs:3: seal names audit")),
        ("src/document/path.rs", "use crate::{seal, document};", Some("src/document/path.rs:1: document names seal")),
        (
            "src/policy/x.rs",
            "use crate::{\n    seal::Class,\n    proxy::{Gate, tls},\n};",
            Some("src/policy/x.rs:1: policy names proxy"),
        ),
        ("src/proxy/x.rs", "pub use crate::config::Config;", Some("src/proxy/x.rs:1: proxy names config")),
        ("src/config/x.rs", "use crate::app;", Some("src/config/x.rs:1: config names app")),
        ("src/app.rs", "use crate::cli::load;", Some("src/app.rs:1: app names cli")),
        ("src/new/x.rs", "", Some("src/new/x.rs: module new is not in the table")),
        ("src/seal/key.rs", "use crate::seal::Class;", None),
        ("src/audit/x.rs", "use crate::{policy::{View, Rule}, seal};", None),
        ("src/seal/key.rs", "// use crate::proxy::Gate;\n/* crate::proxy */ /// crate::proxy\n\"crate::proxy\";", None),
        ("src/seal/key.rs", "#[cfg(test)]\nmod tests { use crate::proxy::Gate; }", None),
        ("src/seal/key.rs", "use supercrate::proxy::Gate;", None),
        ("src/lib.rs", "pub mod proxy; use crate::cli::main;", None),
    ] {
        assert_eq!(edges(file, source).first().map(String::as_str), offender, "{source}");
    }
    for (source, wrong) in [
        ("use aws_lc_rs::aead;", true),
        ("use ring::digest;", true),
        ("let key = ring::hmac::Key::new();", true),
        ("let key = ::ring::hmac::Key::new();", true),
        ("extern crate ring;", true),
        ("rustls::crypto::ring::default_provider()", false),
        ("rustls::crypto::aws_lc_rs::default_provider()", false),
        ("String::new(); spring::time()", false),
        ("mod ring;\nring::Ring", false),
        ("mod ring;\nlet key = ::ring::hmac::Key::new();", true),
        ("// ring::digest", false),
    ] {
        assert_eq!(!wrong_crypto("src/net/mod.rs", source).is_empty(), wrong, "{source}");
    }
    assert!(wrong_crypto("src/seal/crypto/ring.rs", "use ring::digest;").is_empty());
    let [work, root, ..] = &of_one_machine()[..] else { panic!() };
    for (text, wrong) in [
        (format!("cd {work}main"), true),
        (format!("\"{root}.cargo\""), true),
        ("see ..".to_owned() + "/shared/design", true),
        (format!("https://example.org{work}x"), false),
        ("/workers".to_owned(), false),
    ] {
        assert_eq!(!wrong_places("x", &text).is_empty(), wrong, "{text}");
    }
}
