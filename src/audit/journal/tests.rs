//! Appending, closing, opening again, and what a crash leaves.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::segment::{Segment, file_name};
use super::testing::{Faults, event, filled, open_faulty, recorded, settings, sha256, text};
use super::*;
use crate::audit::chain::encode;
use crate::audit::verify::verify;

const NO_LIMIT: u64 = u64::MAX;

fn only_segment(directory: &Path) -> PathBuf {
    directory.join(file_name(1))
}

fn reopen(directory: &Path) -> Recovered {
    let (journal, recovered) = Journal::open(settings(directory)).unwrap();
    journal.close();
    recovered
}

fn refusal(directory: &Path) -> OpenError {
    Journal::open(settings(directory)).expect_err("opened")
}

#[tokio::test]
async fn an_append_resolves_with_its_number_and_the_chain_goes_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("made/here");
    for round in 0..3 {
        let (journal, recovered) = Journal::open(settings(&at)).unwrap();
        assert_eq!(recovered.head, journal.head());
        assert_eq!((recovered.head.seq, recovered.torn_bytes, recovered.torn), (round * 10, 0, None));
        for n in 1..=10 {
            let durable = journal.append(text(0)).await.unwrap();
            assert_eq!(durable.seq(), round * 10 + n);
            assert_eq!(journal.head().seq, durable.seq());
        }
        let closed = journal.close();
        assert_eq!((closed.head, closed.unrecorded), (journal.head(), Shortfall::default()));
        assert_eq!(journal.append(text(0)).await, Err(AppendError::Closed));
        assert!(!journal.is_writable());
    }
    assert_eq!(verify(&at, sha256, &[]).unwrap().records, 30);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&at), mode(&only_segment(&at)), mode(&at.join("audit.lock"))), (0o700, 0o600, 0o600));
}

#[tokio::test]
async fn an_event_that_is_given_up_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(settings(directory.path())).unwrap();
    journal.give_up();
    journal.append_detached(text(1));
    journal.close();
    let mut recorded = recorded(directory.path());
    recorded.sort();
    assert_eq!(recorded, [event(1), br#"{"type":"RecordsMissed","refused":0,"given_up":1}"#.to_vec()]);
}

#[test]
fn a_second_writer_is_refused_until_the_first_has_closed() {
    let directory = tempfile::tempdir().unwrap();
    let journal = filled(directory.path(), 1, NO_LIMIT);
    let refusal = refusal(directory.path());
    assert_eq!(refusal.to_string(), format!("audit journal {:?}: lock is held by another process", directory.path()));
    journal.close();
    assert_eq!(reopen(directory.path()).head.seq, 1);
}

#[test]
fn dropping_the_last_handle_writes_what_is_queued() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(settings(directory.path())).unwrap();
    let clone = journal.clone();
    drop(journal);
    for n in 0..100 {
        clone.append_detached(text(n));
    }
    drop(clone);
    let reopened = loop {
        match Journal::open(settings(directory.path())) {
            Ok((journal, _)) => break journal,
            Err(OpenError::Locked { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    reopened.close();
    assert_eq!(recorded(directory.path()), (0..100).map(event).collect::<Vec<_>>());
}

#[test]
fn many_callers_share_a_sync() {
    const TASKS: usize = 64;
    const EACH: usize = 200;
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let (journal, _) = open_faulty(settings(directory.path()), &faults).unwrap();
    let work = |thread: usize| {
        let journal = journal.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let appends = |task: usize| {
                let journal = journal.clone();
                async move {
                    let mut seqs = Vec::new();
                    for n in 0..EACH {
                        seqs.push((journal.append(text(task * EACH + n)).await.unwrap().seq(), task * EACH + n));
                    }
                    seqs
                }
            };
            runtime.block_on(async {
                let tasks: Vec<_> = (0..TASKS / 4).map(|task| appends(thread * TASKS / 4 + task)).collect();
                let local = tokio::task::LocalSet::new();
                let tasks: Vec<_> = tasks.into_iter().map(|task| local.spawn_local(task)).collect();
                local.await;
                let mut seqs = Vec::new();
                for task in tasks {
                    seqs.extend(task.await.unwrap());
                }
                seqs
            })
        }
    };
    let threads: Vec<_> = (0..4).map(|thread| std::thread::spawn(work(thread))).collect();
    let mut acknowledged: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    acknowledged.sort_unstable();
    let head = journal.close().head;

    assert!(acknowledged.iter().map(|(seq, _)| *seq).eq(1..=12_800));
    assert_eq!(verify(directory.path(), sha256, &[head]).unwrap().records, 12_800);
    let wanted: Vec<_> = acknowledged.into_iter().map(|(_, n)| event(n)).collect();
    assert_eq!(recorded(directory.path()), wanted, "a number is that of its record");
    assert!(faults.syncs() < 12_800 / 4, "{} syncs", faults.syncs());
}

#[test]
fn a_segment_is_never_longer_than_its_limit_and_a_record_never_in_two() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(Settings { segment_bytes_max: 1000, ..settings(directory.path()) }).unwrap();
    // As one batch and one by one; a record longer than the limit is alone in its segment.
    for n in 0..40 {
        journal.append_detached(text(n));
    }
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(2000)).into_bytes();
    journal.append_detached(EventText::parse(long.clone()).unwrap());
    journal.append_detached(text(41));
    let head = journal.close().head;
    let journal = filled(directory.path(), 10, 1000);
    journal.close();

    let segments = Segment::list(directory.path()).unwrap();
    assert!(segments.len() > 10);
    for segment in &segments {
        let text = fs::read(&segment.path).unwrap();
        assert!(text.ends_with(b"\n") && text.starts_with(format!("{{\"seq\":{},", segment.first).as_bytes()));
        assert!(text.len() <= 1000 || text.iter().filter(|&&byte| byte == b'\n').count() == 1);
    }
    let report = verify(directory.path(), sha256, &[head]).unwrap();
    assert_eq!((report.records, report.segments), (52, segments.len()));
    assert_eq!(recorded(directory.path())[40], long);
}

#[test]
fn a_crash_between_two_segments_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let head = filled(directory.path(), 20, 1000).close().head;
    fs::write(directory.path().join(file_name(21)), "").unwrap();
    assert_eq!(reopen(directory.path()).head, head);
    filled(directory.path(), 1, 1000).close();
    assert_eq!(verify(directory.path(), sha256, &[head]).unwrap().records, 21);
}

#[test]
fn a_torn_tail_of_any_length_is_set_aside_and_what_was_acknowledged_stays() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 3, NO_LIMIT).close();
    let path = only_segment(directory.path());
    let durable = fs::metadata(&path).unwrap().len();
    // A batch that was being written: a crash keeps any beginning of it.
    filled(directory.path(), 3, NO_LIMIT).close();
    let whole = fs::read(&path).unwrap();
    let ends: Vec<_> = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    let mut aside = 0;
    for length in usize::try_from(durable).unwrap()..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let recovered = reopen(directory.path());
        let records = ends.iter().filter(|end| **end <= length).count();
        assert!(records >= 3);
        assert_eq!(recovered.head.seq, records as u64);
        let kept = ends[records - 1];
        assert_eq!(recovered.torn_bytes, (length - kept) as u64);
        assert_eq!(fs::read(&path).unwrap(), whole[..kept]);
        let torn = recovered.torn.map(|torn| fs::read(torn).unwrap());
        aside += u64::from(torn.is_some());
        assert_eq!(torn.unwrap_or_default(), whole[kept..length]);
    }
    let left = fs::read_dir(directory.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().contains(".jsonl.torn-"));
    assert_eq!(left.count() as u64, aside, "none is overwritten");
    assert_eq!(verify(directory.path(), sha256, &[]).unwrap().records, 6);
}

#[test]
fn bytes_that_are_no_record_are_a_tear_only_at_the_very_end() {
    let directory = tempfile::tempdir().unwrap();
    let head = filled(directory.path(), 3, NO_LIMIT).close().head;
    let path = only_segment(directory.path());
    let good = fs::read(&path).unwrap();
    let next = {
        let mut line = Vec::new();
        encode(sha256, &head, &EventText::parse(event(9)).unwrap(), &mut line);
        line
    };
    let zeros = vec![0; 70_000];
    let long = vec![b'x'; 2 * 1024 * 1024];
    for tear in [&b"\n"[..], b"\n\n\n", b"{}\n", &zeros, &long, &[&zeros[..], b"\n{\"seq\":"].concat(), b"no\nno\n"] {
        fs::write(&path, [&good, tear].concat()).unwrap();
        let recovered = reopen(directory.path());
        assert_eq!((recovered.head, recovered.torn_bytes), (head, tear.len() as u64));
        fs::write(&path, [&good, tear, b"\n", &next].concat()).unwrap();
        assert!(matches!(refusal(directory.path()), OpenError::Damaged { seq: 4, .. }));
        assert_eq!(fs::read(&path).unwrap(), [&good, tear, b"\n", &next].concat(), "nothing is touched");
    }
}

#[test]
fn damage_that_no_crash_explains_is_refused_and_named() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 5, NO_LIMIT).close();
    let path = only_segment(directory.path());
    let good = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = good.lines().collect();
    let changed = |n: usize| good.replace(&format!("\"n\":{n},"), "\"n\":7,");
    let of = |order: &[usize]| order.iter().map(|n| format!("{}\n", lines[*n])).collect::<String>();
    for (text, seq, fault) in [
        (changed(1), 2, Fault::Hash),
        // The last one too: it is spelt as a record, so it was written whole.
        (changed(4), 5, Fault::Hash),
        (good.replacen("\"n\":1,", "\"n\":\0,", 1), 2, Fault::Event),
        (good.replacen("\n", "", 1), 1, Fault::Event),
        (of(&[0, 1, 3, 4]), 3, Fault::Seq { wanted: 3, got: 4 }),
        (of(&[0, 2, 1, 3, 4]), 2, Fault::Seq { wanted: 2, got: 3 }),
        (of(&[0, 1, 1, 2, 3, 4]), 3, Fault::Seq { wanted: 3, got: 2 }),
        (of(&[1, 2, 3, 4]), 1, Fault::Seq { wanted: 1, got: 2 }),
    ] {
        fs::write(&path, &text).unwrap();
        let refusal = refusal(directory.path());
        assert_eq!(refusal.to_string(), format!("audit journal {path:?}: record {seq}: {fault}"));
    }
}

#[test]
fn the_segment_before_must_end_where_the_last_one_begins() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 30, 1000).close();
    let segments = Segment::list(directory.path()).unwrap();
    let [.., before, last] = segments.as_slice() else { panic!("too few segments") };
    let good = fs::read(&before.path).unwrap();

    fs::write(&before.path, &good[..good.len() - 1]).unwrap();
    assert!(matches!(refusal(directory.path()), OpenError::Damaged { fault: Fault::Unended, .. }));
    fs::write(&before.path, [&good[..good.len() - 5], b"\"}}}\n"].concat()).unwrap();
    assert!(matches!(refusal(directory.path()), OpenError::Damaged { seq, .. } if seq == last.first - 1));
    let cut = good[..good.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    fs::write(&before.path, &good[..cut]).unwrap();
    let refused = refusal(directory.path());
    assert!(matches!(refused, OpenError::Gap { wanted, got, .. } if (wanted, got) == (last.first - 1, last.first)));

    // With the earlier segments archived elsewhere the last one says where it stands; without a record it cannot.
    for segment in &segments[..segments.len() - 1] {
        fs::remove_file(&segment.path).unwrap();
    }
    assert_eq!(reopen(directory.path()).head.seq, 30);
    fs::write(&last.path, "").unwrap();
    assert!(matches!(refusal(directory.path()), OpenError::Gap { .. }));
}

/// Appends until it is killed, and says what was acknowledged.
async fn append_until_killed(directory: &Path) {
    let (journal, _) = Journal::open(Settings { segment_bytes_max: 20_000, ..settings(directory) }).unwrap();
    let local = tokio::task::LocalSet::new();
    for task in 0..16 {
        let journal = journal.clone();
        local.spawn_local(async move {
            for n in 0.. {
                let durable = journal.append(text(task * 1_000_000 + n)).await.unwrap();
                let line = format!("\nacked {} {}\n", durable.seq(), task * 1_000_000 + n);
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        });
    }
    local.await;
}

/// Plays both parts: with a directory in its environment it is the process that gets killed.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the only way to tell a test its directory")]
async fn killed_at_any_instant_it_has_all_it_acknowledged() {
    if let Some(directory) = std::env::var_os("SEALGATE_TEST_JOURNAL") {
        return append_until_killed(directory.as_ref()).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::killed_at_any_instant_it_has_all_it_acknowledged"), "--nocapture"])
            .env("SEALGATE_TEST_JOURNAL", directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed by count and not by clock: a slow machine gets as far as a fast one.
        let mut left = 1 + sha256(&[&[round], directory.path().as_os_str().as_encoded_bytes()])[0] as usize * 3;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some((seq, n)) = line.strip_prefix("acked ").and_then(|line| line.split_once(' ')) else {
                continue;
            };
            acknowledged.insert((seq.parse::<u64>().unwrap(), n.parse::<usize>().unwrap()));
            left = left.saturating_sub(1);
            if left == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let recovered = reopen(directory.path());
        assert!(acknowledged.last().unwrap().0 <= recovered.head.seq, "round {round}: {recovered:?}");
    }
    let recorded = recorded(directory.path());
    for (seq, n) in &acknowledged {
        assert_eq!(recorded[usize::try_from(*seq).unwrap() - 1], event(*n), "record {seq}");
    }
    assert!(acknowledged.len() > 100);
}
