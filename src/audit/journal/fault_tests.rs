//! A disk that fails: who is told, what is kept, and that the account is exact.

use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use tokio::task::LocalSet;

use super::segment::file_name;
use super::testing::{Fault, Faults, event, open_faulty, recorded, settings, sha256, text};
use super::*;
use crate::audit::verify::verify;

const FOREVER: usize = usize::MAX;

struct Case {
    directory: tempfile::TempDir,
    faults: Faults,
    journal: Journal,
}

fn case(change: impl FnOnce(&mut Settings)) -> Case {
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let mut settings = settings(directory.path());
    change(&mut settings);
    let (journal, _) = open_faulty(settings, &faults).unwrap();
    Case { directory, faults, journal }
}

impl Case {
    async fn until(&self, done: impl Fn(&Journal) -> bool) {
        let waiting = async {
            while !done(&self.journal) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it never comes");
    }

    /// Closes; the chain must be whole. The events, and the sum of what they say was missed.
    fn end(&self) -> (Vec<Vec<u8>>, Shortfall) {
        let closed = self.journal.close();
        assert_eq!(closed.unrecorded, Shortfall::default());
        let report = verify(self.directory.path(), sha256, &[closed.head]).unwrap();
        assert_eq!(report.head, closed.head);
        let (mut events, mut missed) = (Vec::new(), Shortfall::default());
        for event in recorded(self.directory.path()) {
            let value: serde_json::Value = serde_json::from_slice(&event).unwrap();
            match value.get("type") {
                Some(_) => {
                    missed.refused += value["refused"].as_u64().unwrap();
                    missed.given_up += value["given_up"].as_u64().unwrap();
                }
                None => events.push(event),
            }
        }
        (events, missed)
    }
}

#[tokio::test]
async fn a_caller_is_told_when_the_disk_fails_and_the_next_append_just_works() {
    for fault in [Fault::Write, Fault::Full, Fault::Sync] {
        let case = case(|_| ());
        case.journal.append(text(0)).await.unwrap();
        case.faults.arm(fault, 1);
        assert!(matches!(case.journal.append(text(1)).await, Err(AppendError::Failed(_))), "{fault:?}");
        assert_eq!(case.journal.head().seq, 1);
        case.journal.append(text(2)).await.unwrap();
        let missed = Shortfall { refused: 1, given_up: 0 };
        assert_eq!(case.end(), (vec![event(0), event(2)], missed), "{fault:?}");
    }
}

#[tokio::test]
async fn a_short_write_goes_on_where_it_stopped() {
    let case = case(|_| ());
    case.faults.arm(Fault::Short, 3);
    case.journal.append(text(0)).await.unwrap();
    assert_eq!(case.end(), (vec![event(0)], Shortfall::default()));
}

#[tokio::test]
async fn what_a_failed_write_left_is_cut_before_anything_is_written() {
    let case = case(|_| ());
    case.journal.append(text(0)).await.unwrap();
    let path = case.directory.path().join(file_name(1));
    let durable = fs::metadata(&path).unwrap().len();
    case.faults.arm(Fault::Cut, FOREVER);
    case.faults.arm(Fault::Full, 1);
    for n in 1..4 {
        assert!(matches!(case.journal.append(text(n)).await, Err(AppendError::Failed(_))));
        assert!(fs::metadata(&path).unwrap().len() > durable, "nothing is written over it");
    }
    case.faults.heal();
    case.journal.append(text(4)).await.unwrap();
    assert_eq!(case.end(), (vec![event(0), event(4)], Shortfall { refused: 3, given_up: 0 }));
}

#[tokio::test]
async fn a_segment_that_cannot_be_made_is_made_later() {
    let case = case(|settings| settings.segment_bytes_max = 1);
    case.journal.append(text(0)).await.unwrap();
    case.faults.arm(Fault::Create, 1);
    let refused = case.journal.append(text(1)).await;
    assert_eq!(refused, Err(AppendError::Failed(io::ErrorKind::PermissionDenied)));
    assert_eq!(refused.unwrap_err().to_string(), "audit journal: write failed: permission denied");
    case.journal.append(text(2)).await.unwrap();
    assert_eq!(case.end().0, [event(0), event(2)]);
}

#[tokio::test]
async fn it_finds_out_by_itself_that_the_disk_is_back() {
    let case = case(|_| ());
    case.faults.arm(Fault::Write, 3);
    assert!(case.journal.append(text(0)).await.is_err());
    // Nobody tries; the record of the failure does.
    case.until(Journal::is_writable).await;
    case.until(|journal| journal.head().seq == 1).await;
    assert_eq!(case.end(), (vec![], Shortfall { refused: 1, given_up: 0 }));
}

#[tokio::test]
async fn detached_events_outlast_a_failure_in_their_order() {
    let case = case(|_| ());
    case.faults.arm(Fault::Sync, 2);
    for n in 0..100 {
        case.journal.append_detached(text(n));
    }
    case.until(|journal| journal.head().seq == 100).await;
    case.journal.append(text(100)).await.unwrap();
    assert_eq!(case.end(), ((0..=100).map(event).collect(), Shortfall::default()));
}

#[tokio::test]
async fn what_there_is_no_room_to_keep_is_counted_and_the_count_recorded() {
    let case = case(|settings| settings.detached_records_max = 10);
    case.faults.arm(Fault::Write, FOREVER);
    assert!(case.journal.append(text(99)).await.is_err());
    for n in 0..1000 {
        case.journal.append_detached(text(n));
    }
    let kept = case.journal.backlog().detached;
    assert!(kept <= 10, "{kept}");
    case.faults.heal();
    case.journal.append(text(1000)).await.unwrap();
    let (events, missed) = case.end();
    assert_eq!(events.len() as u64 + missed.given_up, 1001);
    assert!(events.len() >= 11 && missed.given_up > 900, "{missed:?}");
    assert_eq!(missed.refused, 1);
    assert_eq!(events.first(), Some(&event(0)));
    assert_eq!(events.last(), Some(&event(1000)));
}

#[tokio::test]
async fn a_full_queue_refuses_callers_at_once_and_loses_nothing_detached() {
    let case = case(|settings| settings.queue_records_max = 4);
    case.faults.hold();
    let local = LocalSet::new();
    local
        .run_until(async {
            let append = |n| {
                let journal = case.journal.clone();
                tokio::task::spawn_local(async move { journal.append(text(n)).await })
            };
            let in_flight = append(0);
            tokio::task::yield_now().await;
            case.faults.wait_held();
            let waiting: Vec<_> = (1..5).map(append).collect();
            case.until(|journal| journal.backlog().awaited == 4).await;
            assert_eq!(case.journal.append(text(5)).await, Err(AppendError::Full));
            case.journal.append_detached(text(6));
            assert_eq!(case.journal.backlog().detached, 1);
            case.faults.release();
            assert_eq!(in_flight.await.unwrap().unwrap().seq(), 1);
            for (task, seq) in waiting.into_iter().zip(2..) {
                assert_eq!(task.await.unwrap().unwrap().seq(), seq);
            }
        })
        .await;
    let turned_away = Shortfall { refused: 1, given_up: 0 };
    assert_eq!(case.end(), ([0, 1, 2, 3, 4, 6].map(event).to_vec(), turned_away));
    assert_eq!(case.faults.syncs(), 2, "the four, the detached one and the count share a sync");
}

#[tokio::test]
async fn a_failure_fails_all_who_wait_for_nothing_overtakes() {
    let case = case(|_| ());
    case.faults.hold();
    let local = LocalSet::new();
    local
        .run_until(async {
            let append = |n| {
                let journal = case.journal.clone();
                tokio::task::spawn_local(async move { journal.append(text(n)).await })
            };
            let in_flight = append(0);
            tokio::task::yield_now().await;
            case.faults.wait_held();
            for n in [1, 2] {
                case.journal.append_detached(text(n));
            }
            let behind = append(3);
            case.until(|journal| journal.backlog().awaited == 1).await;
            case.faults.arm(Fault::Sync, 1);
            case.faults.release();
            assert!(in_flight.await.unwrap().is_err());
            assert!(behind.await.unwrap().is_err());
        })
        .await;
    assert_eq!(case.end(), (vec![event(1), event(2)], Shortfall { refused: 2, given_up: 0 }));
}

#[tokio::test]
async fn detached_events_that_failed_stay_in_front_of_those_behind() {
    let case = case(|_| ());
    case.faults.hold();
    case.journal.append_detached(text(0));
    case.faults.wait_held();
    case.journal.append_detached(text(1));
    case.faults.arm(Fault::Sync, 1);
    case.faults.release();
    case.until(|journal| journal.head().seq == 2).await;
    assert_eq!(case.end(), (vec![event(0), event(1)], Shortfall::default()));
}

#[tokio::test]
async fn a_caller_who_leaves_leaves_a_record() {
    let case = case(|_| ());
    case.faults.hold();
    let mut append = Box::pin(case.journal.append(text(0)));
    tokio::select! {
        biased;
        _ = &mut append => panic!("answered before the sync"),
        () = tokio::task::yield_now() => {}
    }
    drop(append);
    case.faults.release();
    assert_eq!(case.end(), (vec![event(0)], Shortfall::default()));
}

#[tokio::test]
async fn a_segment_that_another_hand_touched_is_not_written_on() {
    let case = case(|_| ());
    case.journal.append(text(0)).await.unwrap();
    let path = case.directory.path().join(file_name(1));
    let moved = path.with_extension("moved");
    let touches: [fn(&Path, &[u8], &Path); 3] = [
        |path, good, _| fs::write(path, &good[..5]).unwrap(),
        |path, good, _| fs::write(path, [good, b"more"].concat()).unwrap(),
        |path, _, moved| fs::rename(path, moved).unwrap(),
    ];
    for (n, touch) in touches.into_iter().enumerate() {
        let good = fs::read(&path).unwrap();
        touch(&path, &good, &moved);
        assert!(matches!(case.journal.append(text(n)).await, Err(AppendError::Failed(_))), "{n}");
        // Put back as it was, it is written on.
        if moved.exists() {
            fs::rename(&moved, &path).unwrap();
        } else {
            fs::write(&path, &good).unwrap();
        }
        case.journal.append(text(n)).await.unwrap();
    }
    assert_eq!(case.end(), ([0, 0, 1, 2].map(event).to_vec(), Shortfall { refused: 3, given_up: 0 }));
}

#[test]
fn closing_on_a_disk_that_stays_away_ends_and_says_what_is_lost() {
    let case = case(|_| ());
    case.faults.arm(Fault::Write, FOREVER);
    case.journal.append_detached(text(0));
    case.journal.append_detached(text(1));
    let closed = case.journal.close();
    assert_eq!(closed.unrecorded, Shortfall { refused: 0, given_up: 2 });
    assert_eq!(closed, case.journal.close());
    assert!(verify(case.directory.path(), sha256, &[closed.head]).is_ok());
}

#[tokio::test]
async fn a_callback_that_panics_closes_the_journal_and_tells_who_waits() {
    let case = case(|settings| settings.shortfall_event = Arc::new(|_| panic!("on purpose")));
    case.faults.arm(Fault::Write, 1);
    assert!(case.journal.append(text(0)).await.is_err());
    // It is called for the next batch, before anything in that is written.
    assert_eq!(case.journal.append(text(1)).await, Err(AppendError::Closed));
    assert!(!case.journal.is_writable());
    assert_eq!(case.journal.close().unrecorded.given_up, 0);
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Detach(usize),
    Fail(Fault, usize),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        Just(Fault::Create),
        Just(Fault::Write),
        Just(Fault::Full),
        Just(Fault::Short),
        Just(Fault::Sync),
        Just(Fault::Cut)
    ];
    prop_oneof![
        (1..6_usize).prop_map(Step::Append),
        (1..6_usize).prop_map(Step::Detach),
        (fault, 1..3_usize).prop_map(|(fault, times)| Step::Fail(fault, times)),
        Just(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Acknowledged is recorded, failed is not, detached is recorded once and in order, and the records of what was
    /// missed add up.
    #[test]
    fn whatever_fails_the_account_is_exact(steps in prop::collection::vec(step(), 1..40), segment in 300..3000_u64) {
        let case = case(|settings| settings.segment_bytes_max = segment);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (mut n, mut refused) = (0, 0);
        let (mut wanted, mut detached) = (Vec::new(), Vec::new());
        runtime.block_on(LocalSet::new().run_until(async {
            for step in steps {
                match step {
                    Step::Append(count) => {
                        let tasks: Vec<_> = (n..n + count)
                            .map(|n| {
                                let journal = case.journal.clone();
                                (n, tokio::task::spawn_local(async move { journal.append(text(n)).await }))
                            })
                            .collect();
                        for (n, task) in tasks {
                            match task.await.unwrap() {
                                Ok(_) => wanted.push(event(n)),
                                Err(AppendError::Failed(_)) => refused += 1,
                                Err(error) => panic!("{error}"),
                            }
                        }
                        n += count;
                    }
                    Step::Detach(count) => {
                        for _ in 0..count {
                            case.journal.append_detached(text(n));
                            detached.push(event(n));
                            n += 1;
                        }
                    }
                    Step::Fail(fault, times) => case.faults.arm(fault, times),
                    Step::Wait => case.until(|journal| journal.backlog().awaited == 0).await,
                }
            }
        }));
        case.faults.heal();
        let (events, missed) = case.end();
        prop_assert_eq!(missed, Shortfall { refused, given_up: 0 });
        wanted.extend(detached.iter().cloned());
        let number = |event: &Vec<u8>| serde_json::from_slice::<serde_json::Value>(event).unwrap()["n"].as_u64();
        prop_assert!(events.is_sorted_by_key(number), "in the order of queueing");
        wanted.sort_by_key(number);
        prop_assert_eq!(events, wanted);
    }
}
