//! Names of hosts.

/// More bytes than a host has in any script.
const LONGEST: usize = 2_000;

/// A host in ASCII and lower case: sound labels, at least two of them, the last one no number. Only names of other scripts
/// cost more than looking at their letters.
/// `None` for anything else, and for names that IDNA refuses.
pub fn ascii_host(host: &str) -> Option<String> {
    let host = host.trim_end_matches('.');
    if host.len() > LONGEST {
        return None;
    }
    let is_encoded = |host: &str| host.as_bytes().windows(4).any(|part| part.eq_ignore_ascii_case(b"xn--"));
    let plain = host.is_ascii() && !is_encoded(host);
    let mut whole = if plain { host.to_ascii_lowercase() } else { idna::domain_to_ascii(host).ok()? };
    whole.truncate(whole.trim_end_matches('.').len());
    let host = whole.as_str();
    let sound = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next()?;
    // With a letter in its last label it is no number of an IPv4 address.
    let ok = host.contains('.')
        && host.len() <= 253
        && host.split('.').all(sound)
        && last.len() >= 2
        && last.bytes().any(|b| b.is_ascii_alphabetic());
    ok.then_some(whole)
}
