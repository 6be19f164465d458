//! Files of programs in the language itself.

use std::collections::HashSet;

use super::lexer::{Cursor, Token, tokens};
use super::resolve::{Draft, inputs};
use super::{Diagnostic, Dialect, Inputs, Program};

/// No text is worth more messages.
pub(super) const MOST: usize = 100;

/// Reads `program …` blocks.
pub(super) fn file(text: &str, dialect: Dialect) -> Result<Vec<Program>, Vec<Diagnostic>> {
    let mut reader = Reader {
        dialect,
        draft: None,
        returned: false,
        programs: Vec::new(),
        names: HashSet::new(),
        wrong: Vec::new(),
    };
    let mut last = 0;
    for (k, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        last = k + 1;
        if let Err(error) = reader.line(last, line) {
            reader.wrong.push(error);
        }
        if reader.wrong.len() >= MOST {
            break;
        }
    }
    if reader.draft.is_some() && reader.wrong.len() < MOST {
        reader.wrong.push(Diagnostic::error(last, 1, "the text ends inside of a program").help("add a line `end`"));
    }
    if reader.wrong.is_empty() { Ok(reader.programs) } else { Err(reader.wrong) }
}

struct Reader {
    dialect: Dialect,
    draft: Option<Draft>,
    returned: bool,
    programs: Vec<Program>,
    names: HashSet<String>,
    wrong: Vec<Diagnostic>,
}

impl Reader {
    fn line(&mut self, at: usize, text: &str) -> Result<(), Diagnostic> {
        let words = tokens(at, text).inspect_err(|_| {
            let target = text.split_inclusive('=').next().unwrap_or_default();
            if let (Some(draft), Ok(words)) = (&mut self.draft, tokens(at, target)) {
                draft.assume(&mut Cursor::new(&words, at, target));
            }
        })?;
        let mut cursor = Cursor::new(&words, at, text);
        let second = words.get(1).map(|(token, _)| *token);
        let first = match cursor.peek() {
            None => return Ok(()),
            Some(Token::Name(name)) if second != Some(Token::Sign("=")) => Some(name),
            _ => None,
        };
        match (first, &mut self.draft) {
            (Some("program"), draft) => {
                let open = draft.is_some();
                cursor.next();
                let name = cursor.name("the name of the program")?;
                // A header with a fault still begins a program: its lines are read, for their own faults.
                *draft = Some(Draft::new(name, Inputs::SIC, self.dialect, true));
                self.returned = false;
                let column = cursor.column();
                *draft = Some(Draft::new(name, inputs(&mut cursor)?, self.dialect, true));
                cursor.done()?;
                if !self.names.insert(name.to_owned()) {
                    return Err(Diagnostic::error(at, column, format!("a second program has the name `{name}`")));
                }
                if open {
                    return Err(Diagnostic::error(at, 1, "the program above has no end").help("add a line `end`"));
                }
                Ok(())
            }
            (_, None) => Err(cursor.fail("`program NAME(I)`")),
            (Some("return"), Some(draft)) => {
                if self.returned {
                    return Err(cursor.fail("`end` after `return`"));
                }
                cursor.next();
                self.returned = true;
                draft.returns(at, &mut cursor)
            }
            (Some("end"), Some(_)) => {
                cursor.next();
                cursor.done()?;
                let draft = self.draft.take();
                if !std::mem::take(&mut self.returned) {
                    return Err(Diagnostic::error(at, 1, "`return` expected before `end`"));
                }
                self.programs.extend(draft.map(Draft::done));
                Ok(())
            }
            (_, Some(_)) if self.returned => Err(cursor.fail("`end` after `return`")),
            (_, Some(draft)) => draft.line(at, &mut cursor).inspect_err(|_| {
                draft.assume(&mut Cursor::new(&words, at, text));
            }),
        }
    }
}

/// Reads the lines of a program without header.
pub(super) fn lines<S: AsRef<str>>(name: &str, all: &[S], dialect: Dialect) -> Result<Program, Vec<Diagnostic>> {
    let mut draft = Draft::new(name, Inputs::I, dialect, true);
    let mut wrong = Vec::new();
    for (k, text) in all.iter().enumerate() {
        let (at, text) = (k + 1, text.as_ref());
        let read = tokens(at, text).and_then(|words| {
            let mut cursor = Cursor::new(&words, at, text);
            if cursor.peek().is_none() {
                return Ok(());
            }
            draft.line(at, &mut cursor).inspect_err(|_| draft.assume(&mut Cursor::new(&words, at, text)))
        });
        if let Err(error) = read {
            wrong.push(error);
        }
        if wrong.len() >= MOST {
            break;
        }
    }
    if wrong.is_empty() { draft.returning_last().map_err(|e| vec![e]) } else { Err(wrong) }
}
