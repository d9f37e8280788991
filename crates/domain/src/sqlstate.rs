//! SQLSTATEs of Postgres, by their names in its manual (appendix A). Those of our own are in [`super::failure`].

/// Class 00: a NOTICE, which changes nothing.
pub const SUCCESS: &str = "00000";
/// Class 01: a WARNING, after which the statement goes on.
pub const WARNING: &str = "01000";
/// Class 0A: Postgres has the feature, and it cannot be used with the extension (PREPARE TRANSACTION).
pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
/// Class 21: several rows of a contact table have the same key.
pub const CARDINALITY_VIOLATION: &str = "21000";
/// Class 22, data exception: a text is longer than its column allows.
pub const STRING_DATA_RIGHT_TRUNCATION: &str = "22001";
/// Class 22, data exception: a number is larger than its type or limit allows.
pub const NUMERIC_VALUE_OUT_OF_RANGE: &str = "22003";
/// Class 22, data exception: an argument or setting has a value that is not allowed.
pub const INVALID_PARAMETER_VALUE: &str = "22023";
pub const NOT_NULL_VIOLATION: &str = "23502";
pub const FOREIGN_KEY_VIOLATION: &str = "23503";
pub const UNIQUE_VIOLATION: &str = "23505";
pub const CHECK_VIOLATION: &str = "23514";
pub const EXCLUSION_VIOLATION: &str = "23P01";
/// Class 25: the call came during a parallel operation.
pub const INVALID_TRANSACTION_STATE: &str = "25000";
/// Class 25: the call would write in a transaction that cannot write.
pub const READ_ONLY_SQL_TRANSACTION: &str = "25006";
/// Class 27: a statement or trigger would change a row that an outer call or the same statement changes.
pub const TRIGGERED_DATA_CHANGE_VIOLATION: &str = "27000";
/// Class 2B: something is still in use by others, such as a workspace by tables that are bound to it.
pub const DEPENDENT_OBJECTS_STILL_EXIST: &str = "2BP01";
/// Class 2D: a procedure was to commit where it cannot (in a transaction block or a function).
pub const INVALID_TRANSACTION_TERMINATION: &str = "2D000";
/// Class 39, external routine invocation: a trigger function was attached to the wrong kind of trigger.
pub const TRIGGER_PROTOCOL_VIOLATED: &str = "39P01";
/// Class 40, transaction rollback: a concurrent change was in the way; the same transaction can succeed
/// later.
pub const SERIALIZATION_FAILURE: &str = "40001";
pub const DEADLOCK_DETECTED: &str = "40P01";
pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
pub const UNDEFINED_COLUMN: &str = "42703";
pub const DATATYPE_MISMATCH: &str = "42804";
/// Class 42: the object exists, and is of a kind that cannot be used so (a view as contact table).
pub const WRONG_OBJECT_TYPE: &str = "42809";
pub const UNDEFINED_TABLE: &str = "42P01";
/// Class 53: the server has too little of something, such as file descriptors.
pub const INSUFFICIENT_RESOURCES: &str = "53000";
pub const OUT_OF_MEMORY: &str = "53200";
/// Class 53: a limit that a setting gives is reached, such as leadlex.max_workspaces.
pub const CONFIGURATION_LIMIT_EXCEEDED: &str = "53400";
/// Class 54: a limit of Postgres itself is reached, such as the size of an index entry.
pub const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
/// Class 55: something has to be set up or to happen first.
pub const OBJECT_NOT_IN_PREREQUISITE_STATE: &str = "55000";
/// Class 55: a lock was not granted in time (`lock_timeout`) or at once (`NOWAIT`).
pub const LOCK_NOT_AVAILABLE: &str = "55P03";
/// Class 57, operator intervention: a statement was cancelled, by a user or by a time limit.
pub const QUERY_CANCELED: &str = "57014";
