//! A vendor that answers later: one submits, keeps an id, and asks until it is ready.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Behaviour, Provider};
use crate::world::{Beginning, World};

pub const SUBMIT: &str = "/jobs";
pub const POLL: &str = "/job";

/// What the vendor knows of what was handed in.
#[derive(Default)]
struct Jobs {
    /// When each question was handed in.
    times: Vec<Instant>,
    /// By the e-mail address that was asked about.
    handed_in: HashMap<String, usize>,
    /// By id: who it is about, how often it was asked for, and since when it is there.
    jobs: HashMap<String, (String, usize, Instant)>,
}

/// The vendor's side of a [`World`], whose provider `main` asks it.
#[derive(Clone)]
pub struct Slow {
    jobs: Arc<Mutex<Jobs>>,
    next: Arc<AtomicUsize>,
    /// So many polls find that it is not ready; or it is ready after this time.
    pub ready: Ready,
}

#[derive(Clone, Copy, Debug)]
pub enum Ready {
    AfterPolls(usize),
    After(Duration),
}

impl Slow {
    pub fn new(ready: Ready) -> Slow {
        Slow { jobs: Arc::default(), next: Arc::default(), ready }
    }

    /// Answers at [`SUBMIT`] and [`POLL`].
    pub fn play(&self, provider: &Provider) {
        let slow = self.clone();
        provider.on(SUBMIT, move |request| Behaviour::json(202, slow.submit(request.param("email"))));
        let slow = self.clone();
        provider.on(POLL, move |request| slow.poll(request.param("id").unwrap_or_default()));
    }

    /// What it says of a question that is handed in.
    pub fn submit(&self, email: Option<&str>) -> Value {
        let email = email.unwrap_or_default().to_owned();
        let id = format!("job-{}", self.next.fetch_add(1, Ordering::SeqCst));
        let mut jobs = self.jobs.lock().unwrap();
        *jobs.handed_in.entry(email.clone()).or_default() += 1;
        jobs.times.push(Instant::now());
        jobs.jobs.insert(id.clone(), (email, 0, Instant::now()));
        json!({"id": id, "title": "General Counsel"})
    }

    pub fn poll(&self, id: &str) -> Behaviour {
        let mut jobs = self.jobs.lock().unwrap();
        let Some((email, polls, since)) = jobs.jobs.get_mut(id) else {
            return Behaviour::json(404, json!({"error": "no such job"}));
        };
        *polls += 1;
        let ready = match self.ready {
            Ready::AfterPolls(pending) => *polls > pending,
            Ready::After(time) => since.elapsed() >= time,
        };
        match ready {
            true => Behaviour::json(200, json!({"status": "done", "data": {"phone": phone(email)}})),
            false => Behaviour::json(200, json!({"status": "running"})),
        }
    }

    /// Questions that were handed in, in all.
    pub fn submissions(&self) -> usize {
        self.jobs.lock().unwrap().handed_in.values().sum()
    }

    /// The same since then.
    pub fn submissions_since(&self, then: Instant) -> usize {
        self.jobs.lock().unwrap().times.iter().filter(|time| **time >= then).count()
    }

    /// The most that one question was handed in.
    pub fn most_of_one(&self) -> usize {
        self.jobs.lock().unwrap().handed_in.values().copied().max().unwrap_or_default()
    }

    /// Of which it knows nothing any more.
    pub fn lose_all(&self) {
        self.jobs.lock().unwrap().jobs.clear();
    }
}

/// What it answers about whom.
pub fn phone(email: &str) -> String {
    let digits: String = email.chars().filter(char::is_ascii_digit).collect();
    format!("+1555010{:0>4}", digits)
}

/// A description of that vendor.
pub fn config(provider: &Provider, more: Value) -> Value {
    let mut config = json!({
        "identify_by": [["email"]],
        "poll_every_s": 1,
        "poll_for_s": 60,
        "steps": [
            {
                "request": {"method": "POST", "url": provider.url(SUBMIT), "query": {"email": "{email}"},
                            "headers": {"X-Api-Key": "{secret}"}},
                "response": {"pending": {"status": []}},
                "take": {"ticket": "/id"}
            },
            {
                "request": {"url": provider.url(POLL), "query": {"id": "{ticket}"}, "headers": {"X-Api-Key": "{secret}"}},
                "response": {
                    "pending": {"body": [{"pointer": "/status", "in": ["running"]}]},
                    "ticket_unknown": {"status": [404]},
                    "fields": {"phone": "/data/phone"}
                }
            }
        ]
    });
    for (name, value) in more.as_object().cloned().unwrap_or_default() {
        config[name] = value;
    }
    config
}

/// The same, where what is handed in is answered with a job title at once.
pub fn with_title(provider: &Provider, more: Value) -> Value {
    let mut config = config(provider, more);
    config["steps"][0]["response"]["fields"] = json!({"job_title": "/title"});
    config
}

/// A world whose only provider is that vendor.
pub fn world_with(ready: Ready, more: Value, beginning: &Beginning) -> (World, Slow) {
    let world = World::with(beginning);
    let slow = Slow::new(ready);
    slow.play(&world.provider);
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &config(&world.provider, more));
    (world, slow)
}

pub fn world(ready: Ready, more: Value) -> (World, Slow) {
    world_with(ready, more, &Beginning::default())
}
