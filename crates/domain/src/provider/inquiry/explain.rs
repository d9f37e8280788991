//! For somebody who tries a description out: what an answer comes to, in words.

use super::Inquiry;
use crate::provider::response::Reading;
use crate::provider::{Answer, Config, Explanation, Whom};

impl Inquiry {
    /// See [`Config::explain`]: of the step whose request is next, so to be asked before [`Inquiry::take`].
    pub fn explain(&self, config: &Config, answer: &Answer) -> Explanation {
        let explained = self.present(config).response.explain(answer);
        if !config.has_steps() {
            return explained;
        }
        let place = format!("steps/{}/response/", self.step);
        Explanation { why: explained.why.replace("response/", &place), ..explained }
    }

    /// For somebody who tries the description out: why the answer of this step adds nothing to what earlier ones supplied.
    /// `None`: it adds something, or is no match and no other person. To be asked before [`Inquiry::take`].
    pub fn adds_nothing(&self, config: &Config, answer: &Answer, whom: &Whom, now: i64) -> Option<String> {
        match self.present(config).read(answer, now, whom).0 {
            Reading::NoMatch => Some(self.explain(config, answer).why),
            Reading::OtherPerson(_) => {
                Some("the answer is about another person than the contact (same_person)".to_owned())
            }
            _ => None,
        }
    }
}
