//! Interim answers, such as `100 Continue`: ureq takes one with header fields, as gateways send it, for an error.

use ureq::unversioned::transport::Buffers;

/// Takes interim answers off the beginning of what has come in. False as long as it cannot be told whether there are more;
/// with how many bytes they had.
pub fn skip(buffers: &mut dyn Buffers) -> (bool, usize) {
    let mut taken = 0;
    loop {
        match look(buffers.input()) {
            Head::Interim(bytes) => {
                buffers.input_consume(bytes);
                taken += bytes;
            }
            Head::Other => return (true, taken),
            Head::Unknown => return (false, taken),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Head {
    /// A whole one, so many bytes long.
    Interim(usize),
    /// The answer itself, or nothing that we know.
    Other,
    /// Too little has come.
    Unknown,
}

fn look(input: &[u8]) -> Head {
    const START: &[u8] = b"HTTP/1.";
    let (Some(version), Some(status)) = (input.get(..START.len()), input.get(9..12)) else {
        return if input.starts_with(START) || START.starts_with(input) {
            Head::Unknown
        } else {
            Head::Other
        };
    };
    // 101 is a final answer: what follows is another protocol.
    if version != START || status[0] != b'1' || status == b"101" {
        return Head::Other;
    }
    // To the first empty line, and no further: there may be thousands of them.
    let mut lines = input.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let end = lines.find_map(|line| match &input[line..] {
        [b'\n', ..] => Some(line + 1),
        [b'\r', b'\n', ..] => Some(line + 2),
        _ => None,
    });
    match end {
        Some(bytes) => Head::Interim(bytes),
        None => Head::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interim_answers_are_told_from_the_answer_itself() {
        for (input, head) in [
            ("", Head::Unknown),
            ("HTT", Head::Unknown),
            ("HTTP/1.1 1", Head::Unknown),
            ("HTTP/1.1 100 Continue\r\nVia: x\r\n", Head::Unknown),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Head::Interim(25)),
            ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", Head::Interim(37)),
            ("HTTP/1.0 100\n\n", Head::Interim(14)),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Head::Other),
            ("HTTP/1.1 200 OK\r\n\r\n", Head::Other),
            ("HTTP/2 100\r\n\r\n", Head::Other),
            ("SSH-2.0", Head::Other),
        ] {
            assert_eq!(look(input.as_bytes()), head, "{input:?}");
        }
    }
}
