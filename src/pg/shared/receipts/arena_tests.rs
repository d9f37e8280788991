use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

struct Memory {
    head: Box<Head>,
    buckets: Vec<u32>,
    entries: Vec<Entry>,
    blocks: Vec<Block>,
    asked: Vec<u32>,
    erasures: Vec<erasures::Set>,
    reserved: usize,
}

impl Memory {
    fn new(units: usize) -> Memory {
        let entry = Entry {
            key: key(0, 0),
            row: SOMEBODY,
            state: EntryState::Free,
            refuses: false,
            reach: [0; 16],
            bytes: 0,
            first_block: NONE,
            next: NONE,
            number: 0,
            not_before: 0,
        };
        let mut memory = Memory {
            head: Box::new(Head {
                used: 0,
                refusals: 0,
                free_entry: 0,
                free_block: 0,
                free_blocks: 0,
                next_number: 0,
                dropped: [(0, 0); COUNTED],
                notes_dropped: [(0, 0); COUNTED],
            }),
            buckets: vec![0; units],
            entries: vec![entry; units],
            blocks: vec![Block { next: 0, bytes: [7; BLOCK_BYTES] }; units],
            asked: vec![0; 16],
            erasures: vec![erasures::Set::EMPTY; 16],
            reserved: 0,
        };
        memory.arena().reset();
        memory
    }

    fn arena(&mut self) -> Arena<'_> {
        Arena {
            head: &mut self.head,
            buckets: &mut self.buckets,
            entries: &mut self.entries,
            blocks: &mut self.blocks,
            asked: &mut self.asked,
            erasures: &mut self.erasures,
            reserved: self.reserved,
        }
    }
}

fn key(database: u32, question: u8) -> ReceiptKey {
    ReceiptKey { database, catalog: 1, question: [question; 16] }
}

const SOMEBODY: ContactRow = ContactRow { workspace: Uuid::from_u128(1), hash: [9; 16] };
/// Who has the same key in another workspace.
const NAMESAKE: ContactRow = ContactRow { workspace: Uuid::from_u128(2), ..SOMEBODY };
const HERE: Hash = [5; 16];
const ELSEWHERE: Hash = [6; 16];

#[test]
fn what_was_put_is_found_taken_and_gone() {
    let mut memory = Memory::new(16);
    let mut arena = memory.arena();
    let long = vec![b'x'; 3 * BLOCK_BYTES + 1];
    arena.put(key(1, 1), SOMEBODY, 1, &long).unwrap();
    arena.put(key(1, 2), SOMEBODY, 1, b"short").unwrap();
    arena.put(key(2, 1), SOMEBODY, 1, b"").unwrap();
    assert_eq!(arena.find(&key(1, 1)).unwrap(), long);
    assert_eq!((arena.databases(), arena.waiting(1), arena.waiting(2)), (vec![1, 2], 2, 1));
    let taken = arena.take(1, 10);
    assert_eq!(taken.len(), 2);
    assert!(arena.take(1, 10).is_empty(), "nobody takes it twice");
    assert!(arena.find(&key(1, 1)).is_some(), "found until it is in the tables");
    arena.done(&taken);
    assert_eq!((arena.find(&key(1, 1)), arena.waiting(1)), (None, 0));
    assert_eq!(arena.find(&key(2, 1)).unwrap(), b"");
    arena.forget_database(2);
    assert!(arena.databases().is_empty());
    assert!(memory.blocks.iter().all(|b| b.bytes == [0; BLOCK_BYTES]), "no personal data stays behind");
}

#[test]
fn a_newer_answer_replaces_an_older_one() {
    let mut memory = Memory::new(16);
    let mut arena = memory.arena();
    arena.put(key(1, 1), SOMEBODY, 1, b"old").unwrap();
    arena.put(key(1, 1), SOMEBODY, 2, b"new").unwrap();
    assert_eq!(arena.waiting(1), 1);
    let taken = arena.take(1, 10);
    arena.put(key(1, 1), SOMEBODY, 3, b"newest").unwrap();
    assert_eq!(arena.find(&key(1, 1)).unwrap(), b"newest", "also while the older one is being written");
    arena.put_back(&taken);
    let taken = arena.take(1, 10);
    assert_eq!(taken.iter().map(|t| t.payload.as_slice()).collect::<Vec<_>>(), [b"newest".as_slice()]);
    // The worker dies.
    arena.put_all_back(1);
    assert_eq!(arena.take(1, 10).len(), 1);
}

#[test]
fn it_is_full_before_it_is_wrong() {
    let mut memory = Memory::new(8);
    let mut arena = memory.arena();
    assert_eq!(arena.put(key(1, 0), SOMEBODY, 1, &[0; 2 * BLOCK_BYTES + 1]), Err(NotKept::TooLong));
    for question in 1..=4 {
        arena.put(key(1, question), SOMEBODY, 1, &[question; 2 * BLOCK_BYTES]).unwrap();
    }
    assert_eq!(arena.put(key(1, 5), SOMEBODY, 1, b"x"), Err(NotKept::Full));
    assert_eq!(arena.find(&key(1, 4)).unwrap(), [4; 2 * BLOCK_BYTES]);
    arena.put(key(1, 4), SOMEBODY, 1, &[5; 2 * BLOCK_BYTES]).unwrap();
    let taken = arena.take(1, 1);
    arena.done(&taken);
    arena.put(key(1, 5), SOMEBODY, 1, b"x").unwrap();
    arena.count_drop(1);
    arena.count_drop(2);
    arena.count_drop(1);
    assert_eq!((arena.dropped(1), arena.dropped(2), arena.dropped(3)), (2, 1, 0));
    arena.count_note_drop(1);
    assert_eq!((arena.dropped(1), arena.notes_dropped(1), arena.notes_dropped(2)), (2, 1, 0));
}

/// Rows of one key have one hash in all workspaces, and are each their workspace's all the same.
#[test]
fn what_one_workspace_erases_or_waits_for_is_not_anothers() {
    let mut memory = Memory::new(8);
    memory.asked = vec![0; 64];
    let mut arena = memory.arena();
    arena.note_request(SOMEBODY, 7);
    arena.note_request(NAMESAKE, 7);
    arena.erase(SOMEBODY, 1_000, 8);
    arena.put(key(1, 1), SOMEBODY, 1_000, b"late").unwrap();
    assert_eq!(arena.waiting(1), 0);
    arena.put(key(1, 2), NAMESAKE, 1_000, b"the other's").unwrap();
    assert!(arena.waiting_for(1, NAMESAKE) && !arena.waiting_for(1, SOMEBODY));
    arena.put(key(2, 2), SOMEBODY, 1_001, b"in another database").unwrap();
    arena.put_refusal(key(1, 3), SOMEBODY, HERE, b"a refusal").unwrap();
    assert_eq!(arena.workspaces_waiting_for(1, SOMEBODY.hash), [NAMESAKE.workspace]);
    assert!(arena.workspaces_waiting_for(1, [8; 16]).is_empty());
}

#[test]
fn an_answer_about_somebody_erased_is_thrown_away() {
    let mut memory = Memory::new(8);
    let mut arena = memory.arena();
    arena.note_request(SOMEBODY, 7);
    arena.erase(SOMEBODY, 1_000, 8);
    arena.put(key(1, 1), SOMEBODY, 1_000, b"late").unwrap();
    assert_eq!(arena.find(&key(1, 1)), None);
    arena.put(key(1, 1), SOMEBODY, 1_001, b"asked again since").unwrap();
    arena.put(key(1, 2), ContactRow { hash: [8; 16], ..SOMEBODY }, 900, b"somebody else").unwrap();
    assert_eq!(arena.waiting(1), 2);
    // Nothing was under way: it need not be remembered.
    arena.erase(ContactRow { hash: [7; 16], ..SOMEBODY }, 1_000, 8);
    arena.put(key(1, 6), ContactRow { hash: [7; 16], ..SOMEBODY }, 999, b"of no request").unwrap();
    assert!(arena.find(&key(1, 6)).is_some());
    assert!(
        arena.waiting_for(1, SOMEBODY) && arena.waiting_on(&[key(1, 2)]) && !arena.waiting_on(&[key(1, 3)])
    );
    // That nobody is to ask about them again is kept all the same.
    arena.put_refusal(key(1, 4), SOMEBODY, HERE, b"late").unwrap();
    assert_eq!(arena.refusals(&key(1, 4)), [b"late"]);
}

#[test]
fn refusals_are_counted_for_as_long_as_they_wait() {
    let mut memory = Memory::new(8);
    let mut arena = memory.arena();
    arena.put(key(1, 1), SOMEBODY, 1, b"an answer").unwrap();
    assert!(arena.has_no_refusal());
    arena.put_refusal(key(1, 2), SOMEBODY, HERE, b"a refusal").unwrap();
    arena.put_refusal(key(1, 2), SOMEBODY, HERE, b"once more").unwrap();
    arena.put_refusal(key(2, 3), SOMEBODY, HERE, b"in another database").unwrap();
    assert!(!arena.has_no_refusal());
    let taken = arena.take_refusals(1, 10, 0);
    assert!(!arena.has_no_refusal(), "not in the tables yet");
    arena.done(&taken);
    assert!(!arena.has_no_refusal(), "the other database's");
    arena.forget_database(2);
    assert!(arena.has_no_refusal());
    arena.put_refusal(key(1, 5), SOMEBODY, HERE, b"a refusal").unwrap();
    arena.reset();
    assert!(arena.has_no_refusal());
}

#[test]
fn nothing_takes_the_place_of_a_refusal_but_one_of_the_same_reach() {
    let mut memory = Memory::new(16);
    let mut arena = memory.arena();
    arena.put_refusal(key(1, 1), SOMEBODY, HERE, b"here").unwrap();
    arena.put_refusal(key(1, 1), SOMEBODY, ELSEWHERE, b"elsewhere").unwrap();
    arena.put(key(1, 1), SOMEBODY, 1, b"an answer").unwrap();
    assert_eq!(arena.refusals(&key(1, 1)), [b"elsewhere".as_slice(), b"here"]);
    assert_eq!(arena.find(&key(1, 1)).as_deref(), Some(&b"an answer"[..]));
    // Nor when they come back from the worker.
    let taken = arena.take_refusals(1, 10, 0);
    arena.put_refusal(key(1, 1), SOMEBODY, HERE, b"here again").unwrap();
    arena.put_back(&taken);
    assert_eq!(arena.refusals(&key(1, 1)), [b"here again".as_slice(), b"elsewhere"]);
    assert_eq!(arena.find(&key(1, 1)).as_deref(), Some(&b"an answer"[..]));
    let taken = arena.take_refusals(1, 10, 0);
    assert_eq!(taken.len(), 2);
    arena.done(&taken);
    assert!(arena.has_no_refusal() && arena.refusals(&key(1, 1)).is_empty());
}

#[test]
fn answers_leave_room_for_refusals() {
    let mut memory = Memory::new(24);
    memory.reserved = 8;
    let mut arena = memory.arena();
    for question in 0..16 {
        assert_eq!((arena.is_roomy(), arena.has_room_for_refusals()), (question < 8, true));
        arena.put(key(1, question), SOMEBODY, 1, b"an answer").unwrap();
    }
    assert_eq!(arena.put(key(1, 16), SOMEBODY, 1, b"an answer"), Err(NotKept::Full));
    arena.put(key(1, 15), SOMEBODY, 2, b"a newer one").unwrap();
    assert_eq!(arena.put(key(1, 15), SOMEBODY, 2, &[0; BLOCK_BYTES + 1]), Err(NotKept::Full));
    for question in 16..24 {
        assert_eq!(arena.has_room_for_refusals(), question <= 20);
        arena.put_refusal(key(1, question), SOMEBODY, HERE, b"a refusal").unwrap();
    }
    assert_eq!(arena.put_refusal(key(1, 24), SOMEBODY, HERE, b"a refusal"), Err(NotKept::Full));
    assert_eq!((0..24).filter(|n| arena.refusals(&key(1, *n)).len() == 1).count(), 8);
}

#[test]
fn a_refusal_counts_while_it_is_being_written_and_while_the_worker_leaves_it_alone() {
    let mut memory = Memory::new(16);
    let mut arena = memory.arena();
    for question in [3, 1, 2] {
        arena.put_refusal(key(1, question), SOMEBODY, HERE, &[question]).unwrap();
    }
    arena.put(key(1, 4), SOMEBODY, 1, b"an answer").unwrap();
    let counts = |arena: &Arena| (1..=3).filter(|n| arena.refusals(&key(1, *n)) == [[*n]]).count();
    let in_order = arena.take_refusals(1, 2, 1_000);
    assert_eq!(in_order.iter().map(|taken| taken.key.question[0]).collect::<Vec<_>>(), [3, 1]);
    assert_eq!((counts(&arena), arena.has_refusal_of(1), arena.has_refusal_of(2)), (3, true, false));
    let first = [key(1, 3), key(1, 1)];
    assert!(arena.is_to_write(&first, HERE) && !arena.is_to_write(&first, ELSEWHERE));
    arena.put_back_until(&in_order, 2_000);
    assert_eq!((counts(&arena), arena.is_to_write(&first, HERE)), (3, false), "somebody holds them up");
    let rest = arena.take_refusals(1, 10, 1_999);
    assert_eq!(rest.len(), 1, "the others are left alone");
    arena.done(&rest);
    assert_eq!((counts(&arena), arena.take_refusals(1, 10, 1_999).len()), (2, 0));
    // The worker dies while it writes.
    assert_eq!(arena.take_refusals(1, 10, 2_000).len(), 2);
    arena.put_all_back(1);
    assert_eq!((counts(&arena), arena.take_refusals(1, 10, 1_999).len()), (2, 0));
    arena.end_pauses(1);
    let last = arena.take_refusals(1, 10, 0);
    arena.done(&last);
    assert_eq!((counts(&arena), arena.has_refusal_of(1)), (0, false));
    // None of that keeps a caller waiting who has to do with answers alone.
    arena.put_refusal(key(1, 5), ContactRow { hash: [8; 16], ..SOMEBODY }, HERE, b"another").unwrap();
    assert!(
        arena.waiting_for(1, SOMEBODY) && !arena.waiting_for(1, ContactRow { hash: [8; 16], ..SOMEBODY })
    );
    assert!(arena.waiting_on(&[key(1, 4)]) && !arena.waiting_on(&[key(1, 5)]));
    assert_eq!(arena.take(1, 10).len(), 1);
}

proptest! {
    /// Whatever is done in whatever order: found is what a plain map would have, and in the end nothing is lost.
    #[test]
    fn it_behaves_like_a_map(steps in prop::collection::vec((0u8..12, 0usize..600, 0u8..6), 1..200)) {
        let mut memory = Memory::new(24);
        let mut arena = memory.arena();
        let mut model: HashMap<u8, Vec<u8>> = HashMap::new();
        let mut out: Vec<Taken> = Vec::new();
        for (question, length, action) in steps {
            match action {
                0..=2 => {
                    let payload = vec![question; length];
                    if arena.put(key(1, question), SOMEBODY, 1, &payload).is_ok() {
                        model.insert(question, payload);
                    }
                }
                3 => out.extend(arena.take(1, length % 4)),
                4 => {
                    // A newer answer may have come while this one was being written.
                    for taken in &out {
                        let question = taken.key.question[0];
                        if model.get(&question) == Some(&taken.payload) { model.remove(&question); }
                    }
                    arena.done(&out);
                    out.clear();
                }
                _ => { arena.put_back(&out); out.clear(); }
            }
            for (question, payload) in &model {
                let found = arena.find(&key(1, *question));
                prop_assert_eq!(found.as_ref(), Some(payload));
            }
        }
        arena.put_all_back(1);
        let rest = arena.take(1, usize::MAX);
        arena.done(&rest);
        prop_assert_eq!(arena.head.used, 0);
        prop_assert_eq!(arena.head.free_blocks as usize, arena.blocks.len());
        prop_assert!(arena.buckets.iter().all(|b| *b == NONE));
    }
}
