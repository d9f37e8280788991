//! The URL of a request: scheme, host and port are fixed, path and query may hold placeholders.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::taken::Names;
use super::template::{Encoding, Part, Template};
use super::values::Values;

/// A URL of a description, checked and taken apart once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTemplate {
    /// `https://host:port`
    origin: String,
    segments: Vec<Template>,
    query: Vec<Template>,
}

impl UrlTemplate {
    /// As [`UrlTemplate::parse_with`], where nothing is taken.
    #[cfg(test)]
    pub fn parse(source: &str) -> Result<UrlTemplate, String> {
        UrlTemplate::parse_with(source, &Names::default())
    }

    /// Reads a complete `http://` or `https://` URL. `names`: what the login and earlier steps take. The error says what
    /// is wrong, as [`super::node::Node::error`] wants it.
    pub fn parse_with(source: &str, names: &Names) -> Result<UrlTemplate, String> {
        let (scheme, rest) =
            source.split_once("://").ok_or("must be a complete URL that begins with https:// or http://")?;
        if !["http", "https"].contains(&scheme) {
            return Err("must begin with https:// or http://".to_owned());
        }
        if rest.contains('#') {
            return Err("must not have a fragment (#…)".to_owned());
        }
        let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(authority_end);
        check_authority(authority)?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        Ok(UrlTemplate {
            origin: format!("{scheme}://{}", authority.to_ascii_lowercase()),
            segments: parse_path(path, names)?,
            query: query.map_or(Ok(Vec::new()), |query| parse_query(query, names))?,
        })
    }

    /// Scheme, host and port, the latter also where it is the scheme's own.
    pub fn origin(&self) -> String {
        let (scheme, authority) = self.origin.split_once("://").unwrap_or_default();
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        match (has_port, scheme) {
            (true, _) => self.origin.clone(),
            (false, "http") => format!("{}:80", self.origin),
            (false, _) => format!("{}:443", self.origin),
        }
    }

    /// The segments of the path, then the pairs of the query.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.segments.iter().chain(&self.query)
    }

    /// Whether something known of the contact stands in it.
    pub fn is_told(&self, values: &Values<'_>) -> bool {
        self.templates().any(|template| template.is_told(values))
    }

    /// Everything before the query. None when a placeholder in the path is empty, or would change the path's shape:
    /// there is no encoding of `.` and `..` that every server takes for a plain name.
    pub fn render_path(&self, values: &Values<'_>) -> Option<String> {
        // Room for what is mostly put behind it.
        let mut url = String::with_capacity(self.origin.len() + 200);
        url.push_str(&self.origin);
        for segment in &self.segments {
            url.push('/');
            let start = url.len();
            if !segment.render_onto(&mut url, values, Encoding::Percent) || is_dot_segment(&url[start..]) {
                return None;
            }
        }
        Some(url)
    }

    /// Whether what is known by now makes a part of the path `.` or `..`, so that it could never be filled.
    pub fn breaks(&self, values: &Values<'_>) -> bool {
        let dots = |text: String| is_dot_segment(&text);
        self.segments.iter().any(|segment| segment.render(values, Encoding::Percent).is_some_and(dots))
    }

    /// The query that stands in the URL itself, without the pairs whose placeholder is empty.
    pub fn query(&self) -> &[Template] {
        &self.query
    }
}

fn parse_path(path: &str, names: &Names) -> Result<Vec<Template>, String> {
    // A URL without a path is asked for as "/".
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split('/')
        .map(|segment| {
            if is_dot_segment(segment) {
                return Err("must not have . or .. as a part of its path".to_owned());
            }
            let template = Template::parse_with(segment, names)?;
            check_literals(&template, b"!$&'()*+,;=:@")?;
            Ok(template)
        })
        .collect()
}

fn parse_query(query: &str, names: &Names) -> Result<Vec<Template>, String> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let name = pair.split_once('=').map_or(pair, |(name, _)| name);
            if name.contains(['{', '}']) {
                return Err("must not have a placeholder in the name of a parameter".to_owned());
            }
            let template = Template::parse_with(pair, names)?;
            check_literals(&template, b"!$'()*+,;=:@/?")?;
            Ok(template)
        })
        .collect()
}

fn is_dot_segment(segment: &str) -> bool {
    // Two dots, each of them encoded.
    const LONGEST: usize = 6;
    if segment.is_empty() || segment.len() > LONGEST {
        return false;
    }
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

/// What is written out in a path or query must already be in the form in which it is sent.
fn check_literals(template: &Template, extra: &[u8]) -> Result<(), String> {
    for part in template.parts() {
        let Part::Text(text) = part else { continue };
        for (at, c) in text.char_indices() {
            let plain = c.is_ascii_alphanumeric() || "-._~".contains(c);
            let extra = u8::try_from(c).is_ok_and(|byte| extra.contains(&byte));
            let escape = c == '%' && {
                let digits = text.as_bytes().get(at + 1..at + 3);
                digits.is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
            };
            if !(plain || extra || escape) {
                return Err(format!("has the character {c:?}, which must be percent-encoded there"));
            }
        }
    }
    Ok(())
}

fn check_authority(authority: &str) -> Result<(), String> {
    if authority.contains(['{', '}']) {
        return Err("must not have a placeholder before its path".to_owned());
    }
    if authority.contains('@') {
        return Err("must not have a user name or password; use a header".to_owned());
    }
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or("has a [ without its ]")?;
        if address.parse::<Ipv6Addr>().is_err() {
            return Err("has no valid IPv6 address in its brackets".to_owned());
        }
        match after.strip_prefix(':') {
            Some(port) => (address, Some(port)),
            None if after.is_empty() => (address, None),
            None => return Err("has text after the ] of its address".to_owned()),
        }
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        check_host(host)?;
        (host, port)
    };
    debug_assert!(!host.is_empty());
    if let Some(port) = port {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || !port.parse::<u16>().is_ok_and(|number| number > 0) {
            return Err("must have a port from 1 to 65535 after its colon".to_owned());
        }
    }
    Ok(())
}

fn check_host(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("has no host".to_owned());
    }
    if !host.is_ascii() {
        return Err("must have its host in ASCII (xn--…)".to_owned());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let sound = name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
    if sound || host.parse::<Ipv4Addr>().is_ok() {
        return Ok(());
    }
    Err("has no valid host name".to_owned())
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
