use proptest::prelude::*;

use super::*;

fn info(stream: u32, seq: u64) -> ReceivedBlockInfo {
    ReceivedBlockInfo { stream, seq, records: 1, bytes: 8, time: Time::ZERO, metadata: None }
}

fn added(stream: u32, seq: u64) -> TrackerEvent {
    TrackerEvent::BlockAdded(info(stream, seq))
}

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

#[test]
fn all_waiting_blocks_of_all_streams_go_to_the_batch() {
    let mut t = ReceivedBlockTracker::default();
    for e in [added(0, 0), added(1, 0), added(0, 1)] {
        t.apply(&e).unwrap();
    }
    assert!(t.has_unallocated());
    let e = t.propose_allocation(at(10)).unwrap();
    assert!(t.has_unallocated(), "a proposal changes nothing");
    t.apply(&e).unwrap();
    assert!(!t.has_unallocated());
    assert_eq!(t.blocks_of(at(10), 0), [info(0, 0), info(0, 1)]);
    assert_eq!(t.blocks_of(at(10), 1), [info(1, 0)]);
    assert!(t.propose_allocation(at(10)).is_none() && t.propose_allocation(at(9)).is_none());
    // A block that came between proposal and application waits for the next batch.
    t.apply(&added(0, 2)).unwrap();
    let e = t.propose_allocation(at(20)).unwrap();
    t.apply(&added(0, 3)).unwrap();
    t.apply(&e).unwrap();
    assert_eq!(t.blocks_of(at(20), 0), [info(0, 2)]);
    assert!(t.has_unallocated());
    assert_eq!(t.next_seq(0), 4);
}

#[test]
fn an_empty_allocation_leaves_the_blocks_for_later() {
    let mut t = ReceivedBlockTracker::default();
    t.apply(&added(0, 0)).unwrap();
    t.apply(&t.clone().propose_empty(at(1)).unwrap()).unwrap();
    assert_eq!(t.blocks_of(at(1), 0), []);
    assert_eq!(t.last_allocated(), Some(at(1)));
    t.apply(&t.clone().propose_allocation(at(2)).unwrap()).unwrap();
    assert_eq!(t.blocks_of(at(2), 0), [info(0, 0)]);
    assert_eq!(t.blocks_before(at(3)).count(), 1);
    assert_eq!(t.propose_clean_up(at(1)), None);
    t.apply(&t.clone().propose_clean_up(at(3)).unwrap()).unwrap();
    assert_eq!(t.batch(at(2)), None);
}

#[test]
fn a_log_with_a_block_in_two_batches_is_refused() {
    let mut t = ReceivedBlockTracker::default();
    t.apply(&added(0, 0)).unwrap();
    let blocks = StreamBlocks::from([(0, vec![info(0, 0)])]);
    t.apply(&TrackerEvent::Allocated { time: at(1), blocks: blocks.clone() }).unwrap();
    let before = t.clone();
    let e = t.apply(&TrackerEvent::Allocated { time: at(2), blocks }).unwrap_err();
    assert!(e.to_string().contains("input-0-0"));
    assert_eq!(t, before);
}

#[test]
fn waiting_batches_run_empty_under_merge() {
    let mut rig = Rig::new(|c| c);
    rig.start(receiver::<u32, _>(|out| Ok(out.store_block([1, 2, 3])?)));
    rig.heard.wait_for("stopped", 1);
    assert_eq!(rig.tracker.allocate(at(1), true).unwrap().records(0), 0);
    rig.batch = 1;
    assert_eq!(rig.take::<u32>(), [1, 2, 3]);
}

/// What a driver does in a step.
#[derive(Clone, Debug)]
enum Step {
    Add(u32),
    Allocate(u64, bool),
    CleanUp(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u32..3).prop_map(Step::Add),
        2 => (0u64..60, any::<bool>()).prop_map(|(t, e)| Step::Allocate(t, e)),
        1 => (0u64..60).prop_map(Step::CleanUp),
    ];
    prop::collection::vec(step, 0..80)
}

/// Runs the steps; gives the log and the state after each event.
fn run(steps: &[Step]) -> (Vec<TrackerEvent>, Vec<ReceivedBlockTracker>) {
    let mut t = ReceivedBlockTracker::default();
    let (mut log, mut states) = (Vec::new(), vec![t.clone()]);
    for step in steps {
        let event = match step {
            Step::Add(stream) => Some(added(*stream, t.next_seq(*stream))),
            Step::Allocate(time, false) => t.propose_allocation(at(*time)),
            Step::Allocate(time, true) => t.propose_empty(at(*time)),
            Step::CleanUp(time) => t.propose_clean_up(at(*time)),
        };
        if let Some(event) = event {
            t.apply(&event).unwrap();
            log.push(event);
            states.push(t.clone());
        }
    }
    (log, states)
}

proptest! {
    #[test]
    fn the_replay_of_any_prefix_is_the_state_and_twice_is_once(steps in steps(), cut: prop::sample::Index) {
        let (log, states) = run(&steps);
        let cut = cut.index(log.len() + 1);
        let mut t = ReceivedBlockTracker::default();
        for e in &log[..cut] {
            t.apply(e).unwrap();
        }
        prop_assert_eq!(&t, &states[cut]);
        for e in &log[..cut] {
            t.apply(e).unwrap();
        }
        prop_assert_eq!(&t, &states[cut]);
        // Each event twice in a row, as after a crash between log and state.
        let mut t = ReceivedBlockTracker::default();
        for e in &log[..cut] {
            t.apply(e).unwrap();
            t.apply(e).unwrap();
        }
        prop_assert_eq!(&t, &states[cut]);
    }

    #[test]
    fn every_block_is_allocated_exactly_once(steps in steps()) {
        let (mut log, states) = run(&steps);
        let mut t = states.last().unwrap().clone();
        let last = t.propose_allocation(at(1_000)).unwrap();
        t.apply(&last).unwrap();
        log.push(last);
        let mut blocks: Vec<_> = Vec::new();
        let mut batches: Vec<_> = Vec::new();
        for e in &log {
            match e {
                TrackerEvent::BlockAdded(b) => blocks.push(b.id()),
                TrackerEvent::Allocated { blocks, .. } => {
                    batches.extend(blocks.values().flatten().map(ReceivedBlockInfo::id));
                }
                TrackerEvent::CleanedUp { .. } => {}
            }
        }
        blocks.sort();
        batches.sort();
        prop_assert_eq!(blocks, batches);
    }

    #[test]
    fn events_survive_their_encoding(steps in steps()) {
        for e in run(&steps).0 {
            let back: TrackerEvent = postcard::from_bytes(&postcard::to_stdvec(&e).unwrap()).unwrap();
            prop_assert_eq!(back, e);
        }
    }
}
