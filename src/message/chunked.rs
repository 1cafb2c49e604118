//! Where a chunked body ends (RFC 9112 §7.1), octet by octet. Strict: what a lenient reader could read differently, such
//! as a bare LF or a size with a sign, is an error, because two readings of one body are a smuggled request.

/// The most octets that chunk extensions and trailer fields of one body may take together: nobody uses them, and
/// RFC 9112 §7.1.1 asks for a bound.
const MAX_DISCARDED: usize = 16 * 1024;

/// A chunked body as it is being read.
#[derive(Clone, Debug)]
pub struct Chunked {
    state: State,
    /// Octets of extensions and trailers so far.
    discarded: usize,
}

/// What the first octets of some input are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many octets of chunk sizes, line ends and trailers.
    Framing(usize),
    /// So many octets of content.
    Data(usize),
    /// So many octets, the last of which ends the body.
    End(usize),
}

/// What was found where the grammar allows something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the hex digits of a size: their value, and how many there were.
    Size(u64, u8),
    /// In white space behind a size.
    Padding(u64),
    Extension(u64),
    /// Behind the CR of a size line.
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

impl Default for Chunked {
    fn default() -> Self {
        Chunked { state: State::Size(0, 0), discarded: 0 }
    }
}

impl Chunked {
    /// Says what the longest uniform beginning of `input` is; the caller goes on behind it. Not to be called again after
    /// [`Piece::End`]; an empty `input` is `Framing(0)`.
    ///
    /// # Errors
    /// The body is malformed; nothing after it on this connection can be trusted.
    pub fn next(&mut self, input: &[u8]) -> Result<Piece, Malformed> {
        let mut at = 0;
        while at < input.len() {
            if let State::Data(left) = self.state {
                if at > 0 {
                    return Ok(Piece::Framing(at));
                }
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let left = left - here as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                return Ok(Piece::Data(here));
            }
            self.step(input[at])?;
            at += 1;
            if self.state == State::Done {
                return Ok(Piece::End(at));
            }
        }
        Ok(Piece::Framing(at))
    }

    fn step(&mut self, octet: u8) -> Result<(), Malformed> {
        self.state = match (self.state, octet) {
            (State::Size(size, digits), _) if octet.is_ascii_hexdigit() => {
                if digits == 15 {
                    return Err(Malformed("a chunk size with more than 15 digits"));
                }
                let digit = char::from(octet).to_digit(16).expect("a hexadecimal digit was just seen");
                State::Size(size * 16 + u64::from(digit), digits + 1)
            }
            (State::Size(_, 0), _) => return Err(Malformed("a chunk without a size")),
            (State::Size(size, _) | State::Padding(size) | State::Extension(size), b'\r') => State::SizeLf(size),
            // `chunk-ext = *( BWS ";" BWS chunk-ext-name …` (RFC 9112 §7.1.1): behind white space nothing else begins.
            (State::Size(size, _) | State::Padding(size), b' ' | b'\t') => self.discard(octet, State::Padding(size))?,
            (State::Size(size, _) | State::Padding(size), b';') => State::Extension(size),
            (State::Size(..) | State::Padding(_), _) => return Err(Malformed("a chunk size that is not hexadecimal")),
            (State::Extension(size), _) => self.discard(octet, State::Extension(size))?,
            (State::SizeLf(0), b'\n') => State::TrailerStart,
            (State::SizeLf(size), b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size(0, 0),
            (State::DataCr | State::DataLf, _) => return Err(Malformed("a chunk longer than its size")),
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerStart | State::Trailer, _) => self.discard(octet, State::Trailer)?,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            (State::SizeLf(_) | State::TrailerLf | State::EndLf, _) => return Err(Malformed("a CR without its LF")),
            (State::Data(_) | State::Done, _) => unreachable!("next() neither steps through data nor past the end"),
        };
        Ok(())
    }

    /// Passes over an octet of an extension or a trailer.
    fn discard(&mut self, octet: u8, next: State) -> Result<State, Malformed> {
        self.discarded += 1;
        if octet != b'\t' && octet.is_ascii_control() {
            Err(Malformed("a control character, or a bare LF, in a chunk's framing"))
        } else if self.discarded > MAX_DISCARDED {
            Err(Malformed("chunk extensions or trailers without end"))
        } else {
            Ok(next)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `wire` in pieces of `step` octets; gives the content and how many octets the body took, if it ended.
    fn read(wire: &[u8], step: usize) -> Result<(Vec<u8>, Option<usize>), Malformed> {
        let (mut chunked, mut content, mut at) = (Chunked::default(), Vec::new(), 0);
        while at < wire.len() {
            let upto = wire.len().min(at + step);
            match chunked.next(&wire[at..upto])? {
                Piece::Framing(n) => at += n,
                Piece::Data(n) => {
                    content.extend_from_slice(&wire[at..at + n]);
                    at += n;
                }
                Piece::End(n) => return Ok((content, Some(at + n))),
            }
        }
        Ok((content, None))
    }

    #[track_caller]
    fn check(wire: &[u8], expected: Result<(&[u8], Option<usize>), &'static str>) {
        let expected = expected.map(|(content, end)| (content.to_vec(), end)).map_err(Malformed);
        for step in [1, 2, 3, 7, wire.len().max(1)] {
            assert_eq!(read(wire, step), expected, "{:?} in steps of {step}", wire.escape_ascii().to_string());
        }
    }

    #[test]
    fn well_formed() {
        check(b"0\r\n\r\n", Ok((b"", Some(5))));
        check(b"5\r\nhello\r\n0\r\n\r\n", Ok((b"hello", Some(15))));
        check(b"2\r\nhe\r\n00a\r\n0123456789\r\n0\r\n\r\nGET /", Ok((b"he0123456789", Some(29))));
        check(b"2 \t;x\r\nhe\r\n0 \r\n\r\n", Ok((b"he", Some(17))));
        check(b"2;name=\"v\"\r\nhe\r\n0;x\r\n\r\n", Ok((b"he", Some(23))));
        check(b"1\r\na\r\n0\r\nDigest: x\r\nMore: y\r\n\r\n", Ok((b"a", Some(31))));
    }

    #[test]
    fn not_ended() {
        check(b"", Ok((b"", None)));
        check(b"5\r\nhel", Ok((b"hel", None)));
        check(b"5\r\nhello\r\n0\r\n", Ok((b"hello", None)));
        check(b"5\r\nhello\r\n0\r\n\r", Ok((b"hello", None)));
    }

    #[test]
    fn what_has_two_readings() {
        check(b"5\nhello\r\n0\r\n\r\n", Err("a chunk size that is not hexadecimal"));
        check(b"5;x\nhello\r\n0\r\n\r\n", Err("a control character, or a bare LF, in a chunk's framing"));
        check(b"\r\n5\r\nhello", Err("a chunk without a size"));
        check(b"-5\r\nhello", Err("a chunk without a size"));
        check(b"5 5\r\nhello", Err("a chunk size that is not hexadecimal"));
        check(b"5 x\r\nhello", Err("a chunk size that is not hexadecimal"));
        check(b"0x5\r\nhello", Err("a chunk size that is not hexadecimal"));
        check(b"5\r\nhello!\r\n", Err("a chunk longer than its size"));
        check(b"5\rhello", Err("a CR without its LF"));
        check(b"0\r\n\rX", Err("a CR without its LF"));
        check(b"0\r\na\nb\r\n\r\n", Err("a control character, or a bare LF, in a chunk's framing"));
        check(b"1000000000000000\r\n", Err("a chunk size with more than 15 digits"));
    }

    #[test]
    fn extensions_have_a_bound() {
        let mut wire = b"5;".to_vec();
        wire.resize(wire.len() + MAX_DISCARDED + 1, b'x');
        assert_eq!(read(&wire, 1000), Err(Malformed("chunk extensions or trailers without end")));
    }
}
