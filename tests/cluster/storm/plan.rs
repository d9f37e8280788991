//! What everybody does in a storm, made from the seed alone.

use uuid::Uuid;

use super::SESSIONS;

/// Contacts of each side.
pub const CONTACTS: u64 = 100;

/// SplitMix64: the same seed and stream give the same numbers everywhere.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64, stream: u64) -> Dice {
        let mut dice = Dice(seed ^ stream.wrapping_mul(0xA24B_AED4_963E_E407));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.next() % sides
    }

    pub fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// Two workspaces with a table and a role each: one is short of credits, the other near its rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    Short,
    Metered,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::Short, Side::Metered];

    pub fn of(session: usize) -> Side {
        Side::BOTH[session % 2]
    }

    pub fn table(self) -> &'static str {
        ["crm", "theirs"][self as usize]
    }

    pub fn role(self) -> &'static str {
        ["caller", "rival"][self as usize]
    }

    pub fn domain(self) -> &'static str {
        ["acme.example", "rival.example"][self as usize]
    }
}

#[derive(Clone, Debug)]
pub struct Call {
    pub contact: i32,
    pub fields: Option<&'static str>,
    pub overwrite: bool,
    pub key: Option<Uuid>,
    /// By the form that returns errors instead of raising them.
    pub trying: bool,
}

#[derive(Clone, Debug)]
pub enum Step {
    Call(Call),
    /// A savepoint with steps after it, released or rolled back to.
    Savepoint {
        steps: Vec<Step>,
        keep: bool,
    },
    /// A call in a PL/pgSQL block with an exception handler; `fail`: the block raises after the call.
    Block {
        call: Call,
        fail: bool,
    },
    Grant {
        amount: i64,
    },
    /// A person empties two fields and changes the e-mail address, so that there is a new question to ask.
    Edit {
        contact: i32,
    },
}

#[derive(Clone, Debug)]
pub struct Transaction {
    pub isolation: &'static str,
    pub timeout_ms: u64,
    pub fill: bool,
    pub reconnect: bool,
    pub steps: Vec<Step>,
    pub commit: bool,
}

/// The transactions of one session, in order.
pub fn of_session(seed: u64, session: usize, count: usize) -> Vec<Transaction> {
    let mut dice = Dice::new(seed, session as u64 + 1);
    (0..count).map(|_| transaction(&mut dice, Side::of(session))).collect()
}

fn transaction(dice: &mut Dice, side: Side) -> Transaction {
    let isolation = match dice.roll(8) {
        0 => "REPEATABLE READ",
        1 => "SERIALIZABLE",
        _ => "READ COMMITTED",
    };
    let timeout_ms = if dice.one_in(8) { 1 + dice.roll(40) } else { 20_000 };
    let (fill, reconnect) = (dice.one_in(3), dice.one_in(90));
    let steps = (0..=dice.roll(3)).map(|_| step(dice, side, 0)).collect();
    Transaction { isolation, timeout_ms, fill, reconnect, steps, commit: !dice.one_in(5) }
}

fn step(dice: &mut Dice, side: Side, depth: usize) -> Step {
    match dice.roll(20) {
        0..=2 if depth < 2 => {
            let steps = (0..=dice.roll(2)).map(|_| step(dice, side, depth + 1)).collect();
            Step::Savepoint { steps, keep: dice.one_in(2) }
        }
        3 | 4 => Step::Block { call: call(dice, side), fail: dice.one_in(2) },
        // Corrections are never -1: that is what a charge looks like.
        5 => Step::Grant {
            amount: if dice.one_in(3) { -2 - dice.roll(5) as i64 } else { 1 + dice.roll(8) as i64 },
        },
        6 | 7 => Step::Edit { contact: contact(dice) },
        _ => Step::Call(call(dice, side)),
    }
}

fn contact(dice: &mut Dice) -> i32 {
    1 + dice.roll(CONTACTS) as i32
}

fn call(dice: &mut Dice, side: Side) -> Call {
    let contact = contact(dice);
    let fields = match dice.roll(6) {
        0 => Some("{phone}"),
        1 => Some("{job_title,location}"),
        2 => Some("{linkedin_url}"),
        _ => None,
    };
    let mut call = Call { contact, fields, overwrite: dice.one_in(8), key: None, trying: dice.one_in(4) };
    if dice.one_in(6) {
        // Few keys, so that duplicates meet. The last is used with different arguments.
        let number = dice.roll(3);
        call.key =
            Some(Uuid::from_u128((side as u128 + 1) << 96 | (contact as u128) << 8 | u128::from(number)));
        if number < 2 {
            (call.fields, call.overwrite) = (None, false);
        }
    }
    call
}

/// What is done to the sessions from outside.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Cancel(usize),
    Terminate(usize),
    /// The metered workspace's limit goes up.
    RaiseLimit,
    /// The worker is asked to leave.
    StopWorker,
    /// Nothing can be written to the receipts for so long that the worker gives up and tries again later.
    LockReceipts,
    KillBackend(usize),
    KillWorker,
    KillLauncher,
    Immediate,
}

/// How many, and what a number of a session makes of it.
pub type Kind = (usize, fn(usize) -> Fault);

/// Each fault with the number of transactions begun at which it falls.
pub fn faults(seed: u64, transactions: usize, kinds: &[Kind]) -> Vec<(usize, Fault)> {
    let mut dice = Dice::new(seed, 1_000);
    let mut faults = Vec::new();
    for (count, kind) in kinds {
        // Spread evenly, and over before the sessions are.
        let share = transactions * 9 / 10 / count;
        for number in 0..*count {
            let at = number * share + dice.roll(share as u64) as usize;
            faults.push((at, kind(dice.roll(SESSIONS as u64) as usize)));
        }
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}
