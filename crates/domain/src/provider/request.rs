//! A request with places for values: how it is written out for one person.

use serde_json::{Map, Value};

use super::exchange::{HttpRequest, Method};
use super::placeholder::Placeholder;
use super::taken::Taken;
use super::template::{self, Encoding, Template};
use super::url::UrlTemplate;
use super::values::Values;
use super::wanted::Wanted;

/// The request of a step or login, checked and taken apart once.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestTemplate {
    pub method: Method,
    pub url: UrlTemplate,
    pub query: Vec<(String, Param)>,
    pub headers: Vec<(String, Template)>,
    pub body: Option<Body>,
}

/// The value of a parameter of the query.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    /// Of several the first that can be filled: what a vendor takes in one of several forms.
    First(Vec<Template>),
    /// Joined by commas.
    Wanted(Wanted),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Json(BodyNode),
    /// `a={x}&b={y}`: a pair whose placeholder is empty is left out.
    Form(Vec<Template>),
    /// Any other text: it is one piece, so an empty placeholder gives empty text.
    Text {
        text: Template,
        encoding: Encoding,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum BodyNode {
    Literal(Value),
    Text(Template),
    Wanted(Wanted),
    /// Of a request about several contacts: what stands there for each of them.
    Each(Box<BodyNode>),
    List(Vec<BodyNode>),
    Object(Vec<(String, BodyNode)>),
}

impl RequestTemplate {
    /// The request for these values; `None`: the path of its URL cannot be filled.
    pub fn render(&self, values: &Values<'_>) -> Option<HttpRequest> {
        let url = self.render_url(values)?;
        let headers = self
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.render(values, Encoding::Header)?)))
            .collect();
        let body = self.body.as_ref().map(|body| body.render(values));
        let secret = values.secret.map(str::to_owned);
        let tokens = values.login.into_iter().flat_map(|login| login.iter().map(|(_, value)| value));
        let request = HttpRequest::new(self.method, url, headers, body, secret).hiding(tokens);
        let password = request.basic_password();
        Some(request.hiding(password.as_deref().into_iter()))
    }

    fn render_url(&self, values: &Values<'_>) -> Option<String> {
        let mut url = self.url.render_path(values)?;
        let mut sign = '?';
        for pair in self.url.query() {
            let before = url.len();
            url.push(sign);
            match pair.render_onto(&mut url, values, Encoding::Percent) {
                true => sign = '&',
                false => url.truncate(before),
            }
        }
        for (name, value) in &self.query {
            let Some(text) = value.render(values) else { continue };
            url.push(std::mem::replace(&mut sign, '&'));
            url.push_str(name);
            url.push('=');
            // The literal part of a query value is encoded too, unlike that of the URL itself.
            template::push_percent_encoded(&mut url, &text);
        }
        Some(url)
    }

    /// Whether the path of its URL can be filled.
    pub fn has_path(&self, values: &Values<'_>) -> bool {
        self.url.render_path(values).is_some()
    }

    /// Whether it would hold anything that says whom it is about: something known of the contact, or what a step took.
    pub fn tells_whom(&self, values: &Values<'_>) -> bool {
        self.url.is_told(values)
            || self.query.iter().any(|(_, value)| value.is_told(values))
            || self.headers.iter().any(|(_, value)| value.is_told(values))
            || self.body.as_ref().is_some_and(|body| body.is_told(values))
    }

    /// Whether it would hold a name.
    pub fn tells_a_name(&self, values: &Values<'_>) -> bool {
        let known =
            |template: &Template, name: Placeholder| template.uses(name) && values.get(name).is_some();
        if let Some(Body::Text { text, .. }) = &self.body
            && Placeholder::NAMES.into_iter().any(|name| known(text, name))
        {
            return true;
        }
        let named = |template: &Template| Placeholder::NAMES.into_iter().any(|name| known(template, name));
        self.templates().into_iter().any(|template| named(template) && template.is_told(values))
    }

    /// All texts with places for values.
    pub fn templates(&self) -> Vec<&Template> {
        let pairs = self.query.iter().flat_map(|(_, value)| value.templates());
        let headers = self.headers.iter().map(|(_, template)| template);
        let mut found: Vec<&Template> = self.url.templates().chain(pairs).chain(headers).collect();
        if let Some(Body::Json(node)) = &self.body {
            node.walk(&mut |node| {
                if let BodyNode::Text(template) = node {
                    found.push(template);
                }
            });
        }
        match &self.body {
            None | Some(Body::Json(_)) => {}
            Some(Body::Form(pairs)) => found.extend(pairs),
            Some(Body::Text { text, .. }) => found.push(text),
        }
        found
    }

    /// Its address, and what else of it has a place for something taken, with these values in their places and whatever else
    /// is filled in left open.
    pub fn with_taken(&self, taken: &Taken) -> Vec<String> {
        let of_address = self.url.templates();
        let others = self.templates().into_iter().skip(self.url.templates().count());
        of_address
            .chain(others.filter(|template| template.uses_taken()))
            .map(|t| t.with_taken(taken))
            .collect()
    }

    /// The names of what is taken that its headers have a place for.
    pub fn taken_in_headers(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().flat_map(|(_, value)| value.names_taken())
    }

    /// What stands in its body for each contact; `None`: it is about one alone.
    pub fn each(&self) -> Option<&BodyNode> {
        let Some(Body::Json(node)) = &self.body else { return None };
        let mut found = None;
        node.walk(&mut |node| {
            if let BodyNode::Each(each) = node {
                found = Some(&**each);
            }
        });
        found
    }

    /// What in it depends on the fields that are wanted.
    pub fn wanted(&self) -> Vec<&Wanted> {
        let in_query = self.query.iter().filter_map(|(_, value)| match value {
            Param::Wanted(wanted) => Some(wanted),
            Param::First(_) => None,
        });
        let mut found: Vec<&Wanted> = in_query.collect();
        if let Some(Body::Json(node)) = &self.body {
            node.walk(&mut |node| {
                if let BodyNode::Wanted(wanted) = node {
                    found.push(wanted);
                }
            });
        }
        found
    }
}

impl RequestTemplate {
    /// The same, but for what stands in `each`.
    pub fn wanted_of_all(&self, found: &mut Vec<Wanted>) {
        found.extend(self.query.iter().filter_map(|(_, value)| match value {
            Param::Wanted(wanted) => Some(wanted.clone()),
            Param::First(_) => None,
        }));
        if let Some(Body::Json(node)) = &self.body {
            node.wanted_of_all(found);
        }
    }
}

impl Param {
    fn templates(&self) -> &[Template] {
        match self {
            Param::First(templates) => templates,
            Param::Wanted(_) => &[],
        }
    }

    /// Whether the one that is written out tells something of the contact.
    fn is_told(&self, values: &Values<'_>) -> bool {
        match self.templates() {
            [] => false,
            [only] => only.is_told(values),
            several => {
                several.iter().find(|text| text.is_filled(values)).is_some_and(|text| text.is_told(values))
            }
        }
    }

    fn render(&self, values: &Values<'_>) -> Option<String> {
        match self {
            Param::First(templates) => templates.iter().find_map(|text| text.render(values, Encoding::Plain)),
            Param::Wanted(wanted) => {
                let words = wanted.words(values.wanted);
                (!words.is_empty()).then(|| words.join(","))
            }
        }
    }
}

impl Body {
    fn render(&self, values: &Values<'_>) -> Vec<u8> {
        match self {
            Body::Json(node) => {
                let empty = || match node {
                    BodyNode::List(_) => Value::Array(Vec::new()),
                    _ => Value::Object(Map::new()),
                };
                node.render(values).unwrap_or_else(empty).to_string().into_bytes()
            }
            Body::Form(pairs) => {
                let pairs: Vec<String> =
                    pairs.iter().filter_map(|pair| pair.render(values, Encoding::Percent)).collect();
                pairs.join("&").into_bytes()
            }
            Body::Text { text, encoding } => text.render_all(values, *encoding).into_bytes(),
        }
    }

    fn is_told(&self, values: &Values<'_>) -> bool {
        match self {
            Body::Json(node) => node.is_told(values),
            Body::Form(pairs) => pairs.iter().any(|pair| pair.is_told(values)),
            Body::Text { text, .. } => text.is_told_in_part(values),
        }
    }
}

impl BodyNode {
    /// None for a text whose placeholder is empty, and for a list or object of which that leaves nothing: such a member
    /// or element is left out.
    pub fn render(&self, values: &Values<'_>) -> Option<Value> {
        Some(match self {
            BodyNode::Literal(value) => value.clone(),
            BodyNode::Text(template) => Value::String(template.render(values, Encoding::Plain)?),
            BodyNode::Wanted(wanted) => {
                let words = wanted.words(values.wanted);
                if words.is_empty() {
                    return None;
                }
                words.into_iter().map(Value::from).collect()
            }
            BodyNode::Each(_) => Value::Array(values.each.to_vec()),
            BodyNode::List(items) => {
                let kept = items.iter().filter(|item| !item.is_hollow(values));
                let rendered: Vec<Value> = kept.filter_map(|item| item.render(values)).collect();
                if rendered.is_empty() && !items.is_empty() {
                    return None;
                }
                Value::Array(rendered)
            }
            BodyNode::Object(members) => {
                let rendered: Map<String, Value> = members
                    .iter()
                    .filter_map(|(name, member)| Some((name.clone(), member.render(values)?)))
                    .collect();
                if rendered.is_empty() && !members.is_empty() {
                    return None;
                }
                Value::Object(rendered)
            }
        })
    }

    fn wanted_of_all(&self, found: &mut Vec<Wanted>) {
        match self {
            BodyNode::Wanted(wanted) => found.push(wanted.clone()),
            BodyNode::List(items) => items.iter().for_each(|item| item.wanted_of_all(found)),
            BodyNode::Object(members) => members.iter().for_each(|(_, member)| member.wanted_of_all(found)),
            BodyNode::Literal(_) | BodyNode::Text(_) | BodyNode::Each(_) => {}
        }
    }

    /// An element that should tell something of the contact, and of which only constants are left.
    fn is_hollow(&self, values: &Values<'_>) -> bool {
        matches!(self, BodyNode::Object(_)) && self.tells() && !self.is_told(values)
    }

    /// Whether it has a place for something of a contact.
    pub fn tells(&self) -> bool {
        let mut tells = false;
        self.walk(&mut |node| tells |= matches!(node, BodyNode::Text(template) if template.tells()));
        tells
    }

    /// Whether something of a contact goes out with it.
    pub fn is_told(&self, values: &Values<'_>) -> bool {
        let mut told = false;
        self.walk(&mut |node| {
            told |= match node {
                BodyNode::Text(template) => template.is_told(values),
                BodyNode::Each(_) => !values.each.is_empty(),
                _ => false,
            }
        });
        told
    }

    /// Looks at it and at all that is in it.
    pub fn walk<'n>(&'n self, look: &mut dyn FnMut(&'n BodyNode)) {
        look(self);
        match self {
            BodyNode::Literal(_) | BodyNode::Text(_) | BodyNode::Wanted(_) => {}
            BodyNode::Each(each) => each.walk(look),
            BodyNode::List(items) => items.iter().for_each(|item| item.walk(look)),
            BodyNode::Object(members) => members.iter().for_each(|(_, member)| member.walk(look)),
        }
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
