//! Content encodings: gzip is undone, under each of its names; others are left, with their name, for the reader to refuse.

use std::io::{ErrorKind, Read};

use flate2::bufread::GzDecoder;

use leadlex_domain::provider::{Answer, Fault, FaultKind};

/// The message of the fault `reset`.
const NO_GZIP: &str = "the answer says that it is gzip, and is not";
pub const CUT_SHORT: &str = "the connection ended before the answer was complete";

const HEADER: &str = "content-encoding";

/// How many encodings one over the other are undone.
const MOST_LAYERS: usize = 4;

/// A body may be so much longer packed than unpacked.
/// Both in bytes.
pub fn packed_limit(unpacked: usize) -> usize {
    unpacked + unpacked / 64 + 1_024
}

/// Whether these headers name a content encoding other than `identity`.
pub fn is_packed(answer: &[(String, String)]) -> bool {
    names(answer).iter().any(|name| name != "identity")
}

/// Names in lower case, in the order in which they were applied.
fn names(headers: &[(String, String)]) -> Vec<String> {
    let ours = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(HEADER));
    let all = ours.flat_map(|(_, value)| value.split(',')).map(|name| name.trim().to_ascii_lowercase());
    all.filter(|name| !name.is_empty()).collect()
}

/// The answer with its body as it was before gzip, of at most `most` bytes.
/// The fault is `too_large` (more than `most` bytes), `reset` (the packed data end early) or `bad_http` (they
/// are no gzip).
///
/// `room` is called before gzip is undone: whether there is memory for all that it may become.
pub fn unpacked(
    mut answer: Answer,
    most: usize,
    room: impl Fn(usize) -> Result<(), Fault>,
) -> Result<Answer, Fault> {
    let mut left = names(&answer.headers);
    if left.is_empty() {
        return Ok(answer);
    }
    for _ in 0..MOST_LAYERS {
        match left.last().map(String::as_str) {
            Some("gzip" | "x-gzip") if !answer.body.is_empty() => {
                room(most)?;
                answer.body = gunzip(&answer.body, most)?;
                room(answer.body.len())?;
            }
            Some("gzip" | "x-gzip" | "identity") => {}
            _ => break,
        }
        left.pop();
    }
    answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(HEADER));
    if !left.is_empty() {
        answer.headers.push((HEADER.to_owned(), left.join(", ")));
    }
    Ok(answer)
}

/// What follows the last member is padding, as for gzip(1).
fn gunzip(packed: &[u8], most: usize) -> Result<Vec<u8>, Fault> {
    const MAGIC: [u8; 2] = [0x1f, 0x8b];
    let begins = packed.iter().zip(MAGIC).all(|(byte, magic)| *byte == magic);
    if !begins {
        return Err(Fault::new(FaultKind::BadHttp, NO_GZIP));
    }
    let mut rest = packed;
    let mut out = Vec::with_capacity(packed.len().saturating_mul(4).min(most));
    loop {
        let mut member = GzDecoder::new(rest);
        let room = (most - out.len()) as u64 + 1;
        match member.by_ref().take(room).read_to_end(&mut out) {
            _ if out.len() > most => {
                let message = format!("the answer is larger than {most} bytes");
                return Err(Fault::new(FaultKind::TooLarge, message));
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(Fault::new(FaultKind::Reset, CUT_SHORT));
            }
            Err(_) => {
                return Err(Fault::new(FaultKind::BadHttp, NO_GZIP));
            }
            Ok(_) => {}
        }
        rest = member.into_inner();
        if !rest.starts_with(&MAGIC) {
            return Ok(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(encodings: &[&str], body: Vec<u8>) -> Result<Answer, Fault> {
        let headers =
            encodings.iter().map(|name| ("Content-Encoding".to_owned(), (*name).to_owned())).collect();
        unpacked(Answer { status: 200, headers, body }, 64, |_| Ok(()))
    }

    #[test]
    fn gzip_is_undone_under_each_of_its_names() {
        for name in ["gzip", "x-gzip", "GZIP", " gzip , identity"] {
            let answer = unpack(&[name], gzip(b"{}")).unwrap();
            assert_eq!((answer.body.as_slice(), answer.headers.len()), (&b"{}"[..], 0), "{name}");
        }
        assert_eq!(unpack(&["gzip", "gzip"], gzip(&gzip(b"{}"))).unwrap().body, b"{}");
        assert_eq!(unpack(&["gzip"], Vec::new()).unwrap().body, b"", "there was nothing to pack");
        let two = [gzip(b"{"), gzip(b"}")].concat();
        assert_eq!(unpack(&["gzip"], two).unwrap().body, b"{}");
        let padded = [gzip(b"{}"), vec![0; 512]].concat();
        assert_eq!(unpack(&["gzip"], padded).unwrap().body, b"{}");
    }

    #[test]
    fn what_is_no_gzip_is_not_taken_for_one_that_was_cut() {
        let kind = |body: &[u8]| unpack(&["gzip"], body.to_vec()).unwrap_err().kind;
        for body in [&b"{}"[..], b"no", b"\x1fx", b"a longer text that is no gzip"] {
            assert_eq!(kind(body), FaultKind::BadHttp, "{body:?}");
        }
        for length in [1, 2, 8, 15] {
            assert_eq!(kind(&gzip(b"{\"a\": 1}")[..length]), FaultKind::Reset, "{length}");
        }
    }

    #[test]
    fn others_keep_their_name() {
        let answer = unpack(&["br, gzip"], gzip(b"x")).unwrap();
        assert_eq!(answer.header("content-encoding"), Some("br"));
        assert_eq!(answer.body, b"x");
        assert_eq!(unpack(&["Zstd"], b"x".to_vec()).unwrap().header("content-encoding"), Some("zstd"));
    }

    #[test]
    fn what_is_broken_or_too_large_is_named() {
        let kind = |body: Vec<u8>| unpack(&["gzip"], body).unwrap_err().kind;
        let mut cut = gzip(b"{}");
        cut.truncate(cut.len() - 3);
        assert_eq!(kind(cut), FaultKind::Reset);
        assert_eq!(kind(b"{}    and more than a header".to_vec()), FaultKind::BadHttp);
        assert_eq!(kind(gzip(&[b' '; 65])), FaultKind::TooLarge);
        assert_eq!(unpack(&["gzip"], gzip(&[b' '; 64])).unwrap().body.len(), 64);
    }
}
