//! What fired a trigger of ours: which rows of a bound table are new, and whose they are.

use crate::pg::sys::role;
use crate::pg::table::own_writes;
use leadlex_domain::sqlstate;
use std::cell::{OnceCell, UnsafeCell};
use std::ffi::{CStr, c_char};

use pgrx::pg_sys;

use crate::pg::sys::raise::{PgError, refuse};
use crate::pg::sys::spi;
use crate::pg::table;
use crate::pg::table::Binding;
use leadlex_domain::fields::{Field, FieldSet};

/// Columns of a contact that providers may be asked with.
const ASKED_WITH: [&str; 9] = [
    "full_name",
    "first_name",
    "last_name",
    "email",
    "company_domain",
    "company_name",
    "linkedin_url",
    "phone",
    "location",
];

/// A contact that was inserted, or whose identifying columns were changed.
pub struct NewRow {
    pub id: String,
    /// Of its workspace column, where the table has one.
    pub workspace: Option<String>,
}

/// A trigger that is being run.
#[derive(Clone, Copy)]
pub struct Fired {
    data: *mut pg_sys::TriggerData,
}

impl Fired {
    /// 39P01 for a function that is called in another way, or as a trigger that it cannot be.
    ///
    /// # Safety
    /// `fcinfo` is that of the function being called.
    pub unsafe fn from(fcinfo: pg_sys::FunctionCallInfo, function: &str) -> Fired {
        // SAFETY: as promised by the caller; the context is looked at as TriggerData only if it is one.
        unsafe {
            let context = (*fcinfo).context;
            if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
                misused(format!("leadlex.{function} is a trigger function"), function);
            }
            let fired = Fired { data: context.cast() };
            fired.check(function);
            fired
        }
    }

    fn check(self, function: &str) {
        let event = self.event();
        let operation = event & pg_sys::TRIGGER_EVENT_OPMASK;
        if event & pg_sys::TRIGGER_EVENT_TIMINGMASK != pg_sys::TRIGGER_EVENT_AFTER {
            misused(
                format!("leadlex.{function} must be an AFTER trigger: before it there is no row yet"),
                function,
            );
        }
        if operation != pg_sys::TRIGGER_EVENT_INSERT && operation != pg_sys::TRIGGER_EVENT_UPDATE {
            misused(format!("leadlex.{function} is for INSERT and UPDATE"), function);
        }
        // SAFETY: a trigger's data is complete while it runs.
        if !self.for_each_row() && unsafe { (*self.data).tg_newtable.is_null() } {
            misused(format!("leadlex.{function} FOR EACH STATEMENT needs the new rows"), function);
        }
    }

    fn event(self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.data).tg_event }
    }

    /// Whether it is a row trigger.
    pub fn for_each_row(self) -> bool {
        self.event() & pg_sys::TRIGGER_EVENT_ROW != 0
    }

    /// Its oid in pg_trigger.
    pub fn trigger(self) -> pg_sys::Oid {
        // SAFETY: a trigger's data is complete while it runs.
        unsafe { (*(*self.data).tg_trigger).tgoid }
    }

    /// The table that the trigger is on.
    pub fn relation(self) -> pg_sys::Oid {
        // SAFETY: the relation is open while its trigger runs.
        unsafe { (*(*self.data).tg_relation).rd_id }
    }

    /// Whether the rows are rows of this table, too: it is the trigger's own, or that one is a partition or a child of it.
    pub fn is_of(self, table: pg_sys::Oid) -> bool {
        // SAFETY: as above; catalog look-ups for tables that may be gone.
        unsafe {
            let own = (*self.data).tg_relation;
            (*own).rd_id == table || table::is_part((*own).rd_id, table)
        }
    }

    /// Whether the rows are written by an enrichment: nobody is to be asked about them again because of that.
    pub fn is_by_us(self) -> bool {
        let writing = own_writes::relation();
        writing != 0 && self.is_of(writing.into())
    }

    /// The owner of the trigger's table.
    pub fn owner(self) -> pg_sys::Oid {
        // SAFETY: as above.
        unsafe { (*(*(*self.data).tg_relation).rd_rel).relowner }
    }

    /// Whether the role that writes has the rights of the table's owner anyway.
    pub fn is_by_an_equal(self) -> bool {
        is_equal(self.owner())
    }

    /// As the table's owner, see [`as_owner`].
    pub fn as_owner<R>(self, work: impl FnOnce() -> R) -> R {
        as_owner(self.owner(), work)
    }

    /// The arguments of CREATE TRIGGER, in their order; empty where there are none.
    pub fn arguments(self) -> Vec<String> {
        // SAFETY: tgargs has tgnargs texts.
        unsafe {
            let trigger = (*self.data).tg_trigger;
            let text = |i| CStr::from_ptr(*(*trigger).tgargs.add(i)).to_string_lossy().into_owned();
            (0..(*trigger).tgnargs as usize).map(text).collect()
        }
    }

    /// The rows about which somebody may have to be asked.
    pub fn rows(self, binding: &Binding, fields: &[Field]) -> Vec<NewRow> {
        let mut rows = self.rows_as_written(binding, fields);
        rows.iter_mut().for_each(|row| row.id = binding.respell(std::mem::take(&mut row.id)));
        rows
    }

    /// The row of a row trigger, if somebody may have to be asked about it; its key as this session writes it.
    pub fn row(self, reader: &Reader) -> Option<NewRow> {
        // SAFETY: the reader is that of this trigger, whose tuples have the columns of its table.
        unsafe {
            let data = &*self.data;
            let update = data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK == pg_sys::TRIGGER_EVENT_UPDATE;
            let slot = if update { data.tg_newslot } else { data.tg_trigslot };
            if update && !reader.0.differ(data.tg_trigslot, slot) {
                return None;
            }
            reader.0.row(slot)
        }
    }

    fn rows_as_written(self, binding: &Binding, fields: &[Field]) -> Vec<NewRow> {
        // SAFETY: the descriptor is that of the table, and so are the tuples of its triggers.
        unsafe {
            let data = &*self.data;
            let columns = Columns::of((*data.tg_relation).rd_att, binding, fields);
            if !self.for_each_row() {
                let descriptor = (*data.tg_relation).rd_att;
                return columns.of_tables(descriptor, data.tg_oldtable, data.tg_newtable);
            }
            self.row(&Reader(columns)).into_iter().collect()
        }
    }
}

/// Whether the role that writes has the rights of the owner of a table anyway.
fn is_equal(owner: pg_sys::Oid) -> bool {
    // SAFETY: a look-up of memberships.
    unsafe { pg_sys::has_privs_of_role(role::caller(), owner) }
}

/// As the owner of a trigger's table. Nothing that somebody with fewer rights could have put into his search_path is found then
/// by the owner's triggers; the queue's workers do the same.
pub fn as_owner<R>(owner: pg_sys::Oid, work: impl FnOnce() -> R) -> R {
    let is_equal = is_equal(owner);
    let work = || role::as_table_owner(owner, work);
    if is_equal {
        return work();
    }
    spi::with_settings(&[(c"search_path", c"pg_catalog, pg_temp")], work)
}

fn misused(message: String, function: &str) -> ! {
    refuse(PgError {
        sqlstate: sqlstate::TRIGGER_PROTOCOL_VIOLATED,
        message,
        detail: None,
        hint: Some(format!(
            "CREATE TRIGGER … AFTER INSERT ON … REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION leadlex.{function}(), or FOR EACH ROW without REFERENCING."
        )),
    })
}

/// Reads the rows of one row trigger as they come.
pub struct Reader(Columns);

impl Reader {
    /// `None`: the type of a column has a way of its own to be shown, which may fail, and must not outlive one row.
    pub fn of(fired: Fired, binding: &Binding, fields: FieldSet) -> Option<Reader> {
        let fields: Vec<Field> = fields.iter().collect();
        // SAFETY: the descriptor of the trigger's table.
        let columns = unsafe { Columns::of((*(*fired.data).tg_relation).rd_att, binding, &fields) };
        let are_plain = columns.all().all(Attribute::is_plain);
        are_plain.then_some(Reader(columns))
    }
}

/// Where a tuple has what we look at.
struct Columns {
    id: Option<Attribute>,
    workspace: Option<Attribute>,
    wanted: Vec<Attribute>,
    asked_with: Vec<Attribute>,
    /// What virtual ones of these are computed from: see `table::computed`.
    sources: Vec<Attribute>,
}

struct Attribute {
    /// From 1.
    number: i32,
    type_oid: pg_sys::Oid,
    /// How its type shows a value: looked up once, by the first value that there is.
    output: OnceCell<UnsafeCell<pg_sys::FmgrInfo>>,
}

impl Attribute {
    /// The common keys, without the detour by their type's function: a statement can bring a great many rows.
    ///
    /// # Safety
    /// A value of this attribute that is not NULL.
    unsafe fn plain(&self, value: pg_sys::Datum) -> Option<String> {
        match self.type_oid {
            pg_sys::INT8OID => Some((value.value() as i64).to_string()),
            pg_sys::INT4OID => Some((value.value() as i32).to_string()),
            pg_sys::UUIDOID => {
                // SAFETY: a uuid is passed by reference to its sixteen bytes, which need no alignment.
                let bytes = unsafe { value.cast_mut_ptr::<[u8; 16]>().read_unaligned() };
                Some(uuid::Uuid::from_bytes(bytes).to_string())
            }
            pg_sys::TEXTOID | pg_sys::VARCHAROID => {
                // SAFETY: a text or varchar; a copy is made only of what was compressed or moved out.
                unsafe {
                    let whole = value.cast_mut_ptr::<pg_sys::varlena>();
                    let text = pg_sys::pg_detoast_datum_packed(whole);
                    let owned = String::from_utf8_lossy(pgrx::varlena_to_byte_slice(text)).into_owned();
                    if text != whole {
                        pg_sys::pfree(text.cast());
                    }
                    Some(owned)
                }
            }
            _ => None,
        }
    }

    /// Whether [`Attribute::plain`] shows its values.
    fn is_plain(&self) -> bool {
        use pg_sys::{INT4OID, INT8OID, TEXTOID, UUIDOID, VARCHAROID};
        [INT8OID, INT4OID, UUIDOID, TEXTOID, VARCHAROID].contains(&self.type_oid)
    }

    /// # Safety
    /// The current memory context lives as long as this.
    unsafe fn output(&self) -> *mut pg_sys::FmgrInfo {
        let look_up = || {
            let (mut output, mut varlena) = (pg_sys::InvalidOid, false);
            let mut found = pg_sys::FmgrInfo::default();
            // SAFETY: catalog look-ups; what the callee allocates lives in the current memory context.
            unsafe {
                pg_sys::getTypeOutputInfo(self.type_oid, &mut output, &mut varlena);
                pg_sys::fmgr_info(output, &mut found);
            }
            UnsafeCell::new(found)
        };
        self.output.get_or_init(look_up).get()
    }
}

impl Columns {
    /// # Safety
    /// A descriptor and a current memory context that live as long as this.
    unsafe fn of(descriptor: pg_sys::TupleDesc, binding: &Binding, fields: &[Field]) -> Columns {
        // SAFETY: as promised by the caller.
        let column = |name: &str| unsafe {
            let number = number_of(descriptor, name)?;
            let type_oid = pg_sys::SPI_gettypeid(descriptor, number);
            Some(Attribute { number, type_oid, output: OnceCell::new() })
        };
        let attribute = |ours: &str| column(binding.columns.get(ours)?);
        let computed = binding.computed();
        Columns {
            id: attribute("id"),
            workspace: attribute("workspace_id"),
            wanted: fields.iter().filter_map(|field| attribute(field.name())).collect(),
            asked_with: ASKED_WITH.iter().filter_map(|name| attribute(name)).collect(),
            sources: computed.sources(binding, &ASKED_WITH).filter_map(column).collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Attribute> {
        let keys = self.id.iter().chain(&self.workspace);
        keys.chain(&self.wanted).chain(&self.asked_with).chain(&self.sources)
    }

    /// Of an UPDATE only rows in which something differs that providers are asked with, where both tables are at hand:
    /// Postgres notes old and new rows in pairs.
    unsafe fn of_tables(
        &self,
        descriptor: pg_sys::TupleDesc,
        old: *mut pg_sys::Tuplestorestate,
        new: *mut pg_sys::Tuplestorestate,
    ) -> Vec<NewRow> {
        // SAFETY: the stores belong to the query and outlive this.
        unsafe {
            let paired =
                !old.is_null() && pg_sys::tuplestore_tuple_count(old) == pg_sys::tuplestore_tuple_count(new);
            let before = paired.then(|| Scan::of(old, descriptor));
            let after = Scan::of(new, descriptor);
            let count = if old.is_null() { pg_sys::tuplestore_tuple_count(new) } else { 0 };
            let mut rows = Vec::with_capacity(count as usize);
            while after.next() {
                let differs = before.as_ref().is_none_or(|b| !b.next() || self.differ(b.slot, after.slot));
                if differs {
                    rows.extend(self.row(after.slot));
                }
                pgrx::check_for_interrupts!();
            }
            rows
        }
    }

    /// `None`: nothing is missing there, or it has no key.
    unsafe fn row(&self, slot: *mut pg_sys::TupleTableSlot) -> Option<NewRow> {
        // SAFETY: a slot of the descriptor.
        unsafe {
            let mut missing = self.wanted.iter();
            missing.find(|column| self.text(slot, column).is_none_or(|text| text.trim().is_empty()))?;
            let workspace = self.workspace.as_ref().and_then(|column| self.text(slot, column));
            Some(NewRow { id: self.text(slot, self.id.as_ref()?)?, workspace })
        }
    }

    /// Whether more, or something else, can be asked with. Who takes a value away does not want it back at once.
    unsafe fn differ(&self, old: *mut pg_sys::TupleTableSlot, new: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: slots of the descriptor.
        unsafe {
            self.asked_with.iter().any(|column| {
                let now = self.text(new, column).filter(|text| !text.trim().is_empty());
                now.is_some() && now != self.text(old, column)
            }) || self.sources.iter().any(|column| self.text(new, column) != self.text(old, column))
        }
    }

    /// As its type shows it; `None` for NULL.
    unsafe fn text(&self, slot: *mut pg_sys::TupleTableSlot, column: &Attribute) -> Option<String> {
        let number = column.number;
        // SAFETY: a slot of the descriptor, filled up to this attribute before it is read; the output is palloc'd.
        unsafe {
            if i32::from((*slot).tts_nvalid) < number {
                pg_sys::slot_getsomeattrs_int(slot, number);
            }
            let at = number as usize - 1;
            if *(*slot).tts_isnull.add(at) {
                return None;
            }
            let value = *(*slot).tts_values.add(at);
            if let Some(plain) = column.plain(value) {
                return Some(plain);
            }
            let text: *mut c_char = pg_sys::OutputFunctionCall(column.output(), value);
            let owned = CStr::from_ptr(text).to_string_lossy().into_owned();
            pg_sys::pfree(text.cast());
            Some(owned)
        }
    }
}

/// A reader of a transition table, with a place of its own in it: other triggers that read it select theirs again.
struct Scan {
    store: *mut pg_sys::Tuplestorestate,
    slot: *mut pg_sys::TupleTableSlot,
}

impl Scan {
    /// # Safety
    /// A store of tuples of this descriptor; both outlive this.
    unsafe fn of(store: *mut pg_sys::Tuplestorestate, descriptor: pg_sys::TupleDesc) -> Scan {
        // SAFETY: as promised by the caller.
        unsafe {
            let pointer = pg_sys::tuplestore_alloc_read_pointer(store, pg_sys::EXEC_FLAG_REWIND as i32);
            pg_sys::tuplestore_select_read_pointer(store, pointer);
            pg_sys::tuplestore_rescan(store);
            let slot = pg_sys::MakeSingleTupleTableSlot(descriptor, &pg_sys::TTSOpsMinimalTuple);
            Scan { store, slot }
        }
    }

    /// Puts the next tuple into the slot.
    unsafe fn next(&self) -> bool {
        // SAFETY: as promised when it was made.
        unsafe { pg_sys::tuplestore_gettupleslot(self.store, true, false, self.slot) }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        // While an error unwinds nothing may raise another: the abort frees the slot and its pin.
        if !std::thread::panicking() {
            // SAFETY: made by `of`, not used after.
            unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.slot) };
        }
    }
}

/// # Safety
/// A valid descriptor.
unsafe fn number_of(descriptor: pg_sys::TupleDesc, name: &str) -> Option<i32> {
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: a NUL-terminated name; system columns have numbers below 1.
    let number = unsafe { pg_sys::SPI_fnumber(descriptor, name.as_ptr()) };
    (number > 0).then_some(number)
}
