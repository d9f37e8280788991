//! What a session is told beside its results: NOTICE, WARNING and the like.

use std::sync::{Arc, Mutex};

use postgres::{Client, Config, NoTls};

#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// `NOTICE`, `WARNING`, ….
    pub severity: String,
    pub sqlstate: String,
    pub message: String,
    /// Empty where there is none.
    pub detail: String,
    pub hint: Option<String>,
    pub constraint: Option<String>,
    pub column: Option<String>,
}

/// The notices of one session, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Notices(Arc<Mutex<Vec<Notice>>>);

impl Notices {
    /// Connects, and keeps what the session is told.
    pub fn connect(config: &mut Config) -> (Client, Notices) {
        let notices = Notices::default();
        let sink = Arc::clone(&notices.0);
        config.notice_callback(move |notice| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            sink.lock().unwrap().push(Notice {
                severity: notice.severity().to_owned(),
                sqlstate: notice.code().code().to_owned(),
                message: notice.message().to_owned(),
                detail: text(notice.detail()).unwrap_or_default(),
                hint: text(notice.hint()),
                constraint: text(notice.constraint()),
                column: text(notice.column()),
            });
        });
        (config.connect(NoTls).unwrap(), notices)
    }

    pub fn all(&self) -> Vec<Notice> {
        self.0.lock().unwrap().clone()
    }

    /// All, which are forgotten.
    pub fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    pub fn messages(&self) -> Vec<String> {
        self.all().into_iter().map(|notice| notice.message).collect()
    }

    /// The messages of those that are warnings.
    pub fn warnings(&self) -> Vec<String> {
        let warnings = self.all().into_iter().filter(|notice| notice.severity == "WARNING");
        warnings.map(|notice| notice.message).collect()
    }
}
