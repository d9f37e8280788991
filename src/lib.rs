//! leadlex_enrich: fill in contacts from paid data providers, from inside a Postgres transaction.
//!
//! The crate `leadlex-domain` has the rules, `leadlex-net` speaks HTTP, and `pg` is everything that touches Postgres. Arrows
//! point one way: pg → net → domain.

mod pg;

::pgrx::pg_module_magic!();

::pgrx::extension_sql_file!("../sql/00_library.sql", name = "library", bootstrap);
::pgrx::extension_sql_file!("../sql/10_tables.sql", name = "tables", requires = ["library"]);
::pgrx::extension_sql_file!("../sql/11_money.sql", name = "money_tables", requires = ["tables"]);
::pgrx::extension_sql_file!("../sql/12_events.sql", name = "events", requires = ["money_tables"]);
::pgrx::extension_sql_file!("../sql/13_quality.sql", name = "quality_tables", requires = ["events"]);
::pgrx::extension_sql_file!("../sql/14_access.sql", name = "access_tables", requires = ["quality_tables"]);
::pgrx::extension_sql_file!("../sql/14_usage.sql", name = "usage_tables", requires = ["access_tables"]);
::pgrx::extension_sql_file!("../sql/15_tickets.sql", name = "tickets", requires = ["usage_tables"]);
::pgrx::extension_sql_file!("../sql/16_job_tables.sql", name = "job_tables", requires = ["tickets"]);
::pgrx::extension_sql_file!("../sql/20_calls.sql", name = "calls", requires = ["job_tables"]);
::pgrx::extension_sql_file!("../sql/21_functions.sql", name = "functions", requires = ["calls"]);
::pgrx::extension_sql_file!("../sql/22_many.sql", name = "many", requires = ["functions"]);
::pgrx::extension_sql_file!("../sql/23_money.sql", name = "money", requires = ["many"]);
::pgrx::extension_sql_file!("../sql/24_control.sql", name = "control", requires = ["money"]);
::pgrx::extension_sql_file!("../sql/24_status.sql", name = "status", requires = ["control"]);
::pgrx::extension_sql_file!("../sql/25_quality.sql", name = "quality", requires = ["status"]);
::pgrx::extension_sql_file!("../sql/26_access.sql", name = "access", requires = ["quality"]);
::pgrx::extension_sql_file!("../sql/26_usage.sql", name = "usage", requires = ["access"]);
::pgrx::extension_sql_file!("../sql/27_replicas.sql", name = "replicas", requires = ["usage"]);
::pgrx::extension_sql_file!("../sql/29_job_views.sql", name = "job_views", requires = ["replicas"]);
::pgrx::extension_sql_file!("../sql/30_views.sql", name = "views", requires = ["job_views"], finalize);

#[::pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pg::init();
}
