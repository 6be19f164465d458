//! What a Python file binds at module level: its statements are read as far as that takes.

use super::python::KEYWORDS;
use crate::value::Value;

/// How a name is bound.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum By {
    /// A `def` that begins a line at the margin.
    Function,
    /// `from .. import NAME`, whatever that is there.
    Import,
    /// An assignment of a number, a truth value or a pair of numbers.
    Constant(Value),
    /// Anything else.
    Other,
}

/// A name that is bound.
#[derive(Clone, Debug)]
pub(super) struct Bound<'a> {
    pub(super) name: &'a str,
    pub(super) by: By,
    /// The first line of the statement, from 1, and the one that the name is on.
    pub(super) statement: usize,
    pub(super) line: usize,
    /// The byte where that line begins, and the name's own.
    start: usize,
    at: usize,
}

impl Bound<'_> {
    /// The column in the text that was read, in characters from 1.
    pub(super) fn column(&self, text: &str) -> usize {
        text[self.start..self.at].chars().count() + 1
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Module<'a> {
    /// Bound names, by statements in their order.
    pub(super) bound: Vec<Bound<'a>>,
    /// For each line, whether it begins inside of a string, or goes on with a statement of the module.
    pub(super) continued: Vec<bool>,
}

/// A word, a sign, or a string, whose text is nobody's business.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    line: usize,
    /// The byte where its line begins, and its own.
    start: usize,
    at: usize,
}

impl Piece<'_> {
    fn is(&self, text: &str) -> bool {
        self.text == text
    }

    fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_') && !KEYWORDS.contains(&self.text)
    }

    /// Whether a bracket behind it holds arguments or a subscript.
    fn is_called(&self) -> bool {
        self.is_name() || [")", "]", "\""].contains(&self.text)
    }
}

/// Signs of more than one character, the longest first.
const SIGNS: [&str; 23] = [
    "**=", "//=", ">>=", "<<=", "==", "!=", "<=", ">=", ":=", "->", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=",
    "@=", "**", "//", "<<", ">>",
];

/// Reads a file.
pub(super) fn read(text: &str) -> Module<'_> {
    let mut reader = Reader { text, module: Module { bound: Vec::new(), continued: vec![false] }, ..Reader::default() };
    reader.run();
    reader.module
}

#[derive(Default)]
struct Reader<'a> {
    text: &'a str,
    module: Module<'a>,
    /// The next byte, its line from 1, and where that begins.
    at: usize,
    line: usize,
    start: usize,
    /// What has been read of a statement, and how many brackets are open.
    pieces: Vec<Piece<'a>>,
    depth: usize,
    /// How far the line is indented that the statement is on.
    indent: usize,
    /// Whether it is the first statement of that line.
    within: bool,
    /// How far the function or class is indented whose lines are being passed over.
    scope: Option<usize>,
}

impl<'a> Reader<'a> {
    fn run(&mut self) {
        self.line = 1;
        while let Some(&byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'\n' => self.end_of_line(),
                b'\\' if self.rest()[1..].trim_start_matches('\r').starts_with('\n') => {
                    self.at += self.rest().find('\n').unwrap_or(0);
                    self.next_line(self.of_module());
                }
                b'#' => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                b'"' | b'\'' => self.string(byte),
                b' ' | b'\t' | b'\r' => self.at += 1,
                // Python counts the indentation from here.
                b'\x0c' => {
                    self.at += 1;
                    if self.pieces.is_empty() && !self.within {
                        self.start = self.at;
                    }
                }
                _ => self.piece(),
            }
        }
        self.end_of_statement();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Whether the statement that is being read is one of the module.
    fn of_module(&self) -> bool {
        !self.pieces.is_empty() && self.scope.is_none_or(|scope| self.indent <= scope)
    }

    fn next_line(&mut self, continued: bool) {
        self.at += 1;
        self.line += 1;
        self.start = self.at;
        self.module.continued.push(continued);
    }

    fn end_of_line(&mut self) {
        // A bracket that nobody closes does not swallow the functions behind it.
        let next = &self.rest()[1..];
        let begins = ["def ", "class ", "import ", "@"].iter().any(|word| next.starts_with(word));
        if self.depth == 0 || begins {
            self.depth = 0;
            self.end_of_statement();
            self.within = false;
            self.next_line(false);
        } else {
            self.next_line(self.of_module());
        }
    }

    /// A string, over several lines if it has three quotes.
    fn string(&mut self, quote: u8) {
        let bytes = self.text.as_bytes();
        let many = |at: usize| bytes[at..].iter().take(3).take_while(|b| **b == quote).count();
        let length = if many(self.at) == 3 { 3 } else { 1 };
        self.push(&self.text[self.at..=self.at]);
        if let Some(last) = self.pieces.last_mut() {
            last.text = "\"";
        }
        self.at += length;
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'\\' if bytes.get(self.at + 1).is_some_and(|next| *next != b'\n') => self.at += 2,
                b'\\' if self.at + 1 < bytes.len() => {
                    self.at += 1;
                    self.next_line(true);
                }
                b'\n' if length == 1 => return,
                b'\n' => self.next_line(true),
                _ if byte == quote && many(self.at) >= length => {
                    self.at += length;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }

    /// A word or a sign.
    fn piece(&mut self) {
        let rest = self.rest();
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if word > 0 {
            self.push(&rest[..word]);
            self.at += word;
            return;
        }
        let one = rest.chars().next().map_or(1, char::len_utf8);
        let length = SIGNS.iter().find(|sign| rest.starts_with(**sign)).map_or(one, |sign| sign.len());
        match &rest[..length] {
            ";" if self.depth == 0 => {
                self.end_of_statement();
                self.within = true;
                self.at += 1;
                return;
            }
            "(" | "[" | "{" => self.depth += 1,
            ")" | "]" | "}" => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.push(&rest[..length]);
        self.at += length;
    }

    fn push(&mut self, text: &'a str) {
        if self.pieces.is_empty() && !self.within {
            self.indent = self.at - self.start;
        }
        // Of lines that are passed over the first piece is enough.
        if self.pieces.is_empty() || self.of_module() {
            self.pieces.push(Piece { text, line: self.line, start: self.start, at: self.at });
        }
    }

    fn end_of_statement(&mut self) {
        // What follows a function on its own line belongs to it.
        if self.of_module() && !(self.within && self.scope.is_some()) {
            self.scope = None;
            let pieces = std::mem::take(&mut self.pieces);
            let begin = self.module.bound.len();
            self.statement(&pieces);
            let statement = pieces[0].line;
            self.module.bound[begin..].iter_mut().for_each(|bound| bound.statement = statement);
        }
        self.pieces.clear();
    }

    fn bind(&mut self, piece: &Piece<'a>, by: By) {
        let &Piece { text: name, line, start, at } = piece;
        self.module.bound.push(Bound { name, by, statement: line, line, start, at });
    }

    fn statement(&mut self, all: &[Piece<'a>]) {
        let all = if all.first().is_some_and(|first| first.is("async")) { &all[1..] } else { all };
        let Some((first, rest)) = all.split_first() else { return };
        let walrus = all.windows(2).filter(|pair| pair[0].is_name() && pair[1].is(":="));
        // On the line of a function they are its own.
        for pair in walrus.filter(|_| !["def", "class"].contains(&first.text)) {
            self.bind(&pair[0], By::Other);
        }
        match first.text {
            "def" | "class" => {
                self.scope = Some(self.indent);
                let by = if first.is("def") && first.at == first.start { By::Function } else { By::Other };
                rest.first().filter(|name| name.is_name()).iter().for_each(|name| self.bind(name, by.clone()));
            }
            "if" | "elif" | "else" | "while" | "for" | "with" | "try" | "except" | "finally" => {
                let colon = top_level(rest, ":").next().unwrap_or(rest.len());
                let head = &rest[..colon];
                if first.is("for") {
                    let end = top_level(head, "in").next().unwrap_or(head.len());
                    self.targets(&head[..end]);
                } else {
                    for (at, _) in head.iter().enumerate().filter(|(_, piece)| piece.is("as")) {
                        self.targets(item(&head[at + 1..]));
                    }
                }
                // What follows on the same line is simple.
                self.simple(rest.get(colon + 1..).unwrap_or_default());
            }
            _ => self.simple(all),
        }
    }

    /// A statement that holds no others.
    fn simple(&mut self, all: &[Piece<'a>]) {
        let Some((first, rest)) = all.split_first() else { return };
        match first.text {
            "del" => self.targets(rest),
            "import" => {
                for one in parts(rest) {
                    let name = if one.iter().any(|piece| piece.is("as")) { one.last() } else { one.first() };
                    name.filter(|name| name.is_name()).iter().for_each(|name| self.bind(name, By::Other));
                }
            }
            "from" => {
                let begin = rest.iter().position(|piece| piece.is("import")).map_or(rest.len(), |at| at + 1);
                let names = rest[begin..].iter().filter(|piece| !piece.is("(") && !piece.is(")"));
                let names: Vec<Piece<'a>> = names.copied().collect();
                for one in parts(&names) {
                    match one {
                        [name] if name.is_name() => self.bind(name, By::Import),
                        [own, _, name] if name.is_name() => {
                            self.bind(name, if own.is(name.text) { By::Import } else { By::Other });
                        }
                        _ => {}
                    }
                }
            }
            _ => self.assignment(all),
        }
    }

    /// `a = b = value`, `a: T = value` or `a += value`; anything else binds nothing.
    fn assignment(&mut self, all: &[Piece<'a>]) {
        let end = top_level(all, "lambda").next().unwrap_or(all.len());
        let is_assignment = |text: &str| {
            text == "=" || (text.len() > 1 && text.ends_with('=') && !["==", "!=", "<=", ">=", ":="].contains(&text))
        };
        let places: Vec<usize> =
            levels(&all[..end]).filter(|(_, piece)| is_assignment(piece.text)).map(|(at, _)| at).collect();
        let Some(&last) = places.last() else { return };
        let value = if all[last].is("=") { literal(&all[last + 1..]) } else { None };
        let mut begin = 0;
        for at in places {
            let target = &all[begin..at];
            let target = &target[..top_level(target, ":").next().unwrap_or(target.len())];
            match (target, &value) {
                ([name], Some(value)) if name.is_name() => self.bind(name, By::Constant(value.clone())),
                _ => self.targets(target),
            }
            begin = at + 1;
        }
    }

    /// Names that are assigned to or deleted: not what is called, subscripted, or an attribute.
    fn targets(&mut self, all: &[Piece<'a>]) {
        // Brackets that are open, down to the first that holds arguments or a subscript.
        let (mut open, mut passed) = (0_usize, None);
        for (at, piece) in all.iter().enumerate() {
            let before = at.checked_sub(1).map(|at| &all[at]);
            match piece.text {
                "(" | "[" | "{" => {
                    open += 1;
                    if passed.is_none() && before.is_some_and(Piece::is_called) {
                        passed = Some(open);
                    }
                }
                ")" | "]" | "}" => {
                    passed = passed.filter(|level| *level != open);
                    open = open.saturating_sub(1);
                }
                _ => {
                    let goes_on = all.get(at + 1).is_some_and(|next| [".", "(", "["].contains(&next.text));
                    let own = before.is_none_or(|before| !before.is("."));
                    if passed.is_none() && piece.is_name() && own && !goes_on {
                        self.bind(piece, By::Other);
                    }
                }
            }
        }
    }
}

/// Pieces outside of all brackets, with their places.
fn levels<'p, 'a>(all: &'p [Piece<'a>]) -> impl Iterator<Item = (usize, &'p Piece<'a>)> {
    let mut depth = 0_usize;
    all.iter().enumerate().filter(move |(_, piece)| {
        match piece.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    })
}

/// Where a piece stands outside of all brackets; colons of `lambda` are none.
fn top_level<'p>(all: &'p [Piece<'_>], text: &'p str) -> impl Iterator<Item = usize> + 'p {
    let mut lambdas = 0_usize;
    levels(all).filter_map(move |(at, piece)| {
        lambdas += usize::from(piece.is("lambda"));
        if piece.is(":") && lambdas > 0 {
            lambdas -= 1;
            return None;
        }
        piece.is(text).then_some(at)
    })
}

/// What stands in front of a comma, or of a bracket that was open before.
fn item<'p, 'a>(all: &'p [Piece<'a>]) -> &'p [Piece<'a>] {
    let mut depth = 0_usize;
    let end = all.iter().position(|piece| match piece.text {
        "(" | "[" | "{" => {
            depth += 1;
            false
        }
        ")" | "]" | "}" if depth > 0 => {
            depth -= 1;
            false
        }
        ")" | "]" | "}" => true,
        "," => depth == 0,
        _ => false,
    });
    &all[..end.unwrap_or(all.len())]
}

/// What commas are between.
fn parts<'p, 'a>(all: &'p [Piece<'a>]) -> impl Iterator<Item = &'p [Piece<'a>]> {
    all.split(|piece| piece.is(","))
}

/// A number, a truth value, or a pair of numbers, in brackets or not.
fn literal(all: &[Piece<'_>]) -> Option<Value> {
    let inner = match all {
        [open, inner @ .., close] if open.is("(") && close.is(")") => inner,
        _ => all,
    };
    let number = |one: &[Piece<'_>]| match one {
        [minus, n] if minus.is("-") => format!("-{}", n.text).parse::<i32>().ok(),
        [n] if n.text.starts_with(|c: char| c.is_ascii_digit()) => n.text.parse().ok(),
        _ => None,
    };
    let mut parts: Vec<&[Piece<'_>]> = parts(inner).collect();
    let several = parts.len() > 1;
    parts.pop_if(|last| several && last.is_empty());
    match parts[..] {
        [one] if !several => match one {
            [word] if word.is("True") => Some(Value::Bool(true)),
            [word] if word.is("False") => Some(Value::Bool(false)),
            one => number(one).map(Value::Int),
        },
        [i, j] => Some(Value::pair(number(i)?, number(j)?)),
        _ => None,
    }
}
