use super::super::record::{Close, Record};
use super::*;
use proptest::prelude::*;

/// 2026-11-30 23:59:50 UTC.
const NOW: i64 = 1_796_083_190;

struct Tables {
    head: Head,
    sums: Vec<Sum>,
    entries: Vec<Entry>,
}

impl Tables {
    fn new(sums: usize, entries: usize) -> Tables {
        Tables { head: Head::NEW, sums: vec![Sum::FREE; sums], entries: vec![Entry::FREE; entries] }
    }

    fn table(&mut self) -> Table<'_> {
        Table { head: &mut self.head, sums: &mut self.sums, entries: &mut self.entries }
    }

    fn load(&mut self, key: &SumKey, windows: Windows) {
        assert_eq!(self.table().load(key, NOW), Load::Mine);
        self.table().loaded(key, windows, Amount::ZERO);
    }

    /// What the worker does.
    fn write(&mut self, stored: &mut Stored, close: Close, now: i64) {
        let record = self.table().record((1, 2), close, now);
        for (_, counts) in &record.entries {
            stored.spent = stored.spent.plus(counts.cost).plus(counts.unknown);
        }
        for (_, lease) in &record.leases {
            stored.lease = *lease;
        }
        self.table().recorded(&record);
    }
}

/// What is durable.
#[derive(Default)]
struct Stored {
    spent: Amount,
    lease: Amount,
}

fn key(workspace: u8, provider: &str) -> SumKey {
    let currency = Currency::parse("USD").unwrap();
    SumKey { database: 1, catalog: 2, currency, workspace: [workspace; 16], provider: name_bytes(provider) }
}

fn entry(of: SumKey, now: i64) -> EntryKey {
    EntryKey { of, day: day_of(now), role: 10 }
}

fn wish(of: SumKey, most: i64, limits: &[Limit], now: i64) -> Wish<'_> {
    let most = Some(Amount(most));
    Wish {
        entry: entry(of, now),
        most,
        limits,
        fetches: false,
        polls: Amount::ZERO,
        lease: Amount(1_000),
        most_credits: None,
        now,
    }
}

fn bill(cost: i64) -> Bill {
    Bill { requests: 1, cost: Amount(cost), ..Bill::default() }
}

fn ready(tables: &mut Tables, of: SumKey) {
    for key in of.concerned() {
        if tables.table().windows(&key).is_none() {
            tables.load(&key, Windows::NONE);
        }
    }
}

#[test]
fn the_docs_say_how_large_it_is() {
    let bytes = SUMS * size_of::<Sum>() + ENTRIES * size_of::<Entry>();
    assert_eq!((bytes + 50_000) / 100_000, 25, "docs/internals/shared-memory.md");
}

#[test]
fn a_sum_is_loaded_once_and_stays_while_it_is_needed() {
    let mut tables = Tables::new(4, 4);
    let of = key(1, "one");
    let first = tables.table().reserve(&wish(of, 10, &[], NOW)).unwrap_err();
    assert_eq!(first, Denied::NotLoaded(of));
    assert_eq!(tables.table().load(&of, NOW), Load::Mine);
    assert_eq!(tables.table().load(&of, NOW + 1), Load::Theirs);
    // Its loader is gone.
    assert_eq!(tables.table().load(&of, NOW + 60), Load::Mine);
    tables.table().not_loaded(&of);
    ready(&mut tables, of);
    assert_eq!(tables.table().reserve(&wish(of, 10, &[], NOW)).unwrap_err(), Denied::NeedsLease);
    let mut stored = Stored::default();
    tables.write(&mut stored, Close::Idle, NOW);
    let held = tables.table().reserve(&wish(of, 10, &[], NOW)).unwrap();
    // All four are in use.
    assert_eq!(tables.table().load(&key(2, "two"), NOW), Load::NoRoom);
    tables.table().settle(&held, (&bill(7), &FieldCounts::NONE), HoldChange::default(), NOW);
    tables.write(&mut stored, Close::Unused, NOW);
    assert_eq!((stored.spent, stored.lease), (Amount(7), Amount::ZERO));
    assert_eq!(tables.table().load(&key(2, "two"), NOW), Load::Mine);
    assert!(tables.entries.iter().all(Entry::is_free));
}

#[test]
fn each_budget_counts_its_own_sum() {
    let mut tables = Tables::new(16, 16);
    let (one, two, other) = (key(1, "one"), key(1, "two"), key(9, "one"));
    for of in [one, two, other] {
        ready(&mut tables, of);
        let _ = tables.table().reserve(&wish(of, 10, &[], NOW));
    }
    tables.write(&mut Stored::default(), Close::Idle, NOW);
    let held = tables.table().reserve(&wish(one, 60, &[], NOW)).unwrap();
    let limit = |sum| [Limit { sum, period: Period::Day, amount: Amount(100) }];
    let mut left = |of, sum, most| tables.table().reserve(&wish(of, most, &limit(sum), NOW)).map(|_| ());
    assert_eq!(left(two, 0, 100), Ok(()));
    assert_eq!(left(one, 0, 41), Err(Denied::Budget(0)));
    assert_eq!(left(other, 1, 41), Err(Denied::Budget(0)));
    assert_eq!(left(two, 2, 1), Err(Denied::Budget(0)));
    assert_eq!(left(other, 3, 1), Err(Denied::Budget(0)));
    assert_eq!(left(other, 1, 40), Ok(()));
    tables.table().settle(&held, (&Bill::default(), &FieldCounts::NONE), HoldChange::default(), NOW);
    assert_eq!(tables.table().windows(&one).unwrap().open(), Amount::ZERO);
}

#[test]
fn a_vendor_that_reports_more_than_it_said_is_passed_over() {
    let mut tables = Tables::new(16, 16);
    let of = key(1, "one");
    ready(&mut tables, of);
    let priced = |most| Wish { most_credits: Some(Amount(most)), ..wish(of, 10, &[], NOW) };
    let _ = tables.table().reserve(&priced(8));
    tables.write(&mut Stored::default(), Close::Idle, NOW);
    let held = tables.table().reserve(&priced(8)).unwrap();
    tables.table().settle(
        &held,
        (&Bill { credits_of_one: Amount(9), ..bill(90) }, &FieldCounts::NONE),
        HoldChange::default(),
        NOW,
    );
    assert_eq!(tables.table().reserve(&priced(8)).unwrap_err(), Denied::Reported(Amount(9)));
    assert!(tables.table().reserve(&priced(9)).is_ok());
    assert!(tables.table().reserve(&wish(of, 10, &[], NOW)).is_ok());
    let record = tables.table().record((1, 2), Close::Idle, NOW);
    assert_eq!(record.reported, [(of.concerned()[1], Amount(9))]);
}

#[test]
fn a_lease_is_of_its_day() {
    let mut tables = Tables::new(16, 16);
    let of = key(1, "one");
    ready(&mut tables, of);
    let _ = tables.table().reserve(&wish(of, 10, &[], NOW));
    tables.write(&mut Stored::default(), Close::Idle, NOW);
    assert!(tables.table().reserve(&wish(of, 10, &[], NOW)).is_ok());
    assert_eq!(tables.table().reserve(&wish(of, 10, &[], NOW + 60)).unwrap_err(), Denied::NeedsLease);
    tables.write(&mut Stored::default(), Close::Idle, NOW + 60);
    assert!(tables.table().reserve(&wish(of, 10, &[], NOW + 60)).is_ok());
}

#[test]
fn what_has_no_price_needs_no_books() {
    let mut tables = Tables::new(4, 1);
    let of = SumKey { currency: Currency::NONE, ..key(1, "one") };
    let unpriced = Wish { most: None, ..wish(of, 0, &[], NOW) };
    let held = tables.table().reserve(&unpriced).unwrap();
    let elsewhere = Wish { entry: entry(key(2, "one"), NOW), ..unpriced };
    assert_eq!(tables.table().reserve(&elsewhere).unwrap_err(), Denied::NoRoom);
    tables.table().settle(&held, (&bill(0), &FieldCounts::NONE), HoldChange::default(), NOW);
    let record = tables.table().record((1, 2), Close::Idle, NOW);
    assert_eq!(record.entries[0].1.requests, 1);
    tables.table().recorded(&record);
    assert!(tables.table().reserve(&elsewhere).is_ok());
}

proptest! {
    /// Whenever the server is killed: what the tables have, with the lease, is never less than what was spent or could have been,
    /// and that is never more than the budget.
    #[test]
    fn a_crash_at_any_time_forgets_nothing(
        events in proptest::collection::vec((0_u8..5, 0_i64..=300), 1..300),
        budget in 300_i64..20_000,
    ) {
        let mut tables = Tables::new(8, 8);
        let of = key(1, "one");
        ready(&mut tables, of);
        let limits = [Limit { sum: 3, period: Period::Total, amount: Amount(budget) }];
        let (mut stored, mut spent, mut open) = (Stored::default(), Amount::ZERO, Vec::new());
        // A record that is not durable yet.
        let mut pending: Option<(Record, Stored)> = None;
        for (event, cost) in events {
            match event {
                0 | 1 => {
                    if let Ok(held) = tables.table().reserve(&wish(of, 300, &limits, NOW)) {
                        open.push(held);
                    }
                }
                2 => if let Some(held) = open.pop() {
                    tables.table().settle(&held, (&bill(cost), &FieldCounts::NONE), HoldChange::default(), NOW);
                    spent = spent.plus(Amount(cost));
                },
                3 if pending.is_none() => {
                    let close = if cost < 100 { Close::Unused } else { Close::Idle };
                    let record = tables.table().record((1, 2), close, NOW);
                    let added: Amount = record.entries.iter().map(|(_, counts)| counts.cost).sum();
                    let lease = record.leases.last().map_or(stored.lease, |(_, lease)| *lease);
                    pending = Some((record, Stored { spent: stored.spent.plus(added), lease }));
                }
                _ => if let Some((record, written)) = pending.take() {
                    // A third of them fail.
                    if cost >= 100 {
                        stored = written;
                        tables.table().recorded(&record);
                    }
                },
            }
            let possible = spent.plus(Amount(300).times(open.len() as u64));
            let known = stored.spent.plus(stored.lease);
            prop_assert!(possible <= known, "{possible} of which the tables know {known}");
            if let Some((_, written)) = &pending {
                let known = written.spent.plus(written.lease);
                prop_assert!(possible <= known, "{possible}, and the tables would know {known}");
            }
            prop_assert!(possible <= Amount(budget));
        }
    }
}

#[test]
fn with_little_left_one_question_at_a_time_is_handed_in() {
    let mut tables = Tables::new(16, 16);
    let of = key(1, "one");
    ready(&mut tables, of);
    let _ = tables.table().reserve(&wish(of, 10, &[], NOW));
    tables.write(&mut Stored::default(), Close::Idle, NOW);
    let limit = [Limit { sum: 0, period: Period::Day, amount: Amount(100) }];
    let hand_in = Wish { polls: Amount(500), ..wish(of, 10, &limit, NOW) };
    let held = tables.table().reserve(&hand_in).expect("there is no other");
    assert_eq!(tables.table().reserve(&hand_in).unwrap_err(), Denied::Budget(0));
    let holds = HoldChange { new_polls: Amount(500), ..HoldChange::default() };
    tables.table().settle(&held, (&bill(10), &FieldCounts::NONE), holds, NOW);
    assert_eq!(tables.table().reserve(&wish(of, 1, &limit, NOW)).unwrap_err(), Denied::Budget(0));
    let fetch = Wish { fetches: true, ..wish(of, 90, &limit, NOW) };
    let fetched = tables.table().reserve(&fetch).expect("all that is left is for its polls");
    let over = HoldChange { over_polls: Amount(500), ..HoldChange::default() };
    tables.table().settle(&fetched, (&bill(20), &FieldCounts::NONE), over, NOW);
    // 30 are used, and that is too much for 500, too.
    tables.table().reserve(&hand_in).expect("there is no other again");
}
