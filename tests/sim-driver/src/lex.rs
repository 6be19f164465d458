//! PTX text into tokens.

use std::fmt;

/// One token, with the line it is on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) what: What,
    pub(crate) line: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    /// Names, registers, opcodes and directives, with their dots: `%tid.x`, `ld.global.f32`, `.reg`.
    Word(String),
    /// An integer as its bits.
    Integer(u64),
    /// `0f3F800000`: the bits of a single precision number.
    Single(u32),
    /// `0d…` or a decimal number: the bits of a double precision number.
    Double(u64),
    Text(String),
    Mark(char),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "{word}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Single(bits) => write!(f, "0f{bits:08X}"),
            Self::Double(bits) => write!(f, "0d{bits:016X}"),
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Mark(mark) => write!(f, "{mark}"),
        }
    }
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) line: u32,
    pub(crate) why: String,
}

impl SyntaxError {
    /// Whether the text is right, and only this crate does not know it.
    pub(crate) fn is_unsupported(&self) -> bool {
        self.why.starts_with("Unsupported")
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$' | b'%' | b'.')
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.' | b'%')
}

/// All tokens of a text.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, SyntaxError> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::with_capacity(bytes.len() / 4);
    let (mut at, mut line) = (0, 1u32);
    while let Some(&byte) = bytes.get(at) {
        let rest = &text[at..];
        if byte == b'\n' {
            line += 1;
            at += 1;
        } else if byte.is_ascii_whitespace() || byte == 0 {
            at += 1;
        } else if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            let end = rest.find("*/").map_or(rest.len(), |end| end + 2);
            line += rest[..end].matches('\n').count() as u32;
            at += end;
        } else if byte == b'"' {
            let end = rest[1..].find('"').ok_or_else(|| SyntaxError { line, why: "a text has no end".into() })?;
            tokens.push(Token { what: What::Text(rest[1..=end].to_owned()), line });
            at += end + 2;
        } else if byte.is_ascii_digit() || (byte == b'.' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
            let what = number(&rest[..end])
                .ok_or_else(|| SyntaxError { line, why: format!("`{}` is not a number", &rest[..end]) })?;
            tokens.push(Token { what, line });
            at += end;
        } else if begins_word(byte) {
            let mut end = 1;
            while let Some(&next) = bytes.get(at + end) {
                // `ld.global.L2::128B` is one word.
                if in_word(next) || (next == b':' && bytes.get(at + end + 1) == Some(&b':')) {
                    end += 1 + usize::from(next == b':');
                } else {
                    break;
                }
            }
            tokens.push(Token { what: What::Word(rest[..end].to_owned()), line });
            at += end;
        } else if byte.is_ascii_punctuation() {
            tokens.push(Token { what: What::Mark(byte as char), line });
            at += 1;
        } else {
            return Err(SyntaxError { line, why: format!("unexpected byte {byte:#04x}") });
        }
    }
    Ok(tokens)
}

fn number(text: &str) -> Option<What> {
    let lower = text.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0f").filter(|hex| hex.len() == 8) {
        return u32::from_str_radix(hex, 16).ok().map(What::Single);
    }
    if let Some(hex) = lower.strip_prefix("0d").filter(|hex| hex.len() == 16) {
        return u64::from_str_radix(hex, 16).ok().map(What::Double);
    }
    let digits = lower.strip_suffix('u').unwrap_or(&lower);
    let (digits, radix) = match digits {
        _ if digits.starts_with("0x") => (&digits[2..], 16),
        _ if digits.starts_with("0b") => (&digits[2..], 2),
        _ if digits.len() > 1 && digits.starts_with('0') && !digits.contains('.') => (&digits[1..], 8),
        _ => (digits, 10),
    };
    match u64::from_str_radix(digits, radix) {
        Ok(value) => Some(What::Integer(value)),
        Err(_) => text.parse::<f64>().ok().map(|value| What::Double(value.to_bits())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_numbers_and_lines() {
        let all =
            tokens("ld.global.L2::128B.f32 %f1, [%rd1+-8]; // note\n/* a\nb */ mov.f32 %f2, 0f3F800000;").unwrap();
        assert_eq!(all[0].what, What::Word("ld.global.L2::128B.f32".into()));
        assert_eq!(all[6].what, What::Mark('-'));
        assert_eq!(all[7].what, What::Integer(8));
        let last = &all[all.len() - 2];
        assert_eq!((&last.what, last.line), (&What::Single(0x3F80_0000), 3));
    }

    #[test]
    fn numbers_of_every_kind() {
        for (text, what) in [
            ("0x1F", What::Integer(31)),
            ("0b101", What::Integer(5)),
            ("017", What::Integer(15)),
            ("42U", What::Integer(42)),
            ("0", What::Integer(0)),
            ("0d3FF0000000000000", What::Double(1f64.to_bits())),
            ("1.5", What::Double(1.5f64.to_bits())),
        ] {
            assert_eq!(number(text), Some(what), "{text}");
        }
        assert_eq!(number("12q"), None);
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_line() {
        assert_eq!(tokens("\n\"open").unwrap_err().line, 2);
        assert_eq!(tokens("a\n\u{e9}").unwrap_err().line, 2);
    }
}
