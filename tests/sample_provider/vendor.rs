//! What the two vendors answer.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{self, Handler, Next, Request, Response};

use super::people::{People, Phones, Question};

const PHONE_COST_EUR: &str = "0.25";

/// Both vendors. They know the same key, and answer after the same time.
pub struct Vendor {
    pub people: People,
    pub phones: Phones,
    pub key: String,
    pub delay: Duration,
}

impl Handler for Vendor {
    fn handle(&self, request: Request, stream: &mut TcpStream) -> io::Result<Next> {
        std::thread::sleep(self.delay);
        http::answer(stream, &self.respond(&request))
    }
}

impl Vendor {
    fn respond(&self, request: &Request) -> Response {
        match request.path.as_str() {
            "/v5/person/enrich" => self.person(request),
            "/v1/phone" => self.phone(request),
            _ => refusal(404, "not_found", "There is no such endpoint"),
        }
    }

    /// In the words of the preset `generic`.
    fn phone(&self, request: &Request) -> Response {
        if request.header("authorization") != Some(format!("Bearer {}", self.key).as_str()) {
            return Response::json(401, &json!({"message": "the key is missing or wrong"}));
        }
        match request.param("email").and_then(|email| self.phones.of(email)) {
            Some(phone) => {
                let body = json!({"phone": phone, "confidence": 0.9});
                Response::json(200, &body).with_header("X-Cost-Eur", PHONE_COST_EUR)
            }
            None => Response::json(404, &json!({"message": "unknown"})),
        }
    }

    fn person(&self, request: &Request) -> Response {
        if request.method != "GET" {
            return refusal(405, "invalid_request_error", "Only GET is supported here");
        }
        if request.header("x-api-key").or(request.param("api_key")) != Some(self.key.as_str()) {
            return refusal(401, "authentication_error", "Request contained a missing or invalid key");
        }
        let question = Question::from(request);
        if !question.identifies() {
            let message = "Send email, phone or profile, or name together with company or location";
            return refusal(400, "invalid_request_error", message);
        }
        match self.people.find(&question) {
            Some(person) => Response::json(200, &person).with_header("X-Call-Credits-Spent", "1"),
            None => refusal(404, "not_found", "No records were found matching your request"),
        }
    }
}

fn refusal(status: u16, kind: &str, message: &str) -> Response {
    let body: Value = json!({"status": status, "error": {"type": kind, "message": message}});
    Response::json(status, &body)
}
